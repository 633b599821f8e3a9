//! Host calls per request, counted in the trace log of a real Envoy: what the module really asks of its host, and how often
//! the host enters the VM for it.
//!
//! Counts what happens while Envoy serves a stream. Ticks, reports and plan polls go on at their own pace, whatever the
//! traffic, and are left out.

use crate::load::{self, CONNECTIONS};
use crate::results::{heading, table};
use crate::variants::{Running, Variant};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;
use weir_tests::client;
use weir_tests::wait::PATIENCE;

/// The outcome.
#[derive(Debug, Serialize)]
pub(crate) struct HostCalls {
    requests: u32,
    variants: Vec<VariantCalls>,
}

/// One variant; means over the requests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VariantCalls {
    name: &'static str,
    /// Calls by the module of a function of the host.
    host_calls: f64,
    /// Calls by the host of a callback of the module.
    callbacks: f64,
    /// Entries into the VM in the middle of a host call, to allocate memory for bytes: the dear ones.
    allocations: f64,
    /// Host calls by name.
    by_name: BTreeMap<String, f64>,
}

const REQUESTS: u32 = 320;

/// Counts.
pub(crate) async fn measure() -> anyhow::Result<HostCalls> {
    heading("Host calls per request");
    let mut variants = Vec::new();
    for variant in [Variant::Noop, Variant::Bare].into_iter().chain(Variant::OURS) {
        variants.push(count(variant).await?);
    }
    let result = HostCalls { requests: REQUESTS, variants };
    result.show();
    Ok(result)
}

async fn count(variant: Variant) -> anyhow::Result<VariantCalls> {
    let running = Running::start(variant).await?;
    let envoy = &running.envoy;
    set_level(&running, "trace").await?;
    let from = envoy.log().len();
    load::drive(envoy.address(), REQUESTS).await?;
    let begin = Instant::now();
    let traced = loop {
        let log = envoy.log();
        let traced = Traced::of(log.get(from..).unwrap_or_default());
        // A stream's log comes after its client has the answer.
        if traced.ended == u64::from(REQUESTS) {
            break traced;
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "{}: {} of {REQUESTS} streams in the trace of {} connections",
            variant.name(),
            traced.ended,
            CONNECTIONS
        );
        tokio::task::yield_now().await;
    };
    let per_request = |count: u64| count as f64 / f64::from(REQUESTS);
    Ok(VariantCalls {
        name: variant.name(),
        host_calls: per_request(traced.host_calls.values().sum()),
        callbacks: per_request(traced.callbacks),
        allocations: per_request(traced.allocations),
        by_name: traced.host_calls.into_iter().map(|(name, count)| (name, per_request(count))).collect(),
    })
}

async fn set_level(running: &Running, level: &str) -> anyhow::Result<()> {
    let path = format!("/logging?wasm={level}");
    let reply = client::call(running.envoy.admin(), "POST", &path, &[], Vec::new()).await;
    let reply = reply.map_err(anyhow::Error::from_boxed).context("cannot set Envoy's log level")?;
    ensure!(reply.status.is_success(), "Envoy refused the log level {level}: {}", reply.text());
    Ok(())
}

/// What a trace says about streams.
#[derive(Debug, Default, PartialEq)]
struct Traced {
    host_calls: BTreeMap<String, u64>,
    callbacks: u64,
    allocations: u64,
    ended: u64,
}

/// Callbacks that are not about a stream.
const ELSEWHERE: [&str; 7] = [
    "proxy_on_tick",
    "proxy_on_queue_ready",
    "proxy_on_http_call_response",
    "proxy_on_configure",
    "proxy_on_vm_start",
    "_initialize",
    "main",
];

impl Traced {
    /// Reads lines like `[time][thread][trace][wasm] [file] [host->vm] proxy_on_log(7)`. The four arrows: a callback begins,
    /// it returns, a host call begins, it returns.
    fn of(log: &str) -> Self {
        let mut traced = Self::default();
        // By thread: the callbacks that it is in, outermost first; whether they are about a stream.
        let mut inside = BTreeMap::<&str, Vec<bool>>::new();
        for line in log.lines() {
            let thread = line.split(['[', ']']).nth(3).unwrap_or_default();
            let stack = inside.entry(thread).or_default();
            if let Some((_, call)) = line.split_once("[host->vm] ") {
                let name = call.split('(').next().unwrap_or_default();
                // A root context is created below no other.
                let is_root = name == "proxy_on_context_create" && call.contains(", 0)");
                let stream = stack.first().copied().unwrap_or(!ELSEWHERE.contains(&name) && !is_root);
                if stream {
                    let counter = if stack.is_empty() { &mut traced.callbacks } else { &mut traced.allocations };
                    *counter += 1;
                    traced.ended += u64::from(name == "proxy_on_log");
                }
                stack.push(stream);
            } else if line.contains("[host<-vm] ") {
                stack.pop();
            } else if let Some((_, call)) = line.split_once("[vm->host] ")
                && stack.first() == Some(&true)
            {
                let name = call.split('(').next().unwrap_or_default();
                let name = name.rsplit('.').next().unwrap_or_default();
                *traced.host_calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        traced
    }
}

impl HostCalls {
    fn show(&self) {
        println!("in the trace log of {} requests\n", self.requests);
        let mut rows = vec![["", "host calls", "callbacks", "allocations"].map(str::to_owned).to_vec()];
        rows.extend(self.variants.iter().map(|variant| {
            let numbers = [variant.host_calls, variant.callbacks, variant.allocations];
            let mut row = vec![variant.name.to_owned()];
            row.extend(numbers.map(|number| format!("{number:.2}")));
            row
        }));
        table(&rows);
        println!();
        for variant in &self.variants {
            let calls: Vec<String> = variant.by_name.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
            println!("{}: {}", variant.name, calls.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_count_for_the_callback_they_are_made_in_thread_by_thread() {
        let log = "\
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [host->vm] proxy_on_request_headers(7, 8, 1)
[2026-01-01 00:00:00.000][2][trace][wasm] [a.h:1] [host->vm] proxy_on_tick(1)
[2026-01-01 00:00:00.000][2][trace][wasm] [a.h:1] [vm->host] env.proxy_http_call(1)
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [vm->host] env.proxy_get_header_map_value(0, 1)
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [host->vm] proxy_on_memory_allocate(12)
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [host<-vm] proxy_on_memory_allocate return: 8
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [vm<-host] env.proxy_get_header_map_value return: 0
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [host<-vm] proxy_on_request_headers return: 0
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [host->vm] proxy_on_log(7)
[2026-01-01 00:00:00.000][1][trace][wasm] [a.h:1] [host<-vm] proxy_on_log return: void
";
        let host_calls = BTreeMap::from([("proxy_get_header_map_value".to_owned(), 1)]);
        assert_eq!(Traced::of(log), Traced { host_calls, callbacks: 2, allocations: 1, ended: 1 });
    }
}
