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
use weir_tests::plans::{experiment, plan};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Envoy, EnvoyBuilder, FakeController, Load, Upstream, eventually};

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

/// Two versions, of which the second gets everything, and a controller.
struct Stand {
    one: Upstream,
    two: Upstream,
    fake: FakeController,
}

impl Stand {
    async fn new() -> Self {
        let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
        let fake = FakeController::start(plan("1", vec![experiment("e", &[("v1", 0), ("v2", 1)])])).await;
        Self { one, two, fake }
    }

    fn envoy(&self) -> EnvoyBuilder {
        let builder = Envoy::builder().version(&self.one).version(&self.two).controller(self.fake.address());
        builder.plugin_text(&configuration(0))
    }

    fn counted(&self) -> (u64, u64) {
        let counts = self.fake.counts("e", "v2");
        (counts.assigned, counts.completed)
    }

    /// What arrived is what is counted, each once.
    async fn all_is_counted_once(&self, sent: &Sent) {
        assert_eq!(sent.refused, 0, "Envoy never answers in a version's stead");
        let all = self.two.requests();
        // An Envoy that has taken over may serve the baseline until it has a plan: unrecorded.
        let unrecorded = self.one.requests() - self.one.requests_for("/echo");
        // A request whose connection ended may have been answered all the same.
        let most = sent.answered() + sent.broken;
        assert!((sent.answered()..=most).contains(&(all + unrecorded)), "{all} and {unrecorded}, {}", sent.answered());
        eventually(PATIENCE, "everything is counted", async || {
            let counts = self.fake.counts("e", "v2");
            holds(counts.assigned >= all && counts.completed + counts.aborted >= all)
        })
        .await;
        let counts = self.fake.counts("e", "v2");
        assert_eq!((counts.assigned, counts.completed + counts.aborted, counts.failed), (all, all, 0));
        assert!(counts.aborted <= sent.broken);
        assert_eq!(self.fake.counts("e", "v1").assigned, 0);
        assert_eq!(self.fake.complaints(), Vec::<String>::new());
    }

    /// Nobody was sent to the baseline for want of a plan.
    fn the_plan_was_always_there(&self) {
        assert_eq!(self.one.requests(), self.one.requests_for("/echo"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_updated_again_and_again_under_load_loses_no_count() {
    let stand = Stand::new().await;
    let mut envoy = stand.envoy().listener_from_file().start().await;
    envoy.workers_with_plan("1").await;
    let load = Load::start(envoy.address(), 4, "/");
    for round in 1..=10 {
        load.more(50).await;
        let taken = envoy.stat("listener_manager.lds.update_success").await.unwrap_or(0);
        envoy.update_plugin(&configuration(round));
        eventually(PATIENCE, "the update is taken", async || {
            holds(envoy.stat("listener_manager.lds.update_success").await? > taken)
        })
        .await;
    }
    load.more(50).await;
    let sent = load.stop().await;
    // A connection of the old listener that rests when its second of drain is over is closed, perhaps as its client sends.
    assert!(sent.broken <= 4 * 10, "{} connections were cut", sent.broken);
    stand.all_is_counted_once(&sent).await;
    stand.the_plan_was_always_there();
    assert_eq!(stand.fake.last_reports().len(), 2, "a VM outlives the updates of its listener");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_pushed_500_times_under_load_loses_no_count_and_keeps_no_memory() {
    const PUSHES: usize = 500;
    let stand = Stand::new().await;
    let mut envoy = stand.envoy().plugin_from_file().start().await;
    envoy.workers_with_plan("1").await;
    let load = Load::start(envoy.address(), 4, "/");
    let mut after_some = 0;
    for round in 1..=PUSHES {
        envoy.update_plugin(&configuration(round));
        let reloads = "extension_config_discovery.http_filter.weir.config_reload";
        eventually(PATIENCE, "the push is taken", async || {
            let seen = usize::try_from(envoy.stat(reloads).await?).ok()?;
            holds(seen > round)
        })
        .await;
        if round == PUSHES / 5 {
            after_some = resident_kib(envoy.id());
        }
    }
    load.more(50).await;
    let sent = load.stop().await;
    assert_eq!(sent.broken, 0);
    stand.all_is_counted_once(&sent).await;
    stand.the_plan_was_always_there();
    assert_eq!(stand.fake.last_reports().len(), 2, "a VM outlives the pushes");
    let grown = resident_kib(envoy.id()).saturating_sub(after_some);
    assert!(grown < 20 << 10, "400 pushes took {grown} KiB");
    eventually(PATIENCE, "Envoy's stats have gone on too", async || {
        holds(envoy.prometheus().await.of("weir_assigned_total", "e", "v2") == sent.answered())
    })
    .await;
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_is_drained_under_load_counts_what_it_still_serves() {
    let stand = Stand::new().await;
    let mut envoy = stand.envoy().start().await;
    envoy.workers_with_plan("1").await;
    let load = Load::start(envoy.address(), 4, "/");
    load.more(200).await;
    envoy.admin_post("/drain_listeners?graceful&skip_exit").await.unwrap();
    load.more(50).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let sent = load.stop().await;
    stand.all_is_counted_once(&sent).await;
    stand.the_plan_was_always_there();
    envoy.admin_post("/quitquitquit").await.unwrap();
    assert_eq!(envoy.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_told_to_quit_or_killed_loses_at_most_an_interval_and_its_successor_counts_on() {
    let stand = Stand::new().await;
    let mut envoy = stand.envoy().start().await;
    let (mut answered, mut at_least, mut incarnations, mut reporting) = (0, 0, 0, 0);
    for kind in ["kill", "quit", "kill"] {
        envoy.workers_with_plan("1").await;
        let load = Load::start(envoy.address(), 4, "/");
        load.more(400).await;
        let died = Instant::now();
        if kind == "kill" {
            envoy.kill();
        } else {
            envoy.admin_post("/quitquitquit").await.unwrap();
            envoy.ended().await;
        }
        let sent = load.stop().await;
        answered += sent.answered() + sent.broken;
        let reported = sent.before(died - INTERVAL - SLACK);
        at_least += reported;
        incarnations += 2;
        // A worker that no connection reached, or that died before its first report, is heard of by nobody.
        reporting += usize::from(reported > 0);
        envoy.restart().await;
    }
    let load = Load::start(envoy.address(), 4, "/");
    load.more(200).await;
    let sent = load.stop().await;
    answered += sent.answered();
    at_least += sent.answered();
    // The last one lives: all of its counts come.
    let mut counted = (0, 0);
    eventually(PATIENCE, "the counts stand still", async || {
        let before = std::mem::replace(&mut counted, stand.counted());
        tokio::time::sleep(2 * INTERVAL).await;
        holds(before == counted && counted.0 >= at_least)
    })
    .await;
    assert!(counted.0 <= answered, "{counted:?} counted, {answered} sent: nothing twice");
    let nodes: BTreeSet<String> = stand.fake.received().into_iter().map(|(report, _)| report.node).collect();
    assert_eq!(nodes, BTreeSet::from([NODE.to_owned()]), "all under one name");
    let lived = stand.fake.last_reports().len();
    assert!((reporting + 1..=incarnations + 2).contains(&lived), "{lived}");
    assert_eq!(stand.fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_restart_under_load_hands_over_and_every_exposure_counts_once() {
    let stand = Stand::new().await;
    let mut envoy = stand.envoy().hot_restartable().start().await;
    envoy.workers_with_plan("1").await;
    let load = Load::start(envoy.address(), 4, "/");
    load.more(200).await;
    envoy.hot_restart().await;
    load.more(200).await;
    envoy.predecessors_ended().await;
    load.more(50).await;
    let sent = load.stop().await;
    eventually(PATIENCE, "all four workers' counts have come", async || holds(stand.fake.last_reports().len() == 4))
        .await;
    // The old one reports while it drains, which is longer than an interval.
    stand.all_is_counted_once(&sent).await;
    let unrecorded = stand.one.requests() - stand.one.requests_for("/echo");
    assert!(
        unrecorded < 400,
        "{unrecorded} requests found no plan: more than four clients send in a few tenths of a second"
    );
}
