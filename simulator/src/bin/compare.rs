//! `weir-compare`: runs the comparison with other policies and writes its tables.

use anyhow::Context;
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use weir_simulator::compare::{measure, summary, tables};
use weir_simulator::document::between_markers;

/// Compares Weir with our reconstructions of what others do.
#[derive(Debug, Parser)]
#[command(name = "weir-compare")]
struct Arguments {
    /// Runs for each policy, case and rate.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: u64,
    /// The document between whose markers the tables are put; without it they are printed.
    #[arg(long)]
    document: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let measured = measure(arguments.runs, &|what, done| show(what, done, arguments.runs));
    let runs = weir_engine::words::count(arguments.runs);
    let text = format!("\n{runs} runs each; intervals (in brackets, and ±) at 95%.\n{}", tables(&measured));
    let said = format!("\n{}", summary(&measured));
    let Some(path) = arguments.document else {
        println!("{said}{text}");
        return Ok(());
    };
    let document = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let replaced = |document: &str, name: &str, text: &str| {
        between_markers(document, name, text).with_context(|| path.display().to_string())
    };
    let document = replaced(&replaced(&document, "comparison", &text)?, "summary", &said)?;
    std::fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("{} has the new tables", path.display());
    Ok(())
}

/// Progress, where somebody may be watching; elsewhere a line for what is done.
fn show(what: &str, done: u64, runs: u64) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{what}: {done} of {runs}");
        let _ = out.flush();
    } else if done == runs {
        let _ = writeln!(out, "{what}: {runs} runs");
    }
}
