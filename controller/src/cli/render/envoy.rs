//! `weir render envoy`: its options.

use super::super::output::print;
use super::{Asked, Format, Of, Output};
use std::collections::BTreeMap;
use std::process::ExitCode;
use weir_render::envoy::{Address, Options};
use weir_render::{envoy, host, yaml};

/// Arguments of `weir render envoy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir render envoy shop.yaml --endpoint v1=127.0.0.1:8001 --endpoint v2=127.0.0.1:8002 --endpoint v3=127.0.0.1:8003 > envoy.yaml
  envoy -c envoy.yaml
  weir render envoy shop --outcome --endpoint v2=127.0.0.1:8002      what remains when it has concluded

Prints a whole configuration in the form of envoy-config/standalone/envoy.yaml: listener, filter, a route table by routing headers, and
clusters.")]
pub(super) struct EnvoyArgs {
    #[command(flatten)]
    of: Of,
    /// Where a version is; may be given several times, for each.
    #[arg(long, value_name = "VERSION=HOST:PORT", value_parser = endpoint)]
    endpoint: Vec<(String, Address)>,
    /// Where requests come in.
    #[arg(long, default_value = "127.0.0.1:10000", value_name = "ADDRESS", value_parser = address)]
    listen: Address,
    /// Envoy's own interface.
    #[arg(long, default_value = "127.0.0.1:9901", value_name = "ADDRESS", value_parser = address)]
    admin: Address,
    /// Where the controller is.
    #[arg(long, default_value = "127.0.0.1:8181", value_name = "ADDRESS", value_parser = address)]
    controller: Address,
    /// The filter's module, a file.
    #[arg(long, default_value = "target/weir-filter.wasm", value_name = "FILE")]
    module: String,
    /// Names this Envoy in its reports: give each its own.
    #[arg(long, default_value = "standalone-1", value_name = "NAME")]
    node: String,
    /// What stands for the filter's token until it is filled in; `none`: no token.
    #[arg(long, default_value = "none", value_name = "PLACEHOLDER")]
    token: String,
    #[command(flatten)]
    pub(super) output: Output,
}

fn address(text: &str) -> Result<Address, String> {
    let found = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = found.ok_or("write host and port, as `127.0.0.1:8001`")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.parse::<std::net::IpAddr>().is_err() && (!host::is_host(host) || host.contains('*')) {
        return Err(format!("`{host}` is no host"));
    }
    Ok(Address { host: host.to_owned(), port })
}

fn endpoint(text: &str) -> Result<(String, Address), String> {
    let (version, at) = text.split_once('=').ok_or("write a version and where it is, as `v1=127.0.0.1:8001`")?;
    Ok((version.to_owned(), address(at)?))
}

/// Runs `weir render envoy`.
pub(super) fn run(args: EnvoyArgs) -> anyhow::Result<ExitCode> {
    let mut versions: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for (version, at) in args.endpoint {
        versions.entry(version).or_default().push(at);
    }
    let options = Options {
        listen: args.listen,
        admin: args.admin,
        versions,
        controller: args.controller,
        module: args.module,
        node: args.node,
        token: super::placeholder(&args.token)?,
    };
    let Asked { experiment, outcome } = args.of.read()?;
    let bootstrap = envoy::of(&experiment, &options, outcome)?;
    let text = match args.output.output {
        Format::Yaml => yaml::print(&bootstrap)?,
        Format::Json => format!("{:#}\n", serde_json::to_value(&bootstrap)?),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
