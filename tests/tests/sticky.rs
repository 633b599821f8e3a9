//! Sticky users: one version from every worker and every Envoy, only the necessary moves when weights change, and reports of
//! which units had a bad time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use weir_core::plan::{PlannedExperiment, Unit};
use weir_core::unit::{Digest, UnitBuckets};
use weir_tests::bounds::assert_share;
use weir_tests::plans::{on_host, plan, sticky};
use weir_tests::stand::versions;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, FakeController, Stand, eventually};

/// Which version a user gets on a connection.
async fn version_of(client: &mut Client, user: &str) -> String {
    client.get("/", &[("x-user", user)]).await.version().to_owned()
}

/// Which version each of so many users gets.
async fn versions_of(client: &mut Client, users: u32) -> BTreeMap<u32, String> {
    let mut versions = BTreeMap::new();
    for user in 0..users {
        versions.insert(user, version_of(client, &format!("user-{user}")).await);
    }
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_gets_one_version_from_every_worker_before_and_after_a_restart() {
    let [one, two, three] = versions().await;
    let by_header = sticky("by-header", &[("v1", 5), ("v2", 3), ("v3", 2)]);
    let mut by_cookie = sticky("by-cookie", &[("v1", 1), ("v2", 1), ("v3", 1)]);
    by_cookie.matching.hosts = vec!["cookie.test".to_owned()];
    by_cookie.unit = Unit::Cookie("uid".to_owned());
    let mut envoy = Envoy::builder()
        .version(&one)
        .version(&two)
        .version(&three)
        .concurrency(4)
        .plugin(&serde_json::json!({"plan": plan("static", vec![by_cookie, by_header])}))
        .start()
        .await;
    let mut first: Option<(BTreeMap<u32, String>, Vec<String>)> = None;
    for round in ["before the restart", "after it"] {
        for (at, worker) in envoy.connect_to_every_worker().await.iter_mut().enumerate() {
            let by_header = versions_of(worker, 100).await;
            let mut by_cookie = Vec::new();
            for user in 0..30 {
                let cookies = format!("a=b; uid=user-{user}; uid2=x");
                let reply = worker.get("/", &[("host", "cookie.test"), ("cookie", &cookies)]).await;
                by_cookie.push(reply.version().to_owned());
            }
            let got = (by_header, by_cookie);
            assert_eq!(got, *first.get_or_insert_with(|| got.clone()), "worker {at}, {round}");
        }
        // Browsers split cookies over several headers in HTTP/2.
        let mut http2 = Client::http2(envoy.address()).await;
        for (user, version) in first.iter().flat_map(|(_, by_cookie)| by_cookie.iter().enumerate()) {
            let alone = format!("uid=user-{user}");
            let reply = http2.get("/", &[("host", "cookie.test"), ("cookie", "z=1"), ("cookie", &alone)]).await;
            assert_eq!(reply.version(), version, "HTTP/2, {round}");
        }
        if round == "before the restart" {
            envoy.restart().await;
        }
    }
    let (by_header, by_cookie) = first.expect("there were workers");
    for versions in [by_header.into_values().collect(), by_cookie] {
        let distinct: BTreeSet<String> = versions.into_iter().collect();
        assert_eq!(distinct, BTreeSet::from(["v1", "v2", "v3"].map(str::to_owned)), "users are on every version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_weights_move_only_the_necessary_share_of_users_moves() {
    const USERS: u32 = 1_500;
    let at = |epoch: u32, weights: &[(&str, u32)]| {
        plan(&format!("e{epoch}"), vec![PlannedExperiment { epoch, ..sticky("users", weights) }])
    };
    let Stand { versions: [_one, _two, _three], fake, envoy, mut workers } =
        Stand::<3>::with(at(1, &[("v1", 5_000), ("v2", 3_000), ("v3", 2_000)]), |envoy| envoy).await;
    let before = versions_of(&mut workers[0], USERS).await;
    for (version, share) in [("v1", 0.5), ("v2", 0.3), ("v3", 0.2)] {
        let hits = before.values().filter(|got| *got == version).count() as u64;
        assert_share(version, hits, u64::from(USERS), share);
    }

    // v3 gains a tenth from v1; v2 keeps its share, and so its users.
    fake.publish(at(2, &[("v1", 4_000), ("v2", 3_000), ("v3", 3_000)]));
    envoy.wait_for_plan(&mut workers, "e2").await;
    let after = versions_of(&mut workers[1], USERS).await;
    let mut moves = BTreeMap::<(&str, &str), u64>::new();
    for (user, version) in &before {
        if after[user] != *version {
            *moves.entry((version, &after[user])).or_default() += 1;
        }
    }
    assert!(
        moves.keys().all(|(from, to)| *to == "v3" || (*from == "v1" && *to == "v2")),
        "nobody moves to a version whose weight did not rise against its own: {moves:?}"
    );
    let moved: u64 = moves.values().sum();
    let to_v3: u64 = moves.iter().filter(|((_, to), _)| *to == "v3").map(|(_, count)| count).sum();
    assert_share("users who moved to v3", to_v3, u64::from(USERS), 0.1);
    assert!(moved < u64::from(USERS) / 4, "{moved} of {USERS} users moved: {moves:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_versions_the_share_that_moves_is_the_change() {
    const USERS: u32 = 1_500;
    let at = |revision: &str, v2: u32| plan(revision, vec![sticky("users", &[("v1", 10_000 - v2), ("v2", v2)])]);
    let Stand { versions: _versions, fake, envoy, mut workers } = Stand::start(at("1", 2_000)).await;
    let before = versions_of(&mut workers[0], USERS).await;
    fake.publish(at("2", 3_500));
    envoy.wait_for_plan(&mut workers, "2").await;
    let after = versions_of(&mut workers[0], USERS).await;
    assert!(before.iter().all(|(user, version)| version != "v2" || after[user] == "v2"), "nobody leaves v2");
    let moved = before.iter().filter(|(user, version)| after[user] != **version).count() as u64;
    assert_share("users who moved", moved, u64::from(USERS), 0.15);

    // A request without a user goes to the baseline and is not recorded: the count ends at one per user and round.
    for _ in 0..20 {
        assert_eq!(workers[0].get("/", &[]).await.version(), "v1");
        assert_eq!(workers[0].get("/", &[("x-user", "")]).await.version(), "v1");
    }
    version_of(&mut workers[0], "the last user").await;
    let all = u64::from(2 * USERS) + 1;
    eventually(PATIENCE, "every request of a user is counted", async || holds(fake.assigned("users") >= all)).await;
    assert_eq!(fake.assigned("users"), all);
}

/// Whether every worker's last word on an experiment calls all of its bins final.
fn is_settled(fake: &FakeController, experiment: &str) -> bool {
    let mut workers = BTreeMap::<String, (u64, u64)>::new();
    for (report, _) in fake.received() {
        for reported in report.experiments.iter().filter(|reported| reported.id == experiment) {
            let (watermark, last_bin) = workers.entry(report.incarnation.clone()).or_default();
            *watermark = reported.watermark;
            *last_bin = reported.cells.iter().map(|cell| cell.bin).fold(*last_bin, u64::max);
        }
    }
    workers.values().all(|(watermark, last_bin)| watermark > last_bin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_name_the_buckets_of_users_who_had_a_bad_time_and_of_no_others() {
    const USERS: u32 = 40;
    let mut users = PlannedExperiment { deadline_ms: 4_000, ..sticky("users", &[("v1", 1), ("v2", 1)]) };
    // Only v1 is asked who found it slow. Far from any deadline, for a busy machine.
    users.versions[0].slow_us = Some(1_000_000);
    let Stand { versions: _versions, fake, envoy, mut workers } =
        Stand::start(plan("1", vec![on_host("requests.test", &[("v1", 0), ("v2", 1)]), users])).await;
    let versions = versions_of(&mut workers[0], USERS).await;
    let on = |version: &str| -> Vec<String> {
        versions.iter().filter(|(_, got)| *got == version).map(|(user, _)| format!("user-{user}")).collect()
    };
    let (first, second) = (on("v1"), on("v2"));
    assert!(first.len() > 8 && second.len() > 8, "users are on both");

    // v2 fails for every other of its users, on whichever worker; some are rewarded.
    let (failing, rewarded) = (second.iter().step_by(2), first.iter().step_by(3));
    for (at, user) in failing.clone().enumerate() {
        let reply = workers[at % 2].get("/status/500", &[("x-user", user)]).await;
        assert_eq!((reply.status.as_u16(), reply.version()), (500, "v2"));
    }
    for user in rewarded.clone() {
        workers[1].get("/reward/1", &[("x-user", user)]).await;
    }
    // Of each version one user waits long, and one beyond the deadline.
    let waits = [(&first[1], 1_500), (&first[2], 5_000), (&second[1], 1_500), (&second[3], 5_000)];
    let mut waiting = tokio::task::JoinSet::new();
    for (user, milliseconds) in waits {
        let (address, user) = (envoy.address(), user.clone());
        waiting.spawn(async move {
            let mut client = Client::http1(address).await;
            client.get(&format!("/delay/{milliseconds}"), &[("x-user", &user)]).await.status
        });
    }
    assert_eq!(waiting.join_all().await, [200; 4]);
    for _ in 0..3 {
        let reply = workers[0].get("/status/500", &[("host", "requests.test"), ("x-user", &second[0])]).await;
        assert_eq!(reply.status, 500);
    }
    let all = u64::from(USERS) + (failing.len() + rewarded.len() + waits.len()) as u64;
    eventually(PATIENCE, "every bin is final", async || {
        let counted = fake.assigned("users") == all && fake.assigned("requests.test") == 3;
        holds(counted && is_settled(&fake, "users") && is_settled(&fake, "requests.test"))
    })
    .await;

    let buckets = |users: &[&String]| -> Vec<u16> {
        let buckets = UnitBuckets::new("tests");
        let sorted: BTreeSet<u16> = users.iter().map(|user| buckets.of(Digest::of(user.as_bytes()))).collect();
        sorted.into_iter().collect()
    };
    let (v1, v2) = (fake.counts("users", "v1"), fake.counts("users", "v2"));
    assert_eq!((v1.failed, v1.overdue(), v2.failed, v2.overdue()), (0, 1, failing.len() as u64, 1));
    assert_eq!(v1.failed_buckets, buckets(&[&first[2]]), "the one overdue");
    assert_eq!(v1.slow_buckets, buckets(&[&first[1], &first[2]]));
    assert_eq!(v1.rewarded_buckets, buckets(&rewarded.collect::<Vec<_>>()));
    assert_eq!(v2.failed_buckets, buckets(&failing.chain([&second[3]]).collect::<Vec<_>>()));
    assert!(v2.slow_buckets.is_empty() && v2.rewarded_buckets.is_empty());
    let requests = fake.counts("requests.test", "v2");
    assert_eq!((requests.failed, requests.failed_buckets), (3, vec![]), "where the request is the unit, none");
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
