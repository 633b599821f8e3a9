//! Sent equals counted, per version and per outcome, in the real controller's ledger, whatever dies in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Controller, Upstream, eventually};

/// The second shows by its routes that a worker has the plan, and with it the first.
const EXPERIMENTS: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: counted}
spec:
  service: shop
  match: {hosts: [shop.example]}
  unit: request
  versions: [{name: v1, baseline: true}, {name: v2}, {name: v3}]
  strategy: {ab: {}}
  reward: {responseHeader: x-weir-reward, direction: maximize}
  deadline: 1s
  bin: 1s
  minExposures: 1000000
---
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: ready}
spec:
  service: shop
  match: {hosts: [ready.test]}
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {ab: {weights: {v1: 0.01%, v2: 99.99%}}}
  reward: {responseHeader: x-weir-reward, direction: maximize}
";

/// Settled tallies by version, as (assigned, completed, failed, aborted, overdue, rewarded).
fn settled(experiment: &Value) -> BTreeMap<String, [u64; 6]> {
    let versions = experiment["assessment"]["versions"].as_array().cloned().unwrap_or_default();
    versions
        .iter()
        .map(|version| {
            let tally = ["assigned", "completed", "failed", "aborted", "overdue", "rewarded"]
                .map(|field| version["settled"][field].as_u64().expect("a tally"));
            (version["name"].as_str().expect("a name").to_owned(), tally)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_what_is_counted_with_the_controller_killed_in_the_middle() {
    const EACH: u64 = 300;
    let upstreams: [Upstream; 3] = versions().await;
    let mut controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
    controller.apply(EXPERIMENTS);
    let envoy = between(&upstreams, controller.address()).plugin(&reporting("100ms")).start().await;
    for worker in &mut envoy.connect_to_every_worker().await {
        eventually(PATIENCE, "the worker has the plan", async || {
            holds(worker.get("/ready", &[("host", "ready.test")]).await.version() == "v2")
        })
        .await;
    }

    let sent = Arc::new(AtomicU64::new(0));
    let mut users = tokio::task::JoinSet::new();
    for mut client in envoy.connect_to_every_worker().await {
        let sent = Arc::clone(&sent);
        users.spawn(async move {
            for at in 0..EACH {
                let path = ["/", "/status/500", "/reward/1", "/delay/5", "/"][at as usize % 5];
                client.get(path, &[]).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for part in 1..=2 {
        let at = async |count: u64| {
            eventually(PATIENCE, "more was sent", async || holds(sent.load(Ordering::Relaxed) >= count)).await;
        };
        at(part * EACH / 2).await;
        controller.kill();
        at(part * EACH / 2 + EACH / 4).await;
        controller.resume().await;
    }
    users.join_all().await;
    // A request that outlives its deadline is overdue, once, whatever comes of it later.
    let mut late = Client::http1(envoy.address()).await;
    late.get("/delay/1300", &[]).await;
    let received = |upstream: &Upstream| upstream.requests() - upstream.requests_for("/ready");
    assert_eq!(upstreams.iter().map(received).sum::<u64>(), 2 * EACH + 1);

    let counted = eventually(PATIENCE, "everything has settled", async || {
        let tallies = settled(&controller.get("/v1/experiments/counted").await?);
        let total: u64 = tallies.values().map(|tally| tally[0]).sum();
        (total > 2 * EACH).then_some(tallies)
    })
    .await;
    for upstream in &upstreams {
        let of = |path: &str| upstream.requests_for(path);
        let (assigned, overdue) = (received(upstream), of("/delay/1300"));
        let expected = [assigned, assigned - overdue, of("/status/500"), 0, overdue, of("/reward/1")];
        assert_eq!(counted[upstream.name()], expected, "{}", upstream.name());
    }
}
