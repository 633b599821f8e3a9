//! Reports that are wrong change nothing in the real controller and are answered with what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Controller, Reply, eventually};

const EXPERIMENT: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {ab: {}}
  reward: {responseHeader: x-weir-reward, direction: maximize}
  deadline: 1s
  bin: 1s
";

const INCARNATION: &str = "0123456789abcdef0123456789abcdef";

/// A controller with one experiment, and what its plan says of it.
async fn controller(arguments: &[&str]) -> (Controller, String, u64) {
    let mut all = vec!["--decision-interval", "100ms"];
    all.extend(arguments);
    let controller = Controller::start_with(&all).await;
    controller.apply(EXPERIMENT);
    let plan = controller.get("/v1/plan").await.expect("a plan");
    let id = plan["experiments"][0]["id"].as_str().expect("an id").to_owned();
    // A bin that the controller's clock has passed.
    let created = controller.get("/v1/experiments/shop").await.expect("it was applied")["createdAt"].as_u64().unwrap();
    (controller, id, created / 1_000 * 1_000)
}

fn report(sequence: u64, id: &str, watermark: u64, cells: Value) -> Value {
    json!({
        "format": 1, "node": "a", "incarnation": INCARNATION, "sequence": sequence, "plan": "x",
        "experiments": [{"id": id, "watermark": watermark, "cells": cells}],
    })
}

fn cell(bin: u64, counts: Value) -> Value {
    json!({"epoch": 1, "version": "v1", "bin": bin, "counts": counts})
}

async fn send(controller: &Controller, body: &Value) -> Reply {
    let headers = [("content-type", "application/json")];
    controller.call("POST", "/v1/reports", &headers, body.to_string().into_bytes()).await.expect("an answer")
}

/// Exposures counted so far, settled or not, per version.
async fn assigned(controller: &Controller) -> Option<[u64; 2]> {
    let experiment = controller.get("/v1/experiments/shop").await?;
    let versions = experiment["assessment"]["versions"].as_array()?;
    Some([versions[0]["live"]["assigned"].as_u64()?, versions[1]["live"]["assigned"].as_u64()?])
}

fn assert_problem(reply: &Reply, status: u16, said: &str, what: &str) {
    assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.text());
    assert_eq!(reply.headers["content-type"], "application/problem+json", "{what}");
    assert!(reply.text().contains(said), "{what}: `{said}` should be in {}", reply.text());
}

#[tokio::test]
async fn a_bad_report_changes_nothing_and_is_told_what_is_wrong() {
    let (controller, id, bin) = controller(&[]).await;
    let good = report(1, &id, bin, json!([cell(bin, json!({"assigned": 3, "completed": 1, "failed": 1}))]));
    assert_eq!(send(&controller, &good).await.status, 200);
    eventually(PATIENCE, "the first is counted", async || holds(assigned(&controller).await? == [3, 0])).await;

    let with = |change: fn(&mut Value, u64)| {
        let mut body = report(2, &id, bin, json!([cell(bin, json!({"assigned": 100, "completed": 1, "failed": 1}))]));
        change(&mut body, bin);
        body
    };
    fn counts(body: &mut Value) -> &mut Value {
        &mut body["experiments"][0]["cells"][0]["counts"]
    }
    for (what, body, said) in [
        ("negative", with(|body, _| counts(body)["assigned"] = json!(-1)), "experiments[0].cells[0].counts.assigned"),
        ("no whole number", with(|body, _| counts(body)["assigned"] = json!(1.5)), "counts.assigned"),
        ("beyond belief", with(|body, _| counts(body)["assigned"] = json!(1_u64 << 41)), "more than 2^40"),
        ("unknown field", with(|body, _| counts(body)["asigned"] = json!(1)), "unknown field `asigned`"),
        ("more failed than completed", with(|body, _| counts(body)["failed"] = json!(2)), "is more than completed"),
        ("more ends than exposures", with(|body, _| *counts(body) = json!({"completed": 9, "failed": 9})), "more ends"),
        ("latencies of nobody", with(|body, _| counts(body)["latency"] = json!([[5, 1]])), "latency"),
        ("unknown experiment", with(|body, _| body["experiments"][0]["id"] = json!("nobody")), "`nobody`"),
        (
            "the same experiment twice",
            with(|body, _| {
                let again = body["experiments"][0].clone();
                body["experiments"] = json!([again, again]);
            }),
            "is there twice",
        ),
        (
            "wrong version",
            with(|body, _| body["experiments"][0]["cells"][0]["version"] = json!("v9")),
            "`v9` is not a version",
        ),
        ("an epoch to come", with(|body, _| body["experiments"][0]["cells"][0]["epoch"] = json!(9)), "has not begun"),
        ("epoch zero", with(|body, _| body["experiments"][0]["cells"][0]["epoch"] = json!(0)), "epochs count from 1"),
        ("no bin", with(|body, bin| body["experiments"][0]["cells"][0]["bin"] = json!(bin + 1)), "multiple of the bin"),
        ("a final bin", with(|body, bin| body["experiments"][0]["cells"][0]["bin"] = json!(bin - 1_000)), "final"),
        (
            "a watermark that goes back",
            with(|body, bin| body["experiments"][0]["watermark"] = json!(bin - 1_000)),
            "never goes back",
        ),
        (
            "days ahead",
            with(|body, bin| body["experiments"][0]["watermark"] = json!(bin + 86_400_000)),
            "check the clock",
        ),
        ("a report left out", with(|body, _| body["sequence"] = json!(4)), "sequence"),
        ("another format", with(|body, _| body["format"] = json!(2)), "format"),
        ("no incarnation", with(|body, _| body["incarnation"] = json!("me")), "32 lower-case hexadecimal digits"),
        ("no node", with(|body, _| body["node"] = json!("")), "node"),
    ] {
        let reply = send(&controller, &body).await;
        assert_problem(&reply, 422, said, what);
    }

    let mut large = good.to_string().into_bytes();
    large.resize((1 << 20) + 1, b' ');
    let reply = controller.call("POST", "/v1/reports", &[], large).await.expect("an answer");
    assert_problem(&reply, 413, "1048576", "too large");
    let reply = controller.call("POST", "/v1/reports", &[], b"{\"format\": 1,".to_vec()).await.expect("an answer");
    assert_problem(&reply, 400, "not JSON", "half of JSON");
    let reply = controller.call("POST", "/v1/reports", &[], vec![0xff; 64]).await.expect("an answer");
    assert_problem(&reply, 400, "not JSON", "no text");
    let reply = controller.call("GET", "/v1/reports", &[], Vec::new()).await.expect("an answer");
    assert_problem(&reply, 405, "", "not posted");

    // The same once more, and with the same number but other counts: acknowledged, so that it is not sent again.
    assert_eq!(send(&controller, &good).await.status, 200);
    let other = report(1, &id, bin, json!([cell(bin, json!({"assigned": 1_000}))]));
    let reply = send(&controller, &other).await;
    assert_eq!((reply.status.as_u16(), reply.text().contains("\"acknowledged\":1")), (200, true), "{}", reply.text());

    // All that has changed is what this one says.
    let next = report(2, &id, bin, json!([cell(bin, json!({"assigned": 5}))]));
    assert_eq!(send(&controller, &next).await.status, 200);
    eventually(PATIENCE, "the next is counted", async || holds(assigned(&controller).await? != [3, 0])).await;
    assert_eq!(assigned(&controller).await, Some([8, 0]));
}

#[tokio::test]
async fn a_report_is_counted_once_over_a_crash_right_after_its_acknowledgement() {
    let (mut controller, id, bin) = controller(&[]).await;
    for sequence in 1..=5 {
        let body = report(sequence, &id, bin, json!([cell(bin, json!({"assigned": 10}))]));
        assert_eq!(send(&controller, &body).await.status, 200);
        controller.kill();
        controller.resume().await;
        assert_eq!(send(&controller, &body).await.status, 200, "a replay is acknowledged");
        let expected = [10 * sequence, 0];
        eventually(PATIENCE, "it is counted", async || holds(assigned(&controller).await? == expected)).await;
    }
}

#[tokio::test]
async fn only_a_proxy_may_report_where_there_are_tokens() {
    let controller = Controller::start_with(&["--token", "proxy=p-secret", "--token", "viewer=v-secret"]).await;
    let body = json!({"format": 1, "node": "a", "incarnation": INCARNATION, "sequence": 1, "plan": ""}).to_string();
    for (token, status) in [("", 401), ("Bearer nonsense", 401), ("Bearer v-secret", 403), ("Bearer p-secret", 200)] {
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", token)] };
        let reply =
            controller.call("POST", "/v1/reports", headers, body.clone().into_bytes()).await.expect("an answer");
        assert_eq!(reply.status.as_u16(), status, "`{token}`: {}", reply.text());
    }
}
