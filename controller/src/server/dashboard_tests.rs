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
async fn services_and_a_past_come_in_pages_that_make_the_whole() {
    let api = Api::start(&[]);
    // Of each service one after the other; what the first leaves serving is not what the second begins with.
    for (number, (name, service)) in
        (1..).zip([("a", "shop"), ("b", "shop"), ("c", "shop"), ("d", "bank"), ("e", "zoo")])
    {
        let text = document(name).replace("service: shop", &format!("service: {service}"));
        assert_eq!(api.call("POST", "/v1/experiments", "", text).await.status, 201);
        api.bench.set_time(START + 1_000 * number);
        let promote = r#"{"command": "promote", "version": "v2", "reason": "needed for the launch"}"#;
        let path = format!("/v1/experiments/{name}/commands");
        assert_eq!(api.call("POST", &path, "", promote).await.status, 200);
        assert_eq!(api.call("DELETE", &format!("/v1/experiments/{name}"), "", "").await.status, 200);
    }
    let pages = async |path: &str, list: &str| {
        let (mut all, mut cursor, mut count) = (Vec::new(), String::new(), 0);
        loop {
            let page = api.call("GET", &format!("{path}?limit=2{cursor}"), "", "").await.json();
            all.push(page[list].as_array().unwrap().clone());
            count += 1;
            let Some(next) = page["next"].as_str() else { return (all, count) };
            cursor = format!("&cursor={next}");
        }
    };
    let (services, count) = pages("/v1/services", "services").await;
    let whole = api.call("GET", "/v1/services", "", "").await.json();
    assert_eq!((services.concat(), count), (whole["services"].as_array().unwrap().clone(), 2));
    let (past, count) = pages("/v1/services/shop/trend", "experiments").await;
    let whole = api.call("GET", "/v1/services/shop/trend", "", "").await.json();
    let in_order: Vec<_> = past.into_iter().rev().flatten().collect();
    assert_eq!((&in_order, count), (whole["experiments"].as_array().unwrap(), 2));
    let elsewhere: Vec<_> = in_order.iter().map(|past| past["changedElsewhere"].as_bool().unwrap()).collect();
    assert_eq!(elsewhere, [false, true, true], "also of the first of a page");
    for wrong in ["/v1/services?limti=3", "/v1/services/shop/trend?limit=201", "/v1/services/shop/trend?cursor=73"] {
        assert_eq!(api.call("GET", wrong, "", "").await.checked_status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn what_served_before_is_known_also_where_others_ran_beside_and_a_page_ends_between() {
    let api = Api::start(&[]);
    let create = async |name: &str| {
        assert_eq!(api.call("POST", "/v1/experiments", "", document(name)).await.status, 201, "{name}");
    };
    let promote = async |name: &str, at: u64| {
        api.bench.set_time(START + at);
        let promote = r#"{"command": "promote", "version": "v2", "reason": "needed for the launch"}"#;
        assert_eq!(api.call("POST", &format!("/v1/experiments/{name}/commands"), "", promote).await.status, 200);
        assert_eq!(api.call("DELETE", &format!("/v1/experiments/{name}"), "", "").await.status, 200);
    };
    create("before").await;
    promote("before", 1_000).await;
    create("one").await;
    create("other").await;
    promote("one", 2_000).await;
    promote("other", 3_000).await;
    for limit in [1, 2, 3] {
        let page = api.call("GET", &format!("/v1/services/shop/trend?limit={limit}"), "", "").await.json();
        let page = page["experiments"].as_array().unwrap().clone();
        assert_eq!(page.len(), limit);
        let last = page.last().unwrap();
        assert_eq!((&last["name"], &last["changedElsewhere"]), (&"other".into(), &true.into()), "{limit}");
    }
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
