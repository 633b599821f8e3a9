//! A real Envoy with the filter in front of versions: configuration built as JSON, free ports, nothing shared.

use crate::wait::{PATIENCE, eventually, holds};
use crate::{Upstream, client, paths, process::Process};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Envoy's name of the controller's cluster in every configuration here.
pub const CONTROLLER: &str = "weir-controller";
/// The node id that reports carry.
pub const NODE: &str = "envoy-under-test";

/// What an Envoy is to be.
#[derive(Debug, Clone)]
pub struct EnvoyBuilder {
    plugin: Option<String>,
    versions: Vec<(String, SocketAddr)>,
    routes: Vec<Value>,
    clusters: Vec<Value>,
    http_filters: Vec<Value>,
    concurrency: u32,
    timeout: String,
    listener_from_file: bool,
    plugin_from_file: bool,
    text: Option<String>,
    module: Option<PathBuf>,
    upgrades: Vec<String>,
    environment: Vec<(String, String)>,
    hot_restart: Option<HotRestart>,
}

/// What lets one Envoy take over from another: a place in shared memory, and a port that both listen on.
#[derive(Debug, Clone, Copy)]
struct HotRestart {
    base_id: u32,
    port: u16,
    epoch: u32,
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
        let directory = tempfile::Builder::new().prefix("weir-envoy-").tempdir().expect("a folder");
        let mut envoy =
            Envoy { process: None, before: Vec::new(), directory, builder: self, admin: None, listener: None };
        envoy.spawn();
        envoy
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

    fn wasm(&self) -> Option<Value> {
        let module = self.module.clone().map_or_else(paths::filter, Ok);
        let module = module.unwrap_or_else(|error| panic!("the filter: {error}"));
        self.plugin.as_ref().map(|plugin| wasm(plugin, &module))
    }

    fn listener(&self, directory: &std::path::Path) -> Value {
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
                "upgrade_configs": self.upgrades.iter().map(|name| json!({"upgrade_type": name})).collect::<Vec<_>>(),
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            }}]}],
        })
    }
}

fn wasm(configuration: &str, module: &std::path::Path) -> Value {
    json!({"name": "weir", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "weir",
            "root_id": "weir",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "weir",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
        },
    }})
}

/// A cluster of one address, which speaks to it as the client speaks to Envoy if asked to.
#[must_use]
pub fn cluster(name: &str, address: SocketAddr, as_downstream: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": socket(address)}}]},
        ]},
        // A cluster that fails on purpose must not be cut off by Envoy's defaults.
        "circuit_breakers": {"thresholds": [{"max_connections": 10_000, "max_pending_requests": 10_000,
            "max_requests": 10_000}]},
    });
    if as_downstream {
        cluster["typed_extension_protocol_options"] = protocols(&json!({
            "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
        }));
    }
    cluster
}

/// A cluster that is spoken to in HTTP/1.1 or HTTP/2, whatever the client speaks.
#[must_use]
pub fn cluster_speaking(name: &str, address: SocketAddr, http2: bool) -> Value {
    let mut cluster = cluster(name, address, false);
    let options = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    cluster["typed_extension_protocol_options"] = protocols(&json!({"explicit_http_config": {options: {}}}));
    cluster
}

fn protocols(options: &Value) -> Value {
    let mut options = options.clone();
    options["@type"] = json!("type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options})
}
fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// A running Envoy. Killed on drop.
#[derive(Debug)]
pub struct Envoy {
    process: Option<Process>,
    /// Those that it has taken over from.
    before: Vec<Process>,
    directory: TempDir,
    builder: EnvoyBuilder,
    admin: Option<SocketAddr>,
    listener: Option<SocketAddr>,
}

impl Envoy {
    /// Begins to describe one.
    #[must_use]
    pub fn builder() -> EnvoyBuilder {
        EnvoyBuilder::default()
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.expect("Envoy is ready")
    }

    /// Where its admin pages are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("Envoy is ready")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process().output()
    }

    /// One connection over HTTP/1.1.
    pub async fn connect(&self) -> client::Client {
        client::Client::http1(self.address()).await
    }

    /// One connection to every worker: they are handed out in turn, so as many as there are workers reach all.
    pub async fn connect_to_every_worker(&self) -> Vec<client::Client> {
        let mut connections = Vec::new();
        for _ in 0..self.builder.concurrency {
            connections.push(self.connect().await);
        }
        connections
    }

    /// Connects to every worker and waits until each uses a plan that [`crate::plans::plan`] made.
    pub async fn workers_with_plan(&self, revision: &str) -> Vec<client::Client> {
        let mut workers = self.connect_to_every_worker().await;
        self.wait_for_plan(&mut workers, revision).await;
        workers
    }

    /// Waits until the workers behind connections use a plan.
    pub async fn wait_for_plan(&self, workers: &mut [client::Client], revision: &str) {
        let marker = format!("{}: {revision}", crate::plans::MARKER_HEADER);
        for (at, worker) in workers.iter_mut().enumerate() {
            eventually(PATIENCE, &format!("worker {at} uses plan {revision}"), async || {
                let reply = worker.get("/echo", &[("host", crate::plans::MARKER_HOST)]).await;
                holds(reply.text().lines().any(|line| line == marker))
            })
            .await;
        }
    }

    /// Kills it and starts another with the same configuration, on other ports.
    pub async fn restart(&mut self) {
        self.process = None;
        self.before.clear();
        let builder = self.builder.clone();
        *self = builder.launch();
        self.wait_until_ready().await;
    }

    /// Starts another on the same ports that takes over from this one, which ends when it has drained (3 s).
    pub async fn hot_restart(&mut self) {
        let hot = self.builder.hot_restart.as_mut().expect("an Envoy that is hot-restartable");
        hot.epoch += 1;
        self.before.extend(self.process.take());
        let _ = fs::remove_file(self.directory.path().join("admin-address"));
        self.spawn();
        self.wait_until_ready().await;
    }

    /// Waits until all those that it took over from have ended by themselves.
    pub async fn predecessors_ended(&mut self) {
        let before = &mut self.before;
        eventually(PATIENCE, "the Envoy before has ended", async || {
            holds(before.iter_mut().all(|process| process.ended().is_some()))
        })
        .await;
    }

    /// Kills it (SIGKILL), as a crash or the kernel does.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("Envoy was started").kill();
    }

    /// Waits until it has ended by itself; the exit code, `None` for a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        let process = self.process.as_mut().expect("Envoy was started");
        eventually(PATIENCE, "Envoy ends by itself", async || process.ended()).await.code()
    }

    /// Gives the filter another configuration, through the watched file.
    pub fn update_plugin(&mut self, configuration: &str) {
        self.builder.plugin = Some(configuration.to_owned());
        if self.builder.plugin_from_file { self.write_plugin() } else { self.write_listeners() }
    }

    /// Where its admin pages are, once it has said so.
    pub(crate) const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    async fn wait_until_ready(&mut self) {
        let path = self.directory.path().join("admin-address");
        let admin: SocketAddr = eventually(PATIENCE, "Envoy opens its admin port", async || {
            self.must_run();
            fs::read_to_string(&path).ok()?.trim().parse().ok()
        })
        .await;
        self.admin = Some(admin);
        let listener = eventually(PATIENCE, "Envoy listens", async || {
            self.must_run();
            self.admin_get("/ready").await.filter(|answer| answer.trim() == "LIVE")?;
            let listeners: Value = serde_json::from_str(&self.admin_get("/listeners?format=json").await?).ok()?;
            let socket = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
            format!("{}:{}", socket["address"].as_str()?, socket["port_value"].as_u64()?).parse().ok()
        })
        .await;
        self.listener = Some(listener);
        if self.builder.concurrency > 0 {
            let workers = u64::from(self.builder.concurrency);
            eventually(PATIENCE, "all workers run", async || holds(self.stat("server.concurrency").await? == workers))
                .await;
        }
    }

    fn must_run(&mut self) {
        let process = self.process.as_mut().expect("Envoy was started");
        if let Some(status) = process.ended() {
            panic!("Envoy ended ({status}) instead of serving:\n{}", process.tail());
        }
    }

    fn spawn(&mut self) {
        let binary = paths::envoy().unwrap_or_else(|error| panic!("Envoy: {error}"));
        let directory = self.directory.path();
        // JSON is YAML too.
        let bootstrap = directory.join("envoy.yaml");
        let text = self.builder.text.clone().unwrap_or_else(|| self.builder.bootstrap(directory).to_string());
        fs::write(&bootstrap, text).expect("a file");
        if self.builder.listener_from_file {
            self.write_listeners();
        }
        if self.builder.plugin_from_file {
            self.write_plugin();
        }
        let mut command = Command::new(binary);
        command
            .arg("-c")
            .arg(bootstrap)
            .arg("--admin-address-path")
            .arg(directory.join("admin-address"))
            .args(["--concurrency", &self.builder.concurrency.to_string()])
            .args(["--log-level", "warning", "--component-log-level", "wasm:info,config:info"]);
        match self.builder.hot_restart {
            // No shared memory: many Envoys run beside each other.
            None => drop(command.args(["--disable-hot-restart", "--drain-time-s", "1"])),
            Some(HotRestart { base_id, epoch, .. }) => {
                command.args(["--base-id", &base_id.to_string(), "--restart-epoch", &epoch.to_string()]);
                command.args(["--drain-time-s", "2", "--parent-shutdown-time-s", "3"]);
            }
        }
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start("envoy", &mut command, &self.log_path());
        self.process = Some(process.unwrap_or_else(|error| panic!("{error}")));
    }

    /// Envoy takes up a file that is moved into place.
    fn write_plugin(&self) {
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "weir",
            "typed_config": self.builder.wasm().expect("a plugin")["typed_config"],
        });
        self.write("plugin.json", &json!({"resources": [resource]}));
    }

    fn write(&self, name: &str, content: &Value) {
        let temporary = self.directory.path().join("new");
        fs::write(&temporary, content.to_string()).expect("a file");
        fs::rename(temporary, self.directory.path().join(name)).expect("a file");
    }

    fn write_listeners(&self) {
        let mut listener = self.builder.listener(self.directory.path());
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        self.write("listeners.json", &json!({"resources": [listener]}));
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("envoy.log")
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("Envoy was started")
    }
}
