//! Plans in and reports out, with a controller that fails as a test asks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use weir_core::plan::Status;
use weir_tests::envoy::{CONTROLLER, NODE};
use weir_tests::fake::Answer;
use weir_tests::plans::{all_to_v2, experiment, on_host, plan};
use weir_tests::stand::{between, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, FakeController, Stand, Upstream, eventually};

fn reporting() -> Value {
    json!({"controller": {"cluster": CONTROLLER, "token": "proxy-secret", "reportInterval": "100ms"}})
}

/// Sends so many requests on each connection; all must be answered by `version`.
async fn visit(workers: &mut [Client], host: &str, requests: u64, version: &str) {
    for worker in workers {
        for _ in 0..requests {
            assert_eq!(worker.get("/", &[("host", host)]).await.version(), version);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plan_reaches_every_worker_over_one_poll_per_envoy() {
    let at = |revision: &str, v2: u32| plan(revision, vec![experiment("e", &[("v1", 1 - v2), ("v2", v2)])]);
    let Stand { versions: [_one, _two], fake, envoy, mut workers } =
        Stand::with(at("0", 0), |envoy| envoy.concurrency(4).plugin(&reporting())).await;
    visit(&mut workers, "any.test", 5, "v1").await;
    for round in 1..=4 {
        let (v2, version) = if round % 2 == 1 { (1, "v2") } else { (0, "v1") };
        let revision = round.to_string();
        fake.publish(at(&revision, v2));
        envoy.wait_for_plan(&mut workers, &revision).await;
        visit(&mut workers, "any.test", 5, version).await;
    }
    // Four workers and the main thread's VM share one poll.
    assert_eq!(fake.most_polls_at_a_time(), 1);
    assert!(fake.polls() <= 8, "{} polls for 5 plans", fake.polls());

    eventually(PATIENCE, "every request is counted", async || holds(fake.assigned("e") >= 4 * 5 * 5)).await;
    let incarnations: BTreeSet<String> = fake.last_reports().into_keys().collect();
    assert_eq!(incarnations.len(), 4, "each worker reports under an incarnation of its own");
    assert!(fake.received().iter().all(|(report, _)| report.node == NODE));
    assert_eq!(fake.credentials(), BTreeSet::from(["Bearer proxy-secret".to_owned()]));
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_report_is_lost_or_counted_twice_whatever_the_controller_answers() {
    let Stand { versions: [_one, two], mut fake, envoy: _envoy, mut workers } =
        Stand::with(all_to_v2("1"), |envoy| envoy.plugin(&reporting())).await;
    let mut sent = 0;
    for answers in [
        &[][..],
        &[Answer::Refuse(503), Answer::Refuse(500)],
        &[Answer::CountAndDisconnect, Answer::Refuse(429), Answer::CountAndDisconnect],
        &[Answer::Refuse(401)],
    ] {
        fake.script(answers);
        visit(&mut workers, "any.test", 25, "v2").await;
        sent += 2 * 25;
        eventually(PATIENCE, "the script has been played", async || holds(fake.scripted() == 0)).await;
    }
    fake.stop().await;
    visit(&mut workers, "any.test", 25, "v2").await;
    sent += 2 * 25;
    fake.resume().await;
    eventually(PATIENCE, "every request is counted", async || {
        let counts = fake.counts("e", "v2");
        holds(counts.assigned >= sent && counts.completed >= sent)
    })
    .await;
    let counts = fake.counts("e", "v2");
    assert_eq!((counts.assigned, counts.completed, counts.failed, two.requests()), (sent, sent, 0, sent));
    assert_eq!(fake.complaints(), Vec::<String>::new());
    // Two workers send in turns: the same report need not come twice in a row. Incarnation and sequence make bodies unique.
    let received = fake.received();
    let different: BTreeSet<&[u8]> = received.iter().map(|(_, body)| body.as_slice()).collect();
    assert!(different.len() < received.len(), "reports were sent again, byte for byte");
    assert!(fake.received().iter().all(|(report, _)| report.dropped == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_will_never_be_accepted_is_dropped_and_said_to_be() {
    let Stand { versions: [_one, _two], fake, envoy, mut workers } =
        Stand::with(all_to_v2("1"), |envoy| envoy.concurrency(1).plugin(&reporting())).await;
    fake.script(&[Answer::Refuse(422)]);
    visit(&mut workers, "any.test", 10, "v2").await;
    let refused = eventually(PATIENCE, "a report is refused", async || fake.received().into_iter().next()).await.0;
    visit(&mut workers, "any.test", 10, "v2").await;
    eventually(PATIENCE, "counting goes on", async || {
        let lost: u64 = fake.received().iter().map(|(report, _)| report.dropped).sum();
        holds(lost > 0 && fake.assigned("e") + lost == 20)
    })
    .await;
    let (next, _) = &fake.received()[1];
    assert_ne!(next.incarnation, refused.incarnation, "what is incomplete is not mixed with what is not");
    assert_eq!(next.sequence, 1);
    assert!(envoy.log().contains("a report was refused"), "{}", envoy.log());
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_controller_the_last_plan_stays_and_after_the_limit_the_baseline_gets_everything() {
    let upstreams: [Upstream; 2] = versions().await;
    let to_v2 = [("v1", 0), ("v2", 1)];
    let mut concluded = on_host("concluded.test", &to_v2);
    concluded.status = Status::Concluded;
    let experiments = vec![on_host("running.test", &to_v2), concluded];
    let mut fake = FakeController::start(plan("1", experiments)).await;
    let patient = between(&upstreams, fake.address()).plugin(&reporting());
    let mut configuration = reporting();
    configuration["controller"]["stalenessLimit"] = json!("2s");
    let hasty = between(&upstreams, fake.address()).plugin(&configuration);
    let (patient, hasty) = tokio::join!(patient.start(), hasty.start());
    let mut patient_workers = patient.workers_with_plan("1").await;
    let mut hasty_workers = hasty.workers_with_plan("1").await;
    visit(&mut hasty_workers, "running.test", 5, "v2").await;
    visit(&mut hasty_workers, "concluded.test", 5, "v2").await;
    eventually(PATIENCE, "everything is counted", async || holds(fake.assigned("running.test") == 10)).await;

    fake.stop().await;
    // Within the limit the last plan stays.
    visit(&mut hasty_workers, "running.test", 1, "v2").await;
    for worker in &mut hasty_workers {
        eventually(PATIENCE, "the running experiment goes to its baseline", async || {
            holds(worker.get("/", &[("host", "running.test")]).await.version() == "v1")
        })
        .await;
    }
    visit(&mut hasty_workers, "running.test", 10, "v1").await;
    visit(&mut hasty_workers, "concluded.test", 10, "v2").await;
    // The other Envoy's limit of a minute has not passed: nothing changes there.
    visit(&mut patient_workers, "running.test", 10, "v2").await;
    visit(&mut patient_workers, "concluded.test", 10, "v2").await;

    fake.resume().await;
    for worker in &mut hasty_workers {
        eventually(PATIENCE, "the experiment goes on", async || {
            holds(worker.get("/", &[("host", "running.test")]).await.version() == "v2")
        })
        .await;
    }
    visit(&mut hasty_workers, "running.test", 5, "v2").await;
    // Fallbacks are recorded for nobody, and concluded experiments never.
    let all = upstreams[1].requests() - 2 * 5 - 2 * 10 - 2 * 10;
    eventually(PATIENCE, "everything is counted", async || holds(fake.counts("running.test", "v2").assigned >= all))
        .await;
    assert_eq!(fake.counts("running.test", "v2").assigned, all);
    assert_eq!(fake.counts("running.test", "v1").assigned, 0);
    assert_eq!(fake.assigned("concluded.test"), 0);
    assert!(hasty.log().contains("stale"), "the operator is told: {}", hasty.log());
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
