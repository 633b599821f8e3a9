//! `weir validate`: everything that is wrong with documents, without a server.

use super::client::Source;
use super::output::{OutputArgs, print, print_value};
use serde::Serialize;
use serde_json::json;
use std::process::ExitCode;
use weir_engine::document::{self, Problem};
use weir_engine::overlap::refuse_overlap;
use weir_engine::spec::Experiment;

/// The experiments of some files, each with its file's name, and everything that is wrong with them, by themselves and together.
pub(crate) fn check(sources: &[Source]) -> (Vec<(&str, Experiment)>, Vec<Finding>) {
    let (mut experiments, mut findings) = (Vec::new(), Vec::new());
    for source in sources {
        let (read, problems) = read(source);
        experiments.extend(read.into_iter().map(|experiment| (source.name.as_str(), experiment)));
        findings.extend(problems);
    }
    findings.extend(doubles(&experiments));
    findings.extend(overlaps(&experiments));
    (experiments, findings)
}

/// Those that have the name of another one in a file before them: applied one after the other, the later would change the earlier.
fn doubles(experiments: &[(&str, Experiment)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, (file, experiment)) in experiments.iter().enumerate() {
        let other = experiments.iter().take(at).find(|(_, one)| one.name == experiment.name && one != experiment);
        if let Some((first, _)) = other {
            findings.push(Finding {
                file: (*file).to_owned(),
                line: None,
                column: None,
                path: "metadata.name".to_owned(),
                message: format!(
                    "{first} has another experiment named {}: give one of them a name of its own",
                    experiment.name
                ),
            });
        }
    }
    findings
}

/// Those that could match a request of one before them, with the same priority.
fn overlaps(experiments: &[(&str, Experiment)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, (file, experiment)) in experiments.iter().enumerate() {
        // One that is there again further down is as it is there.
        let stays =
            |(at, one): (usize, &Experiment)| experiments.iter().skip(at + 1).all(|(_, later)| later.name != one.name);
        if !stays((at, experiment)) {
            continue;
        }
        let before = experiments.iter().map(|(_, experiment)| experiment).enumerate().take(at);
        for (_, other) in before.filter(|(at, one)| stays((*at, one))) {
            if let Err(overlap) = refuse_overlap(other, experiment) {
                findings.push(Finding {
                    file: (*file).to_owned(),
                    line: None,
                    column: None,
                    path: "spec.match".to_owned(),
                    message: overlap.to_string(),
                });
            }
        }
    }
    findings
}

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
    #[arg(long = "file", short, value_name = "FILE", required_unless_present = "more")]
    files: Vec<String>,
    /// The same without `-f`.
    #[arg(value_name = "FILE")]
    more: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// One thing that is wrong, and where.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) file: String,
    /// From 1; absent when the problem is not in a line, as a conflict with what the server already has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(file: &str, problem: Problem) -> Self {
        let Problem { line, column, path, message } = problem;
        Self { file: file.to_owned(), line: Some(line), column: Some(column), path, message }
    }

    /// A file that is no text, or cannot be read.
    pub(crate) fn unreadable(file: &str, error: &anyhow::Error) -> Self {
        let (file, message) = (file.to_owned(), format!("{error:#}"));
        Self { file, line: None, column: None, path: String::new(), message }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}:", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(to, "{line}:{column}:")?;
        }
        if !self.path.is_empty() {
            write!(to, " {}:", self.path)?;
        }
        write!(to, " {}", self.message)
    }
}

/// A file's experiments, and everything that is wrong with it by itself.
fn read(source: &Source) -> (Vec<Experiment>, Vec<Finding>) {
    match document::read(&source.text) {
        Ok(experiments) => (experiments, Vec::new()),
        Err(problems) => {
            (Vec::new(), problems.into_iter().map(|problem| Finding::new(&source.name, problem)).collect())
        }
    }
}

/// Runs `weir validate`.
pub(crate) fn run(args: ValidateArgs) -> anyhow::Result<ExitCode> {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    for path in args.files.iter().chain(&args.more) {
        match Source::read(path) {
            Err(error) if args.output.structured() => findings.push(Finding::unreadable(path, &error)),
            source => sources.push(source?),
        }
    }
    let (experiments, problems) = check(&sources);
    findings.extend(problems);
    if args.output.structured() {
        let experiments: Vec<_> =
            experiments.iter().map(|(file, experiment)| json!({ "file": file, "name": experiment.name })).collect();
        print_value(
            args.output,
            &json!({ "valid": findings.is_empty(), "experiments": experiments, "problems": findings }),
        )?;
    } else {
        for finding in &findings {
            print(&format!("{finding}\n"))?;
        }
        let fine = |file: &str| findings.iter().all(|finding| finding.file != file);
        for (file, experiment) in experiments.iter().filter(|(file, _)| fine(file)) {
            print(&format!("{file}: experiment {} is valid\n", experiment.name))?;
        }
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_file_and_as_much_of_the_place_as_is_known() {
        let problem = Problem { line: 3, column: 7, path: "spec.bin".to_owned(), message: "no".to_owned() };
        let mut finding = Finding::new("a.yaml", problem);
        assert_eq!(finding.to_string(), "a.yaml:3:7: spec.bin: no");
        finding.path.clear();
        assert_eq!(finding.to_string(), "a.yaml:3:7: no");
        finding.line = None;
        assert_eq!(finding.to_string(), "a.yaml: no");
    }
}
