//! `weir render envoy` prints what `envoy-config/standalone/envoy.yaml` is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use weir_core::config::Config;
use weir_render::envoy::{self, Address, Options};
use weir_render::yaml::{self, Yaml};

fn file(name: &str) -> String {
    let path = format!("{}/../envoy-config/standalone/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The same without what is said in other words: how clusters find an address, what the plugin is told by default, and
/// the baseline's own route, which leads where everything else does.
fn normal(value: &mut Yaml) -> Config {
    let resources = value.get_mut("static_resources").unwrap();
    for cluster in resources.list_mut("clusters").unwrap() {
        cluster.remove("type");
    }
    let listener = &mut resources.list_mut("listeners").unwrap()[0];
    let chain = &mut listener.list_mut("filter_chains").unwrap()[0];
    let manager = chain.list_mut("filters").unwrap()[0].get_mut("typed_config").unwrap();
    let host = &mut manager.get_mut("route_config").unwrap().list_mut("virtual_hosts").unwrap()[0];
    host.list_mut("routes").unwrap().retain(|route| {
        route.items_at(&["match", "headers"]).is_empty() || route.text_at(&["route", "cluster"]) != Some("shop-v1")
    });
    let filter = &mut manager.list_mut("http_filters").unwrap()[0];
    let plugin = filter.get_mut("typed_config").unwrap().get_mut("config").unwrap();
    let configuration = plugin.remove("configuration").unwrap();
    Config::from_json(configuration.text_at(&["value"]).unwrap().as_bytes()).unwrap()
}

#[test]
fn a_stand_alone_envoy_is_the_one_that_the_demo_runs() {
    let experiment = weir_engine::document::read(&file("shop.yaml")).unwrap().remove(0);
    let at = |port| Address { host: "127.0.0.1".to_owned(), port };
    let versions = [("v1", 8_001), ("v2", 8_002), ("v3", 8_003)];
    let options = Options {
        listen: at(10_000),
        admin: at(9_901),
        versions: versions.into_iter().map(|(version, port)| (version.to_owned(), vec![at(port)])).collect(),
        controller: at(8_181),
        module: "target/weir-filter.wasm".to_owned(),
        node: "standalone-1".to_owned(),
        token: None,
    };
    let printed = yaml::print(&envoy::of(&experiment, &options, None).unwrap()).unwrap();
    let mut ours: Yaml = serde_saphyr::from_str(&printed).unwrap();
    let mut theirs: Yaml = serde_saphyr::from_str(&file("envoy.yaml")).unwrap();
    assert_eq!(normal(&mut ours), normal(&mut theirs));
    // As JSON, since the order of fields means nothing.
    assert_eq!(serde_json::to_value(ours).unwrap(), serde_json::to_value(theirs).unwrap());

    let nowhere = Options { versions: BTreeMap::new(), ..options.clone() };
    assert!(envoy::of(&experiment, &nowhere, None).unwrap_err().to_string().contains("--endpoint v1="));
    let outcome = yaml::print(&envoy::of(&experiment, &options, Some(1)).unwrap()).unwrap();
    assert!(
        outcome.contains("cluster: shop-v2") && !outcome.contains("weir-filter") && !outcome.contains("shop-v1"),
        "{outcome}"
    );
}
