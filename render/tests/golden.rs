//! What is printed for the documents in `docs/examples/istio/` is what stands there, to the letter.
//!
//! `WEIR_UPDATE_EXAMPLES=1 cargo test -p weir-render --test golden` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use weir_engine::document;
use weir_engine::spec::Experiment;
use weir_render::envoy::{self, Address};
use weir_render::{Delivery, Options, Place, Rendered, istio, yaml};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/istio").join(name)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn experiment(name: &str) -> Experiment {
    document::read(&file(name)).unwrap().remove(0)
}

fn holds(name: &str, text: &str) {
    if std::env::var_os("WEIR_UPDATE_EXAMPLES").is_some() {
        std::fs::write(path(name), text).unwrap();
    }
    assert_eq!(file(name), text, "{name}");
}

fn labels(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

/// The callers of the checkout: the front end's sidecars.
fn sidecars() -> Options {
    Options {
        namespace: "shop".to_owned(),
        workload: labels("app", "frontend"),
        service_accounts: vec!["frontend".to_owned()],
        operators: vec!["weir/operator".to_owned(), "monitoring".to_owned()],
        ..Options::default()
    }
}

/// Everybody who comes from outside.
fn gateway() -> Options {
    Options {
        namespace: "shop".to_owned(),
        place: Place::Gateway,
        workload: labels("istio", "ingressgateway"),
        caller_namespace: Some("istio-system".to_owned()),
        gateways: vec!["istio-system/public".to_owned()],
        port: Some(8080),
        delivery: Delivery::WasmPlugin,
        module: "oci://registry.example/weir-filter:0.1.0".to_owned(),
        sha256: Some("5".repeat(64)),
        labels: BTreeMap::from([("2.0".to_owned(), labels("release", "two"))]),
        ..Options::default()
    }
}

fn yaml_of(rendered: Rendered) -> String {
    rendered.yaml().unwrap()
}

#[test]
fn a_sidecar_has_the_filter_as_a_patch() {
    holds("sidecar.yaml", &yaml_of(istio::running(&experiment("experiment.yaml"), &sidecars(), None).unwrap()));
}

#[test]
fn a_gateway_has_the_filter_as_a_plugin() {
    holds("gateway.yaml", &yaml_of(istio::running(&experiment("public.yaml"), &gateway(), None).unwrap()));
}

#[test]
fn a_patch_with_a_module_that_is_fetched_has_it_as_an_extension_of_its_own() {
    let options = Options { delivery: Delivery::EnvoyFilter, ..gateway() };
    holds("gateway-envoyfilter.yaml", &yaml_of(istio::running(&experiment("public.yaml"), &options, None).unwrap()));
}

#[test]
fn a_waypoint_has_the_filter_as_a_plugin_for_its_gateway() {
    let options =
        Options { place: Place::Waypoint, delivery: Delivery::WasmPlugin, workload: BTreeMap::new(), ..sidecars() };
    holds("waypoint.yaml", &yaml_of(istio::running(&experiment("experiment.yaml"), &options, None).unwrap()));
}

#[test]
fn what_remains_of_a_concluded_experiment_knows_nothing_of_it() {
    holds("outcome.yaml", &yaml_of(istio::concluded(&experiment("experiment.yaml"), &sidecars(), 1, None).unwrap()));
}

#[test]
fn routes_that_are_there_are_extended() {
    let merged = istio::running(&experiment("experiment.yaml"), &sidecars(), Some(&file("routes.yaml"))).unwrap();
    holds("merged.yaml", &yaml_of(merged));
}

#[test]
fn routes_that_were_extended_lead_to_the_outcome() {
    let merged = istio::concluded(&experiment("experiment.yaml"), &sidecars(), 1, Some(&file("merged.yaml"))).unwrap();
    holds("merged-outcome.yaml", &yaml_of(merged));
}

#[test]
fn a_stand_alone_envoy_has_routes_clusters_and_the_filter() {
    let at = |port| Address { host: "127.0.0.1".to_owned(), port };
    let options = envoy::Options {
        listen: at(10_000),
        admin: at(9_901),
        versions: [("1.9", 8_001), ("1.10", 8_002), ("2.0", 8_003)]
            .into_iter()
            .map(|(version, port)| (version.to_owned(), vec![at(port)]))
            .collect(),
        controller: at(8_181),
        module: "target/weir-filter.wasm".to_owned(),
        node: "standalone-1".to_owned(),
        token: None,
    };
    holds("envoy.yaml", &yaml::print(&envoy::of(&experiment("public.yaml"), &options, None).unwrap()).unwrap());
}
