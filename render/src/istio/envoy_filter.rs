//! `EnvoyFilter`: the filter before the router of its proxies' HTTP connection managers.

use super::wasm_plugin::TargetRef;
use super::{FILTER, Mesh, filter_name};
use crate::names;
use crate::options::{Module, Options, Place};
use crate::resource::{Metadata, Resource};
use crate::wasm::{WASM, Wasm};
use serde::Serialize;
use std::collections::BTreeMap;
use weir_core::config::{Config, Controller};

/// An `EnvoyFilter`, as far as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyFilter {
    /// Whose configuration is changed; without it that of the whole namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
    /// The same of waypoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetRef>,
    /// The changes.
    pub config_patches: Vec<ConfigPatch>,
}

/// Workloads by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// All of them.
    pub labels: BTreeMap<String, String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigPatch {
    /// What is changed.
    pub apply_to: &'static str,
    /// Where.
    #[serde(rename = "match")]
    pub matches: PatchMatch,
    /// How.
    pub patch: Patch,
}

/// Where a change is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchMatch {
    /// In which direction.
    pub context: &'static str,
    /// In which listeners; of an extension's configuration none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<ListenerMatch>,
}

/// Listeners with an HTTP connection manager that has a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerMatch {
    /// In each filter chain that has …
    pub filter_chain: FilterChainMatch,
}

/// A filter chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterChainMatch {
    /// … this network filter.
    pub filter: NetworkFilterMatch,
}

/// A network filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFilterMatch {
    /// Its name.
    pub name: &'static str,
    /// The HTTP filter beside which something is done.
    pub sub_filter: Named,
}

/// Something by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// Its name.
    pub name: &'static str,
}

/// How something is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// What is done.
    pub operation: &'static str,
    /// With this, in Envoy's own words.
    pub value: Extension,
}

/// A filter of Envoy's: itself, or where its configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Its name.
    pub name: &'static str,
    /// The filter …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typed_config: Option<Wasm>,
    /// … or its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_discovery: Option<Discovery>,
}

/// Where a filter's configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discovery {
    /// The control plane.
    pub config_source: ConfigSource,
    /// What serves until it has come: a filter that lets everything pass.
    pub default_config: Any,
    /// Whether that serves at once; else the listener waits.
    pub apply_default_config_without_warming: bool,
    /// What it may be.
    pub type_urls: Vec<&'static str>,
}

/// The control plane, over the connection that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigSource {
    /// Over ADS.
    pub ads: Empty,
    /// How long a listener waits for it.
    pub initial_fetch_timeout: &'static str,
    /// Envoy's API.
    pub resource_api_version: &'static str,
}

/// No fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Empty {}

/// A message without fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Any {
    /// Which.
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/// The filter for the proxies that were asked for.
pub(crate) fn of(mesh: &Mesh<'_>) -> Resource<EnvoyFilter> {
    let options = mesh.options;
    let context = match options.place {
        Place::Sidecar | Place::Waypoint => "SIDECAR_OUTBOUND",
        Place::Gateway => "GATEWAY",
    };
    let config = Wasm::new(options.module(), options.sha256.as_deref(), options.failure(), &configuration(mesh));
    let router = ListenerMatch {
        filter_chain: FilterChainMatch {
            filter: NetworkFilterMatch {
                name: "envoy.filters.network.http_connection_manager",
                sub_filter: Named { name: "envoy.filters.http.router" },
            },
        },
    };
    let http_filter = |value| ConfigPatch {
        apply_to: "HTTP_FILTER",
        matches: PatchMatch { context, listener: Some(router) },
        patch: Patch { operation: "INSERT_BEFORE", value },
    };
    let config_patches = match options.module() {
        Module::File(_) => {
            vec![http_filter(Extension { name: FILTER, typed_config: Some(config), config_discovery: None })]
        }
        // As an extension of its own, since the agent fetches the modules of those, and of no others.
        Module::Remote(_) => vec![
            ConfigPatch {
                apply_to: "EXTENSION_CONFIG",
                matches: PatchMatch { context, listener: None },
                patch: Patch {
                    operation: "ADD",
                    value: Extension { name: FILTER, typed_config: Some(config), config_discovery: None },
                },
            },
            http_filter(Extension { name: FILTER, typed_config: None, config_discovery: Some(discovery()) }),
        ],
    };
    resource(options, filter_name(options), config_patches)
}

/// Changes nothing, and says that its proxies need the controller's cluster: a waypoint has only the clusters that it
/// routes to, and so has a gateway, where the mesh is set up so.
pub(crate) fn reference(options: &Options) -> Resource<EnvoyFilter> {
    resource(options, names::label(&format!("{}-controller", filter_name(options))), Vec::new())
}

fn resource(options: &Options, name: String, config_patches: Vec<ConfigPatch>) -> Resource<EnvoyFilter> {
    let mut metadata = Metadata::new(name, options.proxies(), None);
    metadata.annotations.insert("envoyfilter.istio.io/referenced-services", options.controller_host.clone());
    let waypoint = options.place == Place::Waypoint;
    let selected = !waypoint && !options.workload.is_empty();
    Resource {
        api_version: "networking.istio.io/v1alpha3",
        kind: "EnvoyFilter",
        metadata,
        spec: EnvoyFilter {
            workload_selector: selected.then(|| WorkloadSelector { labels: options.workload.clone() }),
            target_refs: if waypoint { vec![TargetRef::waypoint(options)] } else { Vec::new() },
            config_patches,
        },
    }
}

/// What the filter is told.
pub(crate) fn configuration(mesh: &Mesh<'_>) -> Config {
    let options = mesh.options;
    Config {
        controller: Some(Controller {
            cluster: options.controller_cluster(),
            authority: "weir".to_owned(),
            token: options.token.clone(),
            report_interval: 1_000,
            staleness_limit: 60_000,
        }),
        node: None,
        routing_headers: names::routing_headers(mesh.experiment, &options.routing_headers),
        plan: None,
    }
}

fn discovery() -> Discovery {
    Discovery {
        config_source: ConfigSource { ads: Empty {}, initial_fetch_timeout: "0s", resource_api_version: "V3" },
        default_config: Any { kind: RBAC },
        apply_default_config_without_warming: true,
        type_urls: vec![WASM, RBAC],
    }
}
