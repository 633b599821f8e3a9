//! Whether an Envoy's memory grows while it serves, records, reports and is given new plans for a long time. Another whose filter
//! does nothing serves as many requests in turn with it: what grows there as well is Envoy's.

use crate::load;
use crate::results::{heading, table};
use crate::variants::{Running, Variant};
use anyhow::Context;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Soak {
    seconds: u64,
    /// Of each of the two.
    requests: u64,
    plan_changes: u64,
    samples: Vec<Sample>,
}

/// Resident memory of both Envoys after a tenth of the time, in KiB.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    ours_kib: u64,
    noop_kib: u64,
}

/// Requests between two plans.
const REQUESTS: u32 = 2_000;
const SAMPLES: u32 = 10;

/// Measures.
pub(crate) async fn measure(seconds: u64) -> anyhow::Result<Soak> {
    heading("Memory under load and plan changes");
    let (ours, noop) = (Running::start(Variant::Rewards).await?, Running::start(Variant::Bare).await?);
    let (begin, time) = (Instant::now(), Duration::from_secs(seconds));
    let mut soak = Soak { seconds, requests: 0, plan_changes: 0, samples: Vec::new() };
    for tenth in 1..=SAMPLES {
        while begin.elapsed() < time * tenth / SAMPLES {
            load::drive(ours.envoy.address(), REQUESTS).await?;
            load::drive(noop.envoy.address(), REQUESTS).await?;
            soak.requests += u64::from(REQUESTS);
            soak.plan_changes += 1;
            ours.change_plan(soak.plan_changes);
        }
        let (ours_kib, noop_kib) = (resident_kib(ours.envoy.id())?, resident_kib(noop.envoy.id())?);
        eprintln!("{tenth} of {SAMPLES}: {ours_kib} KiB, {noop_kib} KiB without");
        soak.samples.push(Sample { ours_kib, noop_kib });
    }
    soak.show();
    Ok(soak)
}

fn resident_kib(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("Envoy's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    line.split_whitespace().next().context("a number")?.parse().context("VmRSS")
}

impl Soak {
    fn show(&self) {
        println!("{} requests to each and {} plan changes in {} s\n", self.requests, self.plan_changes, self.seconds);
        let head = ["after", "resident", "with a filter that does nothing"].map(str::to_owned).to_vec();
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        let rows = self.samples.iter().enumerate().map(|(index, sample)| {
            let part = (index as u64 + 1) * self.seconds / u64::from(SAMPLES);
            vec![format!("{part} s"), mib(sample.ours_kib), mib(sample.noop_kib)]
        });
        table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    }
}
