//! A worker's VM that traps, with a module made to: what FAIL_RELOAD does, what is lost, and that the other workers go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::time::{Duration, Instant};
use weir_tests::envoy::CONTROLLER;
use weir_tests::plans::{experiment, plan};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, FakeController, Load, Upstream, eventually, paths};

/// Between two reports, and what one may be late by on a busy machine.
const INTERVAL: Duration = Duration::from_millis(200);
const SLACK: Duration = Duration::from_millis(600);

/// A stand whose module traps when asked to, over an interval so long that what was not reported when a VM died is known.
async fn stand(interval: &str) -> (Upstream, Upstream, FakeController, Envoy) {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let fake = FakeController::start(plan("1", vec![experiment("e", &[("v1", 0), ("v2", 1)])])).await;
    let envoy = Envoy::builder()
        .version(&one)
        .version(&two)
        .controller(fake.address())
        .plugin(&json!({"controller": {"cluster": CONTROLLER, "reportInterval": interval}}))
        .module(paths::trap_filter().unwrap_or_else(|error| panic!("{error}")))
        .start()
        .await;
    (one, two, fake, envoy)
}

/// Requests on one connection until it is served by a version again. What was answered 503, and for how long.
async fn until_served(worker: &mut Client, version: &str) -> (u64, Duration) {
    let (mut refused, began) = (0, Instant::now());
    eventually(PATIENCE, "the worker has a new VM with the plan", async || {
        let reply = worker.get("/", &[]).await;
        if reply.version() == version {
            return Some(());
        }
        assert_eq!((reply.status.as_u16(), reply.version()), (503, ""), "no VM, no answer but Envoy's own");
        refused += 1;
        None
    })
    .await;
    (refused, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_traps_is_replaced_and_the_other_worker_goes_on() {
    let (_one, two, fake, envoy) = stand("200ms").await;
    // Connections go round the workers: one load on each, and on one of them what will trap.
    let _workers = envoy.workers_with_plan("1").await;
    let a = Load::start(envoy.address(), 1, "/");
    a.more(1).await;
    let b = Load::start(envoy.address(), 1, "/");
    b.more(1).await;
    let loads = [a, b];
    let mut trapping = Client::http2(envoy.address()).await;
    // Older than two seconds, a VM is replaced at once.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut beside = trapping.beside();
    let in_flight = tokio::spawn(async move { beside.get("/delay/400", &[]).await });
    eventually(PATIENCE, "it is under way", async || holds(two.requests_for("/delay/400") == 1)).await;
    let first = Instant::now();
    let trap = trapping.get("/", &[("x-weir-trap", "request")]).await;
    assert_eq!((trap.status.as_u16(), trap.version()), (503, ""), "the request that trapped");
    let (refused, lasted) = until_served(&mut trapping, "v2").await;
    assert!(refused <= 1 && lasted < Duration::from_secs(1), "{refused} {lasted:?}");
    let in_flight = in_flight.await.unwrap();
    assert_eq!((in_flight.status.as_u16(), in_flight.version()), (503, ""), "its VM is gone");
    for _ in 0..20 {
        assert_eq!(trapping.get("/", &[]).await.version(), "v2");
    }
    // Another trap so soon has to wait.
    let second = Instant::now();
    assert_eq!(trapping.get("/", &[("x-weir-trap", "request")]).await.status, 503);
    let (refused, lasted) = until_served(&mut trapping, "v2").await;
    assert!(refused > 0 && lasted < Duration::from_secs(4), "{refused} {lasted:?}");
    for load in &loads {
        load.more(50).await;
    }
    eventually(PATIENCE, "two new incarnations report", async || holds(fake.last_reports().len() == 4)).await;

    let [a, b] = loads;
    let (a, b) = (a.stop().await, b.stop().await);
    assert_eq!((a.broken, b.broken), (0, 0));
    assert!(a.refused == 0 || b.refused == 0, "the other worker answers every request");
    let (here, sent) = (if a.refused > 0 { a.clone() } else { b.clone() }, two.requests());
    assert!(here.refused > 0, "this worker has no VM for a second");
    // Of the worker whose VM died twice, what an interval before each death may not have been reported.
    let unreported = |death: Instant| here.before(death) - here.before(death - INTERVAL - SLACK);
    // And what was sent over the connection that trapped, one request of which never ended.
    let at_most = unreported(first) + unreported(second) + 23;
    eventually(PATIENCE, "the rest is counted", async || holds(fake.counts("e", "v2").completed + at_most >= sent))
        .await;
    tokio::time::sleep(INTERVAL + SLACK).await;
    let counts = fake.counts("e", "v2");
    assert!(counts.assigned <= sent && counts.completed <= counts.assigned, "{sent} sent, {counts:?}");
    assert!(envoy.log().contains("Uncaught RuntimeError"), "the log says so: {}", envoy.log());
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_traps_as_a_request_ends_has_answered_it_and_nothing_counts_twice() {
    let (_one, two, fake, envoy) = stand("60s").await;
    let mut workers = envoy.workers_with_plan("1").await;
    let mut trapping = workers.remove(0);
    // The first report of a worker comes at a random time within the interval: none has come of these.
    for _ in 0..30 {
        assert_eq!(trapping.get("/", &[]).await.version(), "v2");
    }
    let before = two.requests();
    let trap = trapping.get("/", &[("x-weir-trap", "log")]).await;
    assert_eq!(trap.version(), "v2", "an end that traps has been answered before");
    let (refused, _) = until_served(&mut trapping, "v2").await;
    let counted = fake.assigned("e");
    assert!(counted <= before, "{counted} of {before}");
    assert!(refused > 0);
    // Both workers, old and new, still serve; and the books never hold more than was sent.
    for worker in &mut workers {
        assert_eq!(worker.get("/", &[]).await.version(), "v2");
    }
    assert!(fake.assigned("e") <= two.requests());
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
