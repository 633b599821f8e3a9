//! Generated cookies on a real Envoy: given once, over every protocol, and shares that stay honest when users come back.
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
use weir_core::unit::{Digest, UnitBuckets};
use weir_tests::bounds::assert_share;
use weir_tests::envoy::CONTROLLER;
use weir_tests::plans::{experiment, plan};
use weir_tests::stand::{between, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, FakeController, Reply, Stand, Upstream, eventually};

const NAME: &str = "weir-uid";

/// An experiment over users who are given a cookie.
fn generated(weights: &[(&str, u32)]) -> PlannedExperiment {
    PlannedExperiment { unit: Unit::GeneratedCookie(GeneratedCookie::named(NAME)), ..experiment("users", weights) }
}

/// What an answer sets, as `(value, attributes)`.
fn set_cookies(reply: &Reply) -> Vec<(String, String)> {
    let headers = reply.headers.get_all("set-cookie").iter();
    let cookies = headers.filter_map(|value| value.to_str().unwrap().strip_prefix(NAME)?.strip_prefix('='));
    cookies.map(|cookie| cookie.split_once("; ").unwrap()).map(|(value, rest)| (value.into(), rest.into())).collect()
}

/// A browser: it keeps the cookie that it is given.
#[derive(Default, Clone)]
struct Browser {
    cookie: Option<String>,
}

impl Browser {
    async fn get(&mut self, client: &mut Client, path: &str, headers: &[(&str, &str)]) -> Reply {
        let cookie = self.cookie.as_ref().map(|value| format!("theme=dark; {NAME}={value}"));
        let mut all = headers.to_vec();
        all.extend(cookie.as_deref().map(|cookie| ("cookie", cookie)));
        let reply = client.get(path, &all).await;
        match set_cookies(&reply).as_slice() {
            [] => assert!(self.cookie.is_some(), "a browser without a cookie is given one"),
            [(value, _)] => assert!(self.cookie.replace(value.clone()).is_none(), "a cookie is given once"),
            several => panic!("{several:?}"),
        }
        reply
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_is_given_once_over_every_protocol_with_and_without_a_controller() {
    let upstreams: [Upstream; 2] = versions().await;
    let mut unlike = generated(&[("v1", 1), ("v2", 1)]);
    unlike.id = "unlike".to_owned();
    unlike.matching.hosts = vec!["unlike.test".to_owned()];
    unlike.unit = Unit::GeneratedCookie(GeneratedCookie {
        name: NAME.to_owned(),
        attributes: "Max-Age=60; Path=/shop; SameSite=None; Secure".to_owned(),
    });
    let plan = plan("static", vec![unlike, generated(&[("v1", 1), ("v2", 1)])]);
    let fake = FakeController::start(plan.clone()).await;
    for plugin in [json!({"plan": plan}), json!({"controller": {"cluster": CONTROLLER}})] {
        let envoy = between(&upstreams, fake.address()).timeout("0.5s").plugin(&plugin).start().await;
        envoy.workers_with_plan("static").await;
        let mut keys = BTreeSet::new();
        for mut client in [Client::http1(envoy.address()).await, Client::http2(envoy.address()).await] {
            // What Envoy answers itself (a reset, a time-out) carries the cookie as well as what a version answers.
            for (path, status) in [("/", 200), ("/status/404", 404), ("/reset", 503), ("/hang", 504)] {
                let mut browser = Browser::default();
                let reply = browser.get(&mut client, path, &[]).await;
                assert_eq!(reply.status, status, "{path}");
                assert_eq!(set_cookies(&reply)[0].1, "Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly");
                let key = browser.cookie.clone().unwrap();
                assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
                assert!(keys.insert(key));
                let version = browser.get(&mut client, "/", &[]).await.version().to_owned();
                if path == "/" {
                    assert_eq!(reply.version(), version);
                }
                for _ in 0..3 {
                    assert_eq!(browser.get(&mut client, "/", &[]).await.version(), version);
                }
            }
            let reply = client.get("/", &[("host", "unlike.test")]).await;
            assert_eq!(set_cookies(&reply)[0].1, "Max-Age=60; Path=/shop; SameSite=None; Secure");
            let reply = client.get("/", &[("cookie", &format!("{NAME}=\"a b\""))]).await;
            assert_eq!(set_cookies(&reply).len(), 1, "what no cookie may hold is replaced");
        }
        // gRPC: metadata comes back with the headers.
        let mut grpc = Client::http2(envoy.address()).await;
        let mut caller = Browser::default();
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let first = caller.get(&mut grpc, "/grpc/0", &headers).await;
        assert_eq!(first.trailers.as_ref().expect("trailers")["grpc-status"], "0");
        for _ in 0..5 {
            assert_eq!(caller.get(&mut grpc, "/grpc/14", &headers).await.version(), first.version());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_come_back_keep_their_version_and_shares_stay_those_of_the_weights() {
    const USERS: usize = 600;
    let at = |epoch: u32, weights: [u32; 3]| {
        let weights: Vec<(&str, u32)> = ["v1", "v2", "v3"].into_iter().zip(weights).collect();
        plan(&format!("e{epoch}"), vec![PlannedExperiment { epoch, ..generated(&weights) }])
    };
    let Stand { versions: [_one, _two, _three], fake, envoy, mut workers } =
        Stand::<3>::with(at(1, [50, 30, 20]), |envoy| envoy).await;
    let mut browsers = vec![Browser::default(); USERS];
    let mut requests = 0;
    let mut before = BTreeMap::new();
    for (user, browser) in browsers.iter_mut().enumerate() {
        // Heavy-tailed: the first user comes a hundred times as often as most.
        let visits = 2 + 200 / (user + 1);
        for visit in 0..visits {
            let version = browser.get(&mut workers[visit % 2], "/", &[]).await.version().to_owned();
            assert_eq!(*before.entry(user).or_insert_with(|| version.clone()), version, "user {user}");
            requests += 1;
        }
    }
    // A key is random, so the users of a version are a binomial draw, however often each comes.
    let on = |versions: &BTreeMap<usize, String>, wanted: &str| {
        versions.values().filter(|version| *version == wanted).count() as u64
    };
    for (version, share) in [("v1", 0.5), ("v2", 0.3), ("v3", 0.2)] {
        assert_share(version, on(&before, version), USERS as u64, share);
    }
    eventually(PATIENCE, "every visit is counted", async || holds(fake.assigned("users") >= requests)).await;
    assert_eq!(fake.assigned("users"), requests);
    let new: u64 = ["v1", "v2", "v3"].iter().map(|version| fake.counts("users", version).new_units).sum();
    assert_eq!(new, USERS as u64, "each user was new once");

    // v3 gains a tenth from v1: nobody else moves, and nobody to any other.
    fake.publish(at(2, [40, 30, 30]));
    envoy.wait_for_plan(&mut workers, "e2").await;
    let mut after = BTreeMap::new();
    for (user, browser) in browsers.iter_mut().enumerate() {
        after.insert(user, browser.get(&mut workers[user % 2], "/", &[]).await.version().to_owned());
    }
    for (version, share) in [("v1", 0.4), ("v2", 0.3), ("v3", 0.3)] {
        assert_share(version, on(&after, version), USERS as u64, share);
    }
    for (user, version) in &before {
        let now = &after[user];
        assert!(now == version || now == "v3" || (version == "v1" && now == "v2"), "{user}: {version} to {now}");
    }
    let moved = before.iter().filter(|(user, version)| after[user] != **version).count();
    assert!(moved < USERS / 5, "{moved} of {USERS} users moved");
    // Who keeps no cookie is a new user every time, and says so.
    for _ in 0..10 {
        assert_eq!(set_cookies(&workers[0].get("/", &[]).await).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_buckets_of_users_with_a_generated_cookie_arrive() {
    let Stand { versions: [_one, _two], fake, envoy: _envoy, mut workers } =
        Stand::start(plan("1", vec![generated(&[("v1", 1), ("v2", 1)])])).await;
    let mut failed = BTreeMap::<String, BTreeSet<u16>>::new();
    for user in 0..30 {
        let mut browser = Browser::default();
        // The first request of a user, before anybody has sent its key, or a later one.
        let paths: &[&str] = if user % 2 == 0 { &["/status/500", "/"] } else { &["/", "/status/500"] };
        for path in paths {
            let reply = browser.get(&mut workers[0], path, &[]).await;
            let key = browser.cookie.clone().unwrap();
            let bucket = UnitBuckets::new("tests").of(Digest::of(key.as_bytes()));
            failed.entry(reply.version().to_owned()).or_default().insert(bucket);
        }
    }
    eventually(PATIENCE, "the buckets arrive", async || {
        holds(["v1", "v2"].iter().all(|version| {
            let known: BTreeSet<u16> = fake.counts("users", version).failed_buckets.into_iter().collect();
            known == failed.get(*version).cloned().unwrap_or_default()
        }))
    })
    .await;
    assert_eq!(failed.len(), 2, "both versions had users");
}
