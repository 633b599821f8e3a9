//! What `weir render istio` prints for a site.

use super::{Delivery, Place, Site};
use crate::paths;
use serde_json::{Value, json};
use std::process::Command;

impl Site {
    /// The document of the experiment `shop`; the first version is the baseline. `more` are further fields of its `spec`.
    #[must_use]
    pub fn document(&self, versions: &[&str], more: &Value) -> Value {
        let mut list: Vec<Value> = versions.iter().map(|name| json!({"name": name})).collect();
        list[0]["baseline"] = json!(true);
        let mut spec = json!({"service": "shop", "match": {"hosts": [self.host()]}, "versions": list,
            "objectives": [{"name": "errors", "errorRate": {"max": "2%"}}],
            "reward": {"responseHeader": "x-weir-reward", "direction": "maximize"}});
        let fields = spec.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        json!({"apiVersion": "weir.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "shop"}, "spec": spec})
    }

    /// The resources for a document that belong to the shop's and its callers' namespaces, with the built filter as a file. Who may call
    /// the controller is left out: without certificates nobody here has an identity.
    ///
    /// # Panics
    /// When `weir render istio` fails, with what it said.
    #[must_use]
    pub fn rendered(&self, document: &Value, more: &[&str]) -> Vec<Value> {
        let (at, workload) = match self.place {
            Place::Sidecar => ("sidecar", "app=frontend"),
            Place::Gateway => ("gateway", "app=gateway"),
        };
        let filter = match self.delivery {
            Delivery::EnvoyFilter => "envoyfilter",
            Delivery::WasmPlugin => "wasmplugin",
        };
        let controller = format!("{}:{}", Self::CONTROLLER, self.controller_port);
        let mut options = vec!["--at", at, "--workload", workload, "--filter", filter, "--controller", &controller];
        if self.place == Place::Gateway {
            options.extend(["--gateway", "shop/gateway"]);
        }
        let module = paths::filter().unwrap_or_else(|error| panic!("the filter: {error}"));
        if !more.contains(&"--module") {
            options.extend(["--module", module.to_str().expect("a path of characters")]);
        }
        options.extend(["--token", "none"]);
        options.extend(more);
        let mut resources = self.printed(document, &options);
        resources.retain(|resource| resource["kind"] != "AuthorizationPolicy");
        resources
    }

    /// Everything that is printed for a document and these options, in the shop's namespace.
    ///
    /// # Panics
    /// When `weir render istio` fails, with what it said.
    #[must_use]
    pub fn printed(&self, document: &Value, options: &[&str]) -> Vec<Value> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("shop.yaml");
        std::fs::write(&file, document.to_string()).expect("a file");
        let mut command = Command::new(paths::weir().unwrap_or_else(|error| panic!("the command line: {error}")));
        command.args(["render", "istio", "--output", "json", "--namespace", Self::NAMESPACE]).args(options).arg(file);
        let output = command.output().expect("`weir` starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "`weir render istio` failed: {said}");
        let list: Value = serde_json::from_slice(&output.stdout).expect("a list as JSON");
        list["items"].as_array().expect("resources").clone()
    }
}

/// The filter's configuration in what was rendered, changed: text in an EnvoyFilter, fields in a WasmPlugin.
///
/// # Panics
/// When there is none.
pub fn change_plugin(resources: &mut [Value], change: impl Fn(&mut Value)) {
    for resource in resources {
        let config = &mut resource["spec"];
        // A patch may also be there for something else.
        if let Some(text) = config.pointer_mut("/configPatches/0/patch/value/typed_config/config/configuration/value") {
            let mut plugin = serde_json::from_str(text.as_str().expect("a text")).expect("JSON in it");
            change(&mut plugin);
            *text = json!(plugin.to_string());
            return;
        }
        if let Some(plugin) = config.get_mut("pluginConfig") {
            return change(plugin);
        }
    }
    panic!("no filter in what was rendered");
}
