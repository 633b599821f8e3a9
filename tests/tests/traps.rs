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
use weir_tests::{Client, Envoy, FakeController, Upstream, eventually, paths};

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
async fn a_vm_that_traps_is_replaced_in_seconds_and_the_other_worker_goes_on() {
    let (_one, two, fake, envoy) = stand("200ms").await;
    let mut workers = envoy.workers_with_plan("1").await;
    let (other, mut trapping) = (workers.remove(1), workers.remove(0));
    let other = tokio::spawn(async move {
        let mut other = other;
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(5) {
            assert_eq!(other.get("/", &[]).await.version(), "v2", "the other worker's requests");
            sent += 1;
        }
        sent
    });
    let mut sent = 0;
    for _ in 0..20 {
        assert_eq!(trapping.get("/", &[]).await.version(), "v2");
        sent += 1;
    }
    eventually(PATIENCE, "this worker's exposures are reported", async || {
        holds(fake.last_reports().len() == 2)?;
        let open = fake.received().iter().flat_map(|(report, _)| report.experiments.clone()).count();
        holds(open > 2)
    })
    .await;
    // Longer than an interval after the last exposure: nothing is unreported when the VM dies.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let trap = trapping.get("/", &[("x-weir-trap", "request")]).await;
    assert_eq!(trap.status, 503, "the request that trapped");
    let (refused, lasted) = until_served(&mut trapping, "v2").await;
    assert!(refused > 0 && lasted < Duration::from_secs(4), "{refused} {lasted:?}");
    sent += 1;
    for _ in 0..20 {
        assert_eq!(trapping.get("/", &[]).await.version(), "v2");
        sent += 1;
    }
    let sent = sent + other.await.unwrap();
    assert_eq!(two.requests(), sent, "what trapped or found no VM went to no version");
    eventually(PATIENCE, "everything is counted", async || {
        let counts = fake.counts("e", "v2");
        holds(counts.assigned >= sent && counts.completed >= sent)
    })
    .await;
    let counts = fake.counts("e", "v2");
    assert_eq!((counts.assigned, counts.completed), (sent, sent), "nothing is lost that was reported");
    assert_eq!(fake.last_reports().len(), 3, "the new VM is another incarnation");
    assert!(envoy.log().contains("trap") || envoy.log().contains("Uncaught"), "{}", envoy.log());
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vm_had_not_reported_when_it_trapped_is_lost_and_no_more() {
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
