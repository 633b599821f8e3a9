//! `weir health`: whether a controller can serve, for probes that have no other program.

use super::client::{Server, ServerArgs};
use super::output::print;
use std::process::ExitCode;
use std::time::Duration;

/// A probe that waits longer has its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `weir health`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir health                                        exit code 0 if it can serve, 1 if it cannot, or does not answer
  weir health --server https://weir.example:8181

The same as /readyz, which asks for no token: a plan is published, and the ledger can be written.")]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs `weir health`.
pub(crate) fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let answer = Server::patient(args.server, PATIENCE)?.text("/readyz")?;
    print(&answer)?;
    Ok(ExitCode::SUCCESS)
}
