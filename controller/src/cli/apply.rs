//! `weir apply`.

use std::process::ExitCode;

/// Arguments of `weir apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {}

/// Runs `weir apply`.
pub(crate) fn run(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let ApplyArgs {} = args;
    anyhow::bail!("`weir apply` is not written yet")
}
