//! `weir validate`: everything that is wrong with documents, without a server.

use super::client::Source;
use super::output::{OutputArgs, print, print_json};
use serde::Serialize;
use serde_json::json;
use std::process::ExitCode;
use weir_engine::document::{self, Problem};

/// Arguments of `weir validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir validate -f checkout.yaml
  weir validate -f - < checkout.yaml
  weir validate -f checkout.yaml --output json

Prints one line per problem, as file:line:column: field: what is wrong and what to do. Exit code 1 if there is any.")]
pub(crate) struct ValidateArgs {
    /// File with one or more experiments, YAML or JSON; `-` is the standard input. May be given several times.
    #[arg(long = "file", short, value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// A problem and the file it is in.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{file}:{problem}")]
pub(crate) struct Finding {
    pub(crate) file: String,
    #[serde(flatten)]
    pub(crate) problem: Problem,
}

/// The names of a document's experiments, and everything that is wrong with it.
pub(crate) fn check(source: &Source) -> (Vec<String>, Vec<Finding>) {
    match document::read(&source.text) {
        Ok(experiments) => (experiments.into_iter().map(|experiment| experiment.name).collect(), Vec::new()),
        Err(problems) => {
            let finding = |problem| Finding { file: source.name.clone(), problem };
            (Vec::new(), problems.into_iter().map(finding).collect())
        }
    }
}

/// Runs `weir validate`.
pub(crate) fn run(args: ValidateArgs) -> anyhow::Result<ExitCode> {
    let sources = args.files.iter().map(|path| Source::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut experiments = Vec::new();
    let mut findings = Vec::new();
    for source in &sources {
        let (names, problems) = check(source);
        experiments.extend(names.into_iter().map(|name| (source.name.as_str(), name)));
        findings.extend(problems);
    }
    if args.output.json() {
        let experiments: Vec<_> =
            experiments.iter().map(|(file, name)| json!({ "file": file, "name": name })).collect();
        print_json(&json!({ "valid": findings.is_empty(), "experiments": experiments, "problems": findings }))?;
    } else {
        for finding in &findings {
            print(&format!("{finding}\n"))?;
        }
        for (file, name) in &experiments {
            print(&format!("{file}: experiment {name} is valid\n"))?;
        }
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
