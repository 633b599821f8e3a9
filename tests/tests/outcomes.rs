//! Every way in which a request can end is counted as what it is, once, for the version that it was assigned to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hyper::Method;
use serde_json::json;
use std::time::Duration;
use weir_core::report::Counts;
use weir_tests::envoy::cluster;
use weir_tests::plans::{on_host, plan};
use weir_tests::stand::versions;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, FakeController, Stand, Upstream, client, eventually};

/// Requests of each kind and protocol.
const EACH: u64 = 5;

/// What an experiment should have counted: assigned, completed, failed, aborted, rewarded.
type Expected = [u64; 5];

fn summary(counts: &Counts) -> Expected {
    [counts.assigned, counts.completed, counts.failed, counts.aborted, counts.rewarded]
}

/// Cases over HTTP/1.1 and HTTP/2: host (and experiment), path, and per request: completed, failed, rewarded.
const CASES: [(&str, &str, [u64; 3]); 14] = [
    ("answered.test", "/", [1, 0, 0]),
    ("not-found.test", "/status/404", [1, 0, 0]),
    ("error.test", "/status/500", [1, 1, 0]),
    ("unavailable.test", "/status/599", [1, 1, 0]),
    ("reward.test", "/reward/2.5", [1, 0, 1]),
    ("no-reward.test", "/reward/nonsense", [1, 0, 0]),
    ("reset.test", "/reset", [1, 1, 0]),
    ("truncated.test", "/truncate", [1, 1, 0]),
    ("time-out.test", "/hang", [1, 1, 0]),
    ("refused.test", "/", [1, 1, 0]),
    ("no-cluster.test", "/", [1, 1, 0]),
    ("local-error.test", "/", [1, 1, 0]),
    ("local-answer.test", "/", [1, 0, 0]),
    ("redirect.test", "/", [1, 0, 0]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_of_a_request_is_counted_as_what_it_is() {
    let [one, two] = versions().await;
    let grpc = ["grpc-ok.test", "grpc-not-found.test", "grpc-unavailable.test", "grpc-look-alike.test"];
    let others = ["abort.test", "abort-late.test", "grpc-without-te.test", "alternative.test", "broken.test"];
    let hosts = CASES.iter().map(|case| case.0).chain(grpc).chain(others);
    let experiments = hosts.map(|host| on_host(host, &[("v1", 0), ("v2", 1)])).collect();
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let on_host = |host: &str, mut action: serde_json::Value| {
        action["match"] = json!({"prefix": "/", "headers": [{"name": ":authority", "string_match": {"exact": host}}]});
        action
    };
    let stand = Stand::of([one, two], plan("1", experiments), |envoy| {
        envoy
            .cluster(cluster("refusing", refusing, true))
            .route(on_host("refused.test", json!({"route": {"cluster": "refusing"}})))
            .route(on_host("no-cluster.test", json!({"route": {"cluster_header": "x-nowhere"}})))
            .route(on_host("local-error.test", json!({"direct_response": {"status": 503}})))
            .route(on_host("local-answer.test", json!({"direct_response": {"status": 200}})))
            .route(on_host("redirect.test", json!({"redirect": {"path_redirect": "/elsewhere"}})))
            // Long enough for a busy machine: these clients leave first.
            .route(on_host("abort.test", json!({"route": {"cluster": "v2", "timeout": "30s"}})))
            .route(on_host("abort-late.test", json!({"route": {"cluster": "v2", "timeout": "30s"}})))
            .timeout("0.3s")
    });
    let Stand { versions: [_one, two], fake, envoy, .. } = stand.await;

    for (host, path, _) in CASES {
        for protocol in [1, 2] {
            for _ in 0..EACH {
                // A connection for each: an upstream's reset may cost it.
                let mut client = match protocol {
                    1 => Client::http1(envoy.address()).await,
                    _ => Client::http2(envoy.address()).await,
                };
                client.get(path, &[("host", host)]).await;
            }
        }
    }
    for (host, path, kind) in [
        ("grpc-ok.test", "/grpc/0", "application/grpc"),
        ("grpc-not-found.test", "/grpc/5", "application/grpc+proto"),
        ("grpc-unavailable.test", "/grpc/14", "application/grpc"),
        ("grpc-look-alike.test", "/grpc/14", "application/json"),
    ] {
        for _ in 0..EACH {
            let mut client = Client::http2(envoy.address()).await;
            client.get(path, &[("host", host), ("content-type", kind), ("te", "trailers")]).await;
        }
    }
    for _ in 0..EACH {
        let mut client = Client::http2(envoy.address()).await;
        client.get("/grpc/14", &[("host", "grpc-without-te.test"), ("content-type", "application/grpc")]).await;
        // What Envoy answers in place of a time-out, to whoever asks for it, has an end like any answer.
        let alternative = [("host", "alternative.test"), ("x-envoy-upstream-rq-timeout-alt-response", "1")];
        let answer = Client::http1(envoy.address()).await.get("/hang", &alternative).await;
        assert!([204, 504].contains(&answer.status.as_u16()), "{}", answer.status);
        break_off(envoy.address()).await;
    }
    abort(&envoy, &two).await;

    let both = 2 * EACH;
    let mut expected: Vec<(&str, Expected)> = CASES
        .iter()
        .map(|(host, _, [completed, failed, rewarded])| {
            (*host, [both, both * completed, both * failed, 0, both * rewarded])
        })
        .collect();
    expected.extend([
        ("grpc-ok.test", [EACH, EACH, 0, 0, 0]),
        ("grpc-not-found.test", [EACH, EACH, 0, 0, 0]),
        ("grpc-unavailable.test", [EACH, EACH, EACH, 0, 0]),
        ("grpc-look-alike.test", [EACH, EACH, 0, 0, 0]),
        ("grpc-without-te.test", [EACH, EACH, EACH, 0, 0]),
        ("alternative.test", [EACH, EACH, EACH, 0, 0]),
        ("broken.test", [EACH, 0, 0, EACH, 0]),
        ("abort.test", [EACH, 0, 0, EACH, 0]),
        ("abort-late.test", [EACH, 0, 0, EACH, 0]),
    ]);
    for (host, expected) in expected {
        eventually(PATIENCE, &format!("everything on {host} is counted"), async || {
            let [assigned, completed, _, aborted, _] = summary(&fake.counts(host, "v2"));
            holds(assigned == expected[0] && completed + aborted == expected[1] + expected[3])
        })
        .await;
        let counts = fake.counts(host, "v2");
        assert_eq!(summary(&counts), expected, "{host}");
        assert_eq!(fake.counts(host, "v1"), Counts::default(), "{host}: nothing for the other version");
        assert_eq!(counts.latency.total(), counts.completed - counts.failed, "{host}");
    }
    let rewards = fake.counts("reward.test", "v2");
    assert_eq!((rewards.reward_sum, rewards.reward_sum_squares), (25.0, 62.5));
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

/// A client whose body is no chunk, which Envoy answers itself.
async fn break_off(envoy: std::net::SocketAddr) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(envoy).await.unwrap();
    let request = "POST /hang HTTP/1.1\r\nhost: broken.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(b"no chunk\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
}

/// Clients that leave while the upstream thinks, and in the middle of an answer.
async fn abort(envoy: &Envoy, upstream: &Upstream) {
    for at in 0..EACH {
        let mut client = Client::http1(envoy.address()).await;
        let path = format!("/hang/{at}");
        let host = [("host", b"abort.test".as_slice())];
        let request = client.begin(Method::GET, &path, &host);
        let arrived =
            eventually(PATIENCE, "the upstream has the request", async || holds(upstream.requests_for(&path) == 1));
        tokio::select! {
            answer = request => panic!("answered before the client left: {answer:?}"),
            () = arrived => {}
        }
        drop(client);
    }
    for _ in 0..EACH {
        let mut client = Client::http1(envoy.address()).await;
        let host = [("host", b"abort-late.test".as_slice())];
        let response = client.begin(Method::GET, "/stall", &host).await.unwrap();
        assert_eq!(response.status(), 200);
        drop((response, client));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_its_deadline_is_overdue_whatever_comes_of_it_later() {
    let mut experiment = on_host("slow.test", &[("v1", 0), ("v2", 1)]);
    experiment.deadline_ms = 300;
    experiment.bin_ms = 100;
    let Stand { versions: [_one, _two], fake, envoy: _envoy, mut workers } =
        Stand::with(plan("1", vec![experiment]), |envoy| envoy.concurrency(1)).await;
    let host = [("host", "slow.test")];
    for _ in 0..3 {
        assert_eq!(workers[0].get("/delay/600", &host).await.status, 200);
        assert_eq!(workers[0].get("/", &host).await.status, 200);
    }
    let watermark = |fake: &FakeController| {
        fake.received().iter().rev().find_map(|(report, _)| {
            report.experiments.iter().find(|experiment| experiment.id == "slow.test").map(|found| found.watermark)
        })
    };
    let last_bin = eventually(PATIENCE, "all are assigned", async || {
        holds(fake.counts("slow.test", "v2").assigned == 6)?;
        fake.received()
            .iter()
            .flat_map(|(report, _)| report.experiments.clone())
            .flat_map(|found| found.cells)
            .map(|cell| cell.bin)
            .max()
    })
    .await;
    eventually(PATIENCE, "the last bin is final", async || {
        workers[0].get("/", &[("host", client::HOST)]).await;
        watermark(&fake).filter(|watermark| *watermark > last_bin)
    })
    .await;
    let counts = fake.counts("slow.test", "v2");
    assert_eq!((counts.assigned, counts.completed, counts.failed, counts.overdue()), (6, 3, 0, 3));
    assert!(fake.complaints().is_empty(), "{:?}", fake.complaints());
    // Latencies of what counted lie within the deadline.
    let (_, upper) = counts.latency.quantile_edges(1.0).unwrap();
    assert!(Duration::from_micros(upper) < Duration::from_millis(310), "{upper}");
}
