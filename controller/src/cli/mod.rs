//! The command line's root: which commands there are, and how a failure is shown. Each command owns its own file.

mod apply;
mod client;
mod delete;
mod get;
mod output;
mod power;
mod progress;
mod serve;
mod show;
mod simulate;
mod validate;
mod watch;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Continuous experimentation in Envoy: the controller and its command line.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Serve(serve::ServeArgs),
    /// Create or change the experiments of a file.
    Apply(apply::ApplyArgs),
    /// Show experiments.
    Get(get::GetArgs),
    /// Follow an experiment until it concludes.
    Watch(watch::WatchArgs),
    /// Delete an experiment.
    Delete(delete::DeleteArgs),
    /// Say everything that is wrong with a file, without a server.
    Validate(validate::ValidateArgs),
    /// Rehearse an experiment in virtual time, without a server.
    Simulate(simulate::SimulateArgs),
    /// Say how much traffic and how long an experiment needs, by simulation.
    Power(power::PowerArgs),
}

impl Cli {
    /// Runs the command. A failure goes to stderr with its causes and becomes exit code 1.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Apply(args) => apply::run(args),
            Command::Get(args) => get::run(args),
            Command::Watch(args) => watch::run(args),
            Command::Delete(args) => delete::run(args),
            Command::Validate(args) => validate::run(args),
            Command::Simulate(args) => simulate::run(args),
            Command::Power(args) => power::run(args),
        };
        result.unwrap_or_else(|error| {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        })
    }
}
