//! What a mesh does when something fails: a version, the controller, the filter. By what `weir render istio` prints.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use weir_tests::istio::{Delivery, Mesh, Place, Site, change_plugin, plan};
use weir_tests::plans::on_host;
use weir_tests::stand::{arrived, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Controller, FakeController, Upstream, eventually, paths};

/// All to v2, through a mesh with a controller that says so.
struct ToV2 {
    versions: [Upstream; 2],
    fake: FakeController,
    mesh: Mesh,
    resources: Vec<Value>,
    workers: Vec<Client>,
}

impl ToV2 {
    async fn start(place: Place, delivery: Delivery, options: &[&str]) -> Self {
        let site = Site::new(place, delivery);
        let versions = versions().await;
        let mut resources = site.rendered(&site.document(&["v1", "v2"], &json!({})), options);
        change_plugin(&mut resources, |plugin| plugin["controller"]["stalenessLimit"] = json!("2s"));
        let fake = FakeController::start(plan("1", vec![on_host(site.host(), &[("v1", 0), ("v2", 1)])])).await;
        let mesh = Mesh::start(site, &versions, fake.address(), &resources).await;
        let workers = mesh.workers_with_plan("1").await;
        let mut all = Self { versions, fake, mesh, resources, workers };
        all.visit(5, "v2").await;
        all
    }

    /// Sends so many requests on each connection; all must be answered by `version`.
    async fn visit(&mut self, requests: u64, version: &str) {
        let host = self.mesh.site.host();
        for worker in &mut self.workers {
            for _ in 0..requests {
                assert_eq!(worker.get("/", &[("host", host)]).await.version(), version);
            }
        }
    }

    /// Waits until every connection is answered by `version`.
    async fn until(&mut self, version: &str, when: &str) {
        let host = self.mesh.site.host();
        for worker in &mut self.workers {
            eventually(PATIENCE, &format!("{version} answers {when}"), async || {
                holds(worker.get("/", &[("host", host)]).await.version() == version)
            })
            .await;
        }
    }
}

/// The baseline gets everything without a controller, and without the filter, which may come back.
async fn fails_to_the_baseline(place: Place, delivery: Delivery) {
    let mut all = ToV2::start(place, delivery, &[]).await;
    all.fake.stop().await;
    all.until("v1", "without word from the controller").await;
    all.visit(5, "v1").await;
    all.fake.resume().await;
    all.until("v2", "when the controller is back").await;

    let is_filter = |resource: &Value| ["EnvoyFilter", "WasmPlugin"].contains(&resource["kind"].as_str().unwrap());
    let without: Vec<Value> = all.resources.iter().filter(|resource| !is_filter(resource)).cloned().collect();
    assert!(without.len() < all.resources.len());
    all.mesh.put(&without).await.unwrap();
    // The listener of before drains its connections.
    all.workers = all.mesh.connect().await;
    all.until("v1", "without the filter").await;
    all.visit(5, "v1").await;
    all.mesh.put(&all.resources).await.unwrap();
    all.workers = all.mesh.workers_with_plan("1").await;
    all.visit(5, "v2").await;
    let assigned = arrived(&all.versions[1]);
    eventually(PATIENCE, "every request is counted", async || {
        holds(all.fake.counts(all.mesh.site.host(), "v2").completed >= assigned)
    })
    .await;
    assert_eq!(all.fake.counts(all.mesh.site.host(), "v2").assigned, assigned);
    assert_eq!(all.fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_sidecar_the_baseline_gets_everything_without_controller_or_filter() {
    fails_to_the_baseline(Place::Sidecar, Delivery::EnvoyFilter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_gateway_the_baseline_gets_everything_without_controller_or_filter() {
    fails_to_the_baseline(Place::Gateway, Delivery::WasmPlugin).await;
}

/// A filter that traps on every connection's worker: what follows on each, until `version` answers again.
async fn traps(place: Place, delivery: Delivery, fail: &str, version: &str) {
    let module = paths::trap_filter().unwrap_or_else(|error| panic!("{error}"));
    let module = module.to_str().unwrap();
    let mut all = ToV2::start(place, delivery, &["--module", module, "--fail", fail]).await;
    let host = all.mesh.site.host();
    let reply = all.workers[0].get("/", &[("host", host), ("x-weir-trap", "request")]).await;
    assert_eq!((reply.status.as_u16(), reply.version()), (503, ""), "the request that trapped");
    let worker = &mut all.workers[0];
    eventually(PATIENCE, &format!("{version} answers where the filter trapped"), async || {
        let reply = worker.get("/", &[("host", host)]).await;
        assert!(reply.version() == version || reply.status == 503, "{} from {}", reply.status, reply.version());
        holds(reply.version() == version)
    })
    .await;
    for _ in 0..20 {
        assert_eq!(worker.get("/", &[("host", host)]).await.version(), version);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_traps_is_loaded_anew_in_a_sidecar() {
    traps(Place::Sidecar, Delivery::WasmPlugin, "reload", "v2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_traps_and_fails_open_leaves_the_baseline_in_a_gateway() {
    traps(Place::Gateway, Delivery::WasmPlugin, "open", "v1").await;
}

/// The real controller: what it counted is what the versions saw, and a version that breaks its objective is rolled back.
async fn rolls_back(place: Place, delivery: Delivery) {
    let site = Site::new(place, delivery);
    let document = site.document(
        &["v1", "v2"],
        &json!({"strategy": {"canary": {"steps": ["50%"]}}, "minExposures": 50, "deadline": "1s", "bin": "1s"}),
    );
    let versions = [Upstream::start("v1").await, Upstream::always("v2", "/status/500").await];
    let mut controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
    controller.apply(&document.to_string());
    let resources = site.rendered(&document, &[]);
    let mesh = Mesh::start(site, &versions, controller.address(), &resources).await;
    let mut clients = mesh.connect().await;
    let host = mesh.site.host();
    // Requests whose only sign of a plan is that v2 has some; few enough to leave it in.
    for client in &mut clients {
        eventually(PATIENCE, "the worker has the plan", async || {
            holds(client.get("/", &[("host", host)]).await.version() == "v2")
        })
        .await;
    }
    controller.kill();
    for client in &mut clients {
        client.get("/", &[("host", host)]).await;
    }
    controller.resume().await;
    let view = eventually(PATIENCE, "the candidate is rolled back", async || {
        for client in &mut clients {
            client.get("/", &[("host", host)]).await;
        }
        let view = controller.get("/v1/experiments/shop").await?;
        (view["phase"] == "concluded").then_some(view)
    })
    .await;
    assert_eq!(view["state"]["phase"]["outcome"], "rolledBack", "{}", view["lastChange"]["reasons"]);
    for client in &mut clients {
        eventually(PATIENCE, "the worker has the outcome", async || {
            holds(client.get("/", &[("host", host)]).await.version() == "v1")
        })
        .await;
        for _ in 0..20 {
            assert_eq!(client.get("/", &[("host", host)]).await.version(), "v1");
        }
    }
    let reasons = view["lastChange"]["reasons"].to_string();
    assert!(reasons.contains("v2 breaks errors"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_breaks_its_objective_is_rolled_back_through_a_sidecar() {
    rolls_back(Place::Sidecar, Delivery::EnvoyFilter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_breaks_its_objective_is_rolled_back_through_a_gateway() {
    rolls_back(Place::Gateway, Delivery::WasmPlugin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_real_controller_counted_is_what_the_versions_saw() {
    const EACH: u64 = 60;
    let site = Site::new(Place::Sidecar, Delivery::WasmPlugin);
    let document = site.document(
        &["v1", "v2"],
        &json!({"strategy": {"ab": {"weights": {"v1": "50%", "v2": "50%"}}}, "deadline": "1s", "bin": "1s"}),
    );
    let versions = versions::<2>().await;
    let mut controller = Controller::start().await;
    controller.apply(&document.to_string());
    let mesh = Mesh::start(site.clone(), &versions, controller.address(), &site.rendered(&document, &[])).await;
    // Requests before a worker has the plan are the baseline's and no exposures: these are told apart by their path.
    let mut clients = mesh.connect().await;
    for client in &mut clients {
        eventually(PATIENCE, "the worker has the plan", async || {
            holds(client.get("/echo", &[("host", site.host())]).await.version() == "v2")
        })
        .await;
    }
    let before: Vec<u64> = versions.iter().map(|version| version.requests_for("/echo")).collect();
    for round in 0..EACH {
        if round == EACH / 2 {
            controller.kill();
        }
        for client in &mut clients {
            client.get("/", &[("host", site.host())]).await;
        }
    }
    controller.resume().await;
    let settled = |view: &Value, at: usize| view["assessment"]["versions"][at]["settled"]["assigned"].as_u64();
    let sent: Vec<u64> = versions.iter().map(arrived).collect();
    let view = eventually(PATIENCE, "everything has settled", async || {
        let view = controller.get("/v1/experiments/shop").await?;
        holds(settled(&view, 0)? >= sent[0] && settled(&view, 1)? >= sent[1] + before[1])?;
        Some(view)
    })
    .await;
    assert_eq!(sent.iter().sum::<u64>(), EACH * clients.len() as u64);
    assert_eq!(settled(&view, 1), Some(sent[1] + before[1]), "all that v2 saw are exposures");
    let of_v1 = settled(&view, 0).unwrap();
    assert!((sent[0]..=sent[0] + before[0]).contains(&of_v1), "{of_v1} of v1; {} and {} early", sent[0], before[0]);
}
