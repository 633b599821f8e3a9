//! Plans of a thousand experiments and of a mebibyte, floods of unique users, and a controller away for longer than there is room:
//! memory is bounded, counts are exact, and what is lost is counted and reported.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::time::{Duration, Instant};
use weir_core::plan::{Header, Plan, PlannedExperiment};
use weir_tests::envoy::cluster;
use weir_tests::plans::{on_host, plan, sticky, version};
use weir_tests::process::{assert_keeps_nothing, resident_kib};
use weir_tests::stand::reporting;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Envoy, Stand, Upstream, client, eventually};

/// One experiment less than a plan may have: the marker is another.
const MANY: usize = 999;

/// Two versions that are cheap to ask, and one that shows what arrives: the canned answer shows nothing of a request.
async fn stand(plan: Plan) -> (Stand, Upstream) {
    let marker = Upstream::start("v1").await;
    let versions = [Upstream::canned("v1").await, Upstream::canned("v2").await];
    let stand = Stand::of(versions, plan, |envoy| {
        envoy
            .cluster(cluster("marker", marker.address(), false))
            .route(json!({"match": {"prefix": "/echo"}, "route": {"cluster": "marker"}}))
            .plugin(&reporting("200ms"))
    });
    (stand.await, marker)
}

fn hosts() -> impl Iterator<Item = String> + Clone {
    (0..MANY).map(|at| format!("host-{at}.test"))
}

fn experiments() -> Vec<PlannedExperiment> {
    hosts().map(|host| on_host(&host, &[("v1", 1), ("v2", 1)])).collect()
}

/// Every host so many times, over two connections to each worker.
async fn visit_all(envoy: &Envoy, times: usize) -> u64 {
    let address = envoy.address();
    let mut connections = tokio::task::JoinSet::new();
    for connection in 0..4 {
        let lines =
            hosts().enumerate().filter(move |(at, _)| at % 4 == connection).map(|(_, host)| format!("host: {host}"));
        let lines: Vec<String> = std::iter::repeat_n(lines, times).flatten().collect();
        connections.spawn(async move { client::pipelined_with(address, lines.into_iter()).await });
    }
    connections.join_all().await.iter().flat_map(|versions| versions.values()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_experiments_are_each_routed_and_counted() {
    let (Stand { versions: [one, two], fake, envoy, .. }, _marker) = &stand(plan("1", experiments())).await;
    let sent = visit_all(envoy, 4).await;
    assert_eq!((sent, one.requests() + two.requests()), (4 * MANY as u64, sent));
    eventually(PATIENCE, "everything is counted", async || {
        holds(hosts().map(|host| fake.assigned(&host)).sum::<u64>() == sent)
    })
    .await;
    for host in hosts() {
        let (v1, v2) = (fake.counts(&host, "v1"), fake.counts(&host, "v2"));
        assert_eq!(v1.assigned + v2.assigned, 4, "{host}");
        assert_eq!(v1.completed + v2.completed, 4, "{host}");
    }
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_while_the_controller_is_away_is_counted_and_reported() {
    // Versions without weight take room too, so that it is filled soon.
    let unused = ["v3", "v4", "v5", "v6", "v7", "v8"].map(|name| version(name, 0));
    let mut wide = experiments();
    wide.iter_mut().for_each(|experiment| experiment.versions.extend(unused.clone()));
    let (Stand { mut fake, envoy, versions: _versions, .. }, _marker) = stand(plan("1", wide)).await;
    let mut sent = visit_all(&envoy, 1).await;
    fake.stop().await;
    let before = resident_kib(envoy.id());
    // Each fifth of a second has bins of its own, for each experiment and version: soon more than there is room for.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) || envoy.prometheus().await.sum("weir_dropped_total") == 0 {
        assert!(began.elapsed() < PATIENCE, "the room is never filled");
        sent += visit_all(&envoy, 1).await;
    }
    // Room for each of two workers: 8,192 cells of fewer than 256 bytes each, and the report that waits, of at most 1 MiB.
    let grown = resident_kib(envoy.id()).saturating_sub(before);
    assert!(grown < 2 * (8_192 / 4 + 1_024), "two workers' room took {grown} KiB");
    // Where there is no room a request leaves nothing behind.
    let full = resident_kib(envoy.id());
    let more = visit_all(&envoy, 30).await;
    sent += more;
    assert_keeps_nothing(envoy.id(), full, "requests without room", more, 24);
    fake.resume().await;
    let (mut counted, mut dropped) = (0, 0);
    eventually(PATIENCE, "everything is counted or said to be dropped", async || {
        counted = hosts().map(|host| fake.assigned(&host)).sum::<u64>();
        dropped = 0;
        let mut seen = std::collections::BTreeSet::new();
        for (report, _) in fake.received() {
            if seen.insert((report.incarnation.clone(), report.sequence)) {
                dropped += report.dropped;
            }
        }
        holds(counted + dropped >= sent)
    })
    .await;
    assert_eq!(counted + dropped, sent, "{counted} counted, {dropped} dropped");
    assert!(dropped > 0, "the room was not filled, so nothing was shown");
    eventually(PATIENCE, "Envoy's stats say so too", async || {
        let seen = envoy.prometheus().await;
        holds(seen.sum("weir_dropped_total") == dropped && seen.sum("weir_assigned_total") == counted)
    })
    .await;
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_a_mebibyte_is_taken_and_given_up_again() {
    /// How often it comes, and from when on memory is looked at.
    const ROUNDS: u64 = 16;
    const SOME: u64 = 6;
    let (Stand { versions: [_one, two], fake, envoy, .. }, _marker) =
        &stand(plan("1", vec![on_host("e.test", &[("v1", 1), ("v2", 0)])])).await;
    let mut big: Vec<PlannedExperiment> = (0..MANY)
        .map(|at| {
            let mut experiment = on_host(&format!("big-{at}.test"), &[("v1", 1), ("v2", 1)]);
            for (at, version) in experiment.versions.iter_mut().enumerate() {
                version.headers.push(Header { name: "x-padding".to_owned(), value: format!("{at}").repeat(300) });
            }
            experiment
        })
        .collect();
    big[MANY - 1] = on_host("e.test", &[("v1", 0), ("v2", 1)]);
    let big = plan("2", big);
    let size = serde_json::to_vec(&big).unwrap().len();
    assert!(size > 1 << 20, "{size}");
    let mut workers = envoy.connect_to_every_worker().await;
    let before = resident_kib(envoy.id());
    let mut after_some = 0;
    for round in 1..=ROUNDS {
        let revision = 2 * round;
        fake.publish(remarked(&big, revision));
        envoy.wait_for_plan(&mut workers, &revision.to_string()).await;
        for worker in &mut workers {
            assert_eq!(worker.get("/", &[("host", "e.test")]).await.version(), "v2");
        }
        let revision = revision + 1;
        fake.publish(plan(&revision.to_string(), vec![on_host("e.test", &[("v1", 1), ("v2", 0)])]));
        envoy.wait_for_plan(&mut workers, &revision.to_string()).await;
        if round == SOME {
            after_some = resident_kib(envoy.id());
        }
    }
    assert_eq!(two.requests(), 2 * ROUNDS);
    eventually(PATIENCE, "everything is counted", async || holds(fake.counts("e.test", "v2").completed == 2 * ROUNDS))
        .await;
    // At most each of three VMs has at once the answer, its plan and what that was compiled to, and the same of the plan before:
    // twelve times the text.
    let grown = resident_kib(envoy.id()).saturating_sub(before);
    assert!(grown < 3 * 12 * (size as u64 >> 10), "three VMs took {grown} KiB for such a plan");
    // From then on room is used again: half of a plan's text, kept by one VM each time, would be seen.
    assert_keeps_nothing(envoy.id(), after_some, "large plans", ROUNDS - SOME, size as u64 / 2);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

/// The same plan whose marker says another revision.
fn remarked(big: &Plan, revision: u64) -> Plan {
    let mut marked = plan(&revision.to_string(), Vec::new());
    marked.experiments.extend(big.experiments.iter().skip(1).cloned());
    marked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unique_users_is_counted_and_takes_bounded_memory() {
    const EACH: u64 = 16_000;
    const FLOODS: u64 = 4;
    let (Stand { versions: [one, two], fake, envoy, .. }, _marker) =
        &stand(plan("1", vec![sticky("e", &[("v1", 1), ("v2", 1)])])).await;
    let (mut sent, mut after_one) = (0, 0);
    for flood in 0..FLOODS {
        let address = envoy.address();
        let mut connections = tokio::task::JoinSet::new();
        for connection in 0..4 {
            let users =
                move |at| format!("host: any.test\r\nx-user: user-{flood}-{connection}-{at}-{}", "x".repeat(64));
            connections.spawn(async move { client::pipelined_with(address, (0..EACH / 4).map(users)).await });
        }
        sent += connections.join_all().await.iter().flat_map(|versions| versions.values()).sum::<u64>();
        if flood == 0 {
            after_one = resident_kib(envoy.id());
        }
    }
    assert_eq!((sent, one.requests() + two.requests()), (FLOODS * EACH, sent));
    eventually(PATIENCE, "everything is counted", async || {
        let both = [fake.counts("e", "v1"), fake.counts("e", "v2")];
        holds(both.iter().map(|counts| counts.completed).sum::<u64>() >= sent)
    })
    .await;
    let both = [fake.counts("e", "v1"), fake.counts("e", "v2")];
    assert_eq!(both.iter().map(|counts| counts.assigned).sum::<u64>(), sent);
    assert_eq!(both.iter().map(|counts| counts.completed).sum::<u64>(), sent);
    assert!(fake.received().iter().all(|(report, _)| report.dropped == 0));
    // The first fills what is kept per bin, which is of one size for any number of users. After that a user leaves nothing behind: not
    // a key (89 bytes), not its digest (16).
    assert_keeps_nothing(envoy.id(), after_one, "new users", (FLOODS - 1) * EACH, 16);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
