//! `weir get`.

use std::process::ExitCode;

/// Arguments of `weir get`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {}

/// Runs `weir get`.
pub(crate) fn run(args: GetArgs) -> anyhow::Result<ExitCode> {
    let GetArgs {} = args;
    anyhow::bail!("`weir get` is not written yet")
}
