//! The command line of the demo. Owns arguments and exit codes, no behaviour.

use crate::{load, run, service};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The demo of Weir, and its parts.
#[derive(Debug, Parser)]
#[command(name = "weir-demo", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole demo: versions, controller, Envoy, users, until a version has won.
    Run(run::RunArgs),
    /// One version of the shop.
    Service(service::ServiceArgs),
    /// Users of the shop, at a constant rate whatever the answers take.
    Load(load::LoadArgs),
}

impl Cli {
    /// Runs the command. A failure goes to stderr with its causes.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("weir-demo: cannot start a runtime: {error}");
                return ExitCode::FAILURE;
            }
        };
        let result = runtime.block_on(async {
            match self.command {
                Command::Run(args) => run::run(args).await,
                Command::Service(args) => service::run(args).await.map(|()| ExitCode::SUCCESS),
                Command::Load(args) => load::run(args).await.map(|()| ExitCode::SUCCESS),
            }
        });
        // Whatever still runs (held polls, users mid-request) is not waited for.
        runtime.shutdown_background();
        result.unwrap_or_else(|error| {
            eprintln!("weir-demo: {error:#}");
            ExitCode::FAILURE
        })
    }
}
