//! From requests through a real Envoy to verdicts of the real controller: latency, guardrails, and users as the unit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Controller, Envoy, Upstream, eventually};

const USERS_ARE_UNITS: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: users}
spec:
  service: shop
  unit: {header: x-user}
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {canary: {steps: [50%]}}
  objectives: [{name: errors, errorRate: {max: 0.1%}}]
  guardrails: [{name: errors-more, errorRate: {ratio: 2}}]
  minExposures: 50
  deadline: 1s
  bin: 1s
";

const LATENCY: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: latency}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {canary: {steps: [50%]}}
  objectives: [{name: slow, latency: {quantile: 90%, max: 80ms}}]
  guardrails: [{name: like-v1, latency: {ratio: 2}}]
  minExposures: 20
  deadline: 1s
  bin: 1s
";

/// Two versions, the controller with an experiment, and an Envoy between them.
struct Bench {
    _upstreams: [Upstream; 2],
    controller: Controller,
    envoy: Envoy,
    name: &'static str,
}

impl Bench {
    async fn new(name: &'static str, experiment: &str) -> Self {
        let upstreams = versions().await;
        let controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
        controller.apply(experiment);
        let envoy = between(&upstreams, controller.address()).plugin(&reporting("100ms")).start().await;
        Self { _upstreams: upstreams, controller, envoy, name }
    }

    async fn view(&self) -> Option<Value> {
        self.controller.get(&format!("/v1/experiments/{}", self.name)).await
    }

    /// A client on each worker, once both versions answer there: the plan has arrived.
    async fn clients(&self) -> Vec<Client> {
        let mut clients = self.envoy.connect_to_every_worker().await;
        for client in &mut clients {
            let mut user = 0;
            eventually(PATIENCE, "the worker has the plan", async || {
                user += 1;
                holds(client.get("/", &[("x-user", &format!("early-{user}"))]).await.version() == "v2")
            })
            .await;
        }
        clients
    }

    /// What the roll-back said.
    async fn rolled_back(&self) -> (Value, String) {
        let view = eventually(PATIENCE, "the candidate is rolled back", async || {
            let view = self.view().await?;
            (view["phase"] == "concluded").then_some(view)
        })
        .await;
        assert_eq!(view["state"]["phase"]["outcome"], "rolledBack", "{}", view["lastChange"]["reasons"]);
        // All of them: where both versions break a limit in the same look, the baseline's reason comes first.
        let reasons = view["lastChange"]["reasons"].as_array().expect("reasons").iter().filter_map(Value::as_str);
        let reasons = reasons.collect::<Vec<_>>().join("\n");
        (view, reasons)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_fail_on_the_candidate_roll_it_back_each_counted_once_and_a_restart_forgets_none() {
    let mut bench = Bench::new("users", USERS_ARE_UNITS).await;
    let mut clients = bench.clients().await;
    let workers = clients.len();
    let (mut of_v1, mut of_v2) = (Vec::new(), Vec::new());
    for at in 0..160 {
        let user = format!("user-{at}");
        let version = clients[at % workers].get("/", &[("x-user", &user)]).await.version().to_owned();
        (if version == "v2" { &mut of_v2 } else { &mut of_v1 }).push(user);
    }
    assert!(of_v1.len() > 40 && of_v2.len() > 40, "{} and {}", of_v1.len(), of_v2.len());
    // A single user of v2 fails a hundred times: as evidence no more than once.
    for at in 0..100 {
        clients[at % workers].get("/status/500", &[("x-user", &of_v2[0])]).await;
    }
    clients[0].get("/status/500", &[("x-user", &of_v1[0])]).await;
    let closed = |view: &Value| view["assessment"]["versions"][1]["gates"][1]["logEViolated"].as_f64();
    let view = eventually(PATIENCE, "both users' failures have settled", async || {
        let view = bench.view().await?;
        let settled = |at: usize| view["assessment"]["versions"][at]["settled"]["failed"].as_u64();
        (settled(0)? >= 1 && settled(1)? >= 100).then_some(view)
    })
    .await;
    assert_eq!(view["phase"], "running");
    let gates = &view["assessment"]["versions"][1]["gates"];
    assert_eq!(
        (&gates[0]["covered"], &gates[1]["covered"], &gates[1]["card"]),
        (&json!(false), &json!(true), &json!("F"))
    );
    assert!(closed(&view).unwrap() < 1.0, "two first failures prove little: {}", gates[1]);
    assert!(view["state"].get("units").is_none(), "sets of buckets are nothing to show");

    bench.controller.kill();
    bench.controller.resume().await;
    for user in &of_v2[1..30] {
        clients[0].get("/status/500", &[("x-user", user)]).await;
    }
    let (_, reason) = bench.rolled_back().await;
    assert!(reason.contains("v2 breaks errors-more"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_breaks_its_objective_on_latency_is_rolled_back() {
    let bench = Bench::new("latency", LATENCY).await;
    let mut clients = bench.clients().await;
    // Both versions are slow alike: the guardrail has nothing to say, the objective has.
    for _ in 0..40 {
        for client in &mut clients {
            client.get("/delay/120", &[]).await;
        }
    }
    let (view, reason) = bench.rolled_back().await;
    assert!(reason.contains("v2 breaks slow"), "{reason}");
    let version = &view["assessment"]["versions"][1];
    assert_eq!(version["gates"][1]["verdict"], "notEnoughEvidence");
    let metric = |name: &str| {
        let metrics = version["metrics"].as_array().expect("metrics");
        metrics.iter().find(|metric| metric["name"] == name).expect("it was measured")["observed"].as_f64().unwrap()
    };
    assert!(metric("latencyP50") >= 118.0, "{version}");
}
