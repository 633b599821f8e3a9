//! `WasmPlugin`: the filter, delivered by Istio itself.

use super::envoy_filter::configuration;
use super::{FILTER, Mesh, filter_name};
use crate::options::{Failure, Module, Options, Place};
use crate::resource::{Metadata, Resource};
use serde::Serialize;
use std::collections::BTreeMap;
use weir_core::config::Config;

/// A `WasmPlugin`, as far as it is printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmPlugin {
    /// Whose plugin it is …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// … or whose, where these are waypoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetRef>,
    /// The module.
    pub url: String,
    /// What it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The root context.
    pub plugin_name: &'static str,
    /// What the filter is told.
    pub plugin_config: Config,
    /// Among the filters …
    pub phase: &'static str,
    /// … and plugins: the last, next to the router.
    pub priority: i32,
    /// What becomes of requests when it fails.
    pub fail_strategy: &'static str,
    /// For which traffic.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficSelector>,
}

/// Workloads by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// All of them.
    pub match_labels: BTreeMap<String, String>,
}

/// A resource of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Its group.
    pub group: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl TargetRef {
    /// The waypoint.
    pub(crate) fn waypoint(options: &Options) -> Self {
        Self { group: "gateway.networking.k8s.io", kind: "Gateway", name: options.waypoint.clone() }
    }
}

/// Traffic by its direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSelector {
    /// The proxy's role in it.
    pub mode: &'static str,
}

/// The filter for the proxies that were asked for.
pub(crate) fn of(mesh: &Mesh<'_>) -> Resource<WasmPlugin> {
    let options = mesh.options;
    let waypoint = options.place == Place::Waypoint;
    let url = match options.module() {
        Module::File(path) => format!("file://{path}"),
        Module::Remote(url) => url.to_owned(),
    };
    let fail_strategy = match options.failure() {
        Failure::Reload => "FAIL_RELOAD",
        Failure::Open => "FAIL_OPEN",
        Failure::Closed => "FAIL_CLOSE",
    };
    let spec = WasmPlugin {
        selector: (!waypoint && !options.workload.is_empty())
            .then(|| Selector { match_labels: options.workload.clone() }),
        target_refs: if waypoint { vec![TargetRef::waypoint(options)] } else { Vec::new() },
        url,
        sha256: options.sha256.clone(),
        plugin_name: FILTER,
        plugin_config: configuration(mesh),
        phase: "UNSPECIFIED_PHASE",
        priority: -1_000,
        fail_strategy,
        // Istio takes all that a waypoint does for the server's side.
        matches: if waypoint { Vec::new() } else { vec![TrafficSelector { mode: "CLIENT" }] },
    };
    Resource {
        api_version: "extensions.istio.io/v1alpha1",
        kind: "WasmPlugin",
        metadata: Metadata::new(filter_name(options), options.proxies(), None),
        spec,
    }
}
