//! Plugin configurations: bad ones are refused with what is wrong, and a push loses nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use std::path::Path;
use weir_tests::envoy::{CONTROLLER, cluster};
use weir_tests::fake::Answer;
use weir_tests::plans::{all_to_v2, experiment, plan};
use weir_tests::stand::{between, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Envoy, EnvoyBuilder, FakeController, Load, Stand, Upstream, eventually, paths};

fn sending_all_to(version: &str) -> Value {
    let weights = [("v1", u32::from(version == "v1")), ("v2", u32::from(version == "v2"))];
    json!({"plan": plan(version, vec![experiment("e", &weights)])})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_stops_envoy_at_its_start_with_a_clear_message() {
    let upstream = Upstream::start("v1").await;
    let mut heavy = sending_all_to("v1");
    heavy["plan"]["experiments"][1]["versions"][0]["weight"] = json!(1_000_001);
    for (configuration, message) in [
        (String::new(), "plugin configuration, .: is empty; name a `controller`, a static `plan`, or both"),
        ("{\"controler\": {}}".to_owned(), "unknown field `controler`"),
        (
            json!({"controller": {"cluster": "c", "reportInterval": "5"}}).to_string(),
            "plugin configuration, controller.reportInterval: `5` is not a duration",
        ),
        (heavy.to_string(), "plan.experiments[1].versions[0].weight: 1000001 is more than 1000000"),
    ] {
        let mut envoy = Envoy::builder().version(&upstream).plugin_text(&configuration).launch();
        let code = envoy.ended().await;
        assert!(code.is_some_and(|code| code != 0), "Envoy ends with an error: {code:?}");
        assert!(envoy.log().contains(message), "`{message}` should be in the log:\n{}", envoy.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_as_an_update_changes_nothing() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let mut envoy =
        Envoy::builder().version(&one).version(&two).listener_from_file().plugin(&sending_all_to("v2")).start().await;
    let mut workers = envoy.workers_with_plan("v2").await;
    for bad in ["", "{\"plan\": 1}", "{\"controller\": {\"cluster\": \"\"}}"] {
        let refused = envoy.stat("listener_manager.lds.update_rejected").await.unwrap_or(0);
        envoy.update_plugin(bad);
        eventually(PATIENCE, "the update is refused", async || {
            holds(envoy.stat("listener_manager.lds.update_rejected").await? > refused)
        })
        .await;
        for worker in &mut workers {
            assert_eq!(worker.get("/", &[]).await.version(), "v2", "on the connections there were");
        }
        let mut fresh = envoy.workers_with_plan("v2").await;
        assert_eq!(fresh[0].get("/", &[]).await.version(), "v2", "and on new ones");
    }
    assert!(envoy.log().contains("plugin configuration, plan"), "{}", envoy.log());
    envoy.update_plugin(&sending_all_to("v1").to_string());
    eventually(PATIENCE, "a good update is taken", async || {
        holds(Client::http1(envoy.address()).await.get("/", &[]).await.version() == "v1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_push_loses_no_count_and_no_plan() {
    let configuration =
        |interval: &str| json!({"controller": {"cluster": CONTROLLER, "reportInterval": interval}}).to_string();
    let Stand { versions: [_one, two], fake, mut envoy, .. } =
        Stand::with(all_to_v2("1"), |envoy| envoy.listener_from_file().plugin_text(&configuration("500ms"))).await;
    let mut sent = 0;
    for interval in ["400ms", "300ms", "200ms"] {
        // Connections of a configuration that goes are drained, so each round has its own.
        for worker in &mut envoy.connect_to_every_worker().await {
            for _ in 0..20 {
                assert_eq!(worker.get("/", &[]).await.version(), "v2");
                sent += 1;
            }
        }
        // One request is under way while the configuration changes.
        let before = two.requests_for("/delay/400");
        let address = envoy.address();
        let late = tokio::spawn(async move { Client::http1(address).await.get("/delay/400", &[]).await });
        eventually(PATIENCE, "it has arrived", async || holds(two.requests_for("/delay/400") > before)).await;
        let taken = envoy.stat("listener_manager.lds.update_success").await.unwrap_or(0);
        envoy.update_plugin(&configuration(interval));
        eventually(PATIENCE, "the update is taken", async || {
            holds(envoy.stat("listener_manager.lds.update_success").await? > taken)
        })
        .await;
        // New connections are served by the new configuration, with the plan that is already there.
        for worker in &mut envoy.connect_to_every_worker().await {
            assert_eq!(worker.get("/", &[]).await.version(), "v2");
            sent += 1;
        }
        assert_eq!(late.await.unwrap().version(), "v2");
        sent += 1;
    }
    eventually(PATIENCE, "every request is counted", async || {
        let counts = fake.counts("e", "v2");
        holds(counts.assigned >= sent && counts.completed >= sent)
    })
    .await;
    let counts = fake.counts("e", "v2");
    assert_eq!((counts.assigned, counts.completed, two.requests()), (sent, sent, sent));
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_names_another_way_to_the_controller_hands_every_count_over() {
    let to = |cluster: &str, authority: &str| {
        json!({"controller": {"cluster": cluster, "authority": authority, "reportInterval": "100ms"}}).to_string()
    };
    let fake = FakeController::start(all_to_v2("1")).await;
    let ways = ["by-one-way", "by-another"].map(|name| cluster(name, fake.address(), false));
    let upstreams: [Upstream; 2] = versions().await;
    let builder = ways.into_iter().fold(between(&upstreams, fake.address()), EnvoyBuilder::cluster);
    let mut envoy = builder.plugin_from_file().plugin_text(&to("by-one-way", "one.test")).start().await;
    envoy.workers_with_plan("1").await;
    let load = Load::start(envoy.address(), 4, "/");
    load.more(50).await;
    for (cluster, authority) in [("by-one-way", "two.test"), ("by-another", "two.test"), ("by-another", "three.test")] {
        // Both workers have a report under way that is counted, and of which they will not hear.
        fake.script(&[Answer::Late(20_000), Answer::Late(20_000)]);
        eventually(PATIENCE, "both wait", async || holds(fake.scripted() == 0)).await;
        envoy.update_plugin(&to(cluster, authority));
        let name = format!("cluster.{cluster}.upstream_rq_total");
        let before = envoy.stat(&name).await.unwrap_or(0);
        eventually(PATIENCE, "reports go the new way", async || {
            holds(fake.hosts().contains(authority) && envoy.stat(&name).await? > before + 4)
        })
        .await;
        load.more(50).await;
    }
    let sent = load.stop().await;
    assert_eq!((sent.refused, sent.broken), (0, 0));
    let all = sent.answered();
    eventually(PATIENCE, "everything is counted", async || holds(fake.counts("e", "v2").completed >= all)).await;
    let counts = fake.counts("e", "v2");
    assert_eq!((counts.assigned, counts.completed, upstreams[1].requests()), (all, all, all));
    assert_eq!(fake.last_reports().len(), 2, "under the same incarnations");
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_names_a_controller_with_another_ledger_says_what_that_refused() {
    let to = |cluster: &str| json!({"controller": {"cluster": cluster, "reportInterval": "100ms"}}).to_string();
    let elsewhere = FakeController::start(all_to_v2("2")).await;
    // As a ledger does that has not seen the incarnation begin.
    elsewhere.script(&[Answer::Refuse(422)]);
    let Stand { versions: [_one, two], fake, mut envoy, mut workers } = Stand::with(all_to_v2("1"), |envoy| {
        let other = cluster("elsewhere", elsewhere.address(), false);
        envoy.concurrency(1).cluster(other).plugin_from_file().plugin_text(&to(CONTROLLER))
    })
    .await;
    for _ in 0..20 {
        workers[0].get("/", &[]).await;
    }
    eventually(PATIENCE, "all are counted", async || holds(fake.counts("e", "v2").completed == 20)).await;
    // The old one takes no more: what comes now is still with the worker when the push comes.
    fake.script(&[Answer::Refuse(503); 50]);
    for _ in 0..20 {
        workers[0].get("/", &[]).await;
    }
    envoy.update_plugin(&to("elsewhere"));
    envoy.wait_for_plan(&mut workers, "2").await;
    let dropped = || elsewhere.received().iter().map(|(report, _)| report.dropped).sum::<u64>();
    eventually(PATIENCE, "all are counted or said to be lost", async || {
        for _ in 0..5 {
            workers[0].get("/", &[]).await;
        }
        holds(elsewhere.scripted() == 0 && elsewhere.assigned("e") > 0)
    })
    .await;
    eventually(PATIENCE, "nothing is missing", async || {
        holds(elsewhere.assigned("e") + dropped() + 20 >= two.requests())
    })
    .await;
    assert_eq!(elsewhere.assigned("e") + dropped() + fake.assigned("e"), two.requests());
    let old = fake.incarnations_of("e");
    let new: Vec<_> =
        elsewhere.received().into_iter().map(|(report, _)| (report.incarnation, report.sequence)).collect();
    assert!(old.contains(&new[0].0) && new[0].1 > 1, "the old one's next report: {new:?}");
    assert!(!old.contains(&new[1].0) && new[1].1 == 1, "then a new one: {new:?}");
    assert!(dropped() >= 20, "{} of 20 that were with the worker", dropped());
    eventually(PATIENCE, "Envoy's stats say so too", async || {
        let seen = envoy.prometheus().await;
        let [refused, lost] = ["weir_reports_refused_total", "weir_exposures_lost_total"].map(|name| seen.sum(name));
        holds(refused == 1 && lost == dropped())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_with_a_static_plan_splits_by_cookie() {
    let (one, two) = (Upstream::start("v1").await, Upstream::start("v2").await);
    let text = shipped(
        "static.yaml",
        &[(10_000, 0), (9_901, 0), (8_001, one.address().port()), (8_002, two.address().port())],
    );
    let envoy = Envoy::builder().text(&text).start().await;
    let mut client = envoy.connect().await;
    for user in 0..1_000 {
        let cookie = format!("uid={user}");
        client.get("/", &[("host", "shop.example"), ("cookie", &cookie)]).await;
    }
    weir_tests::bounds::assert_share("v2", two.requests(), 1_000, 0.01);
    assert_eq!(one.requests() + two.requests(), 1_000);
    assert!(two.requests() > 0, "none of 1,000 users got v2");
    eventually(PATIENCE, "Envoy's own stats have the labels", async || {
        let seen = envoy.prometheus().await;
        let [v1, v2] = ["v1", "v2"].map(|version| seen.of("weir_completed_total", "shop", version));
        let histogram = [("weir_experiment", "shop"), ("weir_version", "v2"), ("le", "+Inf")];
        let buckets = seen.get("weir_latency_milliseconds_bucket", &histogram);
        holds(v1 == one.requests() && v2 == two.requests() && buckets == v2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_with_a_controller_takes_its_plan() {
    let versions = [Upstream::start("v1").await, Upstream::start("v2").await, Upstream::start("v3").await];
    let fake = FakeController::start(plan("1", vec![experiment("e", &[("v1", 0), ("v2", 0), ("v3", 1)])])).await;
    let mut ports = vec![(10_000, 0), (9_901, 0), (8_181, fake.address().port())];
    ports.extend((8_001..).zip(versions.iter().map(|version| version.address().port())));
    let envoy = Envoy::builder().text(&shipped("envoy.yaml", &ports)).start().await;
    envoy.workers_with_plan("1").await;
    assert_eq!(envoy.connect().await.get("/", &[]).await.version(), "v3");
    eventually(PATIENCE, "it is counted", async || holds(fake.counts("e", "v3").completed == 1)).await;
    assert!(fake.received().iter().all(|(report, _)| report.node == "standalone-1"));
    eventually(PATIENCE, "Envoy's own stats have the labels", async || {
        holds(envoy.prometheus().await.of("weir_completed_total", "e", "v3") == 1)
    })
    .await;
}

/// A file of `envoy-config/standalone` with other ports and the path of the filter.
fn shipped(name: &str, ports: &[(u16, u16)]) -> String {
    let path = paths::repository().join("envoy-config/standalone").join(name);
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in ports {
        let from = format!("port_value: {from}}}");
        assert_eq!(text.matches(&from).count(), 1, "{from} in {}", path.display());
        text = text.replace(&from, &format!("port_value: {to}}}"));
    }
    let filter = paths::filter().unwrap();
    let named = |path: &Path| format!("filename: '{}'", path.display());
    assert!(text.contains("filename: target/weir-filter.wasm"));
    text.replace("filename: target/weir-filter.wasm", &named(&filter))
}
