//! Latencies as people have them: raw, in buckets of any edges, or in cumulative buckets as Prometheus counts. Makes ascending
//! spans of microseconds of them; knows no other count.

use super::Problem;
use super::decimal::{nanoseconds, scaled, seconds};
use super::place::{Fields, Place, shown};
use crate::cells::{Edge, Moments, Span};
use std::borrow::Cow;
use weir_core::duration::format_milliseconds;

/// Most raw values in one list.
pub(super) const MOST_VALUES: usize = 200_000;
/// Largest count.
pub(super) const MOST_COUNT: u64 = 1_000_000_000_000;
/// Most buckets of one histogram.
const MOST_BUCKETS: usize = 1_000;
/// More wrong values of one list would help nobody.
const MOST_WRONG: usize = 5;
/// How far a sum may lie outside what its buckets allow: it was rounded on its way.
const ROUNDING: f64 = 1e-6;

/// Latencies that were read.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    pub(super) spans: Vec<Span>,
    /// In seconds; of none where no sum is known.
    pub(super) moments: Moments,
    /// Whether they came as buckets that are not cumulative.
    pub(super) plain_buckets: bool,
}

const ASKED: &str =
    "raw latencies as `[12ms, 8.5ms]` or `{ms: [12, 8.5]}`, or buckets as `{buckets: [{le: 10ms, count: 7}]}`";

/// Reads latencies, none beyond the deadline.
pub(super) fn latencies(place: &Place<'_>, deadline_us: u64, problems: &mut Vec<Problem>) -> Option<Latencies> {
    if place.is_list() {
        return raw(place, deadline_us, nanoseconds, problems);
    }
    let known = ["us", "ms", "s", "buckets", "cumulative", "unit", "sum"];
    let fields = place.fields(&known, ASKED, problems)?;
    let mut forms = ["us", "ms", "s", "buckets", "cumulative"].into_iter().filter(|form| fields.get(form).is_some());
    let (Some(form), None) = (forms.next(), forms.next()) else {
        let beside = ["sum", "unit"].iter().filter(|name| fields.get(name).is_some()).count();
        if fields.len() == 0 || fields.len() > beside {
            place.problem(problems, format!("write one form of {ASKED}"));
        }
        return None;
    };
    let values = fields.get(form)?;
    let power = match form {
        "us" => 3,
        "ms" => 6,
        "s" => 9,
        cumulative_or_not => {
            return histogram(&fields, &values, cumulative_or_not == "cumulative", deadline_us, problems);
        }
    };
    if let Some(sum) = fields.get("sum") {
        sum.problem(problems, "raw values have their own sum: leave it out");
    }
    if let Some(unit) = fields.get("unit") {
        unit.problem(problems, format!("`{form}` is the unit already: leave this out"));
    }
    let number = |text: &str| scaled(text, power).ok_or_else(|| "is not a number such as `8.5`".to_owned());
    raw(&values, deadline_us, number, problems)
}

/// Raw values: exact, whatever their order.
fn raw(
    place: &Place<'_>,
    deadline_us: u64,
    read: impl Fn(&str) -> Result<u64, String>,
    problems: &mut Vec<Problem>,
) -> Option<Latencies> {
    let items = place.items(0..=MOST_VALUES, "a list of latencies", problems)?;
    let (mut wrong, too_many) = (0_usize, items.len() > MOST_VALUES);
    let mut values: Vec<u64> = Vec::with_capacity(items.len());
    for item in items.iter().take(MOST_VALUES) {
        // Those beyond some are only counted.
        let mut untold = Vec::new();
        let problems = if wrong < MOST_WRONG { &mut *problems } else { &mut untold };
        let value = item.text("a latency", problems).and_then(|text| match read(text) {
            Ok(value) if value / 1_000 > deadline_us => {
                item.problem(problems, beyond(&shown(text), deadline_us));
                None
            }
            Ok(value) => Some(value),
            Err(problem) => {
                item.problem(problems, format!("{} {problem}", shown(text)));
                None
            }
        });
        match value {
            Some(value) => values.push(value),
            None => wrong += 1,
        }
    }
    if wrong > MOST_WRONG {
        let more = wrong - MOST_WRONG;
        place.problem(
            problems,
            format!("{more} more of these latencies {} wrong", if more == 1 { "is" } else { "are" }),
        );
    }
    if wrong > 0 || too_many {
        return None;
    }
    values.sort_unstable();
    let mut spans: Vec<Span> = Vec::new();
    let (mut sum, mut squares) = (0_u128, 0_u128);
    for value in values {
        let value = u128::from(value);
        sum += value;
        squares += value * value;
        let lower = u64::try_from(value / 1_000).ok()?;
        let upper = lower + u64::from(value % 1_000 != 0);
        match spans.last_mut() {
            Some(last) if (last.lower, last.upper) == (lower, upper) => last.count += 1,
            _ => spans.push(Span { lower, upper, holds: Edge::Lower, count: 1 }),
        }
    }
    // Sums of whole numbers are exact, so that no order of the values changes a bit.
    #[expect(clippy::cast_precision_loss, reason = "rounded once")]
    let moments = Moments { count: total(&spans), sum: sum as f64 / 1e9, squares: squares as f64 / 1e18 };
    Some(Latencies { spans, moments, plain_buckets: false })
}

fn beyond(what: &str, deadline_us: u64) -> String {
    format!(
        "{what} is beyond the deadline of {}, by which an exposure is `overdue`: count it there and leave its latency out, or raise \
         `deadline` in the `spec`",
        format_milliseconds(deadline_us / 1_000)
    )
}

fn total(spans: &[Span]) -> u64 {
    spans.iter().fold(0, |sum, span| span.count.saturating_add(sum))
}

fn histogram(
    fields: &Fields<'_>,
    place: &Place<'_>,
    cumulative: bool,
    deadline_us: u64,
    problems: &mut Vec<Problem>,
) -> Option<Latencies> {
    let before = problems.len();
    let items = place.items(1..=MOST_BUCKETS, "a list of buckets such as `{le: 10ms, count: 7}`", problems)?;
    let unit = match fields.get("unit") {
        Some(place) => Some(place.word(&[("us", "us"), ("ms", "ms"), ("s", "s")], problems)?),
        None => None,
    };
    let mut reader = Buckets { cumulative, deadline_us, unit, upper: 0, so_far: 0, spans: Vec::new() };
    for item in items.iter().take(MOST_BUCKETS) {
        reader.take(item, problems);
    }
    let spans = reader.spans;
    if problems.len() > before {
        return None;
    }
    let moments = match fields.get("sum") {
        None => Moments::default(),
        Some(place) => sum(&place, unit, &spans, problems)?,
    };
    Some(Latencies { spans, moments, plain_buckets: !cumulative })
}

/// Buckets, one after the other.
struct Buckets {
    cumulative: bool,
    deadline_us: u64,
    /// Of edges that are bare numbers.
    unit: Option<&'static str>,
    /// Upper edge of the last.
    upper: u64,
    /// Count of all before, if cumulative.
    so_far: u64,
    spans: Vec<Span>,
}

impl Buckets {
    fn take(&mut self, item: &Place<'_>, problems: &mut Vec<Problem>) {
        let (known, asked): (&[&str], _) = if self.cumulative {
            (&["le", "count"], "a bucket such as `{le: 10ms, count: 7}`")
        } else {
            (
                &["le", "from", "to", "count"],
                "a bucket such as `{le: 10ms, count: 7}` or `{from: 5ms, to: 10ms, count: 7}`",
            )
        };
        let Some(fields) = item.fields(known, asked, problems) else { return };
        let edges = self.edges(&fields, asked, problems);
        let count = fields.require("count", "how many latencies it holds, as `count: 7`", problems);
        let count = count.and_then(|place| place.whole(0..=MOST_COUNT, problems).map(|count| (place, count)));
        let (Some((lower, upper, holds)), Some((place, mut count))) = (edges, count) else { return };
        self.upper = upper;
        if self.cumulative {
            let Some(more) = count.checked_sub(self.so_far) else {
                let message = format!(
                    "cumulative counts never fall: {count} is less than the {} before; counts of each bucket alone go under `buckets`",
                    self.so_far
                );
                return place.problem(problems, message);
            };
            self.so_far = count;
            count = more;
        }
        if count == 0 {
            return;
        }
        if lower >= self.deadline_us {
            return item.problem(problems, beyond(&format!("this bucket of {count}"), self.deadline_us));
        }
        self.spans.push(Span { lower, upper, holds, count });
    }

    fn edges(&self, fields: &Fields<'_>, asked: &str, problems: &mut Vec<Problem>) -> Option<(u64, u64, Edge)> {
        let (lower, upper, holds, place) = match (fields.get("le"), fields.get("from"), fields.get("to")) {
            (Some(le), None, None) => (self.upper, edge(&le, self.unit, problems)?, Edge::Upper, le),
            (None, Some(from), to) => {
                let lower = edge(&from, self.unit, problems)?;
                if lower < self.upper {
                    from.problem(
                        problems,
                        format!("buckets must not overlap: the one before ends at {}", said(self.upper)),
                    );
                    return None;
                }
                let upper = to.as_ref().map_or(Some(u64::MAX), |to| edge(to, self.unit, problems))?;
                (lower, upper, Edge::Lower, to.unwrap_or(from))
            }
            _ => {
                let meant = ["le", "from", "to"].iter().any(|name| fields.mentions(name) && fields.get(name).is_none());
                if !meant {
                    fields.place().problem(problems, format!("where does it lie? Write {asked}"));
                }
                return None;
            }
        };
        if upper <= lower {
            place.problem(problems, format!("edges must rise: this one is not above {}", said(lower)));
            return None;
        }
        Some((lower, upper, holds))
    }
}

/// An edge in microseconds; `u64::MAX` for none.
fn edge(place: &Place<'_>, unit: Option<&str>, problems: &mut Vec<Problem>) -> Option<u64> {
    let text = place.text("an edge such as `10ms`, or `+Inf`", problems)?;
    if matches!(text.to_ascii_lowercase().trim_start_matches(['+', '.']), "inf" | "infinity") {
        return Some(u64::MAX);
    }
    match nanoseconds(&with_unit(text, unit)) {
        Ok(edge) if edge % 1_000 == 0 => Some(edge / 1_000),
        Ok(_) => {
            place.problem(problems, format!("{} is finer than a microsecond: round it", shown(text)));
            None
        }
        Err(problem) => {
            let hint = if is_bare(text) { ", or the unit of all once, as `{unit: s, cumulative: […]}`" } else { "" };
            place.problem(problems, format!("{} {problem}{hint}", shown(text)));
            None
        }
    }
}

/// Whether it is a number without a unit.
fn is_bare(text: &str) -> bool {
    scaled(text, 0).is_some()
}

/// A bare number with the unit that was said for all, if one was.
fn with_unit<'t>(text: &'t str, unit: Option<&str>) -> Cow<'t, str> {
    match unit.filter(|_| is_bare(text)) {
        Some(unit) => format!("{text}{unit}").into(),
        None => text.into(),
    }
}

fn said(edge: u64) -> String {
    if edge == u64::MAX { "no edge at all".to_owned() } else { crate::words::duration_us(edge) }
}

/// The sum of what is in the buckets. Its squares are not known.
fn sum(place: &Place<'_>, unit: Option<&str>, spans: &[Span], problems: &mut Vec<Problem>) -> Option<Moments> {
    let text = place.text("the sum of the latencies, as `812.5s`", problems)?;
    let sum = match seconds(&with_unit(text, unit)) {
        Ok(sum) => sum,
        Err(problem) => {
            place.problem(problems, format!("{} {problem}", shown(text)));
            return None;
        }
    };
    let of = |edge: fn(&Span) -> u64| -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a plausibility check")]
        let all = spans.iter().map(|span| {
            let edge = edge(span);
            if edge == u64::MAX { f64::INFINITY } else { edge as f64 / 1e6 * span.count as f64 }
        });
        all.sum()
    };
    let (least, most) = (of(|span| span.lower), of(|span| span.upper));
    if sum < least * (1.0 - ROUNDING) || sum > most * (1.0 + ROUNDING) {
        let most = if most.is_finite() { format!(" and at most {most:.3} s") } else { String::new() };
        let message = format!(
            "{} cannot be the sum: by its buckets it is at least {least:.3} s{most}; is it in another unit?",
            shown(text)
        );
        place.problem(problems, message);
        return None;
    }
    Some(Moments { count: total(spans), sum, squares: f64::NAN })
}
