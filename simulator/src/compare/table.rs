//! What the comparison says, derived from its numbers alone: a table per case in which each row says whether Weir gives a guarantee
//! there and whom it is better or worse than, and a summary of all rows. No claim is written by hand.

use super::Measured;
use crate::many::{Many, Mean, Share};
use crate::plot::clock;
use crate::run::Ending;
use std::cmp::Ordering;
use std::fmt::Write;

/// What a row compares. Less is better in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    FalseRollBack,
    BadPromoted,
    Undecided,
    MetUntilOver,
    MetInAll,
    HalfBy,
    MostBy,
    Regret,
}

/// One policy's number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Share(Share),
    Mean(Mean),
    /// Virtual milliseconds; `None`: not within the time.
    Time(Option<u64>),
}

impl What {
    const ALL: [Self; 8] = [
        Self::FalseRollBack,
        Self::BadPromoted,
        Self::Undecided,
        Self::MetUntilOver,
        Self::MetInAll,
        Self::HalfBy,
        Self::MostBy,
        Self::Regret,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::FalseRollBack => "rolled back falsely",
            Self::BadPromoted => "bad one promoted",
            Self::Undecided => "neither promoted nor rolled back in 24 h",
            Self::MetUntilOver => "bad requests until it is over",
            Self::MetInAll => "bad requests in 24 h",
            Self::HalfBy => "over in half of the runs by",
            Self::MostBy => "over in 90% of the runs by",
            Self::Regret => "regret",
        }
    }

    /// Whether Weir promises anything of it.
    const fn is_guaranteed(self) -> bool {
        matches!(self, Self::FalseRollBack | Self::BadPromoted)
    }

    /// `None` where there is nothing to measure.
    fn of(self, many: &Many) -> Option<Number> {
        let some_bad = !many.bad.is_empty();
        match self {
            Self::FalseRollBack => many.false_roll_back.map(Number::Share),
            Self::BadPromoted => many.bad_promoted.map(Number::Share),
            Self::Undecided => {
                let open = |ending: Ending| matches!(ending, Ending::Undecided | Ending::Inconclusive);
                let count = many.endings.iter().filter(|ended| open(ended.ending)).map(|ended| ended.share.count).sum();
                Some(Number::Share(Share::new(count, many.runs)))
            }
            Self::MetUntilOver => some_bad.then_some(Number::Mean(many.met_bad)),
            Self::MetInAll => some_bad.then_some(Number::Mean(many.met_bad_in_all)),
            Self::HalfBy => Some(Number::Time(many.time_ms.p50)),
            Self::MostBy => Some(Number::Time(many.time_ms.p90)),
            Self::Regret => some_bad.then_some(Number::Mean(many.regret)),
        }
    }
}

impl Number {
    /// Which is less, as far as the runs show: shares whose intervals are apart, means that differ by more than 1.96 standard errors
    /// of their difference, times as they are.
    fn compared(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Share(a), Self::Share(b)) if a.high < b.low => Ordering::Less,
            (Self::Share(a), Self::Share(b)) if a.low > b.high => Ordering::Greater,
            (Self::Mean(a), Self::Mean(b)) if (a.mean - b.mean).abs() > a.plus_minus.hypot(b.plus_minus) => {
                a.mean.total_cmp(&b.mean)
            }
            (Self::Time(a), Self::Time(b)) => a.unwrap_or(u64::MAX).cmp(&b.unwrap_or(u64::MAX)),
            _ => Ordering::Equal,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Share(share) => {
                format!("{:.1}% ({:.1}–{:.1}%)", 100.0 * share.share(), 100.0 * share.low, 100.0 * share.high)
            }
            Self::Mean(mean) if mean.mean == 0.0 => "0".to_owned(),
            Self::Mean(mean) => format!("{:.0} ± {:.0}", mean.mean, mean.plus_minus),
            Self::Time(time) => time.map_or_else(|| "later".to_owned(), clock),
        }
    }

    /// Whether it is nothing at all.
    fn is_zero(self) -> bool {
        matches!(self, Self::Mean(mean) if mean.mean == 0.0)
    }
}

/// How often Weir is better, equal and worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    better: usize,
    equal: usize,
    worse: usize,
}

impl Tally {
    fn add(&mut self, weir: Ordering) {
        match weir {
            Ordering::Less => self.better += 1,
            Ordering::Equal => self.equal += 1,
            Ordering::Greater => self.worse += 1,
        }
    }

    fn shown(self) -> String {
        format!("{} / {} / {}", self.better, self.equal, self.worse)
    }
}

/// A row: what, every policy's number, and how Weir compares with each of the others.
struct Row {
    what: What,
    numbers: Vec<Number>,
    weir: Vec<Ordering>,
}

fn rows(many: &[Many]) -> Vec<Row> {
    let row = |what: What| {
        let numbers: Option<Vec<Number>> = many.iter().map(|many| what.of(many)).collect();
        let numbers = numbers.filter(|numbers| !numbers.iter().all(|number| number.is_zero()))?;
        let (weir, others) = numbers.split_first()?;
        let weir = others.iter().map(|other| weir.compared(*other)).collect();
        Some(Row { what, numbers, weir })
    };
    What::ALL.into_iter().filter_map(row).collect()
}

const fn mark(weir: Ordering) -> &'static str {
    match weir {
        Ordering::Less => "▲",
        Ordering::Equal => "=",
        Ordering::Greater => "▼",
    }
}

/// A table for each case, as Markdown.
#[must_use]
pub fn tables(measured: &[Measured]) -> String {
    let mut text = String::new();
    for Measured { rate, case, alpha, many } in measured {
        let _ = write!(text, "\n### {rate} requests/s: {}\n\n| | guarantee of Weir", case.title);
        for many in many {
            let _ = write!(text, " | {}", many.policy);
        }
        let _ = writeln!(text, " |\n|---|---{}|", "|---".repeat(many.len()));
        for Row { what, numbers, weir } in rows(many) {
            let promise = format!("at most {}, at any look", percent(*alpha));
            let _ = write!(text, "| {} | {}", what.title(), if what.is_guaranteed() { &promise } else { "none" });
            let marks = std::iter::once("").chain(weir.into_iter().map(mark));
            for (number, mark) in numbers.into_iter().zip(marks) {
                let _ = write!(text, " | {}", format!("{} {mark}", number.shown()).trim_end());
            }
            text.push_str(" |\n");
        }
    }
    text
}

fn percent(share: f64) -> String {
    weir_engine::words::percent(share)
}

/// What all rows say together, as Markdown: with whom Weir compares how, where it is worse, and whether its promises held.
#[must_use]
pub fn summary(measured: &[Measured]) -> String {
    let Some(first) = measured.first() else { return String::new() };
    let others: Vec<&str> = first.many.iter().skip(1).map(|many| many.policy.as_str()).collect();
    let mut of_policy = vec![[Tally::default(); 2]; others.len()];
    let mut of_what: Vec<(What, Tally)> = What::ALL.into_iter().map(|what| (what, Tally::default())).collect();
    let mut worse = Vec::new();
    let (mut guaranteed, mut refuted) = (0, Vec::new());
    for Measured { rate, case, alpha, many } in measured {
        for row in rows(many) {
            let promised = row.what.is_guaranteed();
            guaranteed += usize::from(promised);
            let place = || format!("{} ({rate} requests/s, {})", row.what.title(), case.title);
            if promised && matches!(row.numbers.first(), Some(Number::Share(share)) if share.low > *alpha) {
                refuted.push(place());
            }
            for ((tallies, name), weir) in of_policy.iter_mut().zip(&others).zip(&row.weir) {
                if let Some(tally) = tallies.get_mut(usize::from(!promised)) {
                    tally.add(*weir);
                }
                if promised && *weir == Ordering::Greater {
                    worse.push(format!("{}, than {name}", place()));
                }
            }
            if let Some((_, tally)) = of_what.iter_mut().find(|(what, _)| *what == row.what) {
                row.weir.iter().for_each(|weir| tally.add(*weir));
            }
        }
    }
    let held = if refuted.is_empty() {
        format!("What Weir promises is refuted in none of the {guaranteed} rows with a guarantee.")
    } else {
        format!("**What Weir promises is refuted** in: {}.", refuted.join("; "))
    };
    let there = if worse.is_empty() {
        "In these it is worse than nobody.".to_owned()
    } else {
        format!("In these it is worse in: {}.", worse.join("; "))
    };
    let mut text = format!("{held} {there}\n\n");
    text.push_str(
        "| Weir is better / equal / worse | where it gives a guarantee | where it gives none |\n|---|---|---|\n",
    );
    for (name, [promised, rest]) in others.iter().zip(&of_policy) {
        let _ = writeln!(text, "| than {name} | {} | {} |", promised.shown(), rest.shown());
    }
    text.push_str("\n| Weir is better / equal / worse | than the others, over all cases |\n|---|---|\n");
    for (what, tally) in of_what.iter().filter(|(_, tally)| *tally != Tally::default()) {
        let guarantee = if what.is_guaranteed() { " (guaranteed)" } else { "" };
        let _ = writeln!(text, "| {}{guarantee} | {} |", what.title(), tally.shown());
    }
    text
}

#[cfg(test)]
mod tests;
