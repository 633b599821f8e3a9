//! Benchmarks on a real Envoy and the real controller. Numbers of one run are compared with each other, never with those
//! of another machine or day; nothing here passes or fails by its speed.

mod calls;
mod cli;
mod filter;
mod ingest;
mod load;
mod plan_change;
mod results;
mod soak;
mod variants;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
