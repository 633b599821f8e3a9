//! `weir delete`: ends an experiment and forgets it.

use super::client::{Server, ServerArgs, experiment_name};
use super::output::{OutputArgs, print, print_json};
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `weir delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir delete checkout

Its traffic then goes where the route table sends what carries no routing header: to the baseline. That is also true of an
experiment that promoted another version, so change the route table first.")]
pub(crate) struct DeleteArgs {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `weir delete`.
pub(crate) fn run(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    Server::new(args.server).delete(&format!("/v1/experiments/{}", args.name))?;
    if args.output.json() {
        print_json(&json!({ "name": args.name, "result": "deleted" }))?;
    } else {
        print(&format!("experiment {} deleted\n", args.name))?;
    }
    Ok(ExitCode::SUCCESS)
}
