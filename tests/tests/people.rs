//! People and lost telemetry on a real Envoy: what a person commands moves the traffic, and silence moves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use std::time::Duration;
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::PATIENCE;
use weir_tests::{Client, Controller, Envoy, Gate, Upstream, eventually};

const EXPERIMENT: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {canary: {steps: [20%, 50%]}}
  objectives: [{name: errors, errorRate: {max: 10%}}]
  approvals: {start: true, step: true, promotion: true}
  minExposures: 50
  deadline: 1s
  bin: 1s
";

/// Two versions, the controller with an experiment, and an Envoy between them, with a gate before the controller.
struct Bench {
    _upstreams: [Upstream; 2],
    controller: Controller,
    gate: Gate,
    envoy: Envoy,
    clients: Vec<Client>,
}

impl Bench {
    async fn new(experiment: &str) -> Self {
        let upstreams = versions().await;
        let controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
        controller.apply(experiment);
        let gate = Gate::start(controller.address()).await;
        let envoy = between(&upstreams, gate.address()).plugin(&reporting("200ms")).start().await;
        let clients = envoy.connect_to_every_worker().await;
        Self { _upstreams: upstreams, controller, gate, envoy, clients }
    }

    async fn view(&self) -> Option<Value> {
        self.controller.get("/v1/experiments/shop").await
    }

    /// Sends requests down every connection; the part that v2 answered.
    async fn part_of_v2(&mut self, requests: u32) -> f64 {
        let (mut hits, mut total) = (0_u32, 0_u32);
        for client in &mut self.clients {
            for _ in 0..requests {
                total += 1;
                hits += u32::from(client.get("/", &[]).await.version() == "v2");
            }
        }
        f64::from(hits) / f64::from(total)
    }

    fn weir(&self, arguments: &[&str]) -> String {
        let output = self.controller.weir(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    /// Traffic until v2's part of it is as expected.
    async fn until_v2_has(&mut self, expected: f64) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let part = self.part_of_v2(40).await;
            if (part - expected).abs() < 0.12 {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "v2 has {part:.2}, not {expected:.2}");
        }
    }

    /// Traffic until something is so of the experiment.
    async fn traffic_until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let _ = self.part_of_v2(20).await;
            let view = self.view().await.expect("an answer");
            if holds(&view) {
                return view;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {}", view["decision"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_starts_pauses_approves_and_promotes_while_traffic_flows() {
    let mut bench = Bench::new(EXPERIMENT).await;
    assert!(bench.part_of_v2(30).await < 0.001, "it waits to be started");
    assert_eq!(bench.view().await.expect("an answer")["phase"], "pending");
    bench.weir(&["start", "shop", "--reason", "all are here"]);
    bench.until_v2_has(0.2).await;

    bench.weir(&["set-weights", "shop", "v1=10%", "v2=90%", "--reason", "a load test"]);
    bench.until_v2_has(0.9).await;
    bench.weir(&["resume", "shop", "--reason", "the test is over"]);
    bench.until_v2_has(0.2).await;

    let asks = |view: &Value| view["state"]["awaited"]["step"].is_object();
    bench.traffic_until("it asks to climb", asks).await;
    assert!(bench.part_of_v2(100).await < 0.35, "nothing moves before it is approved");
    bench.weir(&["approve", "shop", "--reason", "looks good"]);
    bench.until_v2_has(0.5).await;
    bench.traffic_until("it asks to promote", asks).await;
    bench.weir(&["approve", "shop", "--reason", "looks good still"]);
    bench.until_v2_has(1.0).await;
    let view = bench.view().await.expect("an answer");
    assert_eq!(view["state"]["phase"]["outcome"], "promoted", "{view}");

    let story = bench.weir(&["explain", "shop"]);
    for part in ["“all are here”", "Weights were set by hand", "What waited was approved. “looks good still”"] {
        assert!(story.contains(part), "{part}\n{story}");
    }
    assert!(bench.weir(&["replay", "shop"]).contains("all equal"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolled_back_by_hand_at_once_and_for_good() {
    let mut bench = Bench::new(&EXPERIMENT.replace("approvals: {start: true, step: true, promotion: true}", "")).await;
    bench.until_v2_has(0.2).await;
    bench.weir(&["roll-back", "shop", "--reason", "a wrong build"]);
    // Until no worker has the plan before, by which a fifth of so many would have got v2.
    let deadline = std::time::Instant::now() + PATIENCE;
    while bench.part_of_v2(100).await > 0.0 {
        assert!(std::time::Instant::now() < deadline, "v2 still gets requests");
    }
    assert!(bench.part_of_v2(50).await < 0.001);
    assert_eq!(bench.view().await.expect("an answer")["state"]["phase"]["outcome"], "rolledBack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_stands_still_holds_the_weights_and_is_said_to_be_silent() {
    let mut bench = Bench::new(&EXPERIMENT.replace("approvals: {start: true, step: true, promotion: true}", "")).await;
    bench.until_v2_has(0.2).await;
    let counted = |view: &Value| view["assessment"]["versions"][0]["live"]["assigned"].as_u64().is_some_and(|n| n > 0);
    let before = bench.traffic_until("something is counted", counted).await;
    weir_tests::process::signal(bench.envoy.id(), libc::SIGSTOP);
    // Twice as long as it takes to notice.
    let view = eventually(Duration::from_secs(60), "silence is noticed", async || {
        let view = bench.view().await?;
        let warned = view["healthWarnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        let reasons = view["decision"]["reasons"].to_string();
        (warned && reasons.contains("Lost telemetry is not evidence")).then_some(view)
    })
    .await;
    assert_eq!(view["phase"], "running", "{view}");
    assert_eq!(view["weights"], before["weights"], "it neither advanced nor rolled back");
    assert!(bench.weir(&["get", "shop"]).contains("warning: "));
    weir_tests::process::signal(bench.envoy.id(), libc::SIGCONT);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let _ = bench.part_of_v2(5).await;
        let view = bench.view().await.expect("an answer");
        if view["healthWarnings"].as_array().is_some_and(Vec::is_empty) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", view["healthWarnings"]);
    }
    let replayed = eventually(PATIENCE, "it replays", async || Some(bench.weir(&["replay", "shop"]))).await;
    assert!(replayed.contains("all equal"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_reports_are_refused_nothing_moves_whatever_happens_and_nothing_of_it_is_lost() {
    let mut bench = Bench::new(&EXPERIMENT.replace("approvals: {start: true, step: true, promotion: true}", "")).await;
    bench.until_v2_has(0.2).await;
    let counted = |view: &Value| view["assessment"]["versions"][1]["live"]["assigned"].as_u64().is_some_and(|n| n > 0);
    bench.traffic_until("something is counted", counted).await;
    bench.gate.shut(true);
    let shut_at = std::time::Instant::now();
    let before = bench.view().await.expect("an answer");
    // Every request fails now, which is more than v2 may do; Envoy goes on, and nobody is told.
    let deadline = shut_at + Duration::from_secs(60);
    let silent = loop {
        for client in &mut bench.clients {
            assert_eq!(client.get("/status/500", &[]).await.status, 500, "traffic flows");
        }
        let view = bench.view().await.expect("an answer");
        assert_eq!((&view["phase"], &view["state"]["out"]), (&"running".into(), &json!([false, false])), "{view}");
        let warned = view["healthWarnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        if warned && view["decision"]["reasons"].to_string().contains("Lost telemetry is not evidence") {
            break view;
        }
        assert!(std::time::Instant::now() < deadline, "silence is not noticed: {}", view["decision"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(bench.gate.refused() > 0, "the filter tries");
    assert_eq!(silent["weights"], before["weights"], "it neither advanced nor rolled back");
    assert!(bench.weir(&["get", "shop"]).contains("warning: "));
    bench.gate.shut(false);
    // What was kept is counted now, and is evidence.
    let out = |view: &Value| view["state"]["phase"]["outcome"] == "rolledBack";
    let view = bench.traffic_until("the failures are counted", out).await;
    let failed = view["assessment"]["versions"][1]["live"]["failed"].as_u64();
    assert!(failed.is_some_and(|failed| failed > 0), "{view}");
    assert!(bench.weir(&["replay", "shop"]).contains("all equal"));
}
