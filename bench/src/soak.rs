//! Whether an Envoy's memory grows while it serves, records, reports and is given new plans for a long time.

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
    requests: u64,
    plan_changes: u64,
    /// Resident memory of Envoy after each tenth of the time, in KiB.
    resident_kib: Vec<u64>,
}

/// Requests between two plans.
const REQUESTS: u32 = 2_000;
const SAMPLES: u32 = 10;

/// Measures.
pub(crate) async fn measure(seconds: u64) -> anyhow::Result<Soak> {
    heading("Memory under load and plan changes");
    let running = Running::start(Variant::Whole).await?;
    let (begin, time) = (Instant::now(), Duration::from_secs(seconds));
    let mut soak = Soak { seconds, requests: 0, plan_changes: 0, resident_kib: Vec::new() };
    for sample in 1..=SAMPLES {
        while begin.elapsed() < time * sample / SAMPLES {
            load::drive(running.envoy.address(), REQUESTS).await?;
            soak.requests += u64::from(REQUESTS);
            soak.plan_changes += 1;
            running.change_plan(soak.plan_changes);
        }
        soak.resident_kib.push(resident_kib(running.envoy.id())?);
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
        println!("{} requests and {} plan changes in {} s\n", self.requests, self.plan_changes, self.seconds);
        let head = vec!["after".to_owned(), "resident".to_owned()];
        let rows = self.resident_kib.iter().enumerate().map(|(index, kib)| {
            let part = (index as u64 + 1) * self.seconds / u64::from(SAMPLES);
            vec![format!("{part} s"), format!("{:.1} MiB", *kib as f64 / 1024.0)]
        });
        table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    }
}
