//! A controller that fails in every way it can, under load: each exposure is counted once, and the last plan stays in force.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use weir_tests::envoy::CONTROLLER;
use weir_tests::fake::Answer;
use weir_tests::plans::all_to_v2;
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Controller, FakeController, Load, Stand, Upstream, eventually};

/// Ends the load; everything must be counted, nothing twice, nothing lost.
async fn all_is_counted_once(load: Load, fake: &FakeController, version: &Upstream) {
    let sent = load.stop().await;
    assert_eq!((sent.refused, sent.broken), (0, 0), "whatever the controller does, requests are answered");
    eventually(PATIENCE, "everything is counted", async || {
        let counts = fake.counts("e", "v2");
        holds(counts.assigned >= sent.answered() && counts.completed >= sent.answered())
    })
    .await;
    let counts = fake.counts("e", "v2");
    let all = sent.answered();
    assert_eq!((counts.assigned, counts.completed, counts.failed, version.requests()), (all, all, 0, all));
    assert_eq!(fake.complaints(), Vec::<String>::new());
    assert!(fake.received().iter().all(|(report, _)| report.dropped == 0), "nothing is said to be lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answer_a_report_gets_each_exposure_counts_once() {
    let Stand { versions: [_one, two], fake, envoy, .. } = Stand::start(all_to_v2("1")).await;
    let load = Load::start(envoy.address(), 4, "/");
    for fault in [
        Answer::Refuse(500),
        Answer::Refuse(302),
        Answer::Refuse(429),
        Answer::Garbage,
        Answer::Truncated,
        Answer::TooLarge,
        Answer::CountAndDisconnect,
        // Longer than a filter waits.
        Answer::Late(6_000),
    ] {
        // Both workers meet it.
        fake.script(&[fault, fault]);
        eventually(PATIENCE, &format!("{fault:?} was given"), async || holds(fake.scripted() == 0)).await;
        let received = fake.received().len();
        load.more(20).await;
        eventually(PATIENCE, "reports go on", async || holds(fake.received().len() > received + 2)).await;
    }
    all_is_counted_once(load, &fake, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answer_a_poll_gets_the_last_plan_stays_and_the_next_is_taken() {
    let at = |revision: &str| all_to_v2(revision);
    let Stand { versions: [_one, two], fake, envoy, mut workers } = Stand::start(at("1")).await;
    let load = Load::start(envoy.address(), 4, "/");
    for (round, fault) in [
        Answer::Refuse(500),
        Answer::Refuse(404),
        Answer::Garbage,
        Answer::Truncated,
        Answer::TooLarge,
        Answer::CountAndDisconnect,
        Answer::Late(1_500),
    ]
    .into_iter()
    .enumerate()
    {
        // The poll that is held already is answered well; the next ones are not.
        fake.script_polls(&[fault, fault]);
        let revision = format!("{}", 2 * round + 2);
        fake.publish(at(&revision));
        envoy.wait_for_plan(&mut workers, &revision).await;
        let revision = format!("{}", 2 * round + 3);
        fake.publish(at(&revision));
        envoy.wait_for_plan(&mut workers, &revision).await;
        eventually(PATIENCE, &format!("{fault:?} was given"), async || holds(fake.scripted_polls() == 0)).await;
    }
    assert_eq!(fake.most_polls_at_a_time(), 1);
    let marked = two.requests_for("/echo");
    assert_eq!(marked, 0, "the marker's requests go to the baseline");
    all_is_counted_once(load, &fake, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_whose_connections_are_reset_and_that_is_killed_loses_nothing() {
    let upstreams: [Upstream; 2] = versions().await;
    let mut fake = FakeController::start(all_to_v2("1")).await;
    fake.reset_connections();
    let envoy = between(&upstreams, fake.address()).plugin(&reporting("100ms")).start().await;
    envoy.workers_with_plan("1").await;
    let load = Load::start(envoy.address(), 4, "/");
    for _ in 0..5 {
        load.more(100).await;
        // Every connection is reset, whatever is under way on it.
        fake.stop().await;
        load.more(100).await;
        fake.resume().await;
        let received = fake.received().len();
        eventually(PATIENCE, "reports go on", async || holds(fake.received().len() > received)).await;
    }
    assert!(envoy.stat(&format!("cluster.{CONTROLLER}.upstream_cx_destroy_remote")).await >= Some(5));
    all_is_counted_once(load, &fake, &upstreams[1]).await;
}

const EXPERIMENT: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: counted}
spec:
  service: shop
  match: {hosts: [shop.example]}
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {ab: {}}
  reward: {responseHeader: x-weir-reward, direction: maximize}
  deadline: 1s
  bin: 1s
  minExposures: 1000000
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_stands_still_and_is_killed_counts_everything_once() {
    let upstreams: [Upstream; 2] = versions().await;
    let mut controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
    controller.apply(EXPERIMENT);
    let envoy = between(&upstreams, controller.address()).plugin(&reporting("100ms")).start().await;
    envoy.wait_for_plans_in_log(1).await;
    let load = Load::start(envoy.address(), 4, "/");
    load.more(200).await;
    // Longer than a filter waits for an answer: reports that wait in its socket are sent again.
    let retried = envoy.prometheus().await.sum("weir_reports_retried_total");
    controller.signal(libc::SIGSTOP);
    eventually(PATIENCE, "each worker has sent a report again", async || {
        holds(envoy.prometheus().await.sum("weir_reports_retried_total") >= retried + 2)
    })
    .await;
    controller.signal(libc::SIGCONT);
    load.more(200).await;
    controller.signal(libc::SIGSTOP);
    load.more(100).await;
    controller.kill();
    load.more(100).await;
    controller.resume().await;
    load.more(100).await;
    let sent = load.stop().await;
    assert_eq!((sent.refused, sent.broken), (0, 0));
    let all = sent.answered();
    let counted = async || {
        let view = controller.get("/v1/experiments/counted").await?;
        let versions = view["assessment"]["versions"].as_array()?.clone();
        let sum = |what: &str| versions.iter().map(|version| version["live"][what].as_u64().unwrap()).sum::<u64>();
        Some((sum("assigned"), sum("completed")))
    };
    eventually(PATIENCE, "everything is counted", async || {
        holds(counted().await.is_some_and(|(assigned, completed)| assigned >= all && completed >= all))
    })
    .await;
    assert_eq!(counted().await, Some((all, all)));
}
