//! `weir analyze`: the whole engine on the counts of a file, without a server.

use super::client::Source;
use super::insight::insight;
use super::output::{OutputArgs, Table, count, print, print_value};
use super::show::{limits, versions};
use super::validate::Finding;
use serde_json::json;
use std::process::ExitCode;
use weir_engine::analysis::{Analysis, Look, analyze};
use weir_engine::document::{MAX_ANALYSIS_TEXT, read_analysis};
use weir_engine::spec::Experiment;
use weir_engine::words::percent;

/// Arguments of `weir analyze`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir analyze counts.yaml                  who wins, or what is missing, and why
  weir analyze counts.yaml --output json    the same for programs
  query-the-metrics | weir analyze -        from the standard input
  cat checkout.yaml epochs.yaml | weir analyze -

The least that such a file says:
  apiVersion: weir.dev/v1alpha1
  kind: Experiment
  metadata: {name: checkout}
  spec:
    versions: [{name: v1, baseline: true}, {name: v2}]
    objectives: [{name: errors, errorRate: {max: 1%}}]
  epochs:
    - weights: {v1: 50%, v2: 50%}
      counts:
        v1: {exposures: 5000, failed: 12}
        v2: {exposures: 5000, failed: 31}

Exit code 0 whatever the counts show, 1 if the file is wrong (each problem with its line), 2 for wrong usage.")]
pub(crate) struct AnalyzeArgs {
    /// File with an experiment and its epochs, YAML or JSON; `-` is the standard input.
    #[arg(value_name = "FILE", required_unless_present = "named")]
    file: Option<String>,
    /// The same, as other commands take it.
    #[arg(long = "file", short = 'f', value_name = "FILE", conflicts_with = "file")]
    named: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir analyze`.
pub(crate) fn run(args: AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let path = args.file.or(args.named).unwrap_or_default();
    let source = match Source::read_up_to(&path, MAX_ANALYSIS_TEXT) {
        Err(error) if args.output.structured() => {
            print_value(args.output, &json!({ "problems": [Finding::unreadable(&path, &error)] }))?;
            return Ok(ExitCode::FAILURE);
        }
        source => source?,
    };
    let read = match read_analysis(&source.text) {
        Ok(read) => read,
        Err(problems) => {
            let findings: Vec<Finding> =
                problems.into_iter().map(|problem| Finding::new(&source.name, problem)).collect();
            if args.output.structured() {
                print_value(args.output, &json!({ "problems": findings }))?;
            } else {
                findings.iter().for_each(|finding| eprintln!("{finding}"));
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let analysis = analyze(&read.experiment, read.epochs);
    if args.output.structured() {
        print_value(args.output, &serde_json::to_value(&analysis)?)?;
    } else {
        print(&told(&read.experiment, &analysis))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An analysis for people: the answer first, then what it stands on.
fn told(experiment: &Experiment, analysis: &Analysis) -> String {
    let epochs = analysis.looks.len();
    let mut text = format!(
        "{} · {} versions · {epochs} {} · {} exposures\n{}\n{}\n\n{}",
        analysis.experiment,
        experiment.versions.len(),
        if epochs == 1 { "epoch" } else { "epochs" },
        count(analysis.assessment.settled_exposures),
        limits(experiment),
        analysis.conclusion,
        versions(&analysis.assessment, None, &[]),
    );
    text.push_str(&insight(&analysis.assessment, &analysis.alpha_spent));
    text.push_str(&looks(experiment, &analysis.looks));
    for note in analysis.assessment.warnings.iter().chain(&analysis.notes) {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// The looks that found something, where there was more than one.
fn looks(experiment: &Experiment, looks: &[Look]) -> String {
    if looks.len() < 2 {
        return String::new();
    }
    let mut table = Table::new(&["AFTER EPOCH", "WEIGHTS", "EXPOSURES", "FOUND"]);
    for look in looks.iter().filter(|look| !look.found.is_empty()) {
        let names = experiment.versions.iter().map(|version| version.name.as_str());
        let weights: Vec<String> =
            names.zip(&look.propensities).map(|(name, share)| format!("{name} {}", percent(*share))).collect();
        let (number, weights, exposures) = (look.epoch.to_string(), weights.join(", "), count(look.exposures));
        for (index, found) in look.found.iter().enumerate() {
            let cell = |text: &String| if index == 0 { text.clone() } else { String::new() };
            table.row(vec![cell(&number), cell(&weights), cell(&exposures), found.why.clone()]);
        }
    }
    let found = if table.is_empty() { "None found anything.\n".to_owned() } else { table.render() };
    format!("\nThe looks, one after each of {} epochs; what fired stays fired\n{found}\n", looks.len())
}
