//! The parts of a scenario: what each of its fields may be.

use super::course::DAY_MS;
use super::{Behaviour, Change, Drift, Incident, Kind, Leak, LogNormal, MOST_RATE, Traffic, Users};
use weir_core::duration::format_milliseconds;
use weir_engine::document::Problem;
use weir_engine::document::place::{Fields, Place, shown};
use weir_engine::document::quantity::WHOLE;

const MOST_FACTOR: f64 = 1e4;
pub(super) const MOST_TIME_MS: u64 = 90 * DAY_MS;
const MOST_LATENCY_MS: u64 = 3_600_000;
const MOST_USERS: u64 = 10_000_000;
/// Standard deviation of a log-normal's logarithm, unless another is given.
const USUAL_SIGMA: f64 = 0.5;
const MOST_ENTRIES: usize = 64;

pub(super) type Problems = Vec<Problem>;

/// A share, zero and all included.
pub(super) fn share(place: &Place<'_>, problems: &mut Problems) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a constant below 2^53")]
    place.share(1, 0..=WHOLE, problems).map(|billionths| f64::from(billionths) / WHOLE as f64)
}

pub(super) fn share_of(fields: &Fields<'_>, name: &str, usual: f64, problems: &mut Problems) -> Option<f64> {
    fields.get(name).map_or(Some(usual), |place| share(&place, problems))
}

fn factor_of(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<f64> {
    fields.get(name).map_or(Some(1.0), |place| place.number(0.0..=MOST_FACTOR, problems))
}

pub(super) fn time_of(fields: &Fields<'_>, name: &str, usual: u64, problems: &mut Problems) -> Option<u64> {
    fields.get(name).map_or(Some(usual), |place| place.duration(0..=MOST_TIME_MS, problems))
}

/// When something begins: before the end of the simulated time, or it would silently never happen.
pub(super) fn begins(fields: &Fields<'_>, name: &str, end: u64, problems: &mut Problems) -> Option<u64> {
    let begins = time_of(fields, name, 0, problems)?;
    if begins < end {
        return Some(begins);
    }
    let place = fields.get(name).unwrap_or_else(|| fields.place().clone());
    let message = format!("it begins when the simulation is over: `duration` is {}", format_milliseconds(end));
    place.problem(problems, message);
    None
}

pub(super) fn list<T>(
    place: &Place<'_>,
    asked: &str,
    problems: &mut Problems,
    read: impl Fn(&Place<'_>, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    let items = place.items(0..=MOST_ENTRIES, asked, problems)?;
    // Every entry is looked at, so that everything wrong is said at once.
    items.iter().map(|item| read(item, problems)).collect::<Vec<_>>().into_iter().collect()
}

pub(super) fn list_of<T>(
    fields: &Fields<'_>,
    name: &str,
    asked: &str,
    problems: &mut Problems,
    read: impl Fn(&Place<'_>, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    fields.get(name).map_or_else(|| Some(Vec::new()), |place| list(&place, asked, problems, read))
}

/// Requests per second of a text such as `50/s`, `300/m`.
#[must_use]
pub fn per_second(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let number = number.trim();
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let rate = number.parse::<f64>().ok().filter(|_| plain)? / seconds;
    (rate > 0.0 && rate <= MOST_RATE).then_some(rate)
}

fn rate(place: &Place<'_>, problems: &mut Problems) -> Option<f64> {
    let text = place.text("requests per time such as `50/s`, `300/m` or `20/h`", problems)?;
    let rate = per_second(text);
    if rate.is_none() {
        place.problem(
            problems,
            format!(
                "{} is not a rate: write `50/s`, `300/m` or `20/h`, more than 0 and at most a million a second",
                shown(text)
            ),
        );
    }
    rate
}

pub(super) fn traffic(place: &Place<'_>, end: u64, problems: &mut Problems) -> Option<Traffic> {
    if place.as_text().is_some() {
        return Some(Traffic { per_second: rate(place, problems)?, cycle: None, bursts: Vec::new() });
    }
    let asked = "a rate such as `50/s`, or `{rate: 50/s, daily: {swing: 80%, peak: 14h}}`";
    let fields = place.fields(&["rate", "daily", "bursts"], asked, problems)?;
    let found = fields.require("rate", "the mean number of requests, as `rate: 50/s`", problems);
    let per_second = found.and_then(|place| rate(&place, problems));
    let cycle = fields.get("daily").map_or(Some(None), |place| daily(&place, problems).map(Some));
    let asked = "a list such as `[{from: 1h, until: 70m, factor: 5}]`";
    let bursts = list_of(&fields, "bursts", asked, problems, |place, problems| burst(place, end, problems));
    Some(Traffic { per_second: per_second?, cycle: cycle?, bursts: bursts? })
}

fn daily(place: &Place<'_>, problems: &mut Problems) -> Option<Drift> {
    let fields = place.fields(&["swing", "peak", "period"], "`{swing: 80%, peak: 14h}`", problems)?;
    let swing = share_of(&fields, "swing", 0.5, problems);
    let (period_ms, peak_ms) = cycle_times(&fields, problems)?;
    Some(Drift { period_ms, peak_ms, errors: swing?, latency: 0.0, conversion: 0.0 })
}

fn cycle_times(fields: &Fields<'_>, problems: &mut Problems) -> Option<(u64, u64)> {
    let period = fields.get("period").map_or(Some(DAY_MS), |place| place.duration(60_000..=MOST_TIME_MS, problems));
    let peak = time_of(fields, "peak", 14 * 3_600_000, problems);
    Some((period?, peak?))
}

fn burst(place: &Place<'_>, end: u64, problems: &mut Problems) -> Option<Change> {
    let asked = "`{from: 1h, until: 70m, factor: 5}`";
    let fields = place.fields(&["from", "until", "every", "factor"], asked, problems)?;
    let factor = fields.require("factor", "how many times the traffic, as `factor: 5`", problems);
    let factor = factor.and_then(|place| place.number(0.0..=MOST_FACTOR, problems));
    change(&fields, end, problems).zip(factor).map(|(change, factor)| Change { factor, ..change })
}

/// From when until when, and how often.
fn change(fields: &Fields<'_>, end: u64, problems: &mut Problems) -> Option<Change> {
    let from = begins(fields, "from", end, problems);
    let until = time_of(fields, "until", MOST_TIME_MS, problems);
    let every =
        fields.get("every").map_or(Some(None), |place| place.duration(1_000..=MOST_TIME_MS, problems).map(Some));
    let (from_ms, until_ms, every_ms) = (from?, until?, every?);
    in_order(fields, from_ms, until_ms, problems)?;
    Some(Change { from_ms, until_ms, every_ms, factor: 1.0 })
}

pub(super) fn in_order(fields: &Fields<'_>, from: u64, until: u64, problems: &mut Problems) -> Option<()> {
    if until > from {
        return Some(());
    }
    let place = fields.get("until").unwrap_or_else(|| fields.place().clone());
    place.problem(problems, "it ends before it begins: `until` must be later than `from`");
    None
}

pub(super) fn behaviour(place: &Place<'_>, end: u64, problems: &mut Problems) -> Option<Behaviour> {
    let known = ["errors", "latency", "errorLatency", "conversion", "reward", "drift", "incidents", "leak", "bad"];
    let fields = place.fields(&known, "how it behaves, as `{errors: 0.3%, latency: 80ms}`", problems)?;
    let usual = Behaviour::default();
    let errors = share_of(&fields, "errors", 0.0, problems);
    let latency = fields.get("latency").map_or(Some(usual.latency), |place| latencies(&place, problems));
    let error_latency = fields.get("errorLatency").map_or(Some(None), |place| latencies(&place, problems).map(Some));
    let conversion = share_of(&fields, "conversion", 0.0, problems);
    let amount = fields.get("reward").map_or(Some(None), |place| amount(&place, problems).map(Some));
    let drift = fields.get("drift").map_or(Some(Vec::new()), |place| drifts(&place, problems));
    let asked = "a list such as `[{from: 1h, until: 2h, errors: 10}]`";
    let incidents = list_of(&fields, "incidents", asked, problems, |place, problems| incident(place, end, problems));
    let leak = fields.get("leak").map_or(Some(None), |place| leak(&place, end, problems).map(Some));
    let bad = fields.get("bad").map_or(Some(None), |place| place.truth(problems).map(Some));
    Some(Behaviour {
        errors: errors?,
        latency: latency?,
        error_latency: error_latency?,
        conversion: conversion?,
        amount: amount?,
        drift: drift?,
        incidents: incidents?,
        leak: leak?,
        bad: bad?,
    })
}

/// One duration, one distribution, or a list of them.
fn latencies(place: &Place<'_>, problems: &mut Problems) -> Option<Vec<LogNormal>> {
    let one = |place: &Place<'_>, problems: &mut Problems| {
        if place.as_text().is_some() {
            let median = place.duration(1..=MOST_LATENCY_MS, problems)?;
            return Some(LogNormal { weight: 1.0, median: milliseconds(median), sigma: USUAL_SIGMA });
        }
        let asked = "a latency such as `80ms` or `{median: 80ms, sigma: 0.5}`, or a list of these with weights";
        let fields = place.fields(&["median", "sigma", "weight"], asked, problems)?;
        let median = fields.require("median", "the median, as `median: 80ms`", problems);
        let median = median.and_then(|place| place.duration(1..=MOST_LATENCY_MS, problems));
        let sigma = sigma(&fields, problems);
        let weight = share_of(&fields, "weight", 1.0, problems);
        Some(LogNormal { weight: weight?, median: milliseconds(median?), sigma: sigma? })
    };
    let parts = match place.as_text() {
        Some(_) => vec![one(place, problems)?],
        None if !place.is_list() => vec![one(place, problems)?],
        None => list(place, "a latency such as `80ms`, or a list of parts with weights", problems, one)?,
    };
    if parts.iter().map(|part| part.weight).sum::<f64>() <= 0.0 {
        place.problem(problems, "no part has any weight: give at least one some, as `weight: 95%`");
        return None;
    }
    Some(parts)
}

fn sigma(fields: &Fields<'_>, problems: &mut Problems) -> Option<f64> {
    fields.get("sigma").map_or(Some(USUAL_SIGMA), |place| place.number(0.0..=5.0, problems))
}

#[expect(clippy::cast_precision_loss, reason = "an hour at most")]
fn milliseconds(milliseconds: u64) -> f64 {
    milliseconds as f64
}

fn amount(place: &Place<'_>, problems: &mut Problems) -> Option<LogNormal> {
    let fields = place.fields(&["median", "sigma"], "`{median: 20, sigma: 1}`", problems)?;
    let median = fields.require("median", "the median amount, as `median: 20`", problems);
    let median = median.and_then(|place| place.number(0.001..=1e6, problems));
    let sigma = sigma(&fields, problems);
    Some(LogNormal { weight: 1.0, median: median?, sigma: sigma? })
}

/// One cycle or a list of them.
pub(super) fn drifts(place: &Place<'_>, problems: &mut Problems) -> Option<Vec<Drift>> {
    let one = |place: &Place<'_>, problems: &mut Problems| {
        let known = ["period", "peak", "errors", "latency", "conversion"];
        let fields = place.fields(&known, "a cycle such as `{period: 24h, peak: 14h, errors: 50%}`", problems)?;
        let times = cycle_times(&fields, problems);
        let [errors, latency, conversion] =
            ["errors", "latency", "conversion"].map(|name| share_of(&fields, name, 0.0, problems));
        let (period_ms, peak_ms) = times?;
        Some(Drift { period_ms, peak_ms, errors: errors?, latency: latency?, conversion: conversion? })
    };
    if !place.is_list() {
        return Some(vec![one(place, problems)?]);
    }
    list(place, "a cycle or a list of cycles", problems, one)
}

fn incident(place: &Place<'_>, end: u64, problems: &mut Problems) -> Option<Incident> {
    let known = ["from", "until", "every", "errors", "latency", "conversion"];
    let fields = place.fields(&known, "`{from: 1h, until: 2h, errors: 10}`", problems)?;
    let change = change(&fields, end, problems);
    let [errors, latency, conversion] =
        ["errors", "latency", "conversion"].map(|name| factor_of(&fields, name, problems));
    Some(Incident { errors: Change { factor: errors?, ..change? }, latency: latency?, conversion: conversion? })
}

fn leak(place: &Place<'_>, end: u64, problems: &mut Problems) -> Option<Leak> {
    let fields = place.fields(&["from", "doubles", "what"], "`{from: 6h, doubles: 1h}`", problems)?;
    let from = begins(&fields, "from", end, problems);
    let doubles = fields.require("doubles", "in which time it doubles, as `doubles: 1h`", problems);
    let doubles = doubles.and_then(|place| place.duration(1_000..=MOST_TIME_MS, problems));
    let words = [("errors", (true, false)), ("latency", (false, true)), ("both", (true, true))];
    let what = fields.get("what").map_or(Some((true, false)), |place| place.word(&words, problems));
    let (errors, latency) = what?;
    Some(Leak { from_ms: from?, doubles_ms: doubles?, errors, latency })
}

pub(super) fn users(place: &Place<'_>, problems: &mut Problems) -> Option<Users> {
    let fields = place.fields(&["count", "tail", "kinds"], "`{count: 10000, tail: 1.2}`", problems)?;
    let count = fields
        .get("count")
        .map_or(Some(u64::from(super::DEFAULT_USERS)), |place| place.whole(1..=MOST_USERS, problems));
    let tail = fields.get("tail").map_or(Some(None), |place| place.number(0.1..=100.0, problems).map(Some));
    let kinds =
        list_of(&fields, "kinds", "a list such as `[{share: 5%, errors: 20}]`", problems, |place, problems| {
            let fields =
                place.fields(&["share", "errors", "latency", "conversion"], "`{share: 5%, errors: 20}`", problems)?;
            let found = fields.require("share", "which share of the users they are, as `share: 5%`", problems);
            let of_all = found.and_then(|place| share(&place, problems));
            let [errors, latency, conversion] =
                ["errors", "latency", "conversion"].map(|name| factor_of(&fields, name, problems));
            Some(Kind { share: of_all?, errors: errors?, latency: latency?, conversion: conversion? })
        })?;
    if kinds.iter().map(|kind| kind.share).sum::<f64>() > 1.0 {
        place.problem(problems, "the kinds are more than all users together: lower their shares");
        return None;
    }
    Some(Users { count: u32::try_from(count?).ok()?, tail: tail?, kinds })
}
