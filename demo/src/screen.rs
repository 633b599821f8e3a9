//! Drawing a view: a table redrawn in place on a terminal, a line whenever something happens elsewhere.

use crate::view::{Rate, VersionView, View};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Columns that reasons are wrapped to; the table is narrower.
const WIDTH: usize = 100;
const BAR: usize = 12;
/// Elsewhere than on a terminal, a line at least so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where views go.
#[derive(Debug)]
pub(crate) struct Screen {
    title: String,
    is_terminal: bool,
    /// Lines of the last drawing, to be drawn over.
    drawn: usize,
    last_line: Option<(Duration, Vec<String>)>,
}

impl Screen {
    /// Standard output.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), is_terminal: io::stdout().is_terminal(), drawn: 0, last_line: None }
    }

    /// Shows a view; `elapsed` since the first request.
    pub(crate) fn show(&mut self, view: &View, elapsed: Duration) -> io::Result<()> {
        if self.is_terminal {
            let lines = self.table(view, elapsed);
            let mut out = io::stdout().lock();
            if self.drawn > 0 {
                write!(out, "\x1b[{}A", self.drawn)?;
            }
            // No wrapping meanwhile: one line of ours is one line of a narrow terminal.
            write!(out, "\r\x1b[J\x1b[?7l{}\n\x1b[?7h", lines.join("\n"))?;
            self.drawn = lines.len();
            return out.flush();
        }
        let is_due = self.last_line.as_ref().is_none_or(|(at, reasons)| {
            elapsed.saturating_sub(*at) >= LINE_EVERY
                || (view.action.as_deref() != Some("hold") && *reasons != view.reasons)
        });
        if is_due {
            println!("{}", line(view, elapsed));
            self.last_line = Some((elapsed, view.reasons.clone()));
        }
        Ok(())
    }

    /// Shows the last view once more, as a whole, wherever the output goes.
    pub(crate) fn finish(&mut self, view: &View, elapsed: Duration) -> io::Result<()> {
        if self.is_terminal {
            return self.show(view, elapsed);
        }
        println!("\n{}", self.table(view, elapsed).join("\n"));
        Ok(())
    }

    fn table(&self, view: &View, elapsed: Duration) -> Vec<String> {
        let mut lines = vec![
            format!("{} · {} requests counted · {} s", self.title, grouped(view.counted()), elapsed.as_secs()),
            String::new(),
            format!(
                "  {:<9} {:<w$} {:>9}  {:<20} {:<19} {:>6} {:>6}  {}",
                "version",
                "weight",
                "requests",
                "conversion",
                "errors",
                "p50",
                "best?",
                "verdict",
                w = BAR + 7
            ),
        ];
        lines.extend(view.versions.iter().map(|version| self.row(version)));
        lines.push(String::new());
        let action = view.action.as_deref().unwrap_or("waiting");
        let reasons =
            if view.reasons.is_empty() { "Nothing was decided yet.".to_owned() } else { view.reasons.join(" ") };
        lines.extend(wrapped(&format!("  last decision: {} — {reasons}", self.bold(action)), WIDTH));
        if !view.holds.is_empty() {
            lines.extend(wrapped(&format!("  now: {} — {}", self.bold("hold"), view.holds.join(" ")), WIDTH));
        }
        lines.extend(view.warnings.iter().flat_map(|warning| wrapped(&format!("  note: {warning}"), WIDTH)));
        lines
    }

    fn row(&self, version: &VersionView) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a dozen")]
        let filled = (version.weight * BAR as f64).round() as usize;
        let bar: String = (0..BAR).map(|at| if at < filled { '█' } else { '·' }).collect();
        let name = if version.baseline { format!("{} base", version.name) } else { version.name.clone() };
        let row = format!(
            "  {name:<9} {bar} {:>5.1}% {:>9}  {:<20} {:<19} {:>6} {:>6}  ",
            version.weight * 100.0,
            grouped(version.live),
            rate(version.reward),
            rate(version.errors),
            version.latency.map_or_else(|| "–".to_owned(), |latency| format!("{latency:.0}ms")),
            version.best.map_or_else(|| "–".to_owned(), |best| format!("{:.0}%", best * 100.0)),
        );
        let verdicts: Vec<String> =
            version.verdicts.iter().map(|(name, verdict)| self.verdict(name, verdict)).collect();
        let out = if version.out && !version.baseline { ", rolled back" } else { "" };
        format!("{row}{}{out}", verdicts.join(", "))
    }

    fn verdict(&self, objective: &str, verdict: &str) -> String {
        match verdict {
            "met" => self.coloured(32, &format!("{objective} met")),
            "violated" => self.coloured(31, &format!("{objective} violated")),
            _ => format!("{objective}: not enough evidence"),
        }
    }

    fn bold(&self, text: &str) -> String {
        self.coloured(1, text)
    }

    fn coloured(&self, code: u8, text: &str) -> String {
        if self.is_terminal { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn line(view: &View, elapsed: Duration) -> String {
    let versions: Vec<String> = view
        .versions
        .iter()
        .map(|version| {
            let best = version.best.map_or_else(String::new, |best| format!(", best? {:.0}%", best * 100.0));
            format!("{} {:.0}% of traffic{best}", version.name, version.weight * 100.0)
        })
        .collect();
    let action = view.action.as_deref().unwrap_or("waiting");
    let settled: u64 = view.versions.iter().map(|version| version.settled).sum();
    let why = view.reasons.first().map_or(String::new(), |reason| format!(" — {reason}"));
    format!("{:>4} s  {:>7} settled  {} | {action}{why}", elapsed.as_secs(), grouped(settled), versions.join(" · "))
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or_else(
        || "–".to_owned(),
        |rate| format!("{:.1}% [{:.1}, {:.1}]", rate.observed * 100.0, rate.low * 100.0, rate.high * 100.0),
    )
}

/// A number with thin groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lines of at most `width` characters, broken between words; those after the first are indented.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let indent = text.chars().take_while(|character| *character == ' ').count();
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent);
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() + 1 > width && line.trim() != "" {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent + 2)));
        }
        if line.trim() != "" {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_sentences_wrapped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(wrapped("  one two three", 9), ["  one two", "    three"]);
        assert_eq!(wrapped("  incomprehensibilities", 9), ["  incomprehensibilities"]);
    }

    #[test]
    fn a_row_says_what_is_missing_as_missing() {
        let screen = Screen { title: String::new(), is_terminal: false, drawn: 0, last_line: None };
        let row = screen.row(&VersionView { name: "v1".to_owned(), weight: 0.5, ..VersionView::default() });
        assert!(row.contains("██████······") && row.contains("50.0%") && row.contains('–'), "{row}");
        assert!(!row.contains("NaN"));
    }
}
