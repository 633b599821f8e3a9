//! Conversions on a real Envoy: many experiments that one request rewards, and which exposures could have been rewarded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use hyper::Method;
use serde_json::json;
use std::collections::BTreeMap;
use weir_core::cookie::GeneratedCookie;
use weir_core::plan::{Match, PathMatch, PlannedExperiment, RewardSource};
use weir_core::reward::RequestReward;
use weir_tests::envoy::CONTROLLER;
use weir_tests::plans::{plan, sticky};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, FakeController, Reply, Upstream, eventually};

const HEADER: &str = "x-weir-reward";

/// One of many experiments, each on a page of its own, that the same request rewards.
fn of_page(page: usize) -> PlannedExperiment {
    let named = format!("page-{page}");
    PlannedExperiment {
        matching: Match { paths: vec![PathMatch::Exact(format!("/page/{page}"))], ..Match::default() },
        deadline_ms: 30_000,
        reward: Some(RewardSource::Request(RequestReward {
            matching: Match { paths: vec![PathMatch::Prefix("/reward".to_owned())], ..Match::default() },
            method: "POST".to_owned(),
            codes: vec![(200, 299)],
            response_header: Some(HEADER.to_owned()),
            cookie: GeneratedCookie { name: named.clone(), attributes: "Max-Age=60; Path=/".to_owned() },
        })),
        secret: Some(format!("{page:032x}")),
        ..sticky(&named, &[("v1", 1), ("v2", 0)])
    }
}

/// Sends a request with a browser's cookies, and keeps what it is given.
async fn send(client: &mut Client, cookies: &mut BTreeMap<String, String>, method: Method, path: &str) -> Reply {
    let list = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let headers: &[(&str, &[u8])] = &[("x-user", b"ann"), ("cookie", list.as_bytes())];
    let reply = client.send(method, path, headers).await.expect("an answer");
    for cookie in reply.headers.get_all("set-cookie") {
        let (pair, attributes) = cookie.to_str().unwrap().split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        if attributes.ends_with("; Max-Age=0") {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_rewards_sixteen_experiments_at_a_time_and_exposures_that_it_could_not_are_told_apart() {
    let one = Upstream::start("v1").await;
    let fake = FakeController::start(plan("1", (0..200).map(of_page).collect())).await;
    let envoy = Envoy::builder()
        .version(&one)
        .controller(fake.address())
        .plugin(&json!({"controller": {"cluster": CONTROLLER, "reportInterval": "100ms"}}))
        .start()
        .await;
    envoy.workers_with_plan("1").await;
    let mut client = Client::http1(envoy.address()).await;
    let mut cookies = BTreeMap::new();
    // A request that many experiments wait for, of a browser without a token: the value is still nobody's business.
    let stranger = send(&mut client, &mut cookies, Method::POST, "/reward/7").await;
    assert_eq!((stranger.headers.get(HEADER), cookies.len()), (None, 0));
    let page = send(&mut client, &mut cookies, Method::GET, "/reward/7").await;
    assert!(page.headers.contains_key(HEADER), "of another request it is its own");
    // Twenty pages, wherever in the plan; some are seen again.
    let pages: Vec<usize> = (0..20).map(|at| at * 10).collect();
    for (at, page) in pages.iter().enumerate() {
        for _ in 0..=at % 3 {
            send(&mut client, &mut cookies, Method::GET, &format!("/page/{page}")).await;
        }
    }
    assert_eq!(cookies.len(), 20);
    let failed = send(&mut client, &mut cookies, Method::POST, "/status/500").await;
    assert_eq!((failed.status.as_u16(), cookies.len()), (500, 20));
    for left in [4, 0] {
        let reply = send(&mut client, &mut cookies, Method::POST, "/reward/2.5").await;
        assert_eq!((reply.status.as_u16(), reply.headers.get(HEADER)), (200, None));
        assert_eq!(cookies.len(), left, "what it did not reward keeps its token, for the next");
    }
    // Each once, however often it was sent.
    let reports = || {
        let received = fake.received().into_iter();
        received.map(|(report, _)| ((report.incarnation.clone(), report.sequence), report)).collect::<BTreeMap<_, _>>()
    };
    eventually(PATIENCE, "all is reported", async || {
        let claims: usize = reports().values().map(|report| report.claims.len()).sum();
        holds(claims >= 20 && pages.iter().all(|page| fake.assigned(&format!("page-{page}")) > 0))
    })
    .await;
    let reports = reports();
    let claims: Vec<_> = reports.values().flat_map(|report| &report.claims).collect();
    assert!(claims.iter().all(|claim| claim.reward == 2.5) && claims.len() == 20, "{claims:?}");
    assert_eq!(reports.values().map(|report| report.lost_claims).sum::<u64>(), 4);
    for (at, page) in pages.iter().enumerate() {
        let counts = fake.counts(&format!("page-{page}"), "v1");
        let visits = at as u64 % 3 + 1;
        assert_eq!((counts.assigned, counts.repeats), (visits, visits - 1), "{page}");
    }
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
