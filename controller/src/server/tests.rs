//! The API as callers meet it: who may do what, what is said when something is wrong, and when a plan is answered.

use super::test_api::{Answer, Api, PATIENCE};
use super::*;
use crate::keeper::Command;
use crate::testing::{START, cell, counts, document, experiment, report};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_core::report::MAX_REPORT_BYTES;

#[tokio::test]
async fn each_role_may_do_its_part_and_no_more() {
    let api = Api::start(&["proxy=p", "service=s", "viewer=v", "operator=o"]);
    // What a request is answered by no token, a wrong one, proxy, service, viewer, operator.
    let table = [
        ("GET", "/v1/plan", [401, 401, 200, 403, 200, 200]),
        ("POST", "/v1/reports", [401, 401, 400, 403, 403, 403]),
        ("GET", "/v1/experiments", [401, 401, 403, 403, 200, 200]),
        ("POST", "/v1/experiments", [401, 401, 403, 403, 403, 422]),
        ("GET", "/v1/experiments/shop", [401, 401, 403, 403, 404, 404]),
        ("GET", "/v1/experiments/shop/decisions", [401, 401, 403, 403, 404, 404]),
        ("GET", "/v1/experiments/shop/distributions", [401, 401, 403, 403, 404, 404]),
        ("GET", "/v1/services", [401, 401, 403, 403, 200, 200]),
        ("GET", "/v1/services/shop/trend", [401, 401, 403, 403, 200, 200]),
        ("POST", "/v1/rehearsals", [401, 401, 403, 403, 403, 422]),
        ("GET", "/", [200; 6]),
        ("POST", "/v1/experiments/shop/rewards", [401, 401, 403, 400, 403, 400]),
        ("DELETE", "/v1/experiments/shop", [401, 401, 403, 403, 403, 404]),
        ("POST", "/v1/tokens", [401, 401, 403, 403, 403, 400]),
        ("GET", "/v1/whoami", [401, 401, 200, 200, 200, 200]),
        ("GET", "/v1/tokens", [401, 401, 403, 403, 403, 200]),
        ("DELETE", "/v1/tokens/ada", [401, 401, 403, 403, 403, 404]),
        ("GET", "/v1/audit", [401, 401, 403, 403, 403, 200]),
        ("GET", "/metrics", [401, 401, 403, 403, 200, 200]),
        ("GET", "/healthz", [200; 6]),
        ("GET", "/readyz", [200; 6]),
        ("GET", "/nothing", [404; 6]),
        ("PUT", "/v1/plan", [405; 6]),
    ];
    for (method, path, expected) in table {
        for (token, expected) in ["", "x", "p", "s", "v", "o"].into_iter().zip(expected) {
            let answer = api.call(method, path, token, "not a document").await;
            assert_eq!(answer.checked_status(), expected, "{method} {path} with token `{token}`: {answer:?}");
        }
    }
}

#[tokio::test]
async fn rewards_are_answered_by_kind_and_what_makes_tokens_is_for_proxies_alone() {
    let api = Api::start(&["proxy=p", "service=s", "viewer=v", "operator=o"]);
    let text = document("shop").replace("responseHeader: x-weir-reward", "api: {}");
    assert_eq!(api.call("POST", "/v1/experiments", "o", text).await.status, 201);
    let secret = |answer: &Answer| answer.json()["experiments"][0]["secret"].as_str().map(str::to_owned);
    let known = secret(&api.call("GET", "/v1/plan", "p", "").await).expect("a secret");
    for token in ["v", "o"] {
        let plan = api.call("GET", "/v1/plan", token, "").await;
        assert_eq!(secret(&plan), None);
        let shown = api.call("GET", "/v1/experiments/shop", token, "").await;
        let journal = api.call("GET", "/v1/experiments/shop/journal", token, "").await;
        for answer in [plan, shown, journal] {
            assert!(answer.status == 200 && !String::from_utf8(answer.body).unwrap().contains(&known));
        }
    }
    let token = weir_core::token::Token { incarnation: 1, epoch: 1, version: 0, bin: START, nonce: 1, bucket: None };
    let token = token.sign(&weir_core::token::Secret::from_hex(&known).unwrap());
    let send = |body: String| api.call("POST", "/v1/experiments/shop/rewards", "s", body);
    let list =
        format!(r#"[{{"assignment": "{token}"}}, {{"assignment": "{token}", "reward": 3}}, {{"assignment": "x"}}]"#);
    let answer = send(list.clone()).await;
    let expected = serde_json::json!({"counted": 1, "duplicate": 1, "late": 0, "unknown": 0, "invalid": 1});
    assert_eq!((answer.status, answer.json()), (200, expected));
    let many = format!("[{}]", vec![r#"{"assignment":"x"}"#; 1_001].join(","));
    for (body, status, said) in [
        ("{".to_owned(), 400, "not JSON"),
        ("{}".to_owned(), 422, "cannot be read"),
        (r#"[{"assignment": "x", "reward": 0}]"#.to_owned(), 422, "none is counted"),
        (r#"[{"assignment": "x", "reward": 1e16}]"#.to_owned(), 422, "none is counted"),
        (r#"[{"assignment": "x", "amount": 1}]"#.to_owned(), 422, "unknown field"),
        (format!(r#"[{{"assignment": "{}"}}]"#, "x".repeat(129)), 422, "none is counted"),
        (many, 422, "1001 rewards"),
        (" ".repeat((1 << 18) + 1), 413, "larger than"),
    ] {
        let answer = send(body).await;
        assert_eq!(answer.checked_status(), status, "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{answer:?}");
    }
    assert_eq!(api.call("POST", "/v1/experiments/none/rewards", "s", list).await.checked_status(), 404);
}

#[tokio::test]
async fn a_bad_report_of_any_kind_gets_a_clear_answer_and_changes_nothing() {
    let api = Api::start(&[]);
    let id = api.apply().await;
    let good = serde_json::to_value(report(1, 1, &id, START, vec![cell("v1", START, counts(2, 1))])).unwrap();
    let answer = api.report(good.to_string()).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"acknowledged": 1})));
    let contents = api.bench.contents();

    let spoilt = |pointer: &str, value: Value| {
        let mut report = good.clone();
        report["sequence"] = 2.into();
        *report.pointer_mut(pointer).unwrap() = value;
        report.to_string()
    };
    let bad = [
        ("not JSON", "{".to_owned(), 400, "not JSON"),
        ("nothing", String::new(), 400, "not JSON"),
        ("too large", " ".repeat(MAX_REPORT_BYTES + 1), 413, "larger than"),
        ("of another format", spoilt("/format", 2.into()), 422, "format"),
        ("without a node", spoilt("/node", "".into()), 422, "node"),
        ("sequence 0", spoilt("/sequence", 0.into()), 422, "sequence"),
        ("a gap", spoilt("/sequence", 3.into()), 422, "sequence"),
        ("negative", spoilt("/experiments/0/cells/0/counts/assigned", (-1).into()), 422, "cells[0].counts.assigned"),
        ("unknown experiment", spoilt("/experiments/0/id", "other".into()), 422, "experiments[0].id"),
        ("unknown version", spoilt("/experiments/0/cells/0/version", "v7".into()), 422, "cells[0].version"),
        ("future epoch", spoilt("/experiments/0/cells/0/epoch", 9.into()), 422, "cells[0].epoch"),
        ("off the grid", spoilt("/experiments/0/cells/0/bin", (START + 1).into()), 422, "cells[0].bin"),
        ("final bin", spoilt("/experiments/0/cells/0/bin", (START - 1_000).into()), 422, "cells[0].bin"),
        ("back", spoilt("/experiments/0/watermark", (START - 1_000).into()), 422, "watermark"),
    ];
    for (what, body, status, said) in bad {
        let answer = api.report(body).await;
        assert_eq!(answer.checked_status(), status, "{what}: {answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said), "{what}: {detail}");
    }
    let replayed = api.report(good.to_string()).await;
    assert_eq!((replayed.status, replayed.json()), (200, serde_json::json!({"acknowledged": 1})));
    assert_eq!(api.bench.contents(), contents);
}

#[tokio::test]
async fn a_document_that_is_wrong_is_answered_with_every_problem_by_line() {
    let api = Api::start(&[]);
    let wrong = document("shop").replace("deadline: 2s", "deadline: soon").replace("name: v2", "name: v1");
    let answer = api.call("POST", "/v1/experiments", "", wrong).await;
    assert_eq!(answer.checked_status(), 422);
    let problem = answer.json();
    let problems = problem["problems"].as_array().unwrap();
    assert!(problems.len() >= 2, "{problem}");
    assert!(problems.iter().all(|problem| problem["line"].as_u64() > Some(1) && problem["message"].is_string()));
    let not_text = api.call("POST", "/v1/experiments", "", vec![0xff]).await;
    assert_eq!(not_text.checked_status(), 400);
}

#[tokio::test]
async fn an_experiment_is_created_shown_kept_from_harm_and_deleted() {
    let api = Api::start(&[]);
    let id = api.apply().await;
    let again = api.call("POST", "/v1/experiments", "", document("shop")).await;
    assert_eq!((again.status, again.json()["experiments"][0]["result"].as_str()), (200, Some("unchanged")));

    let shown = api.call("GET", "/v1/experiments/shop", "", "").await.json();
    assert_eq!((shown["id"].as_str(), shown["phase"].as_str()), (Some(id.as_str()), Some("running")));
    assert_eq!(shown["document"], document("shop"));
    let spec: weir_engine::spec::Experiment = serde_json::from_value(shown["experiment"].clone()).unwrap();
    assert_eq!(spec, experiment("shop"));
    let list = api.call("GET", "/v1/experiments", "", "").await.json();
    assert_eq!(list["experiments"][0]["id"].as_str(), Some(id.as_str()));

    let other = document("shop").replace("deadline: 2s", "deadline: 3s");
    let refused = api.call("POST", "/v1/experiments", "", other).await;
    assert_eq!(refused.checked_status(), 409);
    assert_eq!(refused.json()["problems"][0]["path"], "spec.deadline");
    let longer = document("shop").replace("maxDuration: 7d", "maxDuration: 8d");
    let would = api.call("POST", "/v1/experiments?dryRun=true", "", longer).await;
    assert_eq!((would.status, would.json()["experiments"][0]["result"].as_str()), (200, Some("changed")));
    assert_eq!(api.call("GET", "/v1/experiments/shop", "", "").await.json(), shown);

    let long = format!("/v1/experiments/shop?reason={}", "x".repeat(1_001));
    assert_eq!(api.call("DELETE", &long, "", "").await.checked_status(), 422);
    let deleted = api.call("DELETE", "/v1/experiments/shop?reason=a%20new%20route", "", "").await;
    assert_eq!((deleted.status, deleted.json()["id"].as_str()), (200, Some(id.as_str())));
    assert_eq!(api.call("GET", "/v1/experiments/shop", "", "").await.checked_status(), 404);
    let late = report(1, 1, &id, START, vec![cell("v1", START, counts(1, 1))]);
    let answer = api.report(serde_json::to_vec(&late).unwrap()).await;
    assert_eq!((answer.status, answer.json()["ignored"][0].as_str()), (200, Some(id.as_str())));
}

#[tokio::test]
async fn what_cannot_be_read_in_a_query_is_said() {
    let api = Api::start(&[]);
    for path in ["/v1/plan?wait=soon", "/v1/plan?wat=1s", "/v1/experiments/shop/decisions?limit=-1"] {
        assert_eq!(api.call("GET", path, "", "").await.checked_status(), 400, "{path}");
    }
    assert_eq!(api.call("POST", "/v1/experiments?dryRun=perhaps", "", "").await.checked_status(), 400);
}

#[tokio::test]
async fn a_long_poll_is_answered_when_the_plan_changes_or_its_wait_is_over() {
    let api = Api::start(&[]);
    let first = api.call("GET", "/v1/plan?wait=20s", "", "").await;
    assert_eq!(first.status, 200);
    let revision = first.json()["revision"].as_str().unwrap().to_owned();
    let unchanged = api.call("GET", &format!("/v1/plan?revision={revision}&wait=1ms"), "", "").await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    let held = tokio::spawn(api.call("GET", &format!("/v1/plan?revision={revision}&wait=20s"), "", ""));
    let id = api.apply().await;
    let second = held.await.unwrap();
    assert_eq!((second.status, second.json()["experiments"][0]["id"].as_str()), (200, Some(id.as_str())));
    assert_ne!(second.json()["revision"].as_str(), Some(revision.as_str()));
}

#[tokio::test]
async fn a_long_poll_ends_when_the_controller_does() {
    let api = Api::start(&[]);
    let revision = api.call("GET", "/v1/plan", "", "").await.json()["revision"].as_str().unwrap().to_owned();
    let held = tokio::spawn(api.call("GET", &format!("/v1/plan?revision={revision}&wait=20s"), "", ""));
    api.stop.send_replace(true);
    assert_eq!(held.await.unwrap().status, 304);
    assert_eq!(api.call("GET", "/readyz", "", "").await.checked_status(), 503);
}

#[tokio::test]
async fn reports_that_wait_together_are_each_answered() {
    let api = Api::start(&[]);
    let id = api.apply().await;
    let calls: Vec<_> = (1..=200)
        .map(|worker| {
            let report = report(worker, 1, &id, START, vec![cell("v1", START - 1_000, counts(1, 1))]);
            tokio::spawn(api.report(serde_json::to_vec(&report).unwrap()))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    let snapshot = api.keeper.ask(Command::Snapshot).await.unwrap().remove(0);
    assert_eq!(snapshot.observations.epochs[&1].settled[0].assigned, 200);
    let metrics = String::from_utf8(api.call("GET", "/metrics", "", "").await.body).unwrap();
    assert!(metrics.contains("weir_reports_total{result=\"accepted\"} 200"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_server_ends_in_order_while_a_poll_is_held() {
    let api = Api::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, api.router.clone(), None, api.stop.subscribe()));
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: weir\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1_024];
    assert!(connection.read(&mut buffer).await.unwrap() > 0);
    let revision = api.call("GET", "/v1/plan", "", "").await.json()["revision"].as_str().unwrap().to_owned();
    let poll = format!("GET /v1/plan?revision={revision}&wait=20s HTTP/1.1\r\nhost: weir\r\n\r\n");
    connection.write_all(poll.as_bytes()).await.unwrap();
    api.stop.send_replace(true);
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut rest)).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
    // Whether the poll was read before the end or not, its connection was closed, and nothing but 304 was said.
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 304"), "{rest}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_command_needs_an_operator_and_a_reason_and_is_recorded_with_who_gave_it() {
    let api = Api::start(&["operator:ada=o", "viewer=v"]);
    let created = api.call("POST", "/v1/experiments", "o", document("shop")).await;
    assert_eq!(created.status, 201, "{created:?}");
    let path = "/v1/experiments/shop/commands";
    let pause = r#"{"command": "pause", "reason": "a meeting"}"#;
    assert_eq!(api.call("POST", path, "v", pause).await.checked_status(), 403);
    assert_eq!(api.call("POST", path, "", pause).await.checked_status(), 401);
    for (body, status, said) in [
        ("{", 400, "not JSON"),
        (r#"{"command": "pause"}"#, 422, "say why"),
        (r#"{"command": "pause", "reason": "  "}"#, 422, "say why"),
        (r#"{"command": "paws", "reason": "x"}"#, 422, "unknown variant `paws`"),
        (r#"{"command": "pause", "reason": "x", "version": "v2"}"#, 422, "version"),
        (r#"{"command": "promote", "reason": "x"}"#, 422, "missing field `version`"),
        (r#"{"command": "promote", "reason": "x", "version": "v9"}"#, 422, "it has v1, v2"),
        (r#"{"command": "setWeights", "reason": "x", "weights": {"v1": 1}}"#, 422, "sum to 1"),
        (r#"{"command": "approve", "reason": "x"}"#, 422, "missing field `awaitedSince`"),
        (r#"{"command": "approve", "reason": "x", "awaitedSince": 7}"#, 409, "nothing of shop waits"),
        (r#"{"command": "resume", "reason": "x"}"#, 409, "not paused"),
    ] {
        let answer = api.call("POST", path, "o", body).await;
        assert_eq!(answer.checked_status(), status, "{body}: {answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains(said), "{body}: {answer:?}");
    }
    let long = format!(r#"{{"command": "pause", "reason": "{}"}}"#, "é".repeat(1_001));
    let answer = api.call("POST", path, "o", long).await;
    assert_eq!(answer.checked_status(), 422);
    assert!(answer.json()["detail"].as_str().unwrap().contains("1001 characters: at most 1000"), "{answer:?}");
    assert_eq!(api.call("POST", "/v1/experiments/none/commands", "o", pause).await.checked_status(), 404);
    let paused = api.call("POST", path, "o", pause).await;
    assert_eq!((paused.status, &paused.json()["action"]), (200, &Value::from("pause")), "{paused:?}");
    let shown = api.call("GET", "/v1/experiments/shop", "v", "").await.json();
    assert_eq!(shown["phase"], "paused");
    assert_eq!(shown["lastChange"]["ordered"]["by"]["who"], "ada");
    assert_eq!(shown["lastChange"]["ordered"]["reason"], "a meeting");
}

#[tokio::test]
async fn who_reads_long_waits_for_others_who_do_and_keeps_nobody_else_waiting() {
    let api = Api::start(&[]);
    let id = api.apply().await;
    let all = u32::try_from(crate::reader::AT_A_TIME).unwrap();
    let taken = Arc::clone(&api.room).acquire_many_owned(all).await.unwrap();
    let long = ["explanation", "journal", "decisions"]
        .map(|what| tokio::spawn(api.call("GET", &format!("/v1/experiments/shop/{what}"), "", "")));
    let report = serde_json::to_vec(&report(1, 1, &id, START, Vec::new())).unwrap();
    assert_eq!(api.report(report).await.status, 200);
    assert_eq!(api.call("GET", "/v1/experiments/shop", "", "").await.status, 200);
    assert!(long.iter().all(|call| !call.is_finished()));
    drop(taken);
    for call in long {
        assert_eq!(call.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_journal_comes_in_pages_and_a_story_is_told() {
    let api = Api::start(&[]);
    api.apply().await;
    for command in ["pause", "resume", "pause"] {
        let body = format!(r#"{{"command": "{command}", "reason": "because"}}"#);
        assert_eq!(api.call("POST", "/v1/experiments/shop/commands", "", body).await.status, 200);
    }
    let mut numbers = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/experiments/shop/journal?after={after}&limit=2");
        let page = api.call("GET", &path, "", "").await.json();
        let entries = page["entries"].as_array().unwrap();
        numbers.extend(entries.iter().map(|entry| entry["number"].as_u64().unwrap()));
        if entries.is_empty() {
            assert_eq!(page["next"], after);
            break;
        }
        after = page["next"].as_u64().unwrap();
    }
    assert_eq!(numbers, [1, 2, 3, 4]);
    // Whoever asks for what comes after that is told to ask for the same again.
    for after in [u64::from(u32::MAX) + 1, u64::MAX] {
        let path = format!("/v1/experiments/shop/journal?after={after}");
        let page = api.call("GET", &path, "", "").await.json();
        assert_eq!((page["entries"].as_array().map(Vec::len), page["next"].as_u64()), (Some(0), Some(after)));
    }
    assert_eq!(api.call("GET", "/v1/experiments/shop/journal?from=1", "", "").await.checked_status(), 400);
    assert_eq!(api.call("GET", "/v1/experiments/none/journal", "", "").await.checked_status(), 404);
    let story = api.call("GET", "/v1/experiments/shop/explanation", "", "").await.json();
    let told: Vec<&str> =
        story["story"].as_array().unwrap().iter().map(|part| part["what"].as_str().unwrap()).collect();
    assert_eq!(
        told[1..],
        ["It was paused by hand. “because”", "It was resumed by hand. “because”", "It was paused by hand. “because”"]
    );
    let stands = story["stands"].to_string();
    assert!(stands.contains("It is paused"), "{story}");
    // Once, and not again as the reason for which it holds.
    assert!(stands.matches("only evidence of a violation").count() == 1 && !stands.contains("It holds"), "{story}");
    let body = r#"{"command": "rollBack", "version": "v2", "reason": "it is ugly"}"#;
    assert_eq!(api.call("POST", "/v1/experiments/shop/commands", "", body).await.status, 200);
    let story = api.call("GET", "/v1/experiments/shop/explanation", "", "").await.json();
    assert!(story["evidence"].to_string().contains("v2 is out: rolled back by hand ("), "{story}");
    assert_eq!(api.call("GET", "/v1/experiments/none/explanation", "", "").await.checked_status(), 404);
}
