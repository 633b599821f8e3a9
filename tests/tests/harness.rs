//! The helpers themselves, on an Envoy without the filter: what they promise is what the other tests stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hyper::Method;
use weir_core::plan::Plan;
use weir_tests::fake::Answer;
use weir_tests::{Client, Envoy, FakeController, Upstream, client, eventually, plans, wait::PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_misbehaves_through_envoy_as_its_path_asks() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let envoy = Envoy::builder().version(&one).version(&two).timeout("0.3s").start().await;
    let mut clients = [envoy.connect().await, Client::http2(envoy.address()).await];
    for client in &mut clients {
        assert_eq!(client.get("/", &[]).await.version(), "v1", "the baseline without a header");
        assert_eq!(client.get("/", &[("x-weir-version", "v2")]).await.version(), "v2");
        assert_eq!(client.get("/status/404", &[]).await.status, 404);
        let reset = client.get("/reset", &[]).await;
        assert_eq!((reset.status.as_u16(), reset.version()), (503, ""), "Envoy answers for a reset upstream");
        assert_eq!(client.get("/hang", &[]).await.status, 504, "Envoy answers for a slow upstream");
        let reward = client.get("/reward/2.5", &[]).await;
        assert_eq!(reward.headers["x-weir-reward"], "2.5");
        let echo = client.send(Method::GET, "/echo", &[("x-odd", b"\xff\xc3a".as_slice())]).await.unwrap();
        assert!(echo.text().contains("x-odd: \\xff\\xc3a"), "any byte is passed on: {}", echo.text());
    }
    let mut http2 = Client::http2(envoy.address()).await;
    let grpc = http2.get("/grpc/14", &[("content-type", "application/grpc"), ("te", "trailers")]).await;
    assert_eq!(grpc.trailers.expect("trailers")["grpc-status"], "14");
    assert!(one.requests_for("/grpc/14") >= 1 && two.requests() == 2);

    let truncated = envoy.connect().await.get("/truncate", &[]).await;
    assert_eq!((truncated.status.as_u16(), truncated.complete), (200, false), "half a body after a 200");
    assert!(!truncated.body.is_empty(), "the first half arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_go_round_the_workers() {
    let upstream = Upstream::start("v1").await;
    let envoy = Envoy::builder().version(&upstream).concurrency(4).start().await;
    for client in &mut envoy.connect_to_every_worker().await {
        client.get("/", &[]).await;
    }
    let per_worker = envoy.stats("worker_..downstream_cx_total").await;
    assert_eq!(per_worker.lines().filter(|line| line.ends_with(": 1")).count(), 4, "{per_worker}");
}

#[tokio::test]
async fn a_fake_controller_holds_polls_and_counts_each_report_once() {
    let mut fake = FakeController::start(Plan::empty("1")).await;
    let poll = |revision: &str| format!("/v1/plan?revision={revision}&wait=5s");
    let get = async |path: String| client::call(fake.address(), "GET", &path, &[], Vec::new()).await.unwrap();
    assert_eq!(get("/v1/plan?revision=1&wait=0ms".to_owned()).await.status, 304);
    assert!(get(poll("")).await.text().contains("\"revision\":\"1\""));
    let publish = async {
        eventually(PATIENCE, "the poll is held", async || (fake.polls() == 3).then_some(())).await;
        fake.publish(plans::plan("2", vec![plans::experiment("e", &[("v1", 1), ("v2", 1)])]));
    };
    let (held, ()) = tokio::join!(get(poll("1")), publish);
    assert!(held.text().contains("\"revision\":\"2\""));

    let report = br#"{"format":1,"node":"n","incarnation":"0123456789abcdef0123456789abcdef","sequence":1,"plan":"2",
        "experiments":[{"id":"e","watermark":0,"cells":[{"epoch":1,"version":"v1","bin":200,"counts":{"assigned":3}}]}]}"#;
    fake.script(&[Answer::Refuse(500), Answer::CountAndDisconnect]);
    let address = fake.address();
    let send = async |body: &[u8]| client::call(address, "POST", "/v1/reports", &[], body.to_vec()).await;
    assert_eq!(send(report).await.unwrap().status, 500);
    assert_eq!(fake.assigned("e"), 0);
    assert!(send(report).await.is_err());
    assert_eq!(send(report).await.unwrap().status, 200);
    assert_eq!((fake.assigned("e"), fake.received().len()), (3, 3));
    assert!(fake.complaints().is_empty());
    assert_eq!(send(b"{}").await.unwrap().status, 422);
    assert_eq!(fake.complaints().len(), 1);

    fake.stop().await;
    assert!(send(report).await.is_err());
    fake.resume().await;
    assert_eq!(send(report).await.unwrap().status, 200);
}
