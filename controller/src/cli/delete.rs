//! `weir delete`.

use std::process::ExitCode;

/// Arguments of `weir delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {}

/// Runs `weir delete`.
pub(crate) fn run(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    let DeleteArgs {} = args;
    anyhow::bail!("`weir delete` is not written yet")
}
