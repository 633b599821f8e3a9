//! What the dashboard asks beside the rest of the API. That each answer is as the OpenAPI document says is looked at by [`Api`].

use super::test_api::Api;
use crate::testing::{START, cell, counts, document, report};

#[tokio::test]
async fn curves_services_and_a_trend_are_answered_as_they_are_described() {
    let api = Api::start(&[]);
    let id = api.apply().await;
    let empty = api.call("GET", "/v1/experiments/shop/distributions", "", "").await;
    assert!(empty.status == 200 && empty.json()["versions"][0]["beliefs"] == serde_json::json!([]), "{empty:?}");
    let cells = vec![cell("v1", START, counts(500, 495)), cell("v2", START, counts(500, 490))];
    let report = serde_json::to_vec(&report(1, 1, &id, START + 1_000, cells)).unwrap();
    assert_eq!(api.report(report).await.status, 200);
    let curves = api.call("GET", "/v1/experiments/shop/distributions", "", "").await.json();
    assert_eq!(curves["versions"][1]["version"], "v2");
    assert_eq!(curves["versions"][1]["beliefs"][0]["metric"], "errorRate");
    assert_eq!(curves["versions"][1]["latencies"][0]["count"], 490);

    let promote = r#"{"command": "promote", "version": "v2", "reason": "needed for the launch"}"#;
    assert_eq!(api.call("POST", "/v1/experiments/shop/commands", "", promote).await.status, 200);
    let services = api.call("GET", "/v1/services", "", "").await.json();
    assert_eq!(services, serde_json::json!({"services": [{"service": "shop", "experiments": 1, "concluded": 1}]}));
    let trend = api.call("GET", "/v1/services/shop/trend", "", "").await.json();
    assert_eq!(
        (&trend["experiments"][0]["version"], &trend["experiments"][0]["changed"]),
        (&"v2".into(), &true.into())
    );
    let table = api.call("GET", "/v1/services/shop/trend?format=csv", "", "").await;
    assert_eq!((table.status, table.kind.as_str()), (200, "text/csv; charset=utf-8"));
    let none = api.call("GET", "/v1/services/a%2Fb/trend", "", "").await;
    assert_eq!(none.json(), serde_json::json!({"service": "a/b", "experiments": []}));
    assert_eq!(api.call("GET", "/v1/services/shop/trend?format=xml", "", "").await.checked_status(), 400);
}

#[tokio::test]
async fn a_rehearsal_is_answered_as_it_is_described_and_says_what_is_wrong() {
    let api = Api::start(&[]);
    let scenario = include_str!("../../../docs/scenarios/broken.yaml");
    let rehearsed = api.call("POST", "/v1/rehearsals?runs=2", "", scenario).await;
    assert_eq!((rehearsed.status, rehearsed.json()["many"]["runs"].as_u64()), (200, Some(2)), "{rehearsed:?}");
    assert_eq!(rehearsed.json()["run"]["ending"], "rolledBack");
    let without = api.call("POST", "/v1/rehearsals", "", document("shop")).await;
    assert_eq!(without.checked_status(), 422);
    let crowd = scenario.replace("kind: Scenario", "kind: Scenario\nusers: {count: 2000000}");
    let refused = api.call("POST", "/v1/rehearsals", "", crowd).await;
    assert_eq!(refused.checked_status(), 422);
    assert!(String::from_utf8_lossy(&refused.body).contains("weir simulate"), "{refused:?}");
    assert_eq!(api.call("POST", "/v1/rehearsals?runs=many", "", scenario).await.checked_status(), 400);
    assert_eq!(api.call("POST", "/v1/rehearsals", "", " ".repeat((1 << 18) + 1)).await.checked_status(), 413);
    assert_eq!(api.call("GET", "/v1/experiments", "", "").await.json()["experiments"], serde_json::json!([]));
}

#[tokio::test]
async fn what_is_only_tried_is_not_written_down_and_what_is_done_is() {
    let api = Api::start(&["operator:ada=o"]);
    let entries = async || api.call("GET", "/v1/audit", "o", "").await.json()["entries"].as_array().unwrap().len();
    let tried = api.call("POST", "/v1/experiments?dryRun=true", "o", document("shop")).await;
    assert_eq!((tried.status, entries().await), (200, 0));
    let scenario = include_str!("../../../docs/scenarios/broken.yaml");
    assert_eq!(api.call("POST", "/v1/rehearsals", "o", scenario).await.status, 200);
    assert_eq!(entries().await, 0);
    // What looks like a trial and is none.
    let pause = r#"{"command": "pause", "reason": "x"}"#;
    api.call("POST", "/v1/experiments?dryRun=false", "o", document("shop")).await;
    api.call("POST", "/v1/experiments/shop/commands?dryRun=true", "o", pause).await;
    assert_eq!(entries().await, 2);
}
