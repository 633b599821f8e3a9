//! The wall clock is stepped while Envoy runs, a day forward and two days back: bins, deadlines, reports and the plan's age go on.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_tests::envoy::CONTROLLER;
use weir_tests::plans::all_to_v2;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Load, Stand, eventually, paths};

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stepped_wall_clock_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (library, offset) = (directory.path().join("clock.so"), directory.path().join("offset"));
    let source = paths::repository().join("tests/src/clock.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success(), "the C compiler that `make setup` asks for builds the clock");
    let step = |seconds: i64| std::fs::write(&offset, seconds.to_string()).unwrap();
    step(0);

    let configuration =
        json!({"controller": {"cluster": CONTROLLER, "reportInterval": "100ms", "stalenessLimit": "30s"}});
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let Stand { versions: [_one, two], fake, envoy, .. } = Stand::with(all_to_v2("1"), |envoy| {
        envoy
            .plugin(&configuration)
            .environment("LD_PRELOAD", &text(&library))
            .environment("WEIR_CLOCK_OFFSET", &text(&offset))
    })
    .await;
    let load = Load::start(envoy.address(), 4, "/");
    let wall = async || {
        let reply = weir_tests::client::call(envoy.admin(), "GET", "/server_info", &[], Vec::new()).await.unwrap();
        reply.headers.get("date").unwrap().to_str().unwrap().to_owned()
    };
    let mut dates = BTreeSet::new();
    for seconds in [0, DAY, -DAY, 0] {
        step(seconds);
        // Envoy itself lives in the other time, or this test would show nothing.
        let before = dates.len();
        eventually(PATIENCE, "Envoy sees the step", async || {
            dates.insert(wall().await.get(..16).unwrap().to_owned());
            holds(dates.len() > before || seconds == 0)
        })
        .await;
        load.more(100).await;
        let received = fake.received().len();
        eventually(PATIENCE, "reports go on", async || holds(fake.received().len() >= received + 4)).await;
    }
    assert_eq!(dates.len(), 3, "{dates:?}");
    let sent = load.stop().await;
    eventually(PATIENCE, "everything is counted", async || {
        let counts = fake.counts("e", "v2");
        holds(counts.assigned >= sent.answered() && counts.completed >= sent.answered())
    })
    .await;
    let counts = fake.counts("e", "v2");
    let all = sent.answered();
    assert_eq!((counts.assigned, counts.completed, counts.failed, two.requests()), (all, all, 0, all));
    // No step moved a bin, a latency or the age of the plan.
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let received = fake.received();
    let bins = received.iter().flat_map(|(report, _)| &report.experiments).flat_map(|found| &found.cells);
    assert!(bins.map(|cell| cell.bin).all(|bin| bin <= now && now - bin < 300_000));
    assert!(counts.latency_sum < 60.0 * 4.0 && counts.latency_sum >= 0.0, "{}", counts.latency_sum);
    assert!(received.iter().all(|(report, _)| !report.stale));
    assert_eq!(envoy.prometheus().await.get("weir_plan_stale", &[]), 0);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
