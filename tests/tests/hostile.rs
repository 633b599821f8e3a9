//! Clients and upstreams that mean harm: any byte anywhere does none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hyper::Method;
use weir_core::plan::{HeaderMatch, Unit};
use weir_core::unit;
use weir_tests::noise::Noise;
use weir_tests::plans::{experiment, on_host, plan, sticky};
use weir_tests::stand::arrived;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, Stand, client, eventually};

/// Bytes that a header value may carry on the wire, never none: no control characters, and nothing that a parser trims. Others
/// would be refused before the filter sees them.
fn value(noise: &mut Noise) -> Vec<u8> {
    let length = 1 + noise.below(40);
    let mut bytes: Vec<u8> = (0..length).map(|_| u8::try_from(0x21 + noise.below(0xdf)).unwrap_or(0xff)).collect();
    bytes.retain(|byte| *byte != 0x7f);
    bytes.push(0xff);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_any_bytes_do_no_harm() {
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
    let Stand { versions: [one, two], fake, envoy, .. } =
        Stand::start(plan("1", vec![by_cookie, by_header, matched, everybody])).await;

    let mut noise = Noise::new(7);
    let (mut answered, mut recorded) = (0, 0);
    for round in 0..400 {
        let host = ["cookie.test", "header.test", "any.test"][round % 3];
        let values: Vec<Vec<u8>> = (0..6).map(|_| value(&mut noise)).collect();
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
        // A value that begins with a semicolon is an empty cookie, and who has none is no unit.
        recorded += u64::from(host != "cookie.test" || unit::cookies(&cookie, "uid").next().is_some());
    }
    assert_eq!(arrived(&one) + arrived(&two), answered);
    recorded += no_harm_was_done(&envoy).await;
    let all = ["cookie.test", "header.test", "everybody"];
    eventually(PATIENCE, "everything is counted", async || {
        holds(all.iter().map(|id| fake.assigned(id)).sum::<u64>() >= recorded)
    })
    .await;
    assert_eq!(all.iter().map(|id| fake.assigned(id)).sum::<u64>(), recorded);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewards_that_are_no_numbers_and_requests_that_are_none_do_no_harm() {
    let Stand { versions: [_one, _two], fake, envoy, mut workers } =
        Stand::with(plan("1", vec![on_host("reward.test", &[("v1", 0), ("v2", 1)])]), |envoy| envoy.concurrency(1))
            .await;
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

/// No VM has trapped, and every worker answers. How many answers that were.
async fn no_harm_was_done(envoy: &Envoy) -> u64 {
    let log = envoy.log();
    for word in ["panicked", "Uncaught", "Function:", "wasm trap", "reload"] {
        assert!(!log.contains(word), "`{word}` in the log:\n{log}");
    }
    let mut workers = envoy.workers_with_plan("1").await;
    for worker in &mut workers {
        assert_eq!(worker.get("/", &[]).await.status, 200);
    }
    workers.len() as u64
}
