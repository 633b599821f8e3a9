//! `weir serve`.

use std::process::ExitCode;

/// Arguments of `weir serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {}

/// Runs `weir serve`.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let ServeArgs {} = args;
    anyhow::bail!("`weir serve` is not written yet")
}
