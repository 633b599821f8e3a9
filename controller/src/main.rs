//! Binary `weir`: parses the command line and starts what it names; owns nothing else.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
