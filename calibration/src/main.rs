//! `weir-calibrate`: runs the catalogue and writes the table of the error contract.

use anyhow::{Context, bail};
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use weir_calibration::{Case, cases, refuted, run_all, table};
use weir_simulator::document::between_markers;

/// Measures by simulation how often the promises of the error contract hold.
///
/// `make calibrate` runs 10,000 runs a case and puts the table into docs/error-contract.md. The same seeds give the same table.
#[derive(Debug, Parser)]
#[command(name = "weir-calibrate")]
struct Arguments {
    /// Runs per case.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    runs: u64,
    /// Only cases whose id contains this; the table is then printed, whatever --document says.
    #[arg(long, default_value = "")]
    only: String,
    /// The document between whose markers the table is put; without it the table is printed.
    #[arg(long)]
    document: Option<PathBuf>,
    /// Puts the table into the document although it was made with fewer runs than 10,000.
    #[arg(long)]
    force: bool,
}

/// With fewer runs the document keeps the table that it has.
const ENOUGH: u64 = 10_000;

fn main() -> ExitCode {
    match measure(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-calibrate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.id.contains(&arguments.only)).collect();
    if cases.is_empty() {
        bail!("no case's id contains `{}`; there are: {}", arguments.only, ids());
    }
    let document = into(&arguments);
    if document.is_none() && arguments.document.is_some() && arguments.only.is_empty() {
        eprintln!(
            "{} runs are fewer than {ENOUGH}: the table is printed, and the document kept (--force, FORCE=1: written)",
            arguments.runs
        );
    }
    let began = Instant::now();
    let mut results = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let line = format!("{}/{} {}", at + 1, cases.len(), case.id);
        let result = run_all(case, arguments.runs, &|done| show(&line, done, arguments.runs));
        eprintln!("\r{line}: {} of {} · {} s in all          ", result.claimed, result.runs, began.elapsed().as_secs());
        results.push((case, result));
    }
    let table = table(&results);
    match document {
        None => println!("{table}"),
        Some(path) => {
            let document = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let document =
                between_markers(&document, "calibration", &table).with_context(|| path.display().to_string())?;
            std::fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("{} has the new table", path.display());
        }
    }
    let refuted: Vec<String> = results.iter().filter_map(|(case, result)| refuted(case, result)).collect();
    if !refuted.is_empty() {
        bail!("promises that these runs refute (one seed in a million does so by chance):\n{}", refuted.join("\n"));
    }
    Ok(())
}

/// The document to write, if what was made may replace what is there.
fn into(arguments: &Arguments) -> Option<PathBuf> {
    let whole = arguments.only.is_empty() && (arguments.runs >= ENOUGH || arguments.force);
    arguments.document.clone().filter(|_| whole)
}

fn ids() -> String {
    cases::all().iter().map(|case| case.id).collect::<Vec<_>>().join(", ")
}

/// Progress, where somebody may be watching.
fn show(line: &str, done: u64, runs: u64) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r{line}: {done} of {runs}");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_runs_and_a_part_of_the_cases_do_not_replace_the_document() {
        let written = |extra: &[&str]| {
            let given = ["weir-calibrate", "--document", "contract.md"].iter().chain(extra);
            Arguments::try_parse_from(given).ok().and_then(|arguments| into(&arguments)).is_some()
        };
        assert!(written(&[]) && written(&["--runs", "20000"]) && written(&["--runs", "9999", "--force"]));
        assert!(!written(&["--runs", "9999"]) && !written(&["--only", "power"]));
        assert!(!written(&["--only", "power", "--force"]));
    }
}
