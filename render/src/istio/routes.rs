//! `DestinationRule` and `VirtualService`: the subsets, and which requests go to which.

use super::Mesh;
use crate::options::Place;
use crate::resource::{Metadata, Resource};
use crate::{Refused, host, names};
use serde::Serialize;
use std::collections::BTreeMap;
use weir_core::plan::Header;

/// Group and version of both.
pub const API: &str = "networking.istio.io/v1";

/// A `DestinationRule`, as far as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// The service.
    pub host: String,
    /// Its versions.
    pub subsets: Vec<Subset>,
}

/// One version's workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// By which routes name it.
    pub name: String,
    /// Those of its workloads.
    pub labels: BTreeMap<String, String>,
}

/// A `VirtualService`, as far as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualService {
    /// As callers say them.
    pub hosts: Vec<String>,
    /// Whose routes these are; `mesh`: the sidecars'.
    pub gateways: Vec<String>,
    /// The first that matches a request has it.
    pub http: Vec<HttpRoute>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Ours begin with [`names::route_prefix`].
    pub name: String,
    /// Any of them; none: every request.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Where to.
    pub route: Vec<Destination>,
}

/// What a request must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// All of them.
    pub headers: BTreeMap<String, Exact>,
}

/// A text that is this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exact {
    /// The text.
    pub exact: String,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The subset.
    pub destination: Target,
}

/// A subset of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The service.
    pub host: String,
    /// Its version.
    pub subset: String,
    /// Where the service has several ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Of the service.
    pub number: u16,
}

/// The versions as subsets; of an outcome that one alone.
pub(crate) fn subsets(mesh: &Mesh<'_>, outcome: Option<usize>) -> Resource<DestinationRule> {
    let subsets = mesh
        .experiment
        .versions
        .iter()
        .enumerate()
        .filter(|(version, _)| outcome.is_none_or(|outcome| outcome == *version))
        .map(|(version, of)| Subset { name: mesh.subset(version).to_owned(), labels: mesh.options.labels_of(&of.name) })
        .collect();
    Resource {
        api_version: API,
        kind: "DestinationRule",
        metadata: metadata(mesh),
        spec: DestinationRule { host: mesh.host.clone(), subsets },
    }
}

/// A route per version by its headers, and one for everything else; of an outcome that one alone.
///
/// # Errors
/// When there is nobody to route for.
pub(crate) fn virtual_service(mesh: &Mesh<'_>, outcome: Option<usize>) -> Result<Resource<VirtualService>, Refused> {
    let prefix = names::route_prefix(&mesh.experiment.name);
    let mut http = Vec::new();
    if outcome.is_none() {
        for version in names::by_headers(mesh.experiment) {
            http.push(HttpRoute {
                name: format!("{prefix}{}", mesh.subset(version)),
                matches: vec![HttpMatch { headers: exact(headers(mesh, version)) }],
                route: vec![destination(mesh, version)],
            });
        }
    }
    http.push(HttpRoute {
        name: names::resource(&mesh.experiment.name),
        matches: Vec::new(),
        route: vec![destination(mesh, outcome.unwrap_or(mesh.experiment.baseline))],
    });
    let spec = VirtualService { hosts: hosts(mesh)?, gateways: gateways(mesh)?, http };
    Ok(Resource { api_version: API, kind: "VirtualService", metadata: metadata(mesh), spec })
}

fn metadata(mesh: &Mesh<'_>) -> Metadata {
    let experiment = &mesh.experiment.name;
    Metadata::new(names::resource(experiment), &mesh.options.namespace, Some(experiment))
}

fn destination(mesh: &Mesh<'_>, version: usize) -> Destination {
    let port = mesh.options.port.map(|number| Port { number });
    Destination { destination: Target { host: mesh.host.clone(), subset: mesh.subset(version).to_owned(), port } }
}

fn headers<'a>(mesh: &Mesh<'a>, version: usize) -> &'a [Header] {
    mesh.experiment.versions.get(version).map_or(&[], |version| &version.headers)
}

fn exact(headers: &[Header]) -> BTreeMap<String, Exact> {
    headers.iter().map(|header| (header.name.clone(), Exact { exact: header.value.clone() })).collect()
}

/// By which hosts requests come: for sidecars and waypoints the service's, which stands for its shorter names too, and
/// the document's others.
fn hosts(mesh: &Mesh<'_>) -> Result<Vec<String>, Refused> {
    let named = &mesh.experiment.matching.hosts;
    if mesh.options.place == Place::Gateway && !gateways(mesh)?.iter().any(|gateway| gateway == "mesh") {
        return Ok(if named.is_empty() { vec!["*".to_owned()] } else { named.clone() });
    }
    let mut hosts = vec![mesh.host.clone()];
    for name in named {
        if !host::same(name, &mesh.options.namespace, &mesh.host) && name != "*" && !hosts.contains(name) {
            hosts.push(name.clone());
        }
    }
    Ok(hosts)
}

fn gateways(mesh: &Mesh<'_>) -> Result<Vec<String>, Refused> {
    let given = &mesh.options.gateways;
    match mesh.options.place {
        _ if !given.is_empty() => Ok(given.clone()),
        Place::Sidecar | Place::Waypoint => Ok(vec!["mesh".to_owned()]),
        Place::Gateway => Err(Refused::options(
            "say for which Gateway the routes are: --gateway NAME, or --gateway NAMESPACE/NAME (with `--gateway mesh` beside it for sidecars too)",
        )),
    }
}
