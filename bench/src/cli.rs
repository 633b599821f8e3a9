//! The command line of the benchmarks. Owns arguments, order and exit code.

use crate::results::Results;
use crate::{calls, filter, ingest, plan_change, soak};
use anyhow::Context;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Benchmarks on a real Envoy and the real controller.
#[derive(Debug, Parser)]
#[command(name = "weir-bench", version)]
pub(crate) struct Cli {
    /// Where the results go, as JSON.
    #[arg(long, default_value = "target/bench/results.json")]
    output: PathBuf,
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Benchmark>,
    /// Paired rounds of the filter's cost; at least 3.
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Requests of each variant in each round.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,
    /// Plan changes.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Seconds of load under which memory is watched; only when asked for by name.
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(10..))]
    soak_seconds: u64,
    /// Seconds of reports for the controller.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    ingest_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// The filter in Envoy against none, one that does nothing, and Envoy's own weighted clusters.
    Filter,
    /// Host calls per request.
    Calls,
    /// From a plan change to every worker using it.
    Plan,
    /// Whether memory grows under load and plan changes. Not unless named: it takes an hour.
    Soak,
    /// Reports per second that the controller makes durable.
    Ingest,
}

impl Cli {
    /// Runs the benchmarks. A failure goes to stderr with its causes.
    pub(crate) fn run(self) -> ExitCode {
        // One thread for all the load, so that a worker of Envoy has a core to itself even where there are only two.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let result = runtime.context("cannot start a runtime").and_then(|runtime| runtime.block_on(self.measure()));
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("weir-bench: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let wanted = |benchmark| self.only.is_empty() || self.only.contains(&benchmark);
        let mut results = Results::new()?;
        println!("{}", results.machine());
        if wanted(Benchmark::Filter) {
            results.filter = Some(filter::measure(self.rounds, self.requests).await?);
        }
        if wanted(Benchmark::Calls) {
            results.host_calls = Some(calls::measure().await?);
        }
        if wanted(Benchmark::Plan) {
            results.plan_change = Some(plan_change::measure(self.changes).await?);
        }
        if wanted(Benchmark::Ingest) {
            results.ingest = Some(ingest::measure(self.ingest_seconds).await?);
        }
        if self.only.contains(&Benchmark::Soak) {
            results.soak = Some(soak::measure(self.soak_seconds).await?);
        }
        results.write(&self.output)?;
        println!("\n{}", self.output.display());
        Ok(())
    }
}
