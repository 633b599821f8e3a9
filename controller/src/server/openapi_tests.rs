//! The OpenAPI document: committed as it is served, and every answer that the other tests get is as it says.

use super::test_api::{Answer, Api};
use crate::testing::{START, cell, counts, report};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use weir_core::histogram::Histogram;

/// The document that is served, with every object closed: what is not described is not sent.
fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
        let mut parts = BTreeSet::new();
        collect_parts(&document, &mut parts);
        for (name, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
            close(schema, parts.contains(&format!("#/components/schemas/{name}")));
        }
        document
    })
}

/// What is part of another object has not all of its fields.
fn collect_parts(value: &Value, parts: &mut BTreeSet<String>) {
    if let Some(all) = value.get("allOf").and_then(Value::as_array) {
        parts.extend(all.iter().filter_map(|part| part["$ref"].as_str()).map(str::to_owned));
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_parts(value, parts)),
        Value::Object(values) => values.values().for_each(|value| collect_parts(value, parts)),
        _ => {}
    }
}

fn close(schema: &mut Value, part: bool) {
    let Some(fields) = schema.as_object_mut() else { return };
    let whole = !part && (fields.contains_key("allOf") || fields.contains_key("properties"));
    for (keyword, value) in fields.iter_mut() {
        match (keyword.as_str(), value) {
            ("allOf", Value::Array(values)) => values.iter_mut().for_each(|value| close(value, true)),
            ("oneOf" | "anyOf", Value::Array(values)) => values.iter_mut().for_each(|value| close(value, part)),
            ("properties", Value::Object(values)) => values.values_mut().for_each(|value| close(value, false)),
            ("items", value) => close(value, false),
            _ => {}
        }
    }
    if whole {
        fields.insert("unevaluatedProperties".to_owned(), false.into());
    }
}

/// The description of what answers a request; none of a path or method that is nothing.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<(String, &'a Value)> {
    let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(one, other)| one.starts_with('{') || one == other)
    };
    let paths = document["paths"].as_object().unwrap();
    let (template, item) = paths
        .iter()
        .find(|(template, _)| template.as_str() == path.split('?').next().unwrap())
        .or_else(|| paths.iter().find(|(template, _)| fits(template)))?;
    Some((template.clone(), item.get(method.to_lowercase())?))
}

/// Panics if an answer is not as the document describes it.
pub(super) fn conforms(method: &str, path: &str, answer: &Answer) {
    static VALIDATORS: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let document = document();
    let Some((template, operation)) = operation(document, method, path) else { return };
    let what = format!("{method} {template} {}", answer.status);
    let mut described = &operation["responses"][answer.status.to_string()];
    if let Some(common) = described["$ref"].as_str() {
        described = document.pointer(common.trim_start_matches('#')).unwrap();
    }
    assert!(described.is_object(), "{what} is not in docs/openapi.json: {answer:?}");
    let kind = answer.kind.split(';').next().unwrap_or_default();
    let Some(content) = described.get("content").and_then(|content| content.get(kind)) else {
        assert!(answer.body.is_empty(), "{what} as `{kind}` is not in docs/openapi.json");
        return;
    };
    if !kind.contains("json") {
        return;
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [content["schema"]],
        "components": document["components"],
    });
    let mut validators = VALIDATORS.lock().unwrap();
    let validator = Arc::clone(
        validators.entry(what.clone()).or_insert_with(|| Arc::new(jsonschema::validator_for(&schema).unwrap())),
    );
    drop(validators);
    let body = answer.json();
    let problems: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{what} is not as docs/openapi.json says: {problems:#?}\n{body:#}");
}

#[tokio::test]
async fn the_document_that_is_served_is_the_one_that_is_committed() {
    let api = Api::start(&[]);
    let served = api.call("GET", "/v1/openapi.json", "", "").await;
    assert_eq!((served.status, served.kind.as_str()), (200, "application/json"));
    let served = String::from_utf8(served.body).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("WEIR_UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    let differ = committed.lines().zip(served.lines()).enumerate().find(|(_, (one, other))| one != other);
    assert!(
        committed == served,
        "docs/openapi.json is not what is served, first at {differ:?}: run this test with WEIR_UPDATE_OPENAPI=1 and look at what changed"
    );
}

#[test]
fn every_answer_that_is_no_success_is_described_as_problem_details() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response =
                    response["$ref"].as_str().map_or(response, |common| document.pointer(&common[1..]).unwrap());
                if status.as_str() >= "400" {
                    let kinds: Vec<&String> = response["content"].as_object().unwrap().keys().collect();
                    assert_eq!(kinds, ["application/problem+json"], "{method} {path} {status}");
                }
            }
            assert!(operation["security"].is_array(), "{method} {path} says who may");
        }
    }
}

#[test]
fn what_cannot_happen_is_not_described_and_what_is_served_is() {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let has = |status: &str| operation["responses"][status].is_object();
            let reads = method != "get";
            assert_eq!((has("408"), has("413")), (reads, reads), "{method} {path}: only a body is late or too large");
            let guarded = operation["security"][0].as_object().is_some_and(|roles| !roles.is_empty());
            assert_eq!(has("400"), guarded, "{method} {path}: any query can be misspelt");
            assert!(has("404") || !path.contains('{'), "{method} {path}: a name may be none");
        }
    }
    assert!(document["paths"]["/v1/openapi.json"]["get"].is_object());
}

#[tokio::test]
async fn what_no_route_knows_in_a_query_is_said_by_each() {
    let api = Api::start(&[]);
    let id = api.apply().await;
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, _) in item.as_object().unwrap().iter().filter(|_| path.starts_with("/v1/")) {
            let path = path.replace("{name}", "shop").replace("{service}", "shop");
            let answer = api.call(&method.to_uppercase(), &format!("{path}?limti=3"), "", "").await;
            assert_eq!(answer.checked_status(), 400, "{method} {path}");
        }
    }
    assert_eq!(api.call("GET", "/v1/experiments/shop", "", "").await.json()["id"], id, "nothing was done");
    assert_eq!(api.call("GET", "/v1/experiments/shop?", "", "").await.status, 200, "that is no query");
    for nothing in ["/v1/services/%ff/trend", "/v1/experiments/%ff"] {
        assert_eq!(api.call("GET", nothing, "", "").await.checked_status(), 404);
    }
    let key = [("idempotency-key", "1")];
    let large = api.send("DELETE", "/v1/experiments/shop", &key, "x".repeat((1 << 18) + 1)).await;
    assert_eq!(large.status(), 413);
}

#[test]
fn what_is_sent_beyond_the_description_is_noticed() {
    let answer = |body: &str| Answer { status: 200, kind: "application/json".to_owned(), body: body.into() };
    conforms("DELETE", "/v1/experiments/shop", &answer(r#"{"name": "shop", "id": "shop-1"}"#));
    for wrong in [r#"{"name": "shop"}"#, r#"{"name": "shop", "id": 1}"#, r#"{"name": "shop", "id": "1", "more": 1}"#] {
        let noticed = std::panic::catch_unwind(|| conforms("DELETE", "/v1/experiments/shop", &answer(wrong)));
        assert!(noticed.is_err(), "{wrong}");
    }
}

/// Experiments of every kind, with counts, verdicts and a person's command.
#[tokio::test]
async fn an_assessed_experiment_of_each_kind_is_as_described() {
    let api = Api::start(&[]);
    let spec = |name: &str, more: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {{name: {name}}}\nspec:\n  service: shop\n\
             \x20 match: {{hosts: [{name}.example]}}\n  versions: [{{name: v1, baseline: true}}, {{name: v2}}]\n  deadline: 2s\n  bin: 1s\n{more}"
        )
    };
    let limits = "  objectives: [{name: errors, errorRate: {max: 2%}}, {name: fast, latency: {quantile: 99%, max: 250ms}}]\n  guardrails: [{name: slower, latency: {ratio: 1.2}}, {name: worse, errorRate: {ratio: 1.5}}]\n";
    let reward = "  reward: {responseHeader: x-weir-reward, direction: maximize}\n";
    let documents = [
        spec("canary", &format!("{limits}  strategy: {{canary: {{steps: [10%, 50%]}}}}\n")),
        spec("sticky", &format!("{limits}{reward}  unit: {{cookie: user}}\n  strategy: {{bandit: {{}}}}\n")),
        spec(
            "ab",
            &format!(
                "{reward}  strategy: {{ab: {{weights: {{v1: 50%, v2: 50%}}}}}}\n  approvals: {{promotion: true}}\n"
            ),
        ),
    ];
    let created = api.call("POST", "/v1/experiments", "", documents.join("---\n")).await;
    assert_eq!(created.status, 201, "{created:?}");
    for (worker, experiment) in (1..).zip(created.json()["experiments"].as_array().unwrap()) {
        let id = experiment["id"].as_str().unwrap();
        let mut bad = counts(4_000, 4_000);
        (bad.failed, bad.rewarded, bad.reward_sum, bad.reward_sum_squares) = (2_000, 100, 100.0, 100.0);
        bad.latency = Histogram::default();
        bad.latency.add(300, 2_000);
        if id.starts_with("sticky") {
            (bad.failed_buckets, bad.rewarded_buckets) = ((0..900).collect(), (0..90).collect());
        }
        let cells = vec![cell("v1", START - 1_000, counts(4_000, 4_000)), cell("v2", START - 1_000, bad)];
        let report = report(worker, 1, id, START, cells);
        assert_eq!(api.call("POST", "/v1/reports", "", serde_json::to_vec(&report).unwrap()).await.status, 200);
    }
    api.bench.set_time(START + 1_000);
    for _ in 0..2 {
        api.look().await;
    }
    let pause = r#"{"command": "pause", "reason": "lunch"}"#;
    assert_eq!(api.call("POST", "/v1/experiments/ab/commands", "", pause).await.status, 200);
    for name in ["canary", "sticky", "ab"] {
        let shown = api.call("GET", &format!("/v1/experiments/{name}"), "", "").await.json();
        assert!(
            shown["assessment"]["versions"][1]["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty()),
            "{shown:#}"
        );
        for what in ["decisions", "journal", "explanation"] {
            assert_eq!(api.call("GET", &format!("/v1/experiments/{name}/{what}"), "", "").await.status, 200);
        }
    }
    assert_eq!(api.call("GET", "/v1/experiments", "", "").await.status, 200);
}
