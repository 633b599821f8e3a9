//! Writes that depend on what somebody saw, writes that are sent twice, lists in pages, and who asks too often.

use super::connections::Peer;
use super::test_api::{Api, Sent};
use crate::testing::document;
use axum::body::Body;
use axum::extract::Request;
use serde_json::Value;
use tower::ServiceExt;

const SHOP: &str = "/v1/experiments/shop";

fn command(name: &str, more: &str) -> String {
    format!(r#"{{"command": "{name}", "reason": "because"{more}}}"#)
}

#[tokio::test]
async fn nobody_changes_what_has_changed_since_they_saw_it() {
    let api = Api::start(&[]);
    api.apply().await;
    let tag = async || api.send("GET", SHOP, &[], "").await.header("etag");
    let seen = tag().await;
    assert!(seen.starts_with('"') && seen.len() == 34, "{seen}");
    api.look().await;
    assert_eq!(tag().await, seen, "that it was looked at changes nothing");
    let commands = "/v1/experiments/shop/commands";
    let pause = api.send("POST", commands, &[("if-match", &seen)], command("pause", "")).await;
    assert_eq!(pause.status(), 200, "{pause:?}");
    let now = tag().await;
    assert_ne!(now, seen);
    let changed = document("shop").replace("maxDuration: 7d", "maxDuration: 8d");
    for (method, path, body) in [
        ("POST", commands, command("resume", "")),
        ("POST", "/v1/experiments", changed.clone()),
        ("DELETE", SHOP, String::new()),
    ] {
        let refused = api.send(method, path, &[("if-match", &seen)], body.clone()).await;
        assert_eq!(refused.status(), 412, "{method} {path}");
    }
    let either = format!("\"other\", {now}");
    assert_eq!(api.send("POST", commands, &[("if-match", &either)], command("resume", "")).await.status(), 200);
    assert_eq!(tag().await, seen, "it is again what it was");
    assert_eq!(api.send("POST", "/v1/experiments", &[("if-match", &tag().await)], changed).await.status(), 200);
    let create = [("if-none-match", "*")];
    assert_eq!(api.send("POST", "/v1/experiments", &create, document("shop")).await.status(), 412);
    assert_eq!(api.send("POST", "/v1/experiments", &create, document("other")).await.status(), 201);
    assert_eq!(api.send("DELETE", SHOP, &[("if-match", &tag().await)], "").await.status(), 200);
    assert_eq!(api.send("POST", "/v1/experiments", &[("if-match", "*")], document("shop")).await.status(), 412);
    let two = format!("{}---\n{}", document("a"), document("b"));
    assert_eq!(api.send("POST", "/v1/experiments", &create, two).await.status(), 400);
}

#[tokio::test]
async fn a_write_that_is_sent_again_is_answered_again_and_not_done_again() {
    let api = Api::start(&["operator:ada=a", "operator:eve=e"]);
    let as_ada = |key: &'static str| [("authorization", "Bearer a"), ("idempotency-key", key)];
    assert_eq!(api.send("POST", "/v1/experiments", &as_ada("1"), document("shop")).await.status(), 201);
    let again = api.send("POST", "/v1/experiments", &as_ada("1"), document("shop")).await;
    assert_eq!((again.status(), again.header("idempotency-replayed").as_str()), (201, "true"), "created, as before");
    let fresh = api.send("POST", "/v1/experiments", &as_ada("2"), document("shop")).await;
    assert_eq!((fresh.status(), fresh.header("idempotency-replayed").as_str()), (200, ""), "unchanged");

    let commands = "/v1/experiments/shop/commands";
    let weights = command("setWeights", r#", "weights": {"v1": 9000, "v2": 1000}"#);
    let first = api.send("POST", commands, &as_ada("3"), weights.clone()).await;
    assert_eq!(first.status(), 200);
    let resumed = api.send("POST", commands, &as_ada("4"), command("resume", "")).await;
    assert_eq!(resumed.status(), 200);
    let second = api.send("POST", commands, &as_ada("3"), weights.clone()).await;
    assert_eq!((second.status(), second.json()), (200, first.json()));
    let phase = async || api.send("GET", SHOP, &[("authorization", "Bearer a")], "").await.json()["phase"].clone();
    assert_eq!(phase().await, "running", "the weights were not set again");
    assert_eq!(api.send("POST", commands, &as_ada("3"), command("pause", "")).await.status(), 422, "another request");
    let eve = [("authorization", "Bearer e"), ("idempotency-key", "3")];
    assert_eq!(api.send("POST", commands, &eve, command("pause", "")).await.status(), 200, "a key is its sender's own");
    let refused = api.send("POST", commands, &as_ada("5"), command("pause", "")).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(api.send("POST", commands, &as_ada("6"), command("resume", "")).await.status(), 200);
    let still = api.send("POST", commands, &as_ada("5"), command("pause", "")).await;
    assert_eq!((still.status(), still.json()), (409, refused.json()), "a refusal is an answer too");

    let token = r#"{"name": "ci", "role": "viewer"}"#;
    assert_eq!(api.send("POST", "/v1/tokens", &as_ada("7"), token).await.status(), 201);
    let shown = api.send("POST", "/v1/tokens", &as_ada("7"), token).await;
    assert!(shown.status() == 409 && shown.json()["detail"].as_str().unwrap().contains("shown once"), "{shown:?}");
    for wrong in ["", "a b", &"x".repeat(129)] {
        let headers = [("authorization", "Bearer a"), ("idempotency-key", wrong)];
        assert_eq!(api.send("POST", commands, &headers, command("pause", "")).await.status(), 400, "{wrong}");
    }
    api.bench.set_time(api.bench.clock().now() + 86_400_001);
    let tomorrow = api.send("POST", "/v1/experiments", &as_ada("1"), document("shop")).await;
    assert_eq!(tomorrow.status(), 200, "a key is forgotten after a day");
}

/// Every page of a list, with how many there were.
async fn pages(api: &Api, path: &str, list: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut all, mut cursor, mut number) = (Vec::new(), String::new(), 0);
    loop {
        let page = api.call("GET", &format!("{path}?limit={limit}{cursor}"), "", "").await.json();
        let part = page[list].as_array().unwrap();
        assert!(part.len() <= limit);
        all.extend(part.iter().cloned());
        number += 1;
        let Some(next) = page["next"].as_str() else { return (all, number) };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn every_list_comes_in_pages_that_make_the_whole() {
    let api = Api::start(&[]);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(api.call("POST", "/v1/experiments", "", document(name)).await.status, 201);
    }
    let whole = api.call("GET", "/v1/experiments", "", "").await.json()["experiments"].as_array().unwrap().clone();
    assert_eq!(pages(&api, "/v1/experiments", "experiments", 2).await, (whole, 3));
    for at in 0..4 {
        let name = ["pause", "resume"][at % 2];
        assert_eq!(api.call("POST", "/v1/experiments/a/commands", "", command(name, "")).await.status, 200);
    }
    let path = "/v1/experiments/a/decisions";
    let whole = api.call("GET", path, "", "").await.json()["decisions"].as_array().unwrap().clone();
    let (all, number) = pages(&api, path, "decisions", 1).await;
    assert_eq!((all.len(), number), (4, 5), "the last page is empty");
    assert_eq!(all, whole);
    let first = api.call("GET", "/v1/experiments?limit=2", "", "").await.json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(api.call("DELETE", "/v1/experiments/b", "", "").await.status, 200);
    let second = api.call("GET", &format!("/v1/experiments?limit=2&cursor={next}"), "", "").await.json();
    assert_eq!(second["experiments"][0]["name"], "c", "what a page ended with may be gone");
    for wrong in [format!("/v1/experiments/a/decisions?cursor={next}"), "/v1/experiments?cursor=é".to_owned()] {
        let wrong = wrong.replace('é', "%C3%A9");
        assert_eq!(api.call("GET", &wrong, "", "").await.checked_status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_key_is_of_one_token_and_not_of_a_name() {
    let api = Api::start(&["operator:boss=o"]);
    let create = r#"{"name": "ada", "role": "operator"}"#;
    let commands = "/v1/experiments/shop/commands";
    assert_eq!(api.call("POST", "/v1/experiments", "o", document("shop")).await.status, 201);
    let mut replayed = Vec::new();
    for _ in 0..2 {
        let made = api.call("POST", "/v1/tokens", "o", create).await.json();
        let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "1")];
        let answer = api.send("POST", commands, &headers, command("pause", "")).await;
        replayed.push((answer.status(), answer.header("idempotency-replayed")));
        assert_eq!(api.call("DELETE", "/v1/tokens/ada", "o", "").await.status, 200);
    }
    assert_eq!(replayed, [(200, String::new()), (409, String::new())], "the second `ada` is somebody else");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_filters_are_not() {
    let api = Api::limited(&["viewer=v", "viewer:eve=e", "proxy=p"], 1);
    let get = |token: &'static str, path: &'static str| api.call("GET", path, token, "");
    assert_eq!(get("v", "/v1/experiments").await.status, 200);
    assert_eq!(get("v", "/v1/experiments").await.status, 200);
    let bearer = [("authorization", "Bearer v")];
    let refused = api.send("GET", "/v1/experiments", &bearer, "").await;
    assert_eq!((refused.status(), refused.header("retry-after").as_str()), (429, "1"));
    assert_eq!(get("e", "/v1/experiments").await.status, 200, "somebody else");
    for _ in 0..20 {
        assert_eq!(get("p", "/v1/plan").await.status, 200);
    }
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(get("guess", "/v1/experiments").await.status);
    }
    assert!(statuses.starts_with(&[401; 20]) && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn every_answer_says_that_it_is_nobodys_to_keep_frame_or_run() {
    let api = Api::start(&["viewer=v"]);
    for (path, token) in [("/v1/experiments", "Bearer v"), ("/v1/experiments", ""), ("/nothing", ""), ("/healthz", "")]
    {
        let answer: Sent = api.send("GET", path, &[("authorization", token)], "").await;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn of_two_keys_none_is_chosen() {
    let api = Api::start(&[]);
    let two = [("idempotency-key", "1"), ("idempotency-key", "2")];
    assert_eq!(api.send("POST", "/v1/experiments", &two, document("shop")).await.status(), 400);
    assert_eq!(api.send("GET", SHOP, &[], "").await.status(), 404);
}

#[tokio::test]
async fn an_ipv6_network_is_one_caller_and_a_token_is_one_from_wherever_it_comes() {
    let api = Api::limited(&["viewer=v"], 1);
    let called = async |method: &str, token: &str, from: &dyn Fn(u16) -> String| {
        let mut statuses = Vec::new();
        for number in 0..60 {
            let request = Request::builder().method(method).uri("/v1/experiments");
            let request = request.header("authorization", format!("Bearer {token}"));
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(Peer(from(number).parse().unwrap()));
            statuses.push(api.router.clone().oneshot(request).await.unwrap().status().as_u16());
        }
        statuses
    };
    let guesses = called("GET", "guess", &|number| format!("2001:db8::{number}")).await;
    assert!(guesses.starts_with(&[401; 20]) && guesses.contains(&429), "{guesses:?}");
    let others = called("GET", "guess", &|number| format!("2001:db8:1:{number}::1")).await;
    assert_eq!(others, [401; 60], "each from a network of its own");
    let refused = called("POST", "v", &|number| format!("2001:db8:2:{number}::1")).await;
    assert!(refused.starts_with(&[403; 20]) && refused.contains(&429), "{refused:?}");
}
