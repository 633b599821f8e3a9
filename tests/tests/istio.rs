//! Through a mesh of Istio's own control plane: shares, exact counts and stickiness, with the filter in a sidecar and in a gateway,
//! brought by an EnvoyFilter and by a WasmPlugin, all as `weir render istio` prints it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::collections::BTreeMap;
use weir_tests::bounds::assert_share;
use weir_tests::istio::{Delivery, Mesh, Place, Site, plan};
use weir_tests::plans::{on_host, sticky};
use weir_tests::stand::{arrived, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{FakeController, Upstream, client, eventually};

/// Traffic through a mesh: split by weight, counted exactly as it arrived, and with its users sticky as weights move.
async fn splits_counts_and_sticks(place: Place, delivery: Delivery) {
    let site = Site::new(place, delivery);
    let upstreams: [Upstream; 3] = versions().await;
    let weights = [("v1", 6), ("v2", 3), ("v3", 1)];
    let fake = FakeController::start(plan("1", vec![on_host(site.host(), &weights)])).await;
    let resources = site.rendered(&site.document(&["v1", "v2", "v3"], &json!({})), &[]);
    let mesh = Mesh::start(site.clone(), &upstreams, fake.address(), &resources).await;
    mesh.workers_with_plan("1").await;

    // On several connections at once, so that every worker has some.
    let mut answered = BTreeMap::<String, u64>::new();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..8 {
        connections.spawn(client::pipelined(site.entry(), site.host(), 500));
    }
    for (version, count) in connections.join_all().await.into_iter().flatten() {
        *answered.entry(version).or_default() += count;
    }
    for ((version, weight), upstream) in weights.into_iter().zip(&upstreams) {
        assert_share(version, answered[version], 4_000, f64::from(weight) / 10.0);
        assert_eq!(arrived(upstream), answered[version], "what the version saw is what clients got from it");
        eventually(PATIENCE, "every request is counted", async || {
            holds(fake.counts(site.host(), version).completed >= answered[version])
        })
        .await;
        let counts = fake.counts(site.host(), version);
        assert_eq!((counts.assigned, counts.completed, counts.failed), (answered[version], answered[version], 0));
    }

    let of_users = async |workers: &mut Vec<client::Client>| {
        let mut versions = Vec::new();
        let count = workers.len();
        for user in 0..200 {
            let headers = [("host", site.host()), ("x-user", &format!("user-{user}"))];
            let reply = workers[user % count].get("/", &headers).await;
            versions.push(reply.version().to_owned());
            assert_eq!(workers[(user + 1) % count].get("/", &headers).await.version(), versions[user], "sticky");
        }
        versions
    };
    fake.publish(plan("2", vec![sticky("users", &[("v1", 1), ("v2", 1), ("v3", 0)])]));
    let before = of_users(&mut mesh.workers_with_plan("2").await).await;
    fake.publish(plan("3", vec![sticky("users", &[("v1", 1), ("v2", 3), ("v3", 0)])]));
    let after = of_users(&mut mesh.workers_with_plan("3").await).await;
    let moves: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(moves.iter().all(|(before, after)| (before.as_str(), after.as_str()) == ("v1", "v2")), "{moves:?}");
    // From half to three quarters: a quarter of all move.
    assert_share("users who move", moves.len() as u64, 200, 0.25);
    assert_eq!(fake.complaints(), Vec::<String>::new());
    assert_eq!(mesh.istiod.refusals(0), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_sidecar_by_an_envoy_filter_traffic_is_split_counted_and_sticky() {
    splits_counts_and_sticks(Place::Sidecar, Delivery::EnvoyFilter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_sidecar_by_a_wasm_plugin_traffic_is_split_counted_and_sticky() {
    splits_counts_and_sticks(Place::Sidecar, Delivery::WasmPlugin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_gateway_by_an_envoy_filter_traffic_is_split_counted_and_sticky() {
    splits_counts_and_sticks(Place::Gateway, Delivery::EnvoyFilter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_gateway_by_a_wasm_plugin_traffic_is_split_counted_and_sticky() {
    splits_counts_and_sticks(Place::Gateway, Delivery::WasmPlugin).await;
}
