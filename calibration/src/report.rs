//! The table that `docs/error-contract.md` shows, between its markers.

use crate::case::{Case, Question};
use crate::runner::Result;
use std::fmt::Write;
use weir_engine::words::count;
use weir_simulator::bounds::upper_bound;

/// The table of all cases, as Markdown: one part per question.
#[must_use]
pub fn table(results: &[(&Case, Result)]) -> String {
    let mut text = String::new();
    if let Some(runs) = results.iter().map(|(_, result)| result.runs).min() {
        let _ = write!(text, "\nMade with {} runs of each case.\n", count(runs));
    }
    for (question, title, head) in [
        (Question::FalseRollBack, "Rolled back although it keeps its limits", FALSE),
        (Question::FalsePromotion, "Claimed in a version's favour although it is at its limit, or no better", FALSE),
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
const POWER: &str = "| setting | method | median | 90% of runs by | waited for up to | not seen by then | runs |\n|---|---|---|---|---|---|---|\n";

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
        count(result.runs)
    )
}

fn power(case: &Case, result: &Result) -> String {
    let by = |q: f64| result.quantile(q).map_or_else(|| "more".to_owned(), count);
    #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
    let missed = (result.runs - result.claimed) as f64 / result.runs as f64;
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        case.setting,
        case.card,
        by(0.5),
        by(0.9),
        case.horizon.map_or_else(|| "–".to_owned(), count),
        percent(missed),
        count(result.runs)
    )
}

fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_how_many_runs_it_stands_on_and_how_long_was_waited() {
        let cases = crate::cases::all();
        for case in cases.iter().filter(|case| case.question == Question::Power) {
            assert!(case.horizon.is_some(), "{case:?}");
        }
        let result = Result { runs: 2, claimed: 1, requests: vec![600] };
        let Some(case) = cases.iter().find(|case| case.id == "power-ratio") else { panic!("it is gone") };
        let text = table(&[(case, result)]);
        assert!(text.starts_with("\nMade with 2 runs of each case.\n"), "{text}");
        assert!(text.ends_with("| A | 600 | more | 20,000 | 50.00% | 2 |\n"), "{text}");
    }
}
