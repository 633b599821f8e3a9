//! A controller that is killed at random instants comes back to the same state and plan: nothing is counted twice or lost, no
//! command is carried out twice, and its journal replays to the bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_tests::noise::Noise;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Controller, client, eventually};

const EXPERIMENT: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}]
  strategy: {canary: {steps: [5%, 20%, 50%]}}
  approvals: {step: true, promotion: true}
  objectives: [{name: errors, errorRate: {max: 5%}}]
  minExposures: 50
  deadline: 200ms
  bin: 200ms
";

/// One without traffic, which people begin, end and delete again and again.
const SIDE: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: side}
spec:
  service: side
  match: {hosts: [side.example]}
  priority: -1
  versions: [{name: v1, baseline: true}, {name: v2}, {name: v3}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
  approvals: {start: true}
";

/// Crashes.
const CRASHES: u32 = 20;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// One worker: counts by the plan, and sends each report until it is acknowledged, as filters do.
struct Worker {
    address: SocketAddr,
    incarnation: String,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    async fn run(self, seed: u64) {
        let mut random = Noise::new(seed);
        let mut sequence = 0;
        // The plan that is used until there is another.
        let mut plan = Value::Null;
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(new) = get(self.address, "/v1/plan").await {
                plan = new;
            }
            let Some(experiment) = plan["experiments"].get(0).cloned() else { continue };
            sequence += 1;
            let requests = 50 + random.below(100);
            let bin = now() / 200 * 200;
            let versions = experiment["versions"].as_array().unwrap();
            let whole: u64 = versions.iter().map(|version| version["weight"].as_u64().unwrap()).sum();
            let mut cells = Vec::new();
            if experiment["status"] == "running" {
                for version in versions {
                    let assigned = requests * version["weight"].as_u64().unwrap() / whole;
                    if assigned > 0 {
                        cells.push(json!({
                            "epoch": experiment["epoch"], "version": version["name"], "bin": bin,
                            "counts": {"assigned": assigned, "completed": assigned, "latency": [[300, assigned]]},
                        }));
                        self.sent.fetch_add(assigned, Ordering::Relaxed);
                    }
                }
            }
            let report = json!({
                "format": 1, "node": "n", "incarnation": self.incarnation, "sequence": sequence, "plan": plan["revision"],
                "experiments": [{"id": experiment["id"], "watermark": bin - 600, "cells": cells}],
            });
            let body = report.to_string().into_bytes();
            loop {
                let json = [("content-type", "application/json")];
                let answer = client::call(self.address, "POST", "/v1/reports", &json, body.clone()).await;
                match answer {
                    Ok(reply) if reply.status == 200 => break,
                    Ok(reply) if reply.status.is_client_error() => panic!("refused: {}", reply.text()),
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn get(address: SocketAddr, path: &str) -> Option<Value> {
    let reply = client::call(address, "GET", path, &[], Vec::new()).await.ok()?;
    (reply.status == 200).then(|| serde_json::from_slice(&reply.body).ok()).flatten()
}

/// Kinds of commands that were carried out.
type Kinds = Arc<Mutex<BTreeSet<String>>>;

/// Gives commands and edits with a reason of their own each; which were said to be carried out. `kinds` of them that were.
async fn people(address: SocketAddr, stop: Arc<AtomicBool>, kinds: Kinds, seed: u64) -> BTreeMap<String, bool> {
    let mut random = Noise::new(seed);
    let mut given = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let reason = format!("reason {number}");
        let command = match random.below(16) {
            0 => json!({"command": "pause", "reason": reason}),
            1..=4 => json!({"command": "resume", "reason": reason}),
            5 => json!({"command": "setWeights", "weights": {"v1": 7_000, "v2": 3_000}, "reason": reason}),
            6..=14 => {
                let view = get(address, "/v1/experiments/shop").await;
                let awaited = view.map(|view| view["state"]["awaited"].clone()).unwrap_or_default();
                // A promotion would end what the others are given to.
                if awaited["step"]["weights"].is_null() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                json!({"command": "approve", "awaitedSince": awaited["since"], "reason": reason})
            }
            _ => {
                let edited =
                    EXPERIMENT.replace("minExposures: 50", &format!("minExposures: {}", 40 + random.below(20)));
                let _ = client::call(address, "POST", "/v1/experiments", &[], edited.into_bytes()).await;
                continue;
            }
        };
        match give(address, "shop", &command).await {
            Some(true) => {
                kinds.lock().unwrap().insert(command["command"].as_str().unwrap().to_owned());
                given.insert(reason, true);
            }
            Some(false) => {}
            None => drop(given.insert(reason, false)),
        }
        tokio::time::sleep(Duration::from_millis(20 + random.below(80))).await;
    }
    given
}

/// Whether a command was carried out; `None`: nobody knows.
async fn give(address: SocketAddr, name: &str, command: &Value) -> Option<bool> {
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/experiments/{name}/commands");
    let reply = client::call(address, "POST", &path, &headers, command.to_string().into_bytes()).await.ok()?;
    if reply.status == 200 {
        return Some(true);
    }
    reply.status.is_client_error().then_some(false)
}

/// What was acknowledged of one experiment beside.
#[derive(Debug, Default)]
struct Ended {
    /// How many of its commands: the start, the roll-back of one, and the end.
    commands: u64,
    deleted: bool,
}

/// Begins experiments, rolls a version back, promotes one or rolls all back, and deletes them; by id.
async fn others(address: SocketAddr, stop: Arc<AtomicBool>) -> BTreeMap<String, Ended> {
    let mut ended: BTreeMap<String, Ended> = BTreeMap::new();
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let applied = client::call(address, "POST", "/v1/experiments", &[], SIDE.as_bytes().to_vec()).await;
        assert!(!applied.is_ok_and(|reply| reply.status == 422), "the document is valid");
        let Some(view) = get(address, "/v1/experiments/side").await else { continue };
        let id = view["id"].as_str().unwrap().to_owned();
        let ends = match round % 3 {
            0 => json!({"command": "promote", "version": "v3", "reason": "an end"}),
            1 => json!({"command": "rollBack", "reason": "an end"}),
            _ => json!({"command": "stop", "reason": "an end"}),
        };
        let of = ended.entry(id).or_default();
        let start = json!({"command": "start", "reason": "a beginning"});
        for command in [start, json!({"command": "rollBack", "version": "v2", "reason": "one of them"}), ends] {
            of.commands += u64::from(give(address, "side", &command).await == Some(true));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(page) = get(address, "/v1/experiments/side/journal").await {
            let entries = page["entries"].as_array().unwrap();
            let reasons: Vec<&Value> =
                entries.iter().map(|entry| &entry["event"]["command"]["order"]["reason"]).collect();
            let times = |of: &str| reasons.iter().filter(|reason| **reason == of).count();
            assert!(["a beginning", "one of them", "an end"].iter().all(|reason| times(reason) <= 1), "{page}");
            let carried_out = reasons.iter().filter(|reason| reason.is_string()).count() as u64;
            assert!(carried_out >= of.commands, "{} were acknowledged: {page}", of.commands);
        }
        let answer = client::call(address, "DELETE", "/v1/experiments/side?reason=over", &[], Vec::new()).await;
        of.deleted |= answer.is_ok_and(|reply| reply.status == 200);
    }
    ended
}

/// Plan, state and settled counts, as the API shows them.
async fn standing(controller: &Controller) -> Option<(Value, Value)> {
    let plan = controller.get("/v1/plan").await?;
    let view = controller.get("/v1/experiments/shop").await?;
    Some((plan, view["state"].clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_killed_at_any_instant_counts_everything_once_and_replays() {
    let mut controller = Controller::start_with(&["--decision-interval", "100ms"]).await;
    controller.apply(EXPERIMENT);
    let address = controller.address();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let kinds = Kinds::default();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 1..=3_u64 {
        let incarnation = format!("{worker:032x}");
        let worker_task = Worker { address, incarnation, sent: Arc::clone(&sent), stop: Arc::clone(&stop) };
        workers.spawn(worker_task.run(worker));
    }
    let people = tokio::spawn(people(address, Arc::clone(&stop), Arc::clone(&kinds), 99));
    let others = tokio::spawn(others(address, Arc::clone(&stop)));
    let mut random = Noise::new(7);
    for _ in 0..CRASHES {
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        controller.kill();
        controller.resume().await;
    }
    let before = sent.load(Ordering::Relaxed);
    eventually(PATIENCE, "it counts again", async || holds(sent.load(Ordering::Relaxed) > before + 2_000)).await;
    // So that whatever happened before, something of each kind did.
    eventually(PATIENCE, "every command was carried out", async || {
        let kinds = kinds.lock().unwrap();
        holds(["pause", "resume", "setWeights", "approve"].iter().all(|kind| kinds.contains(*kind)))
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = workers.join_next().await {
        ended.expect("no report is refused");
    }
    let given = people.await.expect("people do not panic");
    let ended = others.await.expect("others do not panic");

    let sent = sent.load(Ordering::Relaxed);
    let counted = eventually(PATIENCE, "all is assessed", async || {
        let view = controller.get("/v1/experiments/shop").await?;
        let versions = view["assessment"]["versions"].as_array()?;
        let live: u64 = versions.iter().map(|version| version["live"]["assigned"].as_u64().unwrap()).sum();
        (live >= sent).then_some(live)
    })
    .await;
    assert_eq!(counted, sent, "each exposure is counted once");

    // Nobody reports any more: what stands now must stand after a crash.
    let _ = controller.weir(&["pause", "shop", "--reason", "the end"]);
    let before = standing(&controller).await.expect("an answer");
    controller.kill();
    let offline = controller.weir(&["replay", "shop", "--ledger", controller.ledger().to_str().unwrap()]);
    assert!(
        offline.status.success(),
        "{}{}",
        String::from_utf8_lossy(&offline.stdout),
        String::from_utf8_lossy(&offline.stderr)
    );
    // Those that were deleted are there by their ids, with every command that was acknowledged.
    for (id, ended) in &ended {
        let replayed =
            controller.weir(&["replay", id, "--ledger", controller.ledger().to_str().unwrap(), "-o", "json"]);
        let said: Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
        let decisions = said["decisions"].as_u64().unwrap();
        assert!(said["equal"] == true && decisions >= ended.commands, "{id}: {said} {ended:?}");
    }
    let done = |of: fn(&Ended) -> bool| ended.values().filter(|ended| of(ended)).count();
    assert!(done(|ended| ended.commands == 3) > 2 && done(|ended| ended.deleted) > 2, "{ended:?}");
    controller.resume().await;
    if let Some(side) = controller.get("/v1/experiments/side").await {
        let id = side["id"].as_str().unwrap();
        assert!(!ended.get(id).is_some_and(|ended| ended.deleted), "what was deleted stays so: {side}");
    }
    let after = eventually(PATIENCE, "it answers", async || standing(&controller).await).await;
    assert_eq!(after.0, before.0, "the plan");
    assert_eq!(after.1, before.1, "the state");

    let replayed = controller.weir(&["replay", "shop", "--output", "json"]);
    let said: Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
    assert!(replayed.status.success() && said["equal"] == true, "{said}");
    assert!(said["decisions"].as_u64().unwrap() > 20, "{said}");

    let mut carried_out = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = controller.get(&format!("/v1/experiments/shop/journal?after={after}")).await.expect("a page");
        let entries = page["entries"].as_array().unwrap();
        if entries.is_empty() {
            break;
        }
        for reason in entries.iter().filter_map(|entry| entry["event"]["command"]["order"]["reason"].as_str()) {
            *carried_out.entry(reason.to_owned()).or_insert(0) += 1;
        }
        after = page["next"].as_u64().unwrap();
    }
    assert!(given.values().filter(|done| **done).count() > 5, "{given:?}");
    for (reason, acknowledged) in &given {
        let times = carried_out.get(reason).copied().unwrap_or(0);
        assert!(times <= 1 && (times == 1 || !acknowledged), "{reason}: {times} times, acknowledged: {acknowledged}");
    }
}
