//! `ServiceEntry`: a controller that is no Service of the cluster, so that Istio makes a cluster for it.

use crate::options::Options;
use crate::resource::{Metadata, Resource};
use crate::{host, names};
use serde::Serialize;

/// A `ServiceEntry`, as far as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntry {
    /// The controller.
    pub hosts: Vec<String>,
    /// Outside.
    pub location: &'static str,
    /// Its port.
    pub ports: Vec<ServicePort>,
    /// How it is found.
    pub resolution: &'static str,
}

/// A port of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// The number.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// What is spoken.
    pub protocol: &'static str,
}

/// One for a controller outside of the cluster.
pub(crate) fn of(options: &Options) -> Option<Resource<ServiceEntry>> {
    if host::namespace(&options.controller_host).is_some() {
        return None;
    }
    Some(Resource {
        api_version: super::routes::API,
        kind: "ServiceEntry",
        metadata: Metadata::new(names::label(&format!("weir-{}", options.controller_host)), options.proxies(), None),
        spec: ServiceEntry {
            hosts: vec![options.controller_host.clone()],
            location: "MESH_EXTERNAL",
            ports: vec![ServicePort { number: options.controller_port, name: "http", protocol: "HTTP" }],
            resolution: "DNS",
        },
    })
}
