//! A file for `weir analyze`: an experiment, and the epochs in which it was counted. Reads both and the rules between them.

use super::counts::{self, Needs, Read};
use super::latency::MOST_COUNT;
use super::place::{Place, nearest, shown};
use super::quantity::{self, PART_PER_MILLION, WHOLE, percentage};
use super::tree::{Bounds, Entry, Node};
use super::{Problem, Purpose, experiment, finish, tree};
use crate::analysis::CountedEpoch;
use crate::counted::Counted;
use crate::spec::{Bound, Experiment, RewardKind};
use crate::state::LATENCY_QUANTILES;
use weir_core::duration::format_milliseconds;

/// Longest text with counts that is read, in bytes.
pub const MAX_ANALYSIS_TEXT: usize = 16 * 1024 * 1024;
/// Enough for some hundred thousand raw values.
const BOUNDS: Bounds = Bounds { bytes: MAX_ANALYSIS_TEXT, nodes: 1_000_000 };
/// Most epochs of one file: the engine looks after each.
const MOST_EPOCHS: usize = 1_000;
/// Largest weight that is written as a whole number.
const MOST_WEIGHT: u64 = 1_000_000_000;

/// An experiment and what was counted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToAnalyze {
    /// The experiment. What says how to run it may be missing in the file, and is then a default.
    pub experiment: Experiment,
    /// Its epochs, in order of time.
    pub epochs: Vec<CountedEpoch<Counted>>,
}

/// Reads an experiment with its counts: the document of [`super::read`], and `epochs` beside its `spec`.
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty, at most [`super::MAX_PROBLEMS`].
pub fn read_analysis(text: &str) -> Result<ToAnalyze, Vec<Problem>> {
    let mut problems = Vec::new();
    let documents = tree::parse(text, BOUNDS, &mut problems);
    if let Some(second) = documents.get(1) {
        let message = "one file is one experiment: analyse this one by itself";
        Place::root(second).problem(&mut problems, message);
    }
    let read = documents.first().and_then(|document| {
        let experiment = experiment::read(document, Purpose::Analyze, &mut problems).map(|experiment| {
            // The service only groups experiments for people.
            let service = if experiment.service.is_empty() { experiment.name.clone() } else { experiment.service };
            Experiment { service, ..experiment }
        });
        let epochs = epochs(document, experiment.as_ref(), &mut problems);
        Some(ToAnalyze { experiment: experiment?, epochs: epochs? })
    });
    finish(read, documents.is_empty(), problems)
}

/// The names of the versions, also where something else is wrong with the experiment; `None` if not all are known.
fn version_names(document: &Node) -> Option<Vec<String>> {
    let versions = Place::root(document).quiet("spec")?.quiet("versions")?.quiet_items();
    versions.iter().map(|version| Some(version.quiet("name")?.as_text()?.to_owned())).collect()
}

fn epochs(
    document: &Node,
    experiment: Option<&Experiment>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CountedEpoch<Counted>>> {
    let root = Place::root(document);
    let Some(place) = root.quiet("epochs") else {
        // A misspelt one has been complained about.
        if root.is_mapping() && !root.means("epochs", &experiment::FIELDS) {
            let message = "there are no counts: write `epochs: [{weights: {v1: 1, v2: 1}, counts: {v1: {exposures: 5000, failed: 12}, \
                           v2: {exposures: 5000, failed: 31}}}]` beside `spec`";
            root.problem(problems, message);
        }
        return None;
    };
    let asked = "a list of epochs such as `[{weights: {v1: 1, v2: 1}, counts: {v1: {exposures: 5000}, v2: {exposures: 5000}}}]`";
    let items = place.items(1..=MOST_EPOCHS, asked, problems)?;
    // Without names every name would be unknown, and that has been complained about already.
    let names = version_names(document)?;
    let needs = experiment.map(Needs::of);
    let reader = Reader { names: &names, needs: needs.as_ref(), experiment };
    let mut cells = Vec::new();
    let read: Vec<Option<CountedEpoch<Counted>>> =
        items.iter().take(MOST_EPOCHS).map(|epoch| reader.epoch(epoch, &mut cells, problems)).collect();
    if needs.as_ref().is_some_and(|needs| needs.failures.is_none()) {
        alike(
            &cells,
            |cell| Some(cell.counted.failures),
            problems,
            |counts| format!("`failed` is {counts}: count failures in every epoch of every version, or in none"),
        );
    }
    alike(
        &cells,
        |cell| cell.units_as_numbers,
        problems,
        |_| "units are numbers in one place and lists in another: write one or the other in the whole file".to_owned(),
    );
    read.into_iter().collect()
}

/// Complains about cells that are written unlike the first that says anything.
fn alike(
    cells: &[Read<'_>],
    how: impl Fn(&Read<'_>) -> Option<bool>,
    problems: &mut Vec<Problem>,
    message: impl Fn(&str) -> String,
) {
    let mut said =
        cells.iter().filter(|cell| cell.counted.tally.assigned > 0).filter_map(|cell| Some((cell, how(cell)?)));
    let Some((_, first)) = said.next() else { return };
    for (cell, _) in said.filter(|(_, how)| *how != first) {
        cell.place.problem(
            problems,
            message(if first { "missing here and given above" } else { "given here and missing above" }),
        );
    }
}

struct Reader<'a> {
    names: &'a [String],
    /// Unknown where the experiment itself is wrong.
    needs: Option<&'a Needs>,
    experiment: Option<&'a Experiment>,
}

impl Reader<'_> {
    fn epoch<'t>(
        &self,
        place: &Place<'t>,
        cells: &mut Vec<Read<'t>>,
        problems: &mut Vec<Problem>,
    ) -> Option<CountedEpoch<Counted>> {
        let asked =
            "an epoch such as `{weights: {v1: 1, v2: 1}, counts: {v1: {exposures: 5000}, v2: {exposures: 5000}}}`";
        let fields = place.fields(&["weights", "counts", "compareAt", "expectedRewardRate"], asked, problems)?;
        let weights = fields.require("weights", "the weights that were in force, as `{v1: 50%, v2: 50%}`", problems);
        let weights = weights.and_then(|place| self.weights(&place, problems));
        let counts = fields.require("counts", "what was counted of each version", problems);
        let counts = counts.and_then(|place| self.counts(&place, weights.as_deref(), cells, problems));
        let compare_at = match fields.get("compareAt") {
            Some(place) => self.compare_at(&place, problems).map(Some),
            None => {
                if self.needs.is_some_and(Needs::slow_units) && !fields.mentions("compareAt") {
                    place.problem(
                        problems,
                        "`units.slow` needs to say from which latency on an exposure was slow: write `compareAt: [400ms]`",
                    );
                }
                Some(None)
            }
        };
        let expected = fields
            .get("expectedRewardRate")
            .map_or(Some(None), |place| self.expected_reward_rate(&place, problems).map(Some));
        Some(CountedEpoch {
            weights: weights?,
            compare_at: compare_at?,
            expected_reward_rate: expected?,
            cells: counts?,
        })
    }

    fn expected_reward_rate(&self, place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<f64> {
        let compared = |experiment: &Experiment| {
            let kind = experiment.reward.as_ref().map(|reward| reward.kind);
            kind == Some(RewardKind::Binary) && experiment.requests_are_units()
        };
        if !self.experiment.is_none_or(compared) {
            let message = "nothing is compared around a rate: that is for a reward that is yes or no, where each request is its own \
                           unit; leave this out";
            place.problem(problems, message);
            return None;
        }
        place.rate(WHOLE, true, problems)
    }

    /// The index of the version that this entry is about, or a complaint.
    fn version(&self, entry: &Entry, entries: &[Entry], at: &Place<'_>, problems: &mut Vec<Problem>) -> Option<usize> {
        let name = entry.key.as_str();
        let found = self.names.iter().position(|known| known == name);
        if found.is_none() {
            let hint = match self.misspelt(entries) {
                Some(missing) => format!("; did you mean `{missing}`?"),
                None => nearest(name, self.names.iter().map(String::as_str)),
            };
            at.problem(problems, format!("there is no version {}{hint}", shown(name)));
        }
        found
    }

    /// The only version that is not among the entries, if they have an unknown name instead.
    fn misspelt(&self, entries: &[Entry]) -> Option<&str> {
        let mut missing = self.names.iter().filter(|name| entries.iter().all(|entry| entry.key != **name));
        let unknown = entries.iter().any(|entry| !self.names.contains(&entry.key));
        match (missing.next(), missing.next()) {
            (Some(name), None) if unknown => Some(name),
            _ => None,
        }
    }

    /// Relative weights in their lowest terms.
    fn weights(&self, place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Vec<u32>> {
        let before = problems.len();
        let asked = "a weight for each version, as `{v1: 50%, v2: 50%}` or `{v1: 1, v2: 1}`";
        let entries = place.entries(asked, problems)?;
        let mut weights = vec![None; self.names.len()];
        let (mut shares, mut wholes) = (false, false);
        for entry in entries {
            let at = place.entry(entry);
            let version = self.version(entry, entries, &at, problems);
            let Some(text) = at.text("a weight such as `50%` or `1`", problems) else { continue };
            let whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let weight = if whole {
                at.whole(0..=MOST_WEIGHT, problems)
            } else {
                quantity::billionths(text)
                    .map_err(|problem| at.problem(problems, format!("{} {problem}", shown(text))))
                    .ok()
            };
            // A zero is both.
            wholes |= whole && weight != Some(0);
            shares |= !whole;
            if let Some(slot) = version.and_then(|version| weights.get_mut(version)) {
                *slot = weight;
            }
        }
        for name in self.names {
            if !entries.iter().any(|entry| entry.key == *name) && self.misspelt(entries) != Some(name) {
                place.problem(problems, format!("version {} has no weight here: write 0 if it had none", shown(name)));
            }
        }
        if problems.len() > before {
            return None;
        }
        let weights: Vec<u64> = weights.into_iter().collect::<Option<_>>()?;
        let total: u64 = weights.iter().sum();
        if shares && wholes {
            place.problem(problems, "weights are shares or whole numbers, not both");
        } else if shares && total != WHOLE {
            let message = format!(
                "the weights sum to {}: shares must sum to 100%; whole numbers may be anything",
                percentage(total)
            );
            place.problem(problems, message);
        } else if total == 0 {
            place.problem(problems, "every weight is 0: leave the epoch out");
        } else if weights.iter().any(|weight| *weight > 0 && weight.saturating_mul(WHOLE / PART_PER_MILLION) < total) {
            place.problem(problems, format!("a weight below {} of all is too small", percentage(PART_PER_MILLION)));
        }
        if problems.len() > before {
            return None;
        }
        let divisor = weights.iter().fold(0, |divisor, weight| greatest_common_divisor(divisor, *weight)).max(1);
        weights.into_iter().map(|weight| u32::try_from(weight / divisor).ok()).collect()
    }

    fn counts<'t>(
        &self,
        place: &Place<'t>,
        weights: Option<&[u32]>,
        cells: &mut Vec<Read<'t>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<Counted>> {
        let entries =
            place.entries("the counts of each version, as `{v1: {exposures: 5000, failed: 12}}`", problems)?;
        let mut counted: Vec<Option<Counted>> = vec![None; self.names.len()];
        let mut whole = true;
        for entry in entries {
            let at = place.entry(entry);
            let version = self.version(entry, entries, &at, problems);
            let read = counts::read(&at, self.needs, problems);
            let (Some(version), Some(read)) = (version, read) else {
                whole = false;
                continue;
            };
            let exposures = read.counted.tally.assigned;
            if exposures > 0 && weights.and_then(|weights| weights.get(version)) == Some(&0) {
                let message = format!(
                    "{exposures} exposures of a version without weight: give it its weight, or leave out what reached it some other way"
                );
                at.problem(problems, message);
                whole = false;
            }
            if let Some(slot) = counted.get_mut(version) {
                *slot = Some(read.counted.clone());
            }
            cells.push(read);
        }
        for (version, name) in self.names.iter().enumerate() {
            let weighs = weights.and_then(|weights| weights.get(version)).is_some_and(|weight| *weight > 0);
            if weighs && !entries.iter().any(|entry| entry.key == *name) {
                whole = false;
                if self.misspelt(entries) == Some(name) {
                    continue;
                }
                let message = format!(
                    "version {0} has weight but no counts: write `{name}: {{exposures: 0}}` if nothing reached it; if its counts are lost, \
                     leave the epoch out, for all versions",
                    shown(name)
                );
                place.problem(problems, message);
            }
        }
        whole.then(|| counted.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn compare_at(&self, place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Vec<u64>> {
        let Some(experiment) = self.experiment else { return Some(Vec::new()) };
        let ratios = experiment.guardrails.iter().filter_map(|guardrail| match guardrail.bound {
            Bound::Latency { ratio } => Some(ratio),
            Bound::ErrorRate { .. } => None,
        });
        let Some(ratio) = ratios.reduce(f64::max) else {
            let message = "nothing is compared at a latency: write a guardrail such as `{name: slower, latency: {ratio: 1.5}}` in the \
                           `spec`, or leave this out";
            place.problem(problems, message);
            return None;
        };
        let most = if experiment.requests_are_units() { LATENCY_QUANTILES.len() } else { 1 };
        let before = problems.len();
        let items = place.items(1..=most, "a list of latencies such as `[50ms, 200ms]`", problems)?;
        let mut limits: Vec<u64> = Vec::with_capacity(items.len());
        for item in items.iter().take(most) {
            let text = item.text("a latency such as `50ms`", problems)?;
            let limit = match super::decimal::nanoseconds(text) {
                Ok(nanoseconds) if nanoseconds >= 1_000 && nanoseconds % 1_000 == 0 => nanoseconds / 1_000,
                Ok(_) => {
                    item.problem(problems, format!("{} is not a whole number of microseconds above 0", shown(text)));
                    continue;
                }
                Err(problem) => {
                    item.problem(problems, format!("{} {problem}", shown(text)));
                    continue;
                }
            };
            #[expect(clippy::cast_precision_loss, reason = "a plausibility check")]
            let beyond = limit as f64 * ratio > experiment.deadline_ms as f64 * 1_000.0;
            if beyond {
                let deadline = format_milliseconds(experiment.deadline_ms);
                let message = format!(
                    "{} times the ratio of {} is beyond the deadline of {deadline}, where nobody is seen to be slower",
                    shown(text),
                    crate::words::number(ratio)
                );
                item.problem(problems, message);
            } else if limits.last().is_some_and(|last| *last >= limit) {
                item.problem(problems, "latencies must rise");
            }
            limits.push(limit);
        }
        (problems.len() == before).then_some(limits)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

const _: () = assert!(MOST_COUNT < u64::MAX / (16 * MOST_EPOCHS as u64), "totals do not saturate");
