//! The experiment document: reads what a user wrote (YAML or JSON) and says everything that is wrong with it at once.
//!
//! Pure: text in, experiments or problems out. `tree` turns text into located nodes, `place` reads one node and notes what
//! is wrong with it, `quantity` knows shares, `decimal` other numbers, `experiment`, `versions`, `traffic`, `goals`, `strategy` and
//! `lifecycle` know the fields of an experiment, `rules` what they need of each other, `analysis`, `counts` and `latency` those of
//! counts. What a field means is [`crate::spec`]'s; what each field may be is written for users in `docs/experiment.md` and
//! `docs/analyze.md`.

mod analysis;
mod counts;
mod decimal;
mod experiment;
mod goals;
mod latency;
mod lifecycle;
pub mod place;
pub mod quantity;
mod reward;
mod rules;
mod strategy;
#[cfg(test)]
mod tests;
mod traffic;
pub mod tree;
mod unit;
mod versions;

pub use analysis::{MAX_ANALYSIS_TEXT, ToAnalyze, read_analysis};

use crate::spec::Experiment;

/// The only `apiVersion` that this release reads.
pub const API_VERSION: &str = "weir.dev/v1alpha1";
/// The only `kind`.
pub const KIND: &str = "Experiment";
/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;
/// Most problems that are told; more would help nobody.
pub const MAX_PROBLEMS: usize = 100;
/// How much of a text is read: the largest sensible document has a few hundred nodes.
pub const BOUNDS: tree::Bounds = tree::Bounds { bytes: MAX_TEXT, nodes: 20_000 };

/// What a document is read for: some fields say how traffic is handled, and counts need none of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To run it.
    Run,
    /// To analyse counts that are there.
    Analyze,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[error("{line}:{column}: {}{}{message}", path, if path.is_empty() { "" } else { ": " })]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// As in `spec.versions[1].name`; empty when the problem is the text's, not a field's.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Reads every experiment in a text (one or more YAML documents; JSON is YAML).
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty, at most [`MAX_PROBLEMS`].
pub fn read(text: &str) -> Result<Vec<Experiment>, Vec<Problem>> {
    let mut problems = Vec::new();
    let documents = tree::parse(text, BOUNDS, &mut problems);
    let read: Vec<Option<Experiment>> =
        documents.iter().map(|document| experiment::read(document, Purpose::Run, &mut problems)).collect();
    refuse_repeated_names(&documents, &read, &mut problems);
    finish(read.into_iter().collect(), documents.is_empty(), problems)
}

/// What was read if nothing is wrong, else everything that is.
fn finish<T>(read: Option<T>, empty: bool, mut problems: Vec<Problem>) -> Result<T, Vec<Problem>> {
    let whole_text = |message: String| Problem { line: 1, column: 1, path: String::new(), message };
    if empty && problems.is_empty() {
        problems.push(whole_text(format!(
            "there is no experiment here: begin with `apiVersion: {API_VERSION}` and `kind: {KIND}`"
        )));
    }
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => {
            // A reader that fails always notes why; this keeps the promise that the list is never empty even if one forgot.
            if problems.is_empty() {
                problems.push(whole_text("this document cannot be read".to_owned()));
            }
            problems.sort_by_key(|problem| (problem.line, problem.column));
            if let Some(more) = problems.len().checked_sub(MAX_PROBLEMS).filter(|more| *more > 0)
                && let Some(last) = problems.get_mut(MAX_PROBLEMS - 1)
            {
                // The last that is told makes room for how many are not.
                (last.path, last.message) = (String::new(), format!("and {} more problems from here on", more + 1));
            }
            problems.truncate(MAX_PROBLEMS);
            Err(problems)
        }
    }
}

/// Reads the experiment of one document of a text that holds others too. `None` only after noting why.
pub fn read_one(document: &tree::Node, problems: &mut Vec<Problem>) -> Option<Experiment> {
    experiment::read(document, Purpose::Run, problems)
}

/// A name tells experiments apart: the second of two would silently replace the first.
fn refuse_repeated_names(documents: &[tree::Node], read: &[Option<Experiment>], problems: &mut Vec<Problem>) {
    let mut seen = std::collections::BTreeSet::new();
    for (document, experiment) in documents.iter().zip(read) {
        if let Some(experiment) = experiment
            && !seen.insert(experiment.name.as_str())
        {
            place::Place::root(document).problem(
                problems,
                format!("an experiment named `{}` is already above: give this one another name", experiment.name),
            );
        }
    }
}
