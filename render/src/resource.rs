//! What is printed: resources of our own types, and those of the user's that were extended.

use crate::Refused;
use crate::istio::access::AuthorizationPolicy;
use crate::istio::envoy_filter::EnvoyFilter;
use crate::istio::routes::{DestinationRule, VirtualService};
use crate::istio::service_entry::ServiceEntry;
use crate::istio::wasm_plugin::WasmPlugin;
use crate::yaml::{self, Yaml};
use serde::Serialize;
use std::collections::BTreeMap;

/// A resource of Kubernetes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<S> {
    /// Group and version.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// The rest.
    pub spec: S,
}

/// A resource's name, and what is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Unique per kind and namespace.
    pub name: String,
    /// Where it is.
    pub namespace: String,
    /// For whoever looks for them.
    pub labels: BTreeMap<&'static str, String>,
    /// For programs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, String>,
}

impl Metadata {
    /// Of something that belongs to one experiment, or (without) to all of a proxy's.
    #[must_use]
    pub fn new(name: String, namespace: &str, experiment: Option<&str>) -> Self {
        let mut labels = BTreeMap::from([("app.kubernetes.io/managed-by", "weir".to_owned())]);
        if let Some(experiment) = experiment {
            labels.insert("weir.dev/experiment", experiment.to_owned());
        }
        Self { name, namespace: namespace.to_owned(), labels, annotations: BTreeMap::new() }
    }
}

/// One printed resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Printed {
    /// Subsets.
    DestinationRule(Resource<DestinationRule>),
    /// Routes.
    VirtualService(Resource<VirtualService>),
    /// The filter, as a patch.
    EnvoyFilter(Box<Resource<EnvoyFilter>>),
    /// The filter, as a plugin.
    WasmPlugin(Box<Resource<WasmPlugin>>),
    /// A controller outside of the mesh.
    ServiceEntry(Resource<ServiceEntry>),
    /// Who may reach the controller.
    AuthorizationPolicy(Resource<AuthorizationPolicy>),
    /// The user's own, extended or as it was.
    Kept(Yaml),
}

impl Printed {
    /// Kind, namespace and name of one of ours; `None` of the user's own.
    #[must_use]
    pub fn identity(&self) -> Option<(&'static str, &str, &str)> {
        fn of<S>(resource: &Resource<S>) -> Option<(&'static str, &str, &str)> {
            Some((resource.kind, &resource.metadata.namespace, &resource.metadata.name))
        }
        match self {
            Self::DestinationRule(resource) => of(resource),
            Self::VirtualService(resource) => of(resource),
            Self::EnvoyFilter(resource) => of(resource),
            Self::WasmPlugin(resource) => of(resource),
            Self::ServiceEntry(resource) => of(resource),
            Self::AuthorizationPolicy(resource) => of(resource),
            Self::Kept(_) => None,
        }
    }
}

/// Everything that is printed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// In an order in which they may be applied.
    pub resources: Vec<Printed>,
    /// What a person should know of them.
    pub notes: Vec<String>,
    /// What is to be deleted once these are in force.
    pub delete: Vec<Obsolete>,
}

/// A resource that is no longer needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obsolete {
    /// Its kind.
    pub kind: &'static str,
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it may go.
    pub unless: &'static str,
}

impl Obsolete {
    /// The command that deletes it.
    #[must_use]
    pub fn command(&self) -> String {
        format!("kubectl delete {} {} -n {}", self.kind.to_ascii_lowercase(), self.name, self.namespace)
    }
}

impl Rendered {
    /// YAML documents, after comments that say what is to be deleted.
    ///
    /// # Errors
    /// When something has what YAML cannot hold.
    pub fn yaml(&self) -> Result<String, Refused> {
        let mut text = String::new();
        if !self.delete.is_empty() {
            text.push_str("# When this is in force, delete what is no longer needed:\n");
        }
        for old in &self.delete {
            text.push_str(&format!("#   {}    # {}\n", old.command(), old.unless));
        }
        for resource in &self.resources {
            text.push_str("---\n");
            text.push_str(&yaml::print(resource)?);
        }
        Ok(text)
    }
}
