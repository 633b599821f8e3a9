//! The table that `docs/error-contract.md` shows, between its markers.

use crate::bounds::upper_bound;
use crate::case::{Case, Question};
use crate::runner::Result;
use anyhow::{Context, bail};
use std::fmt::Write;

const BEGIN: &str = "<!-- calibration: begin -->";
const END: &str = "<!-- calibration: end -->";

/// The table of all cases, as Markdown: one part per question.
#[must_use]
pub fn table(results: &[(&Case, Result)]) -> String {
    let mut text = String::new();
    for (question, title, head) in [
        (Question::FalseRollBack, "Rolled back although it keeps its limits", FALSE),
        (Question::FalsePromotion, "Claimed in a version's favour although it is not so", FALSE),
        (Question::FalseAlarm, "Warned of, or paused by the breaker, although nothing is wrong", FALSE),
        (Question::Power, "Requests until it is seen", POWER),
    ] {
        let mut of_question = results.iter().filter(|(case, _)| case.question == question).peekable();
        if of_question.peek().is_none() {
            continue;
        }
        let _ = write!(text, "\n### {title}\n\n{head}");
        for (case, result) in of_question {
            text.push_str(&if question == Question::Power { power(case, result) } else { false_claims(case, result) });
        }
    }
    text
}

const FALSE: &str =
    "| setting | method | promised | claimed | at most, with 99% confidence | runs |\n|---|---|---|---|---|---|\n";
const POWER: &str =
    "| setting | method | median | 90% of runs by | not by the horizon | runs |\n|---|---|---|---|---|---|\n";

fn false_claims(case: &Case, result: &Result) -> String {
    #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
    let share = result.claimed as f64 / result.runs as f64;
    format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        case.setting,
        case.card,
        case.promise.map_or_else(|| "–".to_owned(), percent),
        percent(share),
        percent(upper_bound(result.claimed, result.runs, 0.99)),
        thousands(result.runs)
    )
}

fn power(case: &Case, result: &Result) -> String {
    let by = |q: f64| result.quantile(q).map_or_else(|| "more".to_owned(), thousands);
    #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
    let missed = (result.runs - result.claimed) as f64 / result.runs as f64;
    format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        case.setting,
        case.card,
        by(0.5),
        by(0.9),
        percent(missed),
        thousands(result.runs)
    )
}

fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Replaces what is between the markers of a document by the table.
///
/// # Errors
///
/// When the document lacks a marker.
pub fn into_document(document: &str, table: &str) -> anyhow::Result<String> {
    let begin = document.find(BEGIN).with_context(|| format!("no line `{BEGIN}`"))? + BEGIN.len();
    let end = document.find(END).with_context(|| format!("no line `{END}`"))?;
    if end < begin {
        bail!("`{END}` stands before `{BEGIN}`");
    }
    let (before, after) = (document.get(..begin).unwrap_or_default(), document.get(end..).unwrap_or_default());
    Ok(format!("{before}\n{table}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(into_document(&document, "new").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(into_document("nothing", "new").is_err());
        assert!(into_document(&format!("{END}{BEGIN}"), "new").is_err());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([thousands(7), thousands(1_000), thousands(1_234_567)], ["7", "1,000", "1,234,567"]);
    }
}
