//! HTTP/1.1 and HTTP/2 on either side, gRPC, and upgrades: routed and counted alike.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::ext::Protocol;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_core::plan::{Measure, PlannedExperiment};
use weir_core::report::Counts;
use weir_tests::envoy::cluster_speaking;
use weir_tests::plans::{on_host, plan};
use weir_tests::stand::versions;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, EnvoyBuilder, FakeController, Stand, eventually};

/// Requests of each kind.
const EACH: u64 = 10;

fn to_v2(host: &str) -> PlannedExperiment {
    on_host(host, &[("v1", 0), ("v2", 1)])
}

/// Waits until so many ends of an experiment are counted.
async fn counted(fake: &FakeController, host: &str, ends: u64) -> Counts {
    eventually(PATIENCE, &format!("{host} is counted"), async || {
        let counts = fake.counts(host, "v2");
        (counts.assigned >= ends && counts.completed + counts.aborted >= ends).then_some(counts)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_protocol_on_either_side_is_routed_and_counted() {
    let [one, two] = versions().await;
    let hosts = ["1-to-1.test", "1-to-2.test", "2-to-1.test", "2-to-2.test"];
    let to = |host: &str, cluster: &str| {
        json!({"match": {"prefix": "/", "headers": [
            {"name": ":authority", "string_match": {"exact": host}},
            {"name": "x-weir-version", "string_match": {"exact": "v2"}},
        ]}, "route": {"cluster": cluster}})
    };
    let (by_1, by_2) = (cluster_speaking("by-1", two.address(), false), cluster_speaking("by-2", two.address(), true));
    let routes = hosts.map(|host| to(host, if host.ends_with("1.test") { "by-1" } else { "by-2" }));
    let stand = Stand::of([one, two], plan("1", hosts.map(to_v2).to_vec()), |envoy| {
        routes.into_iter().fold(envoy.cluster(by_1).cluster(by_2), EnvoyBuilder::route)
    });
    let Stand { fake, envoy, versions: _versions, .. } = stand.await;
    for host in hosts {
        let mut client = if host.starts_with('1') {
            Client::http1(envoy.address()).await
        } else {
            Client::http2(envoy.address()).await
        };
        for at in 0..EACH {
            let path = if at % 2 == 0 { "/" } else { "/status/500" };
            let reply = client.get(path, &[("host", host), ("x-weir-version", "v1")]).await;
            let over = if host.ends_with("1.test") { "HTTP/1.1" } else { "HTTP/2.0" };
            assert_eq!((reply.version(), reply.headers["x-served-over"].to_str().unwrap()), ("v2", over), "{host}");
        }
        let counts = counted(&fake, host, EACH).await;
        assert_eq!((counts.assigned, counts.completed, counts.failed), (EACH, EACH, EACH / 2), "{host}");
    }
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_fails_by_its_status_wherever_that_is() {
    let cases = [
        ("fine.test", "/grpc/0", 0),
        ("in-trailers.test", "/grpc/14", EACH),
        ("in-headers.test", "/grpc-now/13", EACH),
        ("not-found.test", "/grpc/5", 0),
        ("not-found-at-once.test", "/grpc-now/5", 0),
        ("no-service.test", "/status/503", EACH),
        ("reset.test", "/reset", EACH),
    ];
    let Stand { versions: _versions, fake, envoy, .. } =
        Stand::start(plan("1", cases.iter().map(|case| to_v2(case.0)).collect())).await;
    for (host, path, failed) in cases {
        let mut client = Client::http2(envoy.address()).await;
        for _ in 0..EACH {
            let headers: [(&str, &[u8]); 3] =
                [("host", host.as_bytes()), ("content-type", b"application/grpc"), ("te", b"trailers")];
            let reply = client.send(Method::POST, path, &headers).await.unwrap();
            assert!(reply.status == 200 || path.starts_with("/status"), "{host}: {}", reply.status);
        }
        let counts = counted(&fake, host, EACH).await;
        assert_eq!((counts.assigned, counts.completed, counts.failed), (EACH, EACH, failed), "{host}");
    }
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_experiment_that_measures_to_the_headers_knows_what_they_say() {
    let cases = [
        ("fine.test", "/", "text/plain", 0),
        ("error.test", "/status/500", "text/plain", EACH),
        ("reset.test", "/reset", "text/plain", EACH),
        ("grpc.test", "/grpc/0", "application/grpc", 0),
        ("grpc-in-trailers.test", "/grpc/14", "application/grpc", 0),
        ("grpc-in-headers.test", "/grpc-now/14", "application/grpc", EACH),
    ];
    let experiments = cases.iter().map(|case| PlannedExperiment { measure: Measure::Headers, ..to_v2(case.0) });
    let Stand { versions: _versions, fake, envoy, .. } = Stand::start(plan("1", experiments.collect())).await;
    for (host, path, kind, failed) in cases {
        for _ in 0..EACH {
            let mut client = Client::http2(envoy.address()).await;
            let headers: [(&str, &[u8]); 2] = [("host", host.as_bytes()), ("content-type", kind.as_bytes())];
            client.send(Method::POST, path, &headers).await.unwrap();
        }
        let counts = counted(&fake, host, EACH).await;
        assert_eq!((counts.assigned, counts.completed, counts.failed), (EACH, EACH, failed), "{host}");
    }
    assert!(!envoy.log().contains("Uncaught"), "{}", envoy.log());
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

/// An upgraded connection, by hand: what Envoy forwards after the 101 are bytes.
async fn upgraded(envoy: &Envoy, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(envoy.address()).await.unwrap();
    let request = format!(
        "GET /upgrade HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-weir-version: v1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(timeout(PATIENCE, stream.read_buf(&mut head)).await.unwrap().unwrap() > 0);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("x-served-by: v2"), "{head}");
    stream
}

/// Bytes there and back.
async fn both_ways(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("an echo").unwrap();
    assert_eq!(back, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_is_routed_left_alone_and_counted_once() {
    let mut to_headers = to_v2("to-headers.test");
    to_headers.measure = Measure::Headers;
    let mut overdue = to_v2("overdue.test");
    overdue.deadline_ms = 300;
    overdue.bin_ms = 100;
    let experiments = vec![to_headers, overdue, to_v2("by-client.test"), to_v2("by-version.test")];
    let Stand { versions: [one, two], fake, envoy, .. } =
        Stand::with(plan("1", experiments), |envoy| envoy.upgrade("websocket")).await;

    let mut stream = upgraded(&envoy, "to-headers.test").await;
    // Counted when the answer's headers were there, while the connection lives on.
    let counts = counted(&fake, "to-headers.test", 1).await;
    assert_eq!((counts.assigned, counts.completed, counts.failed), (1, 1, 0));
    let many: Vec<u8> = (0..100_000_u32).map(|at| if at % 251 == 33 { b'.' } else { (at % 251) as u8 }).collect();
    both_ways(&mut stream, &[0x81, 0x85, 0, 1, 2, 3, b'h', 0xff]).await;
    for part in many.chunks(1_000) {
        both_ways(&mut stream, part).await;
    }
    drop(stream);

    let mut stream = upgraded(&envoy, "by-client.test").await;
    both_ways(&mut stream, b"ping").await;
    drop(stream);
    let counts = counted(&fake, "by-client.test", 1).await;
    assert_eq!((counts.assigned, counts.completed, counts.aborted), (1, 0, 1), "its client left");

    let mut stream = upgraded(&envoy, "by-version.test").await;
    both_ways(&mut stream, b"bye!").await;
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0, "the version ends it");
    let counts = counted(&fake, "by-version.test", 1).await;
    assert_eq!((counts.assigned, counts.completed, counts.failed), (1, 1, 0), "its version ended it");

    let mut stream = upgraded(&envoy, "overdue.test").await;
    eventually(PATIENCE, "its bin is final", async || {
        both_ways(&mut stream, b"ping").await;
        let reports = fake.received();
        let of =
            |report: &weir_core::report::Report| report.experiments.iter().find(|e| e.id == "overdue.test").cloned();
        let found: Vec<_> = reports.iter().filter_map(|(report, _)| of(report)).collect();
        let bin = found.iter().flat_map(|found| &found.cells).map(|cell| cell.bin).max()?;
        holds(found.iter().any(|found| found.watermark > bin))
    })
    .await;
    let counts = fake.counts("overdue.test", "v2");
    assert_eq!((counts.assigned, counts.overdue()), (1, 1), "an upgrade measured to its end outlives the deadline");
    assert_eq!(one.requests_for("/upgrade"), 0);
    assert_eq!(two.requests_for("/upgrade"), 4);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_over_http2_is_routed_left_alone_and_counted_once() {
    let [one, two] = versions().await;
    let by_1 = cluster_speaking("by-1", two.address(), false);
    let to_2 = json!({
        "match": {"prefix": "/", "headers": [{"name": "x-weir-version", "string_match": {"exact": "v2"}}]},
        "route": {"cluster": "by-1"},
    });
    let experiments = vec![to_v2("by-version.test"), to_v2("by-client.test")];
    let stand =
        Stand::of([one, two], plan("1", experiments), |envoy| envoy.cluster(by_1).route(to_2).upgrade("websocket"));
    let Stand { versions: [one, two], fake, envoy, .. } = stand.await;
    let stream = TcpStream::connect(envoy.address()).await.unwrap().into_std().unwrap();
    let socket = stream.try_clone().unwrap();
    let stream = TcpStream::from_std(stream).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (host, last) in [("by-version.test", "bye!"), ("by-client.test", "ping")] {
        let mut request = Request::builder().method(Method::CONNECT).uri(format!("http://{host}/upgrade"));
        request = request.extension(Protocol::from_static("websocket")).header("x-weir-version", "v1");
        sender.ready().await.unwrap();
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["x-served-by"].to_str().unwrap()), (200, "v2"));
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        for part in ["ping", last] {
            stream.write_all(part.as_bytes()).await.unwrap();
            let mut back = vec![0; part.len()];
            timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("an echo").unwrap();
            assert_eq!(back, part.as_bytes());
        }
        if last == "bye!" {
            // Envoy resets the stream when its other side has closed.
            let end = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
            assert_eq!(end.unwrap_or_default(), 0, "the version ends it");
        } else {
            // A client that only ends its stream waits for the version to end its own: one that goes leaves.
            socket.shutdown(std::net::Shutdown::Both).unwrap();
        }
        let counts = counted(&fake, host, 1).await;
        let ended = if last == "bye!" { (1, 1, 0) } else { (1, 0, 1) };
        assert_eq!((counts.assigned, counts.completed, counts.aborted), ended, "{host}");
    }
    assert_eq!((one.requests_for("/upgrade"), two.requests_for("/upgrade")), (0, 2));
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
