//! What the filter says of itself in Envoy's own stats, as Prometheus reads them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hyper::Method;
use serde_json::json;
use weir_core::stats::{MAX_PAIRS, OTHER, revision_number};
use weir_tests::admin::Samples;
use weir_tests::envoy::CONTROLLER;
use weir_tests::fake::Answer;
use weir_tests::plans::{all_to_v2, on_host, plan};
use weir_tests::stand::versions;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, Stand, eventually};

/// Waits until a sum over all versions is what it must be, and reads everything then.
async fn samples(envoy: &Envoy, name: &str, total: u64) -> Samples {
    eventually(PATIENCE, &format!("{name} is {total}"), async || {
        let samples = envoy.prometheus().await;
        (samples.sum(name) >= total).then_some(samples)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_plan_is_seen_in_envoys_stats_without_any_controller() {
    let [one, two] = versions().await;
    let mut shop = on_host("shop.example", &[("v1", 0), ("v2", 1)]);
    shop.name = "shop".to_owned();
    shop.deadline_ms = 400;
    let other = on_host("other.test", &[("v1", 1), ("v2", 0)]);
    let configuration = json!({"plan": plan("12", vec![shop, other])});
    let envoy = Envoy::builder().version(&one).version(&two).plugin(&configuration).start().await;
    for worker in &mut envoy.workers_with_plan("12").await {
        for path in ["/", "/", "/delay/60", "/status/503", "/reset"] {
            worker.get(path, &[]).await;
        }
    }
    Client::http1(envoy.address()).await.get("/delay/500", &[]).await;
    let response = Client::http1(envoy.address()).await.begin(Method::GET, "/stall", &[]).await.unwrap();
    drop(response);
    envoy.connect().await.get("/", &[("host", "other.test")]).await;
    envoy.connect().await.get("/", &[("host", "nobody.test")]).await;

    let seen = samples(&envoy, "weir_assigned_total", 13).await;
    let seen = if seen.sum("weir_aborted_total") == 1 && seen.sum("weir_completed_total") == 11 {
        seen
    } else {
        samples(&envoy, "weir_completed_total", 11).await;
        samples(&envoy, "weir_aborted_total", 1).await
    };
    let of = |name: &str| seen.of(&format!("weir_{name}"), "shop", "v2");
    assert_eq!((of("assigned_total"), of("completed_total"), of("failed_total")), (12, 10, 4));
    assert_eq!((of("aborted_total"), of("late_total"), of("dropped_total")), (1, 1, 0));
    let bucket = |edge: &str| {
        let labels = [("weir_experiment", "shop"), ("weir_version", "v2"), ("le", edge)];
        seen.get("weir_latency_milliseconds_bucket", &labels)
    };
    assert_eq!((bucket("+Inf"), of("latency_milliseconds_count")), (6, 6));
    // Two took 60 ms and more, whatever the others did.
    assert!(bucket("50") <= 4 && bucket("50") <= bucket("100") && bucket("500") == 6);
    assert!(of("latency_milliseconds_sum") >= 120);
    assert_eq!(seen.of("weir_assigned_total", "other.test", "v1"), 1);
    assert_eq!(seen.get("weir_plan_revision", &[]), 12);
    assert!(seen.names().keys().all(|name| name.starts_with("weir_")), "{:?}", seen.names());
    assert!(!seen.names().contains_key("weir_reports_sent_total"), "there is nobody to report to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_is_seen_while_it_fails_and_when_it_is_well() {
    let revision = "00000000002a00000000000000000000";
    let configuration =
        json!({"controller": {"cluster": CONTROLLER, "reportInterval": "100ms", "stalenessLimit": "4s"}});
    let Stand { versions: [_one, _two], mut fake, envoy, mut workers } =
        Stand::with(all_to_v2(revision), |envoy| envoy.concurrency(1).plugin(&configuration)).await;
    for _ in 0..20 {
        workers[0].get("/", &[]).await;
    }
    let seen = samples(&envoy, "weir_completed_total", 20).await;
    assert_eq!(seen.of("weir_assigned_total", "e", "v2"), 20);
    assert_eq!(seen.get("weir_plan_revision", &[]), revision_number(revision));
    assert!(seen.get("weir_plan_age_seconds", &[]) <= 3 && seen.get("weir_plan_stale", &[]) == 0);
    eventually(PATIENCE, "all is acknowledged", async || holds(fake.assigned("e") == 20)).await;

    fake.script(&[Answer::Refuse(503), Answer::Refuse(422)]);
    workers[0].get("/", &[]).await;
    let seen = samples(&envoy, "weir_reports_refused_total", 1).await;
    assert!(seen.sum("weir_reports_retried_total") >= 1);
    assert_eq!(seen.sum("weir_exposures_lost_total"), 1);

    fake.stop().await;
    for _ in 0..10 {
        workers[0].get("/", &[]).await;
    }
    // Without the controller: what versions show goes on, and the silence is seen.
    let seen = samples(&envoy, "weir_completed_total", 31).await;
    assert_eq!(seen.of("weir_assigned_total", "e", "v2"), 31);
    let seen = samples(&envoy, "weir_plan_stale", 1).await;
    assert!(seen.get("weir_plan_age_seconds", &[]) >= 4 && seen.sum("weir_polls_failed_total") >= 1);
    fake.resume().await;
    eventually(PATIENCE, "all is well again", async || {
        let seen = envoy.prometheus().await;
        let sums = ["sent", "acknowledged", "refused"].map(|what| seen.sum(&format!("weir_reports_{what}_total")));
        holds(seen.sum("weir_plan_stale") == 0 && sums[0] == sums[1] + sums[2] && fake.assigned("e") == 30)
    })
    .await;
    let sequences = fake.last_reports().into_values().map(|report| report.sequence).sum::<u64>();
    assert_eq!(
        envoy.prometheus().await.sum("weir_reports_sent_total"),
        sequences,
        "each report is sent once for the first time"
    );
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_bounded_and_the_rest_is_counted_together() {
    let [one, two] = versions().await;
    let hosts: Vec<String> = (0..400).map(|at| format!("host-{at}.test")).collect();
    let experiments = hosts.iter().map(|host| on_host(host, &[("v1", 1), ("v2", 0)])).collect();
    let configuration = json!({"plan": plan("1", experiments)});
    let envoy = Envoy::builder().version(&one).version(&two).plugin(&configuration).start().await;
    let mut workers = envoy.workers_with_plan("1").await;
    for (at, host) in hosts.iter().enumerate() {
        workers[at % 2].get("/", &[("host", host)]).await;
    }
    let seen = samples(&envoy, "weir_assigned_total", 400).await;
    // In the plan's order, in every worker the same.
    assert_eq!(seen.of("weir_assigned_total", OTHER, OTHER), 400 - MAX_PAIRS as u64 / 2);
    assert_eq!(seen.names()["weir_assigned_total"], MAX_PAIRS / 2 + 1, "none is defined for versions without traffic");
    assert_eq!(seen.of("weir_assigned_total", "host-0.test", "v1"), 1);
}
