//! Partial and mirrored traffic on a real Envoy: who is outside goes to the baseline and is not counted, and a copy never counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use weir_core::cookie::GeneratedCookie;
use weir_core::plan::{PlannedExperiment, Unit};
use weir_tests::bounds::assert_share;
use weir_tests::envoy::cluster;
use weir_tests::plans::{ROUTING_HEADER, experiment, plan};
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, FakeController, Stand, Upstream, eventually};

/// An experiment in which a share takes part: all of those on v2, so that a version says who is inside.
fn inside(id: &str, unit: Unit, share_ppm: u32) -> PlannedExperiment {
    let mut inside = experiment(id, &[("v1", 0), ("v2", 1)]);
    inside.unit = unit;
    inside.matching.hosts = vec![id.to_owned()];
    inside.matching.share_ppm = share_ppm;
    inside
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_outside_the_share_goes_to_the_baseline_uncounted_and_stays_inside_as_it_grows() {
    const USERS: u64 = 600;
    let kinds = [
        ("request", Unit::Request),
        ("header", Unit::Header("x-user".to_owned())),
        ("cookie", Unit::Cookie("uid".to_owned())),
        ("generated", Unit::GeneratedCookie(GeneratedCookie::named("weir-uid"))),
    ];
    let at = |revision: &str, share_ppm: u32| {
        plan(revision, kinds.iter().map(|(id, unit)| inside(id, unit.clone(), share_ppm)).collect())
    };
    let Stand { versions: [_one, _two], fake, envoy, mut workers } = Stand::start(at("1", 100_000)).await;
    let mut keys = BTreeMap::<u64, String>::new();
    let mut counted = BTreeMap::<&str, u64>::new();
    let mut before = BTreeMap::<&str, BTreeSet<u64>>::new();
    for (revision, share_ppm, share) in [("1", 100_000, 0.1), ("2", 200_000, 0.2), ("3", 500_000, 0.5)] {
        fake.publish(at(revision, share_ppm));
        envoy.wait_for_plan(&mut workers, revision).await;
        for (id, _) in &kinds {
            let mut inside = BTreeSet::new();
            for user in 0..USERS {
                let name = format!("user-{user}");
                let cookie = match (*id, keys.get(&user)) {
                    ("cookie", _) => format!("uid={name}"),
                    ("generated", Some(key)) => key.clone(),
                    _ => "none=1".to_owned(),
                };
                let headers = [("host", *id), ("x-user", name.as_str()), ("cookie", &cookie)];
                let reply = workers[usize::try_from(user % 2).unwrap()].get("/", &headers).await;
                if let Some(cookie) = reply.headers.get("set-cookie") {
                    assert!(*id == "generated" && !keys.contains_key(&user), "{id}: a cookie once, also outside");
                    keys.insert(user, cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
                }
                if reply.version() == "v2" {
                    inside.insert(user);
                }
            }
            assert_share(id, inside.len() as u64, USERS, share);
            *counted.entry(id).or_default() += inside.len() as u64;
            let were = before.insert(id, inside.clone()).unwrap_or_default();
            assert!(*id == "request" || were.is_subset(&inside), "{id}: who is inside stays inside");
            let expected = counted[id];
            eventually(PATIENCE, "everybody inside is counted", async || holds(fake.assigned(id) >= expected)).await;
        }
    }
    for (id, expected) in counted {
        assert_eq!(fake.assigned(id), expected, "{id}: nobody outside is counted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirrored_copy_is_neither_assigned_nor_counted_by_the_next_envoy() {
    let upstreams: [Upstream; 2] = versions().await;
    let fake = FakeController::start(plan("1", vec![experiment("all", &[("v1", 1), ("v2", 3)])])).await;
    let plugin = reporting("100ms");
    let (copied, untouched) = (Upstream::start("copied").await, Upstream::start("untouched").await);
    // The copies pass a second Envoy with the same filter and plan.
    let second = Envoy::builder()
        .version_at("v1", copied.address())
        .version_at("v2", untouched.address())
        .controller(fake.address())
        .plugin(&plugin)
        .start()
        .await;
    second.workers_with_plan("1").await;
    let copies = cluster("copies", second.address(), true);
    let mut first = between(&upstreams, fake.address()).cluster(copies).plugin(&plugin);
    for version in ["v1", "v2"] {
        let header = json!({"name": ROUTING_HEADER, "string_match": {"exact": version}});
        let policy = json!({"cluster": "copies"});
        first = first.route(json!({
            "match": {"prefix": "/", "headers": [header]},
            "route": {"cluster": version, "request_mirror_policies": [policy]},
        }));
    }
    let first = first.start().await;
    first.workers_with_plan("1").await;
    let mut clients = [first.connect().await, Client::http2(first.address()).await];
    for client in &mut clients {
        for host in ["shop.example", "shop.example:8080"] {
            for _ in 0..25 {
                assert_eq!(client.get("/counted", &[("host", host)]).await.status, 200);
            }
        }
    }
    eventually(PATIENCE, "every copy arrives", async || holds(copied.requests_for("/counted") >= 100)).await;
    assert_eq!(untouched.requests_for("/counted"), 0, "copies go to the baseline, whatever the original's version");
    assert!(upstreams[1].requests_for("/counted") > 40, "the originals are split");
    // A request straight to each worker of the second counts, and with it arrives whatever that worker counted before.
    for worker in &mut second.connect_to_every_worker().await {
        assert_eq!(worker.get("/direct", &[]).await.status, 200);
    }
    eventually(PATIENCE, "originals are counted", async || holds(fake.assigned("all") >= 102)).await;
    let completed = || ["v1", "v2"].iter().map(|version| fake.counts("all", version).completed).sum::<u64>();
    eventually(PATIENCE, "and end", async || holds(completed() >= 102)).await;
    assert_eq!((fake.assigned("all"), completed()), (102, 102));
}
