//! The demo as a user runs it: it ends well and in time, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use weir_tests::paths;
use weir_tests::process::Process;
use weir_tests::wait::{PATIENCE, eventually, holds};

fn demo(arguments: &[&str], output: &Path) -> Process {
    let mut command = Command::new(paths::demo().unwrap_or_else(|error| panic!("the demo: {error}")));
    command.arg("run").args(arguments);
    // Marks everything that this demo starts, however it comes to lose its parent.
    command.env(MARK, output);
    // A demo that is killed cannot clear up: its files go with the test's.
    command.env("TMPDIR", output.parent().unwrap());
    Process::start("weir-demo", &mut command, output).unwrap()
}

const MARK: &str = "WEIR_DEMO_TEST";

/// Processes, other than the demo itself, that were started by it and still run.
fn left_behind(output: &Path, demo: u32) -> Vec<String> {
    let mark = format!("{MARK}={}", output.display());
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let environment = fs::read(path.join("environ")).ok()?;
            let is_ours = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            let is_other = path.file_name()?.to_str()? != demo.to_string();
            let command = fs::read(path.join("cmdline")).ok()?;
            (is_ours && is_other && !command.is_empty()).then(|| String::from_utf8_lossy(&command).replace('\0', " "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_version_wins_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("demo.log");
    let mut demo = demo(&["--rate", "400", "--seed", "7"], &output);
    let status = eventually(Duration::from_secs(125), "the demo ends by itself", async || demo.ended()).await;
    let said = demo.output();
    assert!(status.success(), "{status}:\n{said}");
    for part in ["✓ v2 won", "errors violated, rolled back", "last decision: promote", "100.0%"] {
        assert!(said.contains(part), "`{part}` should be in\n{said}");
    }
    assert_eq!(left_behind(&output, demo.id()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_it_goes_on_with_another_experiment_and_says_last_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("demo.log");
    let mut demo = demo(&["--keep", "--seed", "7"], &output);
    let address = eventually(Duration::from_secs(125), "it says where the dashboard is", async || {
        assert!(demo.ended().is_none(), "{}", demo.output());
        let said = demo.output();
        let last = said.lines().last().filter(|_| said.ends_with('\n'))?;
        last.trim().strip_prefix("dashboard   http://")?.trim_end_matches('/').parse::<std::net::SocketAddr>().ok()
    })
    .await;
    eventually(PATIENCE, "the next experiment moves", async || {
        let reply =
            weir_tests::client::call(address, "GET", "/v1/experiments/shop-next", &[], Vec::new()).await.ok()?;
        let view: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
        let counted = view.pointer("/assessment/settledExposures")?.as_u64()?;
        holds(view.pointer("/phase")? == "running" && counted > 0)
    })
    .await;
    demo.signal(libc::SIGINT);
    let status = eventually(PATIENCE, "the demo ends", async || demo.ended()).await;
    assert!(status.success(), "as it was asked to, which `make` must not call an error: {status}");
    eventually(PATIENCE, "nothing is left", async || holds(left_behind(&output, demo.id()).is_empty())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_or_killed_in_the_middle_it_leaves_nothing_behind() {
    for (signal, code) in [(libc::SIGINT, Some(130)), (libc::SIGTERM, Some(143)), (libc::SIGKILL, None)] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("demo.log");
        let mut demo = demo(&[], &output);
        eventually(PATIENCE, "the demo is under way", async || {
            assert!(demo.ended().is_none(), "{}", demo.output());
            holds(demo.output().contains("0 s "))
        })
        .await;
        // Three versions, the controller, Envoy, the users.
        assert_eq!(left_behind(&output, demo.id()).len(), 6, "{:?}", left_behind(&output, demo.id()));
        demo.signal(signal);
        let status = eventually(PATIENCE, "the demo ends", async || demo.ended()).await;
        assert_eq!(status.code(), code, "{}", demo.output());
        eventually(PATIENCE, "nothing is left", async || holds(left_behind(&output, demo.id()).is_empty())).await;
    }
}
