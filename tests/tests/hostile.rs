//! Clients and upstreams that mean harm: any byte anywhere does none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hyper::Method;
use serde_json::json;
use weir_core::plan::{HeaderMatch, Unit};
use weir_tests::envoy::CONTROLLER;
use weir_tests::plans::{experiment, on_host, plan, sticky};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, FakeController, Upstream, client, eventually};

/// Bytes that a header value may carry on the wire, in an order that is odd and always the same.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Never empty, no control characters, not trimmed by a parser: those would be refused before the filter sees them.
    fn value(&mut self) -> Vec<u8> {
        let length = 1 + self.next() % 40;
        let mut bytes: Vec<u8> = (0..length).map(|_| u8::try_from(0x21 + self.next() % 0xdf).unwrap_or(0xff)).collect();
        bytes.retain(|byte| *byte != 0x7f);
        bytes.push(0xff);
        bytes
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_any_bytes_do_no_harm() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let half = [("v1", 1), ("v2", 1)];
    let mut by_cookie = on_host("cookie.test", &half);
    by_cookie.unit = Unit::Cookie("uid".to_owned());
    let mut by_header = sticky("header.test", &half);
    by_header.matching.hosts = vec!["header.test".to_owned()];
    let mut matched = experiment("matched", &half);
    matched.matching.headers = vec![HeaderMatch { name: "x-match".to_owned(), exact: Some("yes".to_owned()) }];
    matched.override_header = Some("x-choose".to_owned());
    let mut everybody = experiment("everybody", &half);
    everybody.override_header = Some("x-choose".to_owned());
    let fake = FakeController::start(plan("1", vec![by_cookie, by_header, matched, everybody])).await;
    let envoy = Envoy::builder()
        .version(&one)
        .version(&two)
        .controller(fake.address())
        .plugin(&json!({"controller": {"cluster": CONTROLLER, "reportInterval": "100ms"}}))
        .start()
        .await;
    envoy.workers_with_plan("1").await;

    let mut noise = Noise(7);
    let mut answered = 0;
    for round in 0..400 {
        let host = ["cookie.test", "header.test", "any.test"][round % 3];
        let values: Vec<Vec<u8>> = (0..6).map(|_| noise.value()).collect();
        let mut cookie = b"uid=".to_vec();
        cookie.extend(&values[0]);
        let headers: [(&str, &[u8]); 8] = [
            ("host", host.as_bytes()),
            ("cookie", &cookie),
            ("x-user", &values[1]),
            ("x-match", &values[2]),
            ("x-choose", &values[3]),
            ("x-weir-version", &values[4]),
            ("content-type", &values[5]),
            ("x-odd", &values[0]),
        ];
        let mut client = match round % 4 {
            0 => Client::http2(envoy.address()).await,
            _ => Client::http1(envoy.address()).await,
        };
        // What an upstream says in the reward's header is no better.
        let hex: String = values[1].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = [format!("/reward-hex/{hex}"), "/".to_owned()][round % 2].clone();
        let reply = client.send(Method::GET, &path, &headers).await.unwrap();
        assert_eq!(reply.status, 200, "round {round}: {}", reply.text());
        assert!(["v1", "v2"].contains(&reply.version()));
        answered += 1;
    }
    assert_eq!(one.requests() + two.requests() - requests_of_the_marker(&[&one, &two]), answered);
    no_harm_was_done(&envoy).await;
    let all = ["cookie.test", "header.test", "everybody"];
    eventually(PATIENCE, "everything is counted", async || {
        holds(all.iter().map(|id| fake.assigned(id)).sum::<u64>() == answered)
    })
    .await;
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

fn requests_of_the_marker(upstreams: &[&Upstream]) -> u64 {
    upstreams.iter().map(|upstream| upstream.requests_for("/echo")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewards_that_are_no_numbers_and_requests_that_are_none_do_no_harm() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let fake = FakeController::start(plan("1", vec![on_host("reward.test", &[("v1", 0), ("v2", 1)])])).await;
    let envoy = Envoy::builder()
        .version(&one)
        .version(&two)
        .concurrency(1)
        .controller(fake.address())
        .plugin(&json!({"controller": {"cluster": CONTROLLER, "reportInterval": "100ms"}}))
        .start()
        .await;
    let mut workers = envoy.workers_with_plan("1").await;
    let rewards =
        ["1", "0", "-2", "nan", "inf", "-inf", "1e400", "1e308", "1e308", "0x10", "1,5", "--1", "1e-320", "²"];
    for reward in rewards {
        let hex: String = reward.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(workers[0].get(&format!("/reward-hex/{hex}"), &[("host", "reward.test")]).await.status, 200);
    }
    let long = "a".repeat(20_000);
    let many = "uid=x; ".repeat(5_000);
    for (name, value) in [("x-weir-version", &long), ("cookie", &many)] {
        let reply = workers[0].get("/", &[("host", "reward.test"), (name, value)]).await;
        assert_eq!(reply.status, 200, "{name}");
    }
    let sent = rewards.len() as u64 + 2;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: reward.test\r\nx-weir-version: v\0\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n",
        b"BREW / HTTP/1.1\r\nhost: \xff\r\nconnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame, whatever the preface says",
    ] {
        let answer = client::raw(envoy.address(), bytes).await;
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", answer.escape_ascii());
    }
    no_harm_was_done(&envoy).await;
    eventually(PATIENCE, "everything is counted", async || holds(fake.counts("reward.test", "v2").completed >= sent))
        .await;
    let counts = fake.counts("reward.test", "v2");
    assert_eq!(counts.assigned, sent);
    assert!(counts.reward_sum.is_finite() && counts.reward_sum_squares.is_finite());
    assert!(counts.rewarded >= 2, "1 and -2 are numbers");
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

/// No VM has trapped, and every worker answers.
async fn no_harm_was_done(envoy: &Envoy) {
    let log = envoy.log();
    for word in ["panicked", "Uncaught", "Function:", "wasm trap", "reload"] {
        assert!(!log.contains(word), "`{word}` in the log:\n{log}");
    }
    for worker in &mut envoy.workers_with_plan("1").await {
        assert_eq!(worker.get("/", &[]).await.status, 200);
    }
}
