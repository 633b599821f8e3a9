//! `weir delete`: ends an experiment and forgets it.

use super::client::{Server, ServerArgs, experiment_name};
use super::order::refused;
use super::output::{OutputArgs, print, print_value};
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `weir delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir delete checkout
  weir delete checkout --reason 'the new route table is in place'

Its traffic then goes where the route table sends what carries no routing header: to the baseline. That is also true of an
experiment that promoted another version, so change the route table first.")]
pub(crate) struct DeleteArgs {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    /// Why, in 1 to 1,000 characters: kept in the experiment's journal, which stays for 90 days.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir delete`.
pub(crate) fn run(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    // As of every other command: a reason that says nothing is none.
    if args.reason.as_deref().is_some_and(|reason| reason.trim().is_empty()) {
        let empty =
            "the reason is empty: say why, in 1 to 1,000 characters, or leave `--reason` out; nothing was deleted";
        if args.output.structured() {
            return refused(args.output, &args.name, &empty);
        }
        anyhow::bail!(empty);
    }
    let deleted = Server::new(args.server)?.delete(&format!("/v1/experiments/{}", args.name), args.reason.as_deref());
    match deleted {
        Err(error) if args.output.structured() => return refused(args.output, &args.name, &error),
        deleted => drop(deleted?),
    }
    if args.output.structured() {
        print_value(args.output, &json!({ "name": args.name, "result": "deleted" }))?;
    } else {
        print(&format!("experiment {} deleted\n", args.name))?;
    }
    Ok(ExitCode::SUCCESS)
}
