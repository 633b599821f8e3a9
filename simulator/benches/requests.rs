//! How many requests one core simulates in a second, with sticky users of heavy tail, histograms, rewards and two guardrails. The time is
//! the thread's own (from the kernel's accounting), so that neighbours on the machine do not matter.
//!
//! `cargo bench -p weir-simulator`

use std::time::{Duration, Instant};
use weir_simulator::policy::Weir;
use weir_simulator::{Watching, scenario, simulate};

const SCENARIO: &str = "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: bench}
spec:
  service: checkout
  unit: {cookie: uid}
  versions: [{name: v1, baseline: true}, {name: v2}]
  guardrails: [{name: errors, errorRate: {ratio: 2}}, {name: slow, latency: {ratio: 1.5}}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
  strategy: ab
---
apiVersion: weir.dev/v1alpha1
kind: Scenario
traffic: 10000/s
users: {count: 100000, tail: 1.2}
duration: 10m
versions:
  v1: {errors: 0.3%, conversion: 5%, latency: [{weight: 95%, median: 80ms}, {weight: 5%, median: 600ms}]}
  v2: {errors: 0.3%, conversion: 5%, latency: [{weight: 95%, median: 80ms}, {weight: 5%, median: 600ms}]}
";

/// Time this thread has run on a core; the clock on the wall where the kernel does not say.
fn cpu(began: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = text.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanos.map_or_else(|| began.elapsed(), Duration::from_nanos)
}

fn main() {
    let scenario = match scenario::read(SCENARIO) {
        Ok(scenario) => scenario,
        Err(problems) => return problems.iter().for_each(|problem| eprintln!("{problem}")),
    };
    let began = Instant::now();
    let mut best: f64 = 0.0;
    for seed in 1..=5 {
        let before = cpu(began);
        let run = simulate(&scenario, &mut Weir::default(), seed, Watching::Outcome);
        let seconds = (cpu(began) - before).as_secs_f64();
        let rate = run.requests as f64 / seconds / 1e6;
        println!("{} requests in {seconds:.2} s of one core: {rate:.1} million a second", run.requests);
        best = best.max(rate);
    }
    println!("best: {best:.1} million requests a second and core (asked for: 5)");
}
