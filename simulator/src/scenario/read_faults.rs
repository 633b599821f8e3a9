//! What goes wrong in a scenario, and what its author says must come out.

use super::read_parts::{MOST_TIME_MS, Problems, begins, in_order, list, list_of, share, share_of, time_of};
use super::{ClockStep, Death, Expect, Faults, Got, Outage, Unrecorded, WrongClock};
use crate::run::Ending;
use weir_engine::decide::Action;
use weir_engine::document::place::{Fields, Place, nearest, shown};

/// What a scenario may expect to be done.
const ACTIONS: [(&str, Action); 7] = [
    ("shift", Action::Shift),
    ("ask", Action::Ask),
    ("pause", Action::Pause),
    ("trip", Action::Trip),
    ("release", Action::Release),
    ("renew", Action::Renew),
    ("promote", Action::Promote),
];

pub(super) fn faults(place: &Place<'_>, names: Option<&[&str]>, end: u64, problems: &mut Problems) -> Option<Faults> {
    let known = ["lostReports", "partitions", "silences", "deaths", "controller", "clocks", "clockSteps", "unrecorded"];
    let fields = place.fields(&known, "what goes wrong, as `{lostReports: 5%}`", problems)?;
    let lost = share_of(&fields, "lostReports", 0.0, problems);
    let asked = "a list such as `[{from: 1h, until: 2h, share: 50%}]`";
    let outage = |place: &Place<'_>, problems: &mut Problems| {
        let fields = place.fields(&["from", "until", "share"], "`{from: 1h, until: 2h, share: 50%}`", problems)?;
        let stretch = stretch(&fields, end, problems);
        let share = share_of(&fields, "share", 1.0, problems);
        let (from_ms, until_ms) = stretch?;
        Some(Outage { from_ms, until_ms, share: share? })
    };
    let partitions = list_of(&fields, "partitions", asked, problems, outage);
    let silences = list_of(&fields, "silences", asked, problems, outage);
    let controller = list_of(&fields, "controller", asked, problems, outage);
    let deaths = list_of(&fields, "deaths", "a list such as `[{at: 1h, share: 25%}]`", problems, |place, problems| {
        let fields = place.fields(&["at", "share"], "`{at: 1h, share: 25%}`", problems)?;
        let at = fields.require("at", "when, as `at: 1h`", problems);
        let at = at.and_then(|_| begins(&fields, "at", end, problems));
        let share = share_of(&fields, "share", 1.0, problems);
        Some(Death { at_ms: at?, share: share? })
    });
    let clocks = list_of(&fields, "clocks", "a list such as `[{share: 50%, ahead: 1m}]`", problems, clock);
    let asked = "a list such as `[{at: 1h, forward: 10m}]`";
    let clock_steps = list_of(&fields, "clockSteps", asked, problems, |place, problems| {
        let fields = place.fields(&["at", "forward", "back"], "`{at: 1h, forward: 10m}`", problems)?;
        let at = fields.require("at", "when, as `at: 1h`", problems);
        let at = at.and_then(|_| begins(&fields, "at", end, problems));
        let forward_ms = one_way(&fields, ["forward", "back"], problems);
        Some(ClockStep { at_ms: at?, forward_ms: forward_ms? })
    });
    let asked = "a list such as `[{version: v2, share: 10%}]`";
    let unrecorded = list_of(&fields, "unrecorded", asked, problems, |place, problems| {
        let known = ["from", "until", "version", "share"];
        let fields = place.fields(&known, "`{version: v2, share: 10%}`", problems)?;
        let stretch = stretch(&fields, end, problems);
        let version = fields.require("version", "whose requests, as `version: v2`", problems);
        let version = version.and_then(|place| version_of(&place, names, problems));
        let lost = fields.require("share", "how many of them, as `share: 10%`", problems);
        let lost = lost.and_then(|place| share(&place, problems));
        let (from_ms, until_ms) = stretch?;
        Some(Unrecorded { from_ms, until_ms, version: version?, share: lost? })
    });
    Some(Faults {
        lost_reports: lost?,
        partitions: partitions?,
        silences: silences?,
        deaths: deaths?,
        controller: controller?,
        clocks: clocks?,
        clock_steps: clock_steps?,
        unrecorded: unrecorded?,
    })
}

/// From when until when.
fn stretch(fields: &Fields<'_>, end: u64, problems: &mut Problems) -> Option<(u64, u64)> {
    let from = begins(fields, "from", end, problems);
    let until = time_of(fields, "until", MOST_TIME_MS, problems);
    let (from, until) = (from?, until?);
    in_order(fields, from, until, problems)?;
    Some((from, until))
}

fn clock(place: &Place<'_>, problems: &mut Problems) -> Option<WrongClock> {
    let fields = place.fields(&["share", "ahead", "behind"], "`{share: 50%, ahead: 1m}`", problems)?;
    let share = share_of(&fields, "share", 1.0, problems);
    let ahead_ms = one_way(&fields, ["ahead", "behind"], problems);
    Some(WrongClock { share: share?, ahead_ms: ahead_ms? })
}

/// A time one way or, negative, the other.
fn one_way(fields: &Fields<'_>, names: [&str; 2], problems: &mut Problems) -> Option<i64> {
    let [forward, back] = names.map(|name| fields.get(name));
    let read = |place: &Place<'_>, problems: &mut Problems| {
        place.duration(1..=MOST_TIME_MS, problems).and_then(|by| i64::try_from(by).ok())
    };
    match (forward, back) {
        (Some(place), None) => read(&place, problems),
        (None, Some(place)) => read(&place, problems).map(|by| -by),
        _ => {
            let [forward, back] = names;
            fields.place().problem(problems, format!("write `{forward}: 1m` or `{back}: 1m`, one of the two"));
            None
        }
    }
}

/// The index of a version by its name; without an experiment nobody knows the names.
fn version_of(place: &Place<'_>, names: Option<&[&str]>, problems: &mut Problems) -> Option<usize> {
    let text = place.text("the name of a version", problems)?;
    let names = names?;
    let index = names.iter().position(|name| *name == text);
    if index.is_none() {
        let hint = nearest(text, names.iter().copied());
        place.problem(problems, format!("{} is not a version of the experiment{hint}", shown(text)));
    }
    index
}

pub(super) fn expect(place: &Place<'_>, names: Option<&[&str]>, end: u64, problems: &mut Problems) -> Option<Expect> {
    let known =
        ["outcome", "version", "rolledBack", "by", "notBefore", "holds", "says", "does", "asks", "got", "share"];
    let fields = place.fields(&known, "what must come out, as `{outcome: promoted, version: v2}`", problems)?;
    let outcome = fields.get("outcome").map_or(Some(None), |place| place.word(&Ending::WORDS, problems).map(Some));
    let index = |place: &Place<'_>, problems: &mut Problems| version_of(place, names, problems);
    let version = fields.get("version").map_or(Some(None), |place| index(&place, problems).map(Some));
    let rolled_back = fields
        .get("rolledBack")
        .map_or(Some(None), |place| list(&place, "a list of versions, as `[v2]`", problems, index).map(Some));
    let [by, not_before] = ["by", "notBefore"]
        .map(|name| fields.get(name).map_or(Some(None), |place| place.duration(0..=MOST_TIME_MS, problems).map(Some)));
    let holds = list_of(&fields, "holds", "a list such as `[{from: 1h, until: 2h}]`", problems, |place, problems| {
        let fields = place.fields(&["from", "until"], "`{from: 1h, until: 2h}`", problems)?;
        stretch(&fields, end, problems)
    });
    let words = |place: &Place<'_>, problems: &mut Problems| {
        place.text("words of a reason, as `waits for approval`", problems).map(str::to_owned)
    };
    let says = list_of(&fields, "says", "a list such as `[\"waits for approval\"]`", problems, words);
    let action = |place: &Place<'_>, problems: &mut Problems| place.word(&ACTIONS, problems);
    let does = list_of(&fields, "does", "a list such as `[trip, release]`", problems, action);
    let asks = list_of(&fields, "asks", "a list such as `[shift, promote]`", problems, action);
    let asked = "a list such as `[{version: v2, least: 9%, most: 11%}]`";
    let got = list_of(&fields, "got", asked, problems, |place, problems| {
        let known = ["version", "least", "most", "requests", "settled"];
        let fields = place.fields(&known, "`{version: v2, least: 9%, most: 11%}`", problems)?;
        let version = fields.require("version", "which version, as `version: v2`", problems);
        let version = version.and_then(|place| version_of(&place, names, problems));
        let [least, most] =
            [("least", 0.0), ("most", 1.0)].map(|(name, usual)| share_of(&fields, name, usual, problems));
        let [requests, settled] = [("requests", u64::MAX), ("settled", 0)]
            .map(|(name, usual)| fields.get(name).map_or(Some(usual), |place| place.whole(0..=u64::MAX, problems)));
        Some(Got { version: version?, least: least?, most: most?, requests: requests?, settled: settled? })
    });
    let share = share_of(&fields, "share", 1.0, problems);
    Some(Expect {
        outcome: outcome?,
        version: version?,
        rolled_back: rolled_back?,
        by_ms: by?,
        not_before_ms: not_before?,
        holds: holds?,
        says: says?,
        does: does?,
        asks: asks?,
        got: got?,
        share: share?,
    })
}
