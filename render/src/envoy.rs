//! A stand-alone Envoy for an experiment: the same form as `envoy-config/standalone/`.

use crate::options::{Failure, Module};
use crate::wasm::{FILTER, Wasm};
use crate::{Refused, check, names};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_core::config::{Config, Controller};
use weir_core::plan::Header;
use weir_engine::spec::Experiment;

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Everything that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where requests come in.
    pub listen: Address,
    /// Envoy's own interface.
    pub admin: Address,
    /// Where each version is, by its name.
    pub versions: BTreeMap<String, Vec<Address>>,
    /// Where the controller is.
    pub controller: Address,
    /// The module, a path.
    pub module: String,
    /// Names this Envoy in reports.
    pub node: String,
    /// What stands for the proxies' token; `None`: there is no token.
    pub token: Option<String>,
}

/// Envoy's whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    /// Who it is.
    pub node: Node,
    /// Its own interface.
    pub admin: Admin,
    /// What takes labels out of the names of stats.
    pub stats_config: StatsConfig,
    /// The rest.
    pub static_resources: StaticResources,
}

/// Who an Envoy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// One of a kind.
    pub id: String,
    /// The kind.
    pub cluster: String,
}

/// Envoy's own interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Where.
    pub address: SocketAddress,
}

/// An address, as Envoy has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketAddress {
    /// The address.
    pub socket_address: HostPort,
}

/// An address, as Envoy has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostPort {
    /// A name or an IP address.
    pub address: String,
    /// The port.
    pub port_value: u16,
}

/// How stats are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatsConfig {
    /// What is taken out of names.
    pub stats_tags: Vec<StatsTag>,
}

/// A label of stats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatsTag {
    /// Its name.
    pub tag_name: &'static str,
    /// Where it is.
    pub regex: &'static str,
}

/// Listeners and clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaticResources {
    /// Where requests come in.
    pub listeners: Vec<Listener>,
    /// Where they go.
    pub clusters: Vec<Cluster>,
}

/// Where requests come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where.
    pub address: SocketAddress,
    /// What is done with connections.
    pub filter_chains: Vec<FilterChain>,
}

/// What is done with connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilterChain {
    /// One after the other.
    pub filters: Vec<NetworkFilter>,
}

/// The HTTP connection manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkFilter {
    /// Its name.
    pub name: &'static str,
    /// Its configuration.
    pub typed_config: ConnectionManager,
}

/// The HTTP connection manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionManager {
    /// Which message this is.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Before the names of its stats.
    pub stat_prefix: String,
    /// What is done with requests.
    pub http_filters: Vec<HttpFilter>,
    /// Where they go.
    pub route_config: RouteConfig,
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpFilter {
    /// Its name.
    pub name: &'static str,
    /// Its configuration.
    pub typed_config: FilterConfig,
}

/// The filters there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FilterConfig {
    /// Ours.
    Weir(Box<Wasm>),
    /// The last.
    Router {
        /// Which message this is.
        #[serde(rename = "@type")]
        kind: &'static str,
    },
}

/// The route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteConfig {
    /// By host.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// The routes of some hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VirtualHost {
    /// Its name.
    pub name: String,
    /// The hosts.
    pub domains: Vec<&'static str>,
    /// The first that matches has the request.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Of which requests.
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    /// Where to.
    pub route: Target,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteMatch {
    /// With these paths …
    pub prefix: &'static str,
    /// … and all of these headers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// Its name.
    pub name: String,
    /// Its value.
    pub string_match: Exact,
}

/// A text that is this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exact {
    /// The text.
    pub exact: String,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The cluster's name.
    pub cluster: String,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How its members are found.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How long a connection may take.
    pub connect_timeout: &'static str,
    /// Its members.
    pub load_assignment: LoadAssignment,
}

/// A cluster's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadAssignment {
    /// The cluster's name.
    pub cluster_name: String,
    /// In groups.
    pub endpoints: Vec<Endpoints>,
}

/// A group of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Each.
    pub lb_endpoints: Vec<LbEndpoint>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LbEndpoint {
    /// Where it is.
    pub endpoint: Admin,
}

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const CONTROLLER: &str = "weir-controller";
/// The notation of the filter's stats (docs/filter.md#envoys-own-stats).
const TAGS: [StatsTag; 3] = [
    StatsTag { tag_name: "weir_experiment", regex: r"(weir_experiment=\.=(.*?);\.;)" },
    StatsTag { tag_name: "weir_version", regex: r"(weir_version=\.=(.*?);\.;)" },
    StatsTag { tag_name: "le", regex: r"(le=\.=(.*?);\.;)" },
];

/// The configuration; `outcome`: the version that has all traffic, without a filter.
///
/// # Errors
/// When a version is nowhere, or one is somewhere that the experiment does not have.
pub fn of(experiment: &Experiment, options: &Options, outcome: Option<usize>) -> Result<Bootstrap, Refused> {
    if let Some(unknown) =
        options.versions.keys().find(|name| experiment.versions.iter().all(|version| version.name != **name))
    {
        return Err(Refused::options(format!("{} has no version `{unknown}`", experiment.name)));
    }
    let service = names::label(&experiment.service);
    let subsets = names::subsets(experiment);
    let cluster = |version: usize| format!("{service}-{}", subsets.get(version).map_or("", String::as_str));
    let served: Vec<usize> =
        (0..experiment.versions.len()).filter(|version| outcome.is_none_or(|outcome| outcome == *version)).collect();
    let mut clusters = Vec::new();
    for version in &served {
        let name = experiment.version_name(*version);
        let at = options.versions.get(name).filter(|at| !at.is_empty()).ok_or_else(|| {
            Refused::options(format!("say where version {name} is: --endpoint {name}=127.0.0.1:8001"))
        })?;
        clusters.push(cluster_at(cluster(*version), at));
    }
    let mut http_filters = Vec::new();
    if outcome.is_none() {
        clusters.insert(0, cluster_at(CONTROLLER.to_owned(), std::slice::from_ref(&options.controller)));
        let module = Module::File(&options.module);
        let config = configuration(experiment, options);
        check::filter(&config)?;
        let config = Wasm::new(module, None, Failure::Reload, &config);
        http_filters.push(HttpFilter { name: FILTER, typed_config: FilterConfig::Weir(Box::new(config)) });
    }
    http_filters
        .push(HttpFilter { name: "envoy.filters.http.router", typed_config: FilterConfig::Router { kind: ROUTER } });
    let manager = ConnectionManager {
        kind: MANAGER,
        stat_prefix: service.clone(),
        http_filters,
        route_config: RouteConfig {
            virtual_hosts: vec![VirtualHost {
                name: service.clone(),
                // Which hosts take part is the filter's to know.
                domains: vec!["*"],
                routes: routes(experiment, outcome, &cluster),
            }],
        },
    };
    let listener = Listener {
        name: service.clone(),
        address: socket(&options.listen),
        filter_chains: vec![FilterChain {
            filters: vec![NetworkFilter {
                name: "envoy.filters.network.http_connection_manager",
                typed_config: manager,
            }],
        }],
    };
    Ok(Bootstrap {
        node: Node { id: options.node.clone(), cluster: service },
        admin: Admin { address: socket(&options.admin) },
        stats_config: StatsConfig { stats_tags: TAGS.to_vec() },
        static_resources: StaticResources { listeners: vec![listener], clusters },
    })
}

/// A route per version by its headers, those with more of them first, and one for everything else.
fn routes(experiment: &Experiment, outcome: Option<usize>, cluster: &dyn Fn(usize) -> String) -> Vec<Route> {
    let mut routes = Vec::new();
    if outcome.is_none() {
        for version in names::by_headers(experiment) {
            let headers = experiment.versions.get(version).map_or(&[][..], |version| &version.headers);
            let exact = |header: &Header| HeaderMatch {
                name: header.name.clone(),
                string_match: Exact { exact: header.value.clone() },
            };
            routes.push(Route {
                matches: RouteMatch { prefix: "/", headers: headers.iter().map(exact).collect() },
                route: Target { cluster: cluster(version) },
            });
        }
    }
    routes.push(Route {
        matches: RouteMatch { prefix: "/", headers: Vec::new() },
        route: Target { cluster: cluster(outcome.unwrap_or(experiment.baseline)) },
    });
    routes
}

fn configuration(experiment: &Experiment, options: &Options) -> Config {
    Config {
        controller: Some(Controller {
            cluster: CONTROLLER.to_owned(),
            authority: "weir".to_owned(),
            token: options.token.clone(),
            report_interval: 1_000,
            staleness_limit: 60_000,
        }),
        node: None,
        routing_headers: names::routing_headers(experiment, &[]),
        plan: None,
    }
}

fn socket(address: &Address) -> SocketAddress {
    SocketAddress { socket_address: HostPort { address: address.host.clone(), port_value: address.port } }
}

fn cluster_at(name: String, at: &[Address]) -> Cluster {
    let by_address = at.iter().all(|address| address.host.parse::<IpAddr>().is_ok());
    let member = |address| LbEndpoint { endpoint: Admin { address: socket(address) } };
    Cluster {
        kind: if by_address { "STATIC" } else { "STRICT_DNS" },
        connect_timeout: "1s",
        load_assignment: LoadAssignment {
            cluster_name: name.clone(),
            endpoints: vec![Endpoints { lb_endpoints: at.iter().map(member).collect() }],
        },
        name,
    }
}
