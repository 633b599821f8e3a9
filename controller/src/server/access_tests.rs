//! Tokens made over the API, and what is written down of whoever writes.

use super::test_api::Api;
use serde_json::{Value, json};

#[tokio::test]
async fn the_first_token_closes_the_door_and_each_does_what_its_role_allows() {
    let api = Api::start(&[]);
    assert_eq!(api.call("GET", "/v1/whoami", "", "").await.json(), json!({}), "everybody may do everything");
    let locked = api.call("POST", "/v1/tokens", "", r#"{"name": "eve", "role": "viewer"}"#).await;
    assert_eq!(locked.checked_status(), 409, "nobody could operate it any more");
    assert!(String::from_utf8(locked.body).unwrap().contains("make an operator's first"));
    assert_eq!(api.call("GET", "/v1/experiments", "", "").await.status, 200, "still open");
    let made = api.call("POST", "/v1/tokens", "", r#"{"name": "ada", "role": "operator"}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let ada = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(api.call("GET", "/v1/experiments", "", "").await.checked_status(), 401, "nobody without one any more");
    let made = api.call("POST", "/v1/tokens", &ada, r#"{"name": "eve", "role": "viewer", "expiresIn": "1h"}"#).await;
    let eve = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!((made.status, made.json()["createdBy"].as_str()), (201, Some("ada")));
    assert_eq!(api.call("GET", "/v1/experiments", &eve, "").await.status, 200);
    assert_eq!(api.call("POST", "/v1/experiments", &eve, "x").await.checked_status(), 403);

    for (token, expected) in
        [(&ada, json!({"name": "ada", "role": "operator"})), (&eve, json!({"name": "eve", "role": "viewer"}))]
    {
        assert_eq!(api.call("GET", "/v1/whoami", token, "").await.json(), expected);
    }
    let listed = api.call("GET", "/v1/tokens", &ada, "").await;
    let text = String::from_utf8(listed.body.clone()).unwrap();
    assert!(!text.contains(&ada) && !text.contains(&eve[5..]), "{text}");
    let names: Vec<Value> =
        listed.json()["tokens"].as_array().unwrap().iter().map(|token| token["name"].clone()).collect();
    assert_eq!(names, ["ada", "eve"]);

    api.bench.set_time(api.bench.clock().now() + 3_600_000);
    let expired = api.call("GET", "/v1/experiments", &eve, "").await;
    assert_eq!(expired.checked_status(), 401);
    assert!(String::from_utf8(expired.body).unwrap().contains("has expired"));
    let own = api.call("DELETE", "/v1/tokens/ada", &ada, "").await;
    assert_eq!(own.checked_status(), 409, "the token that is used");
    let made = api.call("POST", "/v1/tokens", &ada, r#"{"name": "bob", "role": "operator", "expiresIn": "1h"}"#).await;
    let bob = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(api.call("DELETE", "/v1/tokens/eve", &bob, "").await.status, 200);
    api.bench.set_time(api.bench.clock().now() + 3_600_000);
    let last = api.call("DELETE", "/v1/tokens/ada?force=false", &ada, "").await;
    assert_eq!(last.checked_status(), 409, "nobody would be left");
    assert_eq!(api.call("DELETE", "/v1/tokens/ada?force=perhaps", &ada, "").await.checked_status(), 400);
    assert_eq!(api.call("DELETE", "/v1/tokens/ada?force=true", &ada, "").await.status, 200);
    assert_eq!(api.call("GET", "/v1/tokens", &ada, "").await.checked_status(), 401, "at once");
    assert_eq!(api.call("GET", "/v1/experiments", "", "").await.checked_status(), 401, "the door stays closed");
}

#[tokio::test]
async fn what_is_no_token_to_make_is_refused_with_a_reason() {
    let api = Api::start(&["operator:ada=o"]);
    for (body, status, said) in [
        ("{", 400, "not JSON"),
        (r#"{"name": "x"}"#, 422, "missing field `role`"),
        (r#"{"name": "x", "role": "king"}"#, 422, "unknown variant `king`"),
        (r#"{"name": "x y", "role": "viewer"}"#, 422, "its name is none"),
        (r#"{"name": "..", "role": "viewer"}"#, 422, "neither a role nor"),
        (r#"{"name": "operator", "role": "viewer"}"#, 422, "neither a role nor"),
        (r#"{"name": "", "role": "viewer"}"#, 422, "its name is none"),
        (r#"{"name": "x", "role": "viewer", "expiresIn": "soon"}"#, 422, "its expiresIn"),
        (r#"{"name": "x", "role": "viewer", "expiresIn": "0s"}"#, 422, "its expiresIn"),
        (r#"{"name": "x", "role": "viewer", "secret": "mine"}"#, 422, "unknown field"),
        (r#"{"name": "ada", "role": "viewer"}"#, 409, "was started with"),
    ] {
        let answer = api.call("POST", "/v1/tokens", "o", body).await;
        assert_eq!(answer.checked_status(), status, "{body}: {answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains(said), "{body}: {answer:?}");
    }
    let viewer = r#"{"name": "eve", "role": "viewer"}"#;
    assert_eq!(api.call("POST", "/v1/tokens", "o", viewer).await.status, 201);
    assert_eq!(api.call("POST", "/v1/tokens", "o", viewer).await.checked_status(), 409);
    let started = api.call("DELETE", "/v1/tokens/ada", "o", "").await;
    assert!(started.checked_status() == 404 && String::from_utf8(started.body).unwrap().contains("taken away there"));
    assert_eq!(api.call("DELETE", "/v1/tokens/nobody", "o", "").await.checked_status(), 404);
}

#[tokio::test]
async fn every_write_is_in_the_audit_log_with_who_and_how_it_ended() {
    let api = Api::start(&["operator:ada=o", "viewer:eve=v", "proxy=p"]);
    let document = crate::testing::document("shop");
    assert_eq!(api.call("POST", "/v1/experiments", "o", document).await.status, 201);
    let path = "/v1/experiments/shop/commands";
    let command = |name: &str| format!(r#"{{"command": "{name}", "reason": "a meeting"}}"#);
    assert_eq!(api.call("POST", path, "o", command("pause")).await.status, 200);
    assert_eq!(api.call("POST", path, "o", command("pause")).await.status, 409);
    assert_eq!(api.call("POST", path, "v", command("resume")).await.status, 403);
    let unclean = "{\"command\": \"stop\", \"reason\": \"\\u001b[2J\"}";
    assert_eq!(api.call("POST", path, "v", unclean).await.status, 403);
    assert_eq!(api.call("POST", path, "v", "{").await.status, 403);
    assert_eq!(api.call("DELETE", "/v1/experiments/shop?reason=not+mine", "v", "").await.status, 403);
    assert_eq!(api.call("POST", "/v1/tokens", "v", r#"{"name": "me", "role": "operator"}"#).await.status, 403);
    assert_eq!(api.call("POST", path, "nobody", command("resume")).await.status, 401);
    assert_eq!(api.call("POST", "/v1/reports", "p", "{").await.status, 400);
    assert_eq!(api.call("GET", "/v1/experiments", "v", "").await.status, 200);
    assert_eq!(api.call("DELETE", "/v1/experiments/shop?reason=over", "o", "").await.status, 200);

    let mut told = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.call("GET", &format!("/v1/audit?limit=2{cursor}"), "o", "").await.json();
        told.extend(page["entries"].as_array().unwrap().iter().map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (text("who"), text("target"), entry["status"].as_u64().unwrap(), text("detail"))
        }));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    told.reverse();
    let told: Vec<(&str, &str, u64, &str)> =
        told.iter().map(|(who, target, status, detail)| (&**who, &**target, *status, &**detail)).collect();
    let role = "This token has the role viewer, and that asks for the role operator.";
    assert_eq!(
        told,
        [
            ("ada", "/v1/experiments", 201, "shop created"),
            ("ada", path, 200, "pause: a meeting"),
            ("ada", path, 409, "pause: a meeting; shop is paused already: resume it, or set its weights."),
            ("eve", path, 403, &*format!("resume: a meeting; {role}")),
            ("eve", path, 403, &*format!("stop:  [2J; {role}")),
            ("eve", path, 403, role),
            ("eve", "/v1/experiments/shop?reason=not+mine", 403, &*format!("not mine; {role}")),
            ("eve", "/v1/tokens", 403, &*format!("me, operator; {role}")),
            ("ada", "/v1/experiments/shop?reason=over", 200, "over"),
        ]
    );
    for wrong in ["limit=0", "limit=1001", "cursor=zz", "from=1"] {
        assert_eq!(api.call("GET", &format!("/v1/audit?{wrong}"), "o", "").await.checked_status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_plan_that_changes_is_not_told_to_whose_token_was_revoked_while_it_waited() {
    let api = Api::start(&["operator=o"]);
    let made = api.call("POST", "/v1/tokens", "o", r#"{"name": "node", "role": "proxy"}"#).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let first = api.call("GET", "/v1/plan", &token, "").await.json();
    let path = format!("/v1/plan?revision={}&wait=20s", first["revision"].as_str().unwrap());
    let mut held = Box::pin(api.call("GET", &path, &token, ""));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(200), &mut held).await;
    assert!(waits.is_err(), "nothing to tell yet: {waits:?}");
    assert_eq!(api.call("DELETE", "/v1/tokens/node", "o", "").await.status, 200);
    assert_eq!(api.call("POST", "/v1/experiments", "o", crate::testing::document("shop")).await.status, 201);
    let told = held.await;
    assert_eq!(told.checked_status(), 401, "{told:?}");
    assert!(!String::from_utf8_lossy(&told.body).contains("shop"));
}

#[tokio::test]
async fn whoever_may_not_write_is_not_refused_and_written_down_without_end() {
    let api = Api::limited(&["operator=o", "viewer:eve=v"], 100);
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(api.call("DELETE", "/v1/experiments/shop", "v", "").await.checked_status());
    }
    assert!(statuses.starts_with(&[403; 20]) && statuses.contains(&429), "{statuses:?}");
    let entries = api.call("GET", "/v1/audit", "o", "").await.json()["entries"].as_array().unwrap().len();
    assert_eq!(
        entries,
        statuses.iter().filter(|status| **status == 403).count(),
        "what is too many is not written down"
    );
}

#[tokio::test]
async fn a_reason_is_one_line_of_text() {
    let api = Api::start(&[]);
    api.apply().await;
    for wrong in ["a\\nb", "\\u001b[31mred", "\\u0000", "\\u009b1m", "\\u007f"] {
        let command = format!(r#"{{"command": "pause", "reason": "because {wrong} so"}}"#);
        let refused = api.call("POST", "/v1/experiments/shop/commands", "", command).await;
        assert_eq!(refused.checked_status(), 422, "{wrong}");
        assert_eq!(refused.json()["problems"][0]["path"], "reason", "{refused:?}");
    }
    for wrong in ["a%0Ab", "a%1B%5B31m", "a%C2%9Bb"] {
        let refused = api.call("DELETE", &format!("/v1/experiments/shop?reason={wrong}"), "", "").await;
        assert_eq!(refused.checked_status(), 422, "{wrong}");
    }
    assert_eq!(api.call("GET", "/v1/experiments/shop", "", "").await.json()["phase"], "running");
    let plain = r#"{"command": "pause", "reason": "Überlast – später"}"#;
    assert_eq!(api.call("POST", "/v1/experiments/shop/commands", "", plain).await.status, 200);
}
