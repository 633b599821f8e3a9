//! The wall clock is stepped under load. Envoy's, a day forward and two days back: bins, deadlines, reports and the plan's age go on. The
//! controller's, an hour either way: nothing moves for it, nothing is lost, and it says so.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_tests::clock::SteppedClock;
use weir_tests::envoy::CONTROLLER;
use weir_tests::plans::all_to_v2;
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Controller, Load, Stand, Upstream, eventually};

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stepped_clock_of_envoys_changes_nothing() {
    let clock = SteppedClock::new();
    let configuration =
        json!({"controller": {"cluster": CONTROLLER, "reportInterval": "100ms", "stalenessLimit": "30s"}});
    let Stand { versions: [_one, two], fake, envoy, .. } = Stand::with(all_to_v2("1"), |envoy| {
        clock
            .environment()
            .iter()
            .fold(envoy.plugin(&configuration), |envoy, (name, value)| envoy.environment(name, value))
    })
    .await;
    let load = Load::start(envoy.address(), 4, "/");
    let wall = async || {
        let reply = weir_tests::client::call(envoy.admin(), "GET", "/server_info", &[], Vec::new()).await.unwrap();
        reply.headers.get("date").unwrap().to_str().unwrap().to_owned()
    };
    let mut dates = BTreeSet::new();
    for seconds in [0, DAY, -DAY, 0] {
        clock.step(seconds);
        // Envoy itself lives in the other time, or this test would show nothing.
        let before = dates.len();
        eventually(PATIENCE, "Envoy sees the step", async || {
            dates.insert(wall().await.get(..16).unwrap().to_owned());
            holds(dates.len() > before || seconds == 0)
        })
        .await;
        load.more(100).await;
        let received = fake.received().len();
        eventually(PATIENCE, "reports go on", async || holds(fake.received().len() >= received + 4)).await;
    }
    assert_eq!(dates.len(), 3, "{dates:?}");
    let sent = load.stop().await;
    eventually(PATIENCE, "everything is counted", async || {
        let counts = fake.counts("e", "v2");
        holds(counts.assigned >= sent.answered() && counts.completed >= sent.answered())
    })
    .await;
    let counts = fake.counts("e", "v2");
    let all = sent.answered();
    assert_eq!((counts.assigned, counts.completed, counts.failed, two.requests()), (all, all, 0, all));
    // No step moved a bin, a latency or the age of the plan.
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let received = fake.received();
    let bins = received.iter().flat_map(|(report, _)| &report.experiments).flat_map(|found| &found.cells);
    assert!(bins.map(|cell| cell.bin).all(|bin| bin <= now && now - bin < 300_000));
    assert!(counts.latency_sum < 60.0 * 4.0 && counts.latency_sum >= 0.0, "{}", counts.latency_sum);
    assert!(received.iter().all(|(report, _)| !report.stale));
    assert_eq!(envoy.prometheus().await.get("weir_plan_stale", &[]), 0);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

/// Over in half an hour if nothing else ends it, and then rolled back; evidence alone never moves it.
const EXPERIMENT: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  match: {hosts: [shop.example]}
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {canary: {steps: [30%]}}
  objectives: [{name: errors, errorRate: {max: 50%}}]
  minExposures: 1000000
  maxDuration: 30m
  onTimeout: rollBack
  deadline: 1s
  bin: 1s
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stepped_clock_of_the_controllers_moves_no_weight_loses_no_count_and_is_said() {
    const HOUR: i64 = 3_600;
    let clock = SteppedClock::new();
    let controller = Controller::start_in(&["--decision-interval", "200ms"], clock.environment().to_vec()).await;
    controller.apply(EXPERIMENT);
    let upstreams: [Upstream; 2] = versions().await;
    let envoy = between(&upstreams, controller.address()).plugin(&reporting("100ms")).start().await;
    envoy.wait_for_plans_in_log(1).await;
    let load = Load::start(envoy.address(), 4, "/");
    let view = async || controller.get("/v1/experiments/shop").await;
    load.more(100).await;
    let (plan, weights) = (controller.get("/v1/plan").await, view().await.expect("an answer")["weights"].clone());
    // No two steps are alike, so that what is said is of the last one; a millisecond may be lost in measuring it.
    for (to, way, by) in [(HOUR, "forward", HOUR), (0, "back", HOUR), (-HOUR - 60, "back", HOUR + 60)] {
        clock.step(to);
        eventually(PATIENCE, &format!("a step {way} by {by} s is said"), async || {
            let view = view().await?;
            let all = [view["healthWarnings"].to_string(), view["decision"]["reasons"].to_string()];
            let said = [by, by - 1].map(|by| format!("clock was set {way} by {by} s"));
            holds(all.iter().all(|sentences| said.iter().any(|said| sentences.contains(said))))
        })
        .await;
        // Some looks later.
        load.more(300).await;
        let view = view().await.expect("an answer");
        assert_eq!((&view["phase"], &view["weights"]), (&json!("running"), &weights), "{}", view["decision"]);
    }
    // Set right again, which moves the controller's time no more.
    clock.step(0);
    load.more(300).await;
    let sent = load.stop().await;
    assert_eq!((sent.refused, sent.broken), (0, 0));
    let received = upstreams.each_ref().map(Upstream::requests);
    assert_eq!(received.iter().sum::<u64>(), sent.answered());
    let counted = async || -> Option<[[u64; 2]; 2]> {
        let view = view().await?;
        let live = |at: usize, what: &str| view["assessment"]["versions"][at]["live"][what].as_u64();
        Some([[live(0, "assigned")?, live(0, "completed")?], [live(1, "assigned")?, live(1, "completed")?]])
    };
    eventually(PATIENCE, "everything is counted", async || {
        let counted = counted().await?;
        holds(counted.iter().zip(received).all(|(counted, received)| counted.iter().all(|count| *count >= received)))
    })
    .await;
    assert_eq!(counted().await, Some(received.map(|received| [received; 2])));
    assert_eq!(controller.get("/v1/plan").await, plan, "the plan is what it was");
    assert!(String::from_utf8_lossy(&controller.weir(&["replay", "shop"]).stdout).contains("all equal"));
}
