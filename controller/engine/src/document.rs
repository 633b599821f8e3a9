//! The experiment document: reads what a user wrote (YAML or JSON) and says everything that is wrong with it at once.

use crate::spec::Experiment;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// As in `spec.versions[1].name`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Reads every experiment in a text (one or more YAML documents; JSON is YAML).
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty.
pub fn read(text: &str) -> Result<Vec<Experiment>, Vec<Problem>> {
    let _ = text;
    Err(vec![Problem { line: 1, column: 1, path: String::new(), message: "not written yet".to_owned() }])
}
