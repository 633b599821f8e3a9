//! A mesh with a shop of several versions, the controller, and one caller: what a cluster has before Weir comes.

use super::free_port;
use crate::Upstream;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Where the filter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the caller's sidecar, on its way out.
    Sidecar,
    /// In a gateway, which is the caller.
    Gateway,
}

/// Which resource brings the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// An EnvoyFilter.
    EnvoyFilter,
    /// A WasmPlugin.
    WasmPlugin,
}

/// What is known of the mesh before it runs.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where the filter is.
    pub place: Place,
    /// Which resource brings it.
    pub delivery: Delivery,
    /// The shop's port; in a sidecar, which is called without iptables here, also where callers connect.
    pub port: u16,
    /// The gateway's port.
    pub gateway_port: u16,
    /// The port of the controller's service.
    pub controller_port: u16,
    /// Where the proxy gets modules that are fetched: an agent's part, which has no cluster in the configuration but `_`.
    pub modules: Option<SocketAddr>,
    /// Variables of the control plane's environment.
    pub istiod: Vec<(&'static str, &'static str)>,
}

impl Site {
    /// The namespace of the shop and of its callers.
    pub const NAMESPACE: &str = "shop";
    /// The shop's name in the mesh.
    pub const SERVICE: &str = "shop.shop.svc.cluster.local";
    /// The controller's.
    pub const CONTROLLER: &str = "weir.weir.svc.cluster.local";
    /// The shop's name at the gateway.
    pub const OUTSIDE: &str = "shop.example";

    /// One on free ports.
    #[must_use]
    pub fn new(place: Place, delivery: Delivery) -> Self {
        let (port, gateway_port, controller_port) = (free_port(), free_port(), free_port());
        Self { place, delivery, port, gateway_port, controller_port, modules: None, istiod: Vec::new() }
    }

    /// The host that callers name.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        match self.place {
            Place::Sidecar => Self::SERVICE,
            Place::Gateway => Self::OUTSIDE,
        }
    }

    /// Where callers connect.
    #[must_use]
    pub fn entry(&self) -> SocketAddr {
        let port = match self.place {
            Place::Sidecar => self.port,
            Place::Gateway => self.gateway_port,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Istio's name of the cluster that reaches the controller.
    #[must_use]
    pub fn controller_cluster(&self) -> String {
        format!("outbound|{}||{}", self.controller_port, Self::CONTROLLER)
    }

    /// The services, as Kubernetes would have them, and the gateway.
    #[must_use]
    pub fn services(&self, versions: &[Upstream], controller: SocketAddr) -> Vec<Value> {
        let shop = versions.iter().map(|version| {
            json!({"address": "127.0.0.1", "ports": {"http": version.address().port()},
                "labels": {"app": "shop", "version": version.name()}})
        });
        let nobody = json!({"address": "127.0.0.1", "ports": {"http": 1}});
        let controller = json!({"address": "127.0.0.1", "ports": {"http": controller.port()}});
        vec![
            service("shop", Self::NAMESPACE, Self::SERVICE, self.port, shop.collect()),
            // No route leads to this one.
            service("unrouted", Self::NAMESPACE, "unrouted.shop.svc.cluster.local", self.port, vec![nobody]),
            service("weir", "weir", Self::CONTROLLER, self.controller_port, vec![controller]),
            json!({
                "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
                "metadata": {"name": "gateway", "namespace": Self::NAMESPACE},
                "spec": {"selector": {"app": "gateway"}, "servers": [{
                    "port": {"number": self.gateway_port, "name": "http", "protocol": "HTTP"},
                    "bind": "127.0.0.1", "hosts": ["*"],
                }]},
            }),
        ]
    }

    /// Resources by which a test sees that the proxy has taken what was written with them.
    #[must_use]
    pub fn marker(&self, host: &str) -> Vec<Value> {
        let endpoint = json!({"address": "127.0.0.1", "ports": {"http": 1}});
        vec![
            service("marker", Self::NAMESPACE, host, self.port, vec![endpoint]),
            json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "marker", "namespace": Self::NAMESPACE},
                "spec": {"hosts": [host], "gateways": ["gateway"], "http": [{"directResponse": {"status": 200}}]},
            }),
        ]
    }

    /// The bootstrap of the caller's Envoy: a proxy of the mesh, without the agent that Istio has beside it.
    #[must_use]
    pub fn bootstrap(&self, istiod: SocketAddr) -> Value {
        let (kind, app) = match self.place {
            Place::Sidecar => ("sidecar", "frontend"),
            Place::Gateway => ("router", "gateway"),
        };
        let domain = format!("{}.svc.cluster.local", Self::NAMESPACE);
        let ads = json!({"ads": {}, "resource_api_version": "V3"});
        let mut discovery = crate::envoy::cluster_speaking("xds-grpc", istiod, true);
        discovery["connect_timeout"] = json!("5s");
        let mut clusters = vec![discovery];
        clusters.extend(self.modules.map(|modules| crate::envoy::cluster("_", modules, false)));
        json!({
            "node": {
                "id": format!("{kind}~127.0.0.1~{app}-1.{}~{domain}", Self::NAMESPACE),
                "cluster": format!("{app}.{}", Self::NAMESPACE),
                // NONE: listeners are bound to their services' ports, instead of one for whatever iptables redirects.
                "metadata": {"NAMESPACE": Self::NAMESPACE, "LABELS": {"app": app}, "INTERCEPTION_MODE": "NONE",
                    "ISTIO_VERSION": "1.31.0", "CLUSTER_ID": "Kubernetes"},
            },
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": {
                "lds_config": ads, "cds_config": ads,
                "ads_config": {"api_type": "GRPC", "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
            },
            "static_resources": {"clusters": clusters},
            "stats_config": {"stats_tags": crate::admin::stats_tags()},
        })
    }
}

fn service(name: &str, namespace: &str, host: &str, port: u16, endpoints: Vec<Value>) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [host], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": port, "name": "http", "protocol": "HTTP"}], "endpoints": endpoints},
    })
}
