//! Binary `weir-demo`: a shop in three versions, its users, and the main job from the first request to the winner.

mod cli;
mod load;
mod processes;
mod run;
mod screen;
mod service;
mod stack;
mod view;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
