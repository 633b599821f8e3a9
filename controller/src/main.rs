//! Binary `weir`: parses the command line and starts what it names; owns nothing else.

mod access;
mod apply;
mod cli;
mod clock;
mod events;
mod explain;
mod health;
mod ingest;
mod keeper;
mod ledger;
mod metrics;
mod mirror;
mod publish;
mod reader;
mod server;
mod standing;
mod steward;
#[cfg(test)]
mod testing;
mod trend;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::read().run()
}
