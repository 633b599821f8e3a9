//! `weir render istio`: its options.

use super::{Asked, Of, Output, print_resources};
use anyhow::bail;
use std::collections::BTreeMap;
use std::process::ExitCode;
use weir_render::options::{DEFAULT_CONTROLLER, DEFAULT_MODULE, DEFAULT_TOKEN};
use weir_render::{Delivery, Failure, Options, Place, host, istio};

/// Most bytes of a file to be extended.
const MOST: usize = 4 * 1024 * 1024;

/// Arguments of `weir render istio`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir render istio checkout.yaml --namespace shop --workload app=frontend > checkout-mesh.yaml
  weir render istio checkout.yaml -n shop --at gateway --gateway istio-system/public --workload istio=ingressgateway
  weir render istio checkout -n shop --filter wasmplugin --module oci://registry.example/weir-filter:1.0 --sha256 DIGEST
  weir render istio checkout -n shop --merge checkout-routes.yaml       extends routes that are there
  weir render istio checkout -n shop --outcome                          what remains when it has concluded

Prints DestinationRule, VirtualService, the filter (EnvoyFilter or WasmPlugin) and AuthorizationPolicy, for Git. Nothing is applied, and no
secret is printed. docs/istio.md has the way from a mesh to a concluded experiment.")]
pub(super) struct IstioArgs {
    #[command(flatten)]
    of: Of,
    /// Namespace of the service and of its routes.
    #[arg(long, short, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// Full host of the service; the document's `service` in the namespace, if not given.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Port of the service, where it has several.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Label of the workloads that says their version.
    #[arg(long, default_value = "version", value_name = "LABEL")]
    subset_label: String,
    /// Labels of one version's workloads, where they are others; may be given for each.
    #[arg(long = "labels", value_name = "VERSION=LABEL=VALUE,…", value_parser = labels_of)]
    labels: Vec<(String, BTreeMap<String, String>)>,
    /// Where the filter stands: always on the callers' side.
    #[arg(long = "at", value_enum, default_value_t, value_name = "PLACE")]
    place: PlaceArg,
    /// Label of the callers' workloads, or of the gateway's; all of their namespace, if not given.
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    workload: Vec<(String, String)>,
    /// Namespace of the callers or of the gateway; the service's, if not given.
    #[arg(long, value_name = "NAMESPACE")]
    caller_namespace: Option<String>,
    /// Gateway that the routes are for, `NAMESPACE/NAME`; `mesh` for sidecars. May be given several times.
    #[arg(long, value_name = "NAME")]
    gateway: Vec<String>,
    /// The waypoint's name.
    #[arg(long, default_value = "waypoint", value_name = "NAME")]
    waypoint: String,
    /// How the filter comes to the proxies; `none` if it is there already.
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    filter: FilterArg,
    /// The filter's module: oci://…, https://…, or a path in the proxies' file system.
    #[arg(long, default_value = DEFAULT_MODULE, value_name = "URL")]
    module: String,
    /// Digest: of the image (oci), or of the module.
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// When the filter itself fails: `reload` (the default of a path) loads it anew, `open` (of what is fetched) goes
    /// on without it, to the baseline; `closed` refuses requests.
    #[arg(long, value_enum, value_name = "POLICY")]
    fail: Option<FailArg>,
    /// The controller's Service.
    #[arg(long, default_value_t = format!("{DEFAULT_CONTROLLER}:8181"), value_name = "HOST:PORT")]
    controller: String,
    /// What stands for the proxies' token until it is filled in; `none`: no token.
    #[arg(long, default_value = DEFAULT_TOKEN, value_name = "PLACEHOLDER")]
    token: String,
    /// Another header that routes (of other experiments in the same proxies). May be given several times.
    #[arg(long, value_name = "NAME")]
    routing_header: Vec<String>,
    /// Service account of the proxies, by which the controller knows them; all of their namespace, if not given.
    #[arg(long, value_name = "NAME")]
    service_account: Vec<String>,
    /// Who may do everything at the controller: `NAMESPACE/SERVICEACCOUNT`, or a namespace. May be given several times.
    #[arg(long, value_name = "WHO")]
    operator: Vec<String>,
    /// The mesh's trust domain.
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// File with a VirtualService (and DestinationRule) that is to be extended, not replaced; `-` for the standard
    /// input.
    #[arg(long, value_name = "FILE")]
    merge: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum PlaceArg {
    #[default]
    Sidecar,
    Gateway,
    Waypoint,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum FilterArg {
    #[default]
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    #[value(name = "wasmplugin")]
    WasmPlugin,
    None,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FailArg {
    Reload,
    Open,
    Closed,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as `app=frontend`".to_owned()),
    }
}

fn labels_of(text: &str) -> Result<(String, BTreeMap<String, String>), String> {
    let wrong = || "write it as `v2=version=2.1,tier=web`: a version, and its workloads' labels".to_owned();
    let (version, labels) = text.split_once('=').ok_or_else(wrong)?;
    let labels: Result<BTreeMap<String, String>, String> = labels.split(',').map(label).collect();
    Ok((version.to_owned(), labels.map_err(|_| wrong())?))
}

fn sha256(text: &str) -> Result<String, String> {
    let digest = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digest)
    } else {
        Err("a SHA-256 has 64 hexadecimal digits".to_owned())
    }
}

fn controller(text: &str) -> anyhow::Result<(String, u16)> {
    let found = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_ascii_lowercase(), port.parse().ok()?)));
    match found {
        Some((host, port)) if host::is_host(&host) && !host.contains('*') && port > 0 => Ok((host, port)),
        _ => bail!("--controller: write host and port, as `{DEFAULT_CONTROLLER}:8181`"),
    }
}

/// What is given once for each name.
fn once<T: Clone>(option: &str, given: &[(String, T)]) -> anyhow::Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for (name, value) in given {
        if all.insert(name.clone(), value.clone()).is_some() {
            bail!("{option}: `{name}` is given twice");
        }
    }
    Ok(all)
}

impl IstioArgs {
    fn options(&self) -> anyhow::Result<Options> {
        let (controller_host, controller_port) = controller(&self.controller)?;
        Ok(Options {
            namespace: self.namespace.clone(),
            host: self.host.clone(),
            port: self.port,
            subset_label: self.subset_label.clone(),
            labels: once("--labels", &self.labels)?,
            place: match self.place {
                PlaceArg::Sidecar => Place::Sidecar,
                PlaceArg::Gateway => Place::Gateway,
                PlaceArg::Waypoint => Place::Waypoint,
            },
            workload: once("--workload", &self.workload)?,
            caller_namespace: self.caller_namespace.clone(),
            gateways: self.gateway.clone(),
            waypoint: self.waypoint.clone(),
            delivery: match self.filter {
                FilterArg::EnvoyFilter => Delivery::EnvoyFilter,
                FilterArg::WasmPlugin => Delivery::WasmPlugin,
                FilterArg::None => Delivery::None,
            },
            module: self.module.clone(),
            sha256: self.sha256.clone(),
            failure: self.fail.map(|fail| match fail {
                FailArg::Reload => Failure::Reload,
                FailArg::Open => Failure::Open,
                FailArg::Closed => Failure::Closed,
            }),
            controller_host,
            controller_port,
            token: super::placeholder(&self.token)?,
            routing_headers: self.routing_header.clone(),
            service_accounts: self.service_account.clone(),
            operators: self.operator.clone(),
            trust_domain: self.trust_domain.clone(),
            ..Options::default()
        })
    }
}

/// Runs `weir render istio`.
pub(super) fn run(args: IstioArgs) -> anyhow::Result<ExitCode> {
    let options = args.options()?;
    let merge = args.merge.as_deref().map(|path| super::Source::read_up_to(path, MOST)).transpose()?;
    let merge = merge.as_ref().map(|source| source.text.as_str());
    let Asked { experiment, outcome } = args.of.read()?;
    let rendered = match outcome {
        Some(outcome) => istio::concluded(&experiment, &options, outcome, merge)?,
        None => istio::running(&experiment, &options, merge)?,
    };
    print_resources(&rendered, args.output)
}
