//! `weir watch`.

use std::process::ExitCode;

/// Arguments of `weir watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {}

/// Runs `weir watch`.
pub(crate) fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    let WatchArgs {} = args;
    anyhow::bail!("`weir watch` is not written yet")
}
