//! What a test says of the Envoy that it wants, and the bootstrap that comes of it.

use super::pieces::{cluster, socket, wasm};
use super::{CONTROLLER, Envoy, NODE};
use crate::{Upstream, paths};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What an Envoy is to be.
#[derive(Debug, Clone)]
pub struct EnvoyBuilder {
    pub(super) plugin: Option<String>,
    pub(super) versions: Vec<(String, SocketAddr)>,
    pub(super) routes: Vec<Value>,
    pub(super) clusters: Vec<Value>,
    pub(super) http_filters: Vec<Value>,
    pub(super) concurrency: u32,
    pub(super) timeout: String,
    pub(super) listener_from_file: bool,
    pub(super) plugin_from_file: bool,
    pub(super) text: Option<String>,
    pub(super) listens_at: Option<SocketAddr>,
    pub(super) module: Option<PathBuf>,
    pub(super) upgrades: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) hot_restart: Option<HotRestart>,
}

/// What lets one Envoy take over from another: a place in shared memory, and a port that both listen on.
#[derive(Debug, Clone, Copy)]
pub(super) struct HotRestart {
    pub(super) base_id: u32,
    pub(super) port: u16,
    pub(super) epoch: u32,
}

impl Default for EnvoyBuilder {
    fn default() -> Self {
        Self {
            plugin: None,
            versions: Vec::new(),
            routes: Vec::new(),
            clusters: Vec::new(),
            http_filters: Vec::new(),
            concurrency: 2,
            timeout: "15s".to_owned(),
            listener_from_file: false,
            plugin_from_file: false,
            text: None,
            listens_at: None,
            module: None,
            upgrades: Vec::new(),
            environment: Vec::new(),
            hot_restart: None,
        }
    }
}

impl EnvoyBuilder {
    /// The filter's configuration; without, there is no filter.
    #[must_use]
    pub fn plugin(mut self, configuration: &Value) -> Self {
        self.plugin = Some(configuration.to_string());
        self
    }

    /// The filter's configuration as this very text.
    #[must_use]
    pub fn plugin_text(mut self, configuration: &str) -> Self {
        self.plugin = Some(configuration.to_owned());
        self
    }

    /// A version behind its routing header; the first is the baseline, to which everything without a header goes.
    #[must_use]
    pub fn version(self, upstream: &Upstream) -> Self {
        self.version_at(upstream.name(), upstream.address())
    }

    /// The same at any address.
    #[must_use]
    pub fn version_at(mut self, name: &str, address: SocketAddr) -> Self {
        self.versions.push((name.to_owned(), address));
        self
    }

    /// The cluster [`CONTROLLER`].
    #[must_use]
    pub fn controller(self, address: SocketAddr) -> Self {
        self.cluster(cluster(CONTROLLER, address, false))
    }

    /// A route before those of the versions.
    #[must_use]
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Another cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// An HTTP filter after ours.
    #[must_use]
    pub fn http_filter(mut self, filter: Value) -> Self {
        self.http_filters.push(filter);
        self
    }

    /// Worker threads; 2 unless said.
    #[must_use]
    pub const fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// How long routes to versions wait for an answer, as Envoy writes durations; `15s` unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: &str) -> Self {
        timeout.clone_into(&mut self.timeout);
        self
    }

    /// The listener comes from a file that Envoy watches, so that it can be updated.
    #[must_use]
    pub const fn listener_from_file(mut self) -> Self {
        self.listener_from_file = true;
        self
    }

    /// The filter's configuration comes from a file that Envoy watches, for pushes that leave the listener alone (ECDS).
    #[must_use]
    pub const fn plugin_from_file(mut self) -> Self {
        self.plugin_from_file = true;
        self
    }

    /// Another module than the filter that is shipped.
    #[must_use]
    pub fn module(mut self, module: PathBuf) -> Self {
        self.module = Some(module);
        self
    }

    /// Lets clients upgrade their connection to this protocol.
    #[must_use]
    pub fn upgrade(mut self, protocol: &str) -> Self {
        self.upgrades.push(protocol.to_owned());
        self
    }

    /// A variable of Envoy's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another Envoy can take over from this one: [`Envoy::hot_restart`].
    #[must_use]
    pub fn hot_restartable(mut self) -> Self {
        // Free now, and nobody else's until both Envoys are gone, but by bad luck.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        self.hot_restart = Some(HotRestart { base_id: u32::from(port), port, epoch: 0 });
        self
    }

    /// The whole bootstrap configuration as YAML; everything else but the concurrency is ignored.
    #[must_use]
    pub fn text(mut self, bootstrap: &str) -> Self {
        self.text = Some(bootstrap.to_owned());
        self
    }

    /// It is ready when it listens here, whatever other listeners it has.
    #[must_use]
    pub const fn listens_at(mut self, address: SocketAddr) -> Self {
        self.listens_at = Some(address);
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it ends instead, with its log.
    pub async fn start(self) -> Envoy {
        let mut envoy = self.launch();
        envoy.wait_until_ready().await;
        envoy
    }

    /// Starts it without waiting for anything.
    #[must_use]
    pub fn launch(self) -> Envoy {
        Envoy::launch(self)
    }

    /// The bootstrap configuration.
    #[must_use]
    pub fn bootstrap(&self, directory: &std::path::Path) -> Value {
        let mut clusters = self.clusters.clone();
        clusters.extend(self.versions.iter().map(|(name, address)| cluster(name, *address, true)));
        let mut bootstrap = json!({
            "node": {"id": NODE, "cluster": "weir-tests"},
            "admin": {"address": socket("127.0.0.1:0".parse().expect("an address"))},
            "static_resources": {"clusters": clusters},
            "stats_config": {"stats_tags": crate::admin::stats_tags()},
        });
        if self.listener_from_file {
            bootstrap["dynamic_resources"] = json!({"lds_config": {
                "path_config_source": {"path": directory.join("listeners.json")},
                "resource_api_version": "V3",
            }});
        } else {
            bootstrap["static_resources"]["listeners"] = json!([self.listener(directory)]);
        }
        bootstrap
    }

    pub(super) fn wasm(&self) -> Option<Value> {
        let module = self.module.clone().map_or_else(paths::filter, Ok);
        let module = module.unwrap_or_else(|error| panic!("the filter: {error}"));
        self.plugin.as_ref().map(|plugin| wasm(plugin, &module))
    }

    pub(super) fn listener(&self, directory: &std::path::Path) -> Value {
        let mut filters = Vec::new();
        if self.plugin_from_file {
            filters.push(json!({"name": "weir", "config_discovery": {
                "config_source": {"path_config_source": {"path": directory.join("plugin.json")}, "resource_api_version": "V3"},
                "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
            }}));
        } else {
            filters.extend(self.wasm());
        }
        filters.extend(self.http_filters.clone());
        filters.push(json!({"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        }}));
        let mut routes = self.routes.clone();
        routes.extend(self.versions.iter().map(|(name, _)| {
            let header = json!({"name": crate::plans::ROUTING_HEADER, "string_match": {"exact": name}});
            json!({
                "match": {"prefix": "/", "headers": [header]},
                "route": {"cluster": name, "timeout": self.timeout},
            })
        }));
        if let Some((baseline, _)) = self.versions.first() {
            routes.push(json!({"match": {"prefix": "/"}, "route": {"cluster": baseline, "timeout": self.timeout}}));
        }
        let port = self.hot_restart.map_or(0, |hot| hot.port);
        json!({
            "name": "traffic",
            "address": socket(SocketAddr::from(([127, 0, 0, 1], port))),
            // Connections go round the workers, so that a test reaches each of them.
            "connection_balance_config": {"exact_balance": {}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "traffic",
                "codec_type": "AUTO",
                "http_filters": filters,
                // WebSocket over HTTP/2 is an extended CONNECT (RFC 8441).
                "http2_protocol_options": {"allow_connect": !self.upgrades.is_empty()},
                "upgrade_configs": self.upgrades.iter().map(|name| json!({"upgrade_type": name})).collect::<Vec<_>>(),
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            }}]}],
        })
    }
}
