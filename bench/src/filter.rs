//! What the filter costs: paired rounds of one run over all variants, each in an Envoy of its own with one worker.
//!
//! In every round each variant serves the same requests, one after the other, and is compared with "no filter" of that very
//! round: what the machine does besides changes slowly and cancels out of the ratios.

use crate::load;
use crate::results::{Spread, heading, table};
use crate::variants::{Running, Variant};
use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

/// The outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    rounds: u32,
    requests_per_round: u32,
    connections: usize,
    variants: Vec<VariantCost>,
}

/// One variant. Ratios are to "no filter" of the same round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VariantCost {
    name: &'static str,
    cpu_ratio: Spread,
    /// To a Wasm filter that does nothing, by the SDK.
    cpu_ratio_to_noop: Spread,
    /// To one without the SDK.
    cpu_ratio_to_bare: Spread,
    throughput_ratio: Spread,
    cpu_micros_per_request: Spread,
    requests_per_second: Spread,
}

/// One variant in one round.
#[derive(Debug, Clone, Copy)]
struct Sample {
    cpu_micros: f64,
    per_second: f64,
}

/// Measures.
pub(crate) async fn measure(rounds: u32, requests: u32) -> anyhow::Result<Cost> {
    heading("The filter in Envoy, one worker");
    let mut running = Vec::new();
    for variant in Variant::ALL {
        running.push(Running::start(variant).await.with_context(|| format!("cannot start: {}", variant.name()))?);
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); running.len()];
    for round in 0..rounds {
        if std::io::stderr().is_terminal() {
            eprint!("\rround {} of {rounds} ", round + 1);
        }
        let mut order: Vec<usize> = (0..running.len()).collect();
        // Whoever comes first or follows whom must not always be the same.
        order.rotate_left(round as usize % running.len());
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            if let (Some(running), Some(samples)) = (running.get(index), samples.get_mut(index)) {
                samples.push(sample(running, requests).await?);
            }
        }
    }
    if std::io::stderr().is_terminal() {
        eprint!("\r                    \r");
    }
    let of_variant = |wanted| {
        let found = running.iter().zip(&samples).find(|(running, _)| running.variant == wanted);
        found.map(|(_, samples)| samples.clone()).unwrap_or_default()
    };
    let (none, noop, bare) = (of_variant(Variant::None), of_variant(Variant::Noop), of_variant(Variant::Bare));
    let ratio = |samples: &[Sample], base: &[Sample], of: fn(&Sample) -> f64| {
        Spread::of(samples.iter().zip(base).map(|(sample, base)| of(sample) / of(base)))
    };
    let variants: Vec<VariantCost> = running
        .iter()
        .zip(&samples)
        .map(|(running, samples)| VariantCost {
            name: running.variant.name(),
            cpu_ratio: ratio(samples, &none, |sample| sample.cpu_micros),
            cpu_ratio_to_noop: ratio(samples, &noop, |sample| sample.cpu_micros),
            cpu_ratio_to_bare: ratio(samples, &bare, |sample| sample.cpu_micros),
            throughput_ratio: ratio(samples, &none, |sample| sample.per_second),
            cpu_micros_per_request: Spread::of(samples.iter().map(|sample| sample.cpu_micros)),
            requests_per_second: Spread::of(samples.iter().map(|sample| sample.per_second)),
        })
        .collect();
    let cost = Cost { rounds, requests_per_round: requests, connections: load::CONNECTIONS, variants };
    cost.show();
    Ok(cost)
}

async fn sample(running: &Running, requests: u32) -> anyhow::Result<Sample> {
    let served = running.served();
    let before = cpu_time(running.envoy.id())?;
    let took = load::drive(running.envoy.address(), requests).await?;
    let used = cpu_time(running.envoy.id())?.saturating_sub(before);
    running.check(&served)?;
    let requests = f64::from(requests);
    Ok(Sample { cpu_micros: used.as_secs_f64() * 1e6 / requests, per_second: requests / took.as_secs_f64() })
}

/// The processor time that a process's threads have used, in nanoseconds as the kernel's scheduler counts it.
fn cpu_time(id: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    let threads = Path::new("/proc").join(id.to_string()).join("task");
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    for thread in fs::read_dir(&threads).with_context(|| format!("cannot read {}", threads.display()))? {
        let text = read(&thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).context("schedstat")?;
    }
    Ok(Duration::from_nanos(nanos))
}

impl Cost {
    fn show(&self) {
        println!(
            "{} rounds of {} requests over {} connections; median (smallest–largest) of the rounds' ratios\n",
            self.rounds, self.requests_per_round, self.connections
        );
        let mut rows = vec![
            ["", "CPU to none", "to SDK no-op", "to bare no-op", "requests/s", "µs CPU", "requests/s"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(self.variants.iter().map(|variant| {
            vec![
                variant.name.to_owned(),
                variant.cpu_ratio.show(3),
                format!("{:.3}", variant.cpu_ratio_to_noop.median),
                format!("{:.3}", variant.cpu_ratio_to_bare.median),
                variant.throughput_ratio.show(3),
                format!("{:.1}", variant.cpu_micros_per_request.median),
                format!("{:.0}", variant.requests_per_second.median),
            ]
        }));
        table(&rows);
    }
}
