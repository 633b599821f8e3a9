//! `weir validate`.

use std::process::ExitCode;

/// Arguments of `weir validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {}

/// Runs `weir validate`.
pub(crate) fn run(args: ValidateArgs) -> anyhow::Result<ExitCode> {
    let ValidateArgs {} = args;
    anyhow::bail!("`weir validate` is not written yet")
}
