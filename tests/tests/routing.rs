//! Where requests go: shares, matching, routing headers, with a static plan and no controller at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_core::plan::{HeaderMatch, PathMatch, PlannedExperiment};
use weir_tests::bounds::assert_share;
use weir_tests::plans::{experiment, on_host, plan};
use weir_tests::{Client, Envoy, Upstream, client};

fn static_plan(experiments: Vec<PlannedExperiment>) -> Value {
    json!({"plan": plan("static", experiments)})
}

/// Sends requests down two connections to each of two workers; how many each version answered.
async fn shares(envoy: &Envoy, host: &str, requests: u64) -> BTreeMap<String, u64> {
    let address = envoy.address();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let host = host.to_owned();
        connections.spawn(async move { client::pipelined(address, &host, requests / 4).await });
    }
    let mut answered = BTreeMap::new();
    for part in connections.join_all().await {
        for (version, count) in part {
            *answered.entry(version).or_default() += count;
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn realised_shares_are_those_of_the_plan() {
    let (one, two, three) = (Upstream::canned("v1").await, Upstream::canned("v2").await, Upstream::canned("v3").await);
    let cases = [
        ("tenth-of-a-percent.test", 30_000, [("v1", 9_990), ("v2", 10), ("v3", 0)]),
        ("ten-percent.test", 4_000, [("v1", 9_000), ("v2", 1_000), ("v3", 0)]),
        ("half.test", 4_000, [("v1", 5_000), ("v2", 5_000), ("v3", 0)]),
        ("thirds.test", 4_000, [("v1", 1), ("v2", 1), ("v3", 1)]),
    ];
    let mut experiments: Vec<_> = cases.iter().map(|(host, _, weights)| on_host(host, weights)).collect();
    let mut part = on_host("part.test", &[("v1", 0), ("v2", 1)]);
    part.matching.share_ppm = 250_000;
    experiments.push(part);
    let envoy =
        Envoy::builder().version(&one).version(&two).version(&three).plugin(&static_plan(experiments)).start().await;
    for (host, requests, weights) in cases {
        let answered = shares(&envoy, host, requests).await;
        let total: u64 = answered.values().sum();
        let whole: u32 = weights.iter().map(|(_, weight)| weight).sum();
        assert_eq!(total, requests);
        for (version, weight) in weights {
            let hits = answered.get(version).copied().unwrap_or(0);
            assert_share(&format!("{version} on {host}"), hits, total, f64::from(weight) / f64::from(whole));
        }
    }
    let answered = shares(&envoy, "part.test", 4_000).await;
    let total = answered.values().sum();
    assert_share("the share of traffic that takes part", answered["v2"], total, 0.25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_requests_that_match_leave_the_baseline() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let to_v2 = [("v1", 0), ("v2", 1)];
    let mut wildcard = experiment("wildcard", &to_v2);
    wildcard.matching.hosts = vec!["*.wild.test".to_owned()];
    let mut exact = on_host("exact.test", &to_v2);
    exact.matching.paths = vec![PathMatch::Exact("/cart".to_owned())];
    let mut prefix = on_host("prefix.test", &to_v2);
    prefix.matching.paths = vec![PathMatch::Prefix("/a".to_owned())];
    let mut header = on_host("header.test", &to_v2);
    header.matching.headers = vec![HeaderMatch { name: "x-beta".to_owned(), exact: Some("yes".to_owned()) }];
    let mut tester = on_host("tester.test", &[("v1", 1), ("v2", 0)]);
    tester.override_header = Some("x-choose".to_owned());
    let configuration = static_plan(vec![wildcard, exact, prefix, header, tester]);
    let envoy = Envoy::builder().version(&one).version(&two).plugin(&configuration).concurrency(1).start().await;
    let mut clients = [Client::http1(envoy.address()).await, Client::http2(envoy.address()).await];
    for client in &mut clients {
        for (host, path, headers, version) in [
            ("other.test", "/", vec![], "v1"),
            ("a.wild.test", "/", vec![], "v2"),
            ("A.b.Wild.TEST:8080", "/", vec![], "v2"),
            ("wild.test", "/", vec![], "v1"),
            ("exact.test", "/cart", vec![], "v2"),
            ("exact.test", "/cart?x=/cart", vec![], "v2"),
            ("exact.test", "/cart/1", vec![], "v1"),
            ("prefix.test", "/a", vec![], "v2"),
            ("prefix.test", "/a/b?c", vec![], "v2"),
            ("prefix.test", "/ab", vec![], "v1"),
            ("header.test", "/", vec![], "v1"),
            ("header.test", "/", vec![("x-beta", "no")], "v1"),
            ("header.test", "/", vec![("x-beta", "yes")], "v2"),
            ("tester.test", "/", vec![], "v1"),
            ("tester.test", "/", vec![("x-choose", "v2")], "v2"),
            ("tester.test", "/", vec![("x-choose", "v9")], "v1"),
            ("exact.test", "/cart", vec![("x-choose", "v1")], "v2"),
        ] {
            let mut all = vec![("host", host)];
            all.extend(&headers);
            let reply = client.get(path, &all).await;
            assert_eq!(reply.version(), version, "{host}{path} {headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_choose_a_version_by_sending_our_headers() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let configuration = static_plan(vec![on_host("in.test", &[("v1", 1), ("v2", 0)])]);
    let envoy = Envoy::builder().version(&one).version(&two).plugin(&configuration).concurrency(1).start().await;
    let mut clients = [Client::http1(envoy.address()).await, Client::http2(envoy.address()).await];
    for client in &mut clients {
        for (host, what) in [("in.test", "inside an experiment"), ("out.test", "outside any")] {
            for values in [vec!["v2"], vec!["v2", "v2"], vec!["", "v2"], vec!["v1,v2"], vec!["v1", "v2"]] {
                let mut headers = vec![("host", host)];
                headers.extend(values.iter().map(|value| ("x-weir-version", *value)));
                let reply = client.get("/echo", &headers).await;
                assert_eq!(reply.version(), "v1", "{what}: {values:?}");
                assert!(!reply.text().contains("v2"), "{what}: {}", reply.text());
            }
        }
    }
    // With capitals, as bytes on the wire.
    let request = b"GET /echo HTTP/1.1\r\nhost: in.test\r\nX-WEIR-Version: v2\r\nconnection: close\r\n\r\n";
    let answer = String::from_utf8_lossy(&client::raw(envoy.address(), request).await).into_owned();
    assert!(answer.contains("x-served-by: v1"), "{answer}");
    assert_eq!(two.requests(), 0);
}
