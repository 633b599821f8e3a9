//! What is asked for: where the filter stands, how it comes there, and how everything is called. Knows no resource.

use crate::{Refused, host};
use std::collections::BTreeMap;

/// Where the filter stands: always on the caller's side of the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// In the callers' sidecars, on their way out.
    #[default]
    Sidecar,
    /// In a gateway.
    Gateway,
    /// In the service's waypoint.
    Waypoint,
}

/// How the filter comes to its proxies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// As an `EnvoyFilter`.
    #[default]
    EnvoyFilter,
    /// As a `WasmPlugin`.
    WasmPlugin,
    /// Not at all: it is there already.
    None,
}

/// What becomes of requests when the filter itself fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It is loaded anew; until then the worker answers 503. A module that cannot be fetched has every request refused.
    Reload,
    /// Requests pass without it, to the baseline; a worker whose filter trapped has none until the proxy's
    /// configuration changes.
    Open,
    /// Requests are refused.
    Closed,
}

/// Everything that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Namespace of the service and of its routes.
    pub namespace: String,
    /// The service's full host; by default that of the document's `service` in the namespace.
    pub host: Option<String>,
    /// The service's port, where it has several.
    pub port: Option<u16>,
    /// The label of the service's workloads that says their version.
    pub subset_label: String,
    /// Per version, by name: its workloads' labels, where they are others.
    pub labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Where the filter stands.
    pub place: Place,
    /// Labels of the proxies' workloads; empty: all of their namespace.
    pub workload: BTreeMap<String, String>,
    /// Namespace of the callers, or of the gateway; by default the service's.
    pub caller_namespace: Option<String>,
    /// Gateways that the routes are for, `mesh` for the sidecars.
    pub gateways: Vec<String>,
    /// The waypoint's name.
    pub waypoint: String,
    /// How the filter comes there.
    pub delivery: Delivery,
    /// The module: `oci://…`, `https://…`, `http://…`, or a path in the proxy's own file system.
    pub module: String,
    /// Its digest: of the image (oci) or of the module.
    pub sha256: Option<String>,
    /// What becomes of requests when it fails; by default reload for a local file, open for what has to be fetched.
    pub failure: Option<Failure>,
    /// The controller's host, …
    pub controller_host: String,
    /// … and port.
    pub controller_port: u16,
    /// What stands for the proxies' token until it is filled in; `None`: there is no token.
    pub token: Option<String>,
    /// Further headers that route, beside the experiment's own.
    pub routing_headers: Vec<String>,
    /// Service accounts of the proxies, by which the controller knows them; empty: their namespace.
    pub service_accounts: Vec<String>,
    /// Who may do everything else at the controller: `NAMESPACE/SERVICEACCOUNT`, or a namespace.
    pub operators: Vec<String>,
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// Labels of the controller's workload.
    pub controller_labels: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            host: None,
            port: None,
            subset_label: "version".to_owned(),
            labels: BTreeMap::new(),
            place: Place::Sidecar,
            workload: BTreeMap::new(),
            caller_namespace: None,
            gateways: Vec::new(),
            waypoint: "waypoint".to_owned(),
            delivery: Delivery::EnvoyFilter,
            module: DEFAULT_MODULE.to_owned(),
            sha256: None,
            failure: None,
            controller_host: DEFAULT_CONTROLLER.to_owned(),
            controller_port: 8181,
            token: Some(DEFAULT_TOKEN.to_owned()),
            routing_headers: Vec::new(),
            service_accounts: Vec::new(),
            operators: Vec::new(),
            trust_domain: "cluster.local".to_owned(),
            controller_labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "weir".to_owned())]),
        }
    }
}

/// Where the filter's module is, if nothing else is said: in the proxies' own file system.
pub const DEFAULT_MODULE: &str = "/var/lib/weir/weir-filter.wasm";
/// The controller's Service as `envoy-config/kubernetes` makes it.
pub const DEFAULT_CONTROLLER: &str = "weir.weir.svc.cluster.local";
/// What stands for the token: `envsubst` and Flux fill it in.
pub const DEFAULT_TOKEN: &str = "${WEIR_PROXY_TOKEN}";

/// Where a module comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module<'a> {
    /// A path in the proxy's file system.
    File(&'a str),
    /// Something that has to be fetched.
    Remote(&'a str),
}

impl Options {
    /// The service's full host.
    ///
    /// # Errors
    /// When the document's service is no name that a host can have, and no host is given.
    pub fn service_host(&self, service: &str) -> Result<String, Refused> {
        let full = match &self.host {
            Some(given) => host::in_full(given, &self.namespace),
            None => host::of_service(service, &self.namespace),
        };
        if !host::is_host(&full) || full.contains('*') {
            return Err(Refused::options(format!("`{full}` cannot be the host of a service: give it with --host")));
        }
        Ok(full.to_ascii_lowercase())
    }

    /// The namespace of the proxies that have the filter.
    #[must_use]
    pub fn proxies(&self) -> &str {
        self.caller_namespace.as_deref().unwrap_or(&self.namespace)
    }

    /// Where the module comes from.
    #[must_use]
    pub fn module(&self) -> Module<'_> {
        let text = self.module.as_str();
        match text.strip_prefix("file://") {
            Some(path) => Module::File(path),
            None if text.contains("://") => Module::Remote(text),
            None => Module::File(text),
        }
    }

    /// What becomes of requests when the filter fails.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.failure.unwrap_or(match self.module() {
            Module::File(_) => Failure::Reload,
            Module::Remote(_) => Failure::Open,
        })
    }

    /// The cluster that Istio makes for the controller's Service.
    #[must_use]
    pub fn controller_cluster(&self) -> String {
        format!("outbound|{}||{}", self.controller_port, self.controller_host)
    }

    /// The labels of a version's workloads.
    #[must_use]
    pub fn labels_of(&self, version: &str) -> BTreeMap<String, String> {
        let usual = || BTreeMap::from([(self.subset_label.clone(), version.to_owned())]);
        self.labels.get(version).cloned().unwrap_or_else(usual)
    }
}
