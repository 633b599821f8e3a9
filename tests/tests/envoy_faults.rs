//! What an Envoy goes through under load: its listener updated, its configuration pushed, drained, hot restarted, killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use weir_tests::envoy::{CONTROLLER, NODE};
use weir_tests::load::Sent;
use weir_tests::plans::all_to_v2;
use weir_tests::process::{assert_keeps_nothing, resident_kib};
use weir_tests::stand::arrived;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{EnvoyBuilder, Load, Stand, eventually};

/// Between two reports.
const INTERVAL: Duration = Duration::from_millis(300);
/// What a report may be late by on a busy machine: the tick (100 ms) and its own way.
const SLACK: Duration = Duration::from_millis(600);

fn configuration(round: usize) -> String {
    json!({"controller": {"cluster": CONTROLLER, "reportInterval": "300ms"}, "routingHeaders": [
        "x-weir-version", format!("x-round-{round}"),
    ]})
    .to_string()
}

/// A stand whose every request goes to the second version.
async fn stand(change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Stand {
    Stand::with(all_to_v2("1"), |envoy| change(envoy.plugin_text(&configuration(0)))).await
}

fn counted(stand: &Stand) -> (u64, u64) {
    let counts = stand.fake.counts("e", "v2");
    (counts.assigned, counts.completed)
}

/// What arrived is what is counted, each once.
async fn all_is_counted_once(stand: &Stand, sent: &Sent) {
    assert_eq!(sent.refused, 0, "Envoy never answers in a version's stead");
    let all = stand.versions[1].requests();
    // An Envoy that has taken over may serve the baseline until it has a plan: unrecorded.
    let unrecorded = arrived(&stand.versions[0]);
    // A request whose connection ended may have been answered all the same.
    let most = sent.answered() + sent.broken;
    assert!((sent.answered()..=most).contains(&(all + unrecorded)), "{all} and {unrecorded}, {}", sent.answered());
    eventually(PATIENCE, "everything is counted", async || {
        let counts = stand.fake.counts("e", "v2");
        holds(counts.assigned >= all && counts.completed + counts.aborted >= all)
    })
    .await;
    let counts = stand.fake.counts("e", "v2");
    assert_eq!((counts.assigned, counts.completed + counts.aborted, counts.failed), (all, all, 0));
    assert!(counts.aborted <= sent.broken);
    assert_eq!(stand.fake.counts("e", "v1").assigned, 0);
    assert_eq!(stand.fake.complaints(), Vec::<String>::new());
}

/// Nobody was sent to the baseline for want of a plan.
fn the_plan_was_always_there(stand: &Stand) {
    assert_eq!(arrived(&stand.versions[0]), 0);
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_updated_again_and_again_under_load_loses_no_count() {
    let mut stand = stand(|envoy| envoy.listener_from_file()).await;
    let load = Load::start(stand.envoy.address(), 4, "/");
    for round in 1..=10 {
        load.more(50).await;
        let taken = stand.envoy.stat("listener_manager.lds.update_success").await.unwrap_or(0);
        stand.envoy.update_plugin(&configuration(round));
        eventually(PATIENCE, "the update is taken", async || {
            holds(stand.envoy.stat("listener_manager.lds.update_success").await? > taken)
        })
        .await;
    }
    load.more(50).await;
    let sent = load.stop().await;
    // A connection of the old listener that rests when its second of drain is over is closed, perhaps as its client sends.
    assert!(sent.broken <= 4 * 10, "{} connections were cut", sent.broken);
    all_is_counted_once(&stand, &sent).await;
    the_plan_was_always_there(&stand);
    assert_eq!(stand.fake.last_reports().len(), 2, "a VM outlives the updates of its listener");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_pushed_500_times_under_load_loses_no_count_and_keeps_no_memory() {
    const PUSHES: usize = 500;
    let mut stand = stand(|envoy| envoy.plugin_from_file()).await;
    let load = Load::start(stand.envoy.address(), 4, "/");
    let mut after_some = 0;
    for round in 1..=PUSHES {
        stand.envoy.update_plugin(&configuration(round));
        let reloads = "extension_config_discovery.http_filter.weir.config_reload";
        eventually(PATIENCE, "the push is taken", async || {
            let seen = usize::try_from(stand.envoy.stat(reloads).await?).ok()?;
            holds(seen > round)
        })
        .await;
        if round == PUSHES / 5 {
            after_some = resident_kib(stand.envoy.id());
        }
    }
    load.more(50).await;
    let sent = load.stop().await;
    assert_eq!(sent.broken, 0);
    all_is_counted_once(&stand, &sent).await;
    the_plan_was_always_there(&stand);
    assert_eq!(stand.fake.last_reports().len(), 2, "a VM outlives the pushes");
    // Envoy itself keeps 1.2 KiB of each push. Each of three VMs keeps a configuration for a while after its end is seen, and only then:
    // of this one, which has no plan, some 4 KiB.
    let pushes = (PUSHES - PUSHES / 5) as u64;
    assert_keeps_nothing(stand.envoy.id(), after_some, "pushes", pushes, 16 << 10);
    eventually(PATIENCE, "Envoy's stats have gone on too", async || {
        holds(stand.envoy.prometheus().await.of("weir_assigned_total", "e", "v2") == sent.answered())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_is_drained_under_load_counts_what_it_still_serves() {
    let mut stand = stand(|envoy| envoy).await;
    let load = Load::start(stand.envoy.address(), 4, "/");
    load.more(200).await;
    stand.envoy.admin_post("/drain_listeners?graceful&skip_exit").await.unwrap();
    load.more(50).await;
    // Chance decides which connections it closes until its second of drain is over, and then it closes each.
    eventually(PATIENCE, "it has asked connections to go", async || {
        holds(stand.envoy.stat("http.traffic.downstream_cx_drain_close").await? >= 50)
    })
    .await;
    let sent = load.stop().await;
    all_is_counted_once(&stand, &sent).await;
    the_plan_was_always_there(&stand);
    stand.envoy.admin_post("/quitquitquit").await.unwrap();
    assert_eq!(stand.envoy.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_told_to_quit_or_killed_loses_at_most_an_interval_and_its_successor_counts_on() {
    let mut stand = stand(|envoy| envoy).await;
    let (mut answered, mut at_least, mut incarnations, mut reporting) = (0, 0, 0, 0);
    for kind in ["kill", "quit", "kill"] {
        stand.envoy.workers_with_plan("1").await;
        let load = Load::start(stand.envoy.address(), 4, "/");
        load.more(400).await;
        let died = Instant::now();
        if kind == "kill" {
            stand.envoy.kill();
        } else {
            stand.envoy.admin_post("/quitquitquit").await.unwrap();
            stand.envoy.ended().await;
        }
        let sent = load.stop().await;
        answered += sent.answered() + sent.broken;
        let reported = sent.before(died - INTERVAL - SLACK);
        at_least += reported;
        incarnations += 2;
        // A worker that no connection reached, or that died before its first report, is heard of by nobody.
        reporting += usize::from(reported > 0);
        stand.envoy.restart().await;
    }
    stand.envoy.workers_with_plan("1").await;
    let before = stand.fake.incarnations_of("e");
    let load = Load::start(stand.envoy.address(), 4, "/");
    load.more(200).await;
    let sent = load.stop().await;
    answered += sent.answered();
    at_least += sent.answered();
    // The last one lives: all of its counts come, and no more of any other.
    let of_last = || {
        let new = stand.fake.incarnations_of("e").into_iter().filter(|incarnation| !before.contains(incarnation));
        let counts = new.map(|incarnation| stand.fake.counts_of(&incarnation, "e", "v2"));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.assigned, sum.1 + counts.completed))
    };
    let all = sent.answered();
    eventually(PATIENCE, "all of the last one's has come", async || holds(of_last().1 >= all)).await;
    assert_eq!(of_last(), (all, all));
    let now = counted(&stand);
    assert!(now.0 >= at_least, "{now:?} counted, {at_least} were older than an interval when their Envoy died");
    assert!(now.0 <= answered, "{now:?} counted, {answered} sent: nothing twice");
    let nodes: BTreeSet<String> = stand.fake.received().into_iter().map(|(report, _)| report.node).collect();
    assert_eq!(nodes, BTreeSet::from([NODE.to_owned()]), "all under one name");
    let lived = stand.fake.last_reports().len();
    assert!((reporting + 1..=incarnations + 2).contains(&lived), "{lived}");
    assert_eq!(stand.fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_restart_under_load_hands_over_and_every_exposure_counts_once() {
    let mut stand = stand(|envoy| envoy.hot_restartable()).await;
    let load = Load::start(stand.envoy.address(), 4, "/");
    load.more(200).await;
    stand.envoy.hot_restart().await;
    load.more(200).await;
    stand.envoy.predecessors_ended().await;
    load.more(50).await;
    let sent = load.stop().await;
    eventually(PATIENCE, "all four workers' counts have come", async || holds(stand.fake.last_reports().len() == 4))
        .await;
    // The old one reports while it drains, which is longer than an interval.
    all_is_counted_once(&stand, &sent).await;
    let unrecorded = arrived(&stand.versions[0]);
    assert!(
        unrecorded < 400,
        "{unrecorded} requests found no plan: more than four clients send in a few tenths of a second"
    );
}
