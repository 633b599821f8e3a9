//! How much evidence is still missing, and how long that may take at this traffic. An extrapolation for people: it decides nothing.
//!
//! ln E of a claim that is true grows by about the same for each exposure of its version, so the growth over the latest exposures and
//! the traffic of the same time say when the bar may be reached. Two stretches are looked at, the later half and the later quarter of
//! all exposures; where they disagree the answer is a range, and where it did not grow over one of them, or on the whole, it may never be.

use crate::assess::{Assessment, Assessor, Depth};
use crate::decide::part_of_ladder;
use crate::gates;
use crate::spec::{Experiment, Strategy};
use crate::state::{EpochCounts, Observations, Phase, State, Step, Verdict};
use crate::words::count;
use serde::{Deserialize, Serialize};
use weir_core::report::Counts;

/// With fewer settled exposures of a version than these a trend is noise.
const LEAST_EXPOSURES: u64 = 100;
/// Growth is looked at over the exposures after these parts of all.
const STRETCHES: [f64; 2] = [0.5, 0.75];
/// Beyond so many milliseconds nobody can say: a year.
const LONGEST_MS: f64 = 365.0 * 86_400_000.0;

/// Something that a decision waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// The version it is about.
    pub version: String,
    /// What.
    pub claim: Claim,
    /// How much there is: a natural log of an e-value, or exposures.
    pub have: f64,
    /// How much is needed.
    pub need: f64,
    /// When that may be.
    pub outlook: Outlook,
}

/// What a decision waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Claim {
    /// Evidence that a limit is kept, so that a canary climbs.
    Climb {
        /// The limit's name.
        gate: String,
    },
    /// Evidence that a limit is kept, as a promotion needs it.
    Met {
        /// The limit's name.
        gate: String,
    },
    /// Evidence that it is not the best, so that another may win.
    Beaten,
    /// Settled exposures, whatever they show.
    Exposures,
    /// The same since the canary stands on its rung.
    Rung,
    /// A person's approval of what waits.
    Approval,
}

/// When a bar may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Outlook {
    /// It is.
    Reached,
    /// At this traffic, within so many milliseconds, at the growth of the latest exposures.
    Within {
        /// At the faster growth of the two.
        soonest_ms: u64,
        /// At the slower; `None`: over one of the two, or on the whole, it did not grow, so it may never be.
        latest_ms: Option<u64>,
    },
    /// Evidence does not grow: it may never be.
    NotGrowing,
    /// Too little was seen, or there is no traffic.
    Unknown,
}

/// What stood at an earlier time.
struct Then {
    at: u64,
    assessment: Assessment,
}

/// Everything that a verdict, the next rung and a promotion still wait for. Of an experiment that has concluded, nothing.
///
/// `now` in Unix milliseconds; `assessment` is of now.
#[must_use]
pub fn outlook(
    experiment: &Experiment,
    state: &State,
    observations: &Observations,
    assessment: &Assessment,
    now: u64,
) -> Vec<Missing> {
    if matches!(state.phase, Phase::Pending | Phase::Concluded { .. }) {
        return Vec::new();
    }
    let look = Look { now, assessment, earlier: earlier(experiment, state, observations, now) };
    let part = match &experiment.strategy {
        Strategy::Canary { steps } if state.rung + 1 < steps.len() => Some(part_of_ladder(steps, state.rung)),
        _ => None,
    };
    let mut missing: Vec<Missing> = awaited(experiment, state).into_iter().collect();
    for (index, version) in assessment.versions.iter().enumerate().filter(|(_, version)| !version.out) {
        let name = &version.name;
        let mut add = |claim: Claim, have: f64, need: f64, value: &dyn Fn(&Assessment) -> Option<f64>| {
            // A count grows from nothing, too.
            let seen = if claim == Claim::Rung { have.max(f64::MIN_POSITIVE) } else { have };
            let outlook = look.reaches(index, seen, need, value);
            missing.push(Missing { version: name.clone(), claim, have, need, outlook });
        };
        if version.settled.assigned < experiment.min_exposures {
            #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
            let (have, need) = (version.settled.assigned as f64, experiment.min_exposures as f64);
            #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
            let count = |then: &Assessment| then.versions.get(index).map(|version| version.settled.assigned as f64);
            add(Claim::Exposures, have, need, &count);
        } else if matches!(experiment.strategy, Strategy::Canary { .. })
            && !version.baseline
            && version.settled_at_these_weights < experiment.min_exposures
        {
            #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
            let (have, need) = (version.settled_at_these_weights as f64, experiment.min_exposures as f64);
            // Each exposure is one, also those that came before this rung.
            let at_this_rate = |then: &Assessment| {
                let before = then.versions.get(index)?.settled.assigned;
                #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
                let since = version.settled.assigned.saturating_sub(before) as f64;
                Some(have - since)
            };
            add(Claim::Rung, have, need, &at_this_rate);
        }
        if !version.baseline {
            for (at, gate) in version.gates.iter().enumerate().filter(|(_, gate)| gate.covered) {
                if gate.verdict != Verdict::NotEnoughEvidence {
                    continue;
                }
                let value = |then: &Assessment| Some(then.versions.get(index)?.gates.get(at)?.log_e_met);
                if let Some(part) = part.filter(|part| gate.log_e_met < part * gate.met_at) {
                    add(Claim::Climb { gate: gate.name.clone() }, gate.log_e_met, part * gate.met_at, &value);
                }
                add(Claim::Met { gate: gate.name.clone() }, gate.log_e_met, gate.met_at, &value);
            }
        }
        // The best is not waited for to be beaten: of the open ones that is whom evidence speaks against least.
        let against = |log_e: Option<f64>| log_e.unwrap_or(f64::NEG_INFINITY);
        let least = assessment.versions.iter().filter(|other| !other.out).map(|other| against(other.log_e_beaten));
        let least = least.fold(f64::INFINITY, f64::min);
        if let Some(log_e) = version.log_e_beaten.filter(|log_e| version.may_be_best && *log_e > least) {
            let value = |then: &Assessment| then.versions.get(index)?.log_e_beaten;
            add(Claim::Beaten, log_e, gates::beaten_at(experiment), &value);
        }
    }
    missing
}

/// What waits for somebody to approve it.
fn awaited(experiment: &Experiment, state: &State) -> Option<Missing> {
    let version = match &state.awaited.as_ref()?.step {
        Step::Promotion { version } => experiment.version_name(*version).to_owned(),
        Step::Weights { weights, .. } => {
            let named = experiment.versions.iter().zip(weights).zip(state.weights());
            let moved =
                named.filter(|((_, wanted), here)| wanted != here).map(|((version, _), _)| version.name.as_str());
            moved.collect::<Vec<_>>().join(", ")
        }
    };
    Some(Missing { version, claim: Claim::Approval, have: 0.0, need: 1.0, outlook: Outlook::Unknown })
}

/// What an evident winner still waits for until it is promoted, in a sentence; `None` where nothing keeps it, or nobody has won.
#[must_use]
pub fn promotion_waits(experiment: &Experiment, state: &State, assessment: &Assessment) -> Option<String> {
    let winner = assessment.winner.as_deref().filter(|_| !state.is_concluded())?;
    let index = experiment.versions.iter().position(|version| version.name == winner)?;
    let version = assessment.versions.get(index)?;
    let why = match &experiment.strategy {
        _ if !state.is_running() => "it is paused, and is promoted once it is resumed".to_owned(),
        _ if state.is_tripped(index) => "the breaker holds it until what it doubted has settled".to_owned(),
        Strategy::Canary { steps } if index != experiment.baseline && state.rung + 1 < steps.len() => {
            format!("it stands on rung {} of {}, and climbs the others first", state.rung + 1, steps.len())
        }
        Strategy::Canary { .. }
            if index != experiment.baseline && version.settled_at_these_weights < experiment.min_exposures =>
        {
            format!(
                "it has {} of the {} settled exposures it needs on the last rung",
                count(version.settled_at_these_weights),
                count(experiment.min_exposures)
            )
        }
        _ if experiment.approvals.promotion => "somebody must approve it".to_owned(),
        _ => return None,
    };
    Some(format!("{winner} is not promoted yet: {why}."))
}

struct Look<'a> {
    now: u64,
    assessment: &'a Assessment,
    earlier: Vec<Then>,
}

impl Look<'_> {
    fn reaches(&self, version: usize, have: f64, need: f64, value: &dyn Fn(&Assessment) -> Option<f64>) -> Outlook {
        if have >= need {
            return Outlook::Reached;
        }
        let assigned = |assessment: &Assessment| assessment.versions.get(version).map_or(0, |v| v.settled.assigned);
        let (total, mine) = (self.assessment.settled_exposures, assigned(self.assessment));
        let weight = self.assessment.versions.get(version).map_or(0, |version| version.weight);
        let times: Vec<Option<f64>> = self
            .earlier
            .iter()
            .filter(|then| mine.saturating_sub(assigned(&then.assessment)) >= LEAST_EXPOSURES && self.now > then.at)
            .filter_map(|then| {
                #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
                let (exposures, traffic, time) = (
                    mine.saturating_sub(assigned(&then.assessment)) as f64,
                    total.saturating_sub(then.assessment.settled_exposures) as f64,
                    self.now.saturating_sub(then.at) as f64,
                );
                let growth = (have - value(&then.assessment)?) / exposures;
                // Exposures of this version per millisecond, at the weight in force.
                let rate = traffic / time * f64::from(weight) / f64::from(crate::spec::TOTAL_WEIGHT);
                Some((growth * rate > 0.0).then(|| (need - have) / (growth * rate)).filter(|ms| *ms < LONGEST_MS))
            })
            .collect();
        let known: Vec<f64> = times.iter().flatten().copied().collect();
        let soonest = known.iter().copied().reduce(f64::min);
        // Growth of late alone may be chance: on the whole it must have grown too.
        let steady = known.len() == times.len() && have > 0.0;
        let latest = known.iter().copied().reduce(f64::max).filter(|_| steady);
        match soonest {
            _ if times.is_empty() || weight == 0 => Outlook::Unknown,
            None => Outlook::NotGrowing,
            Some(soonest) => Outlook::Within { soonest_ms: whole(soonest), latest_ms: latest.map(whole) },
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within a year")]
fn whole(milliseconds: f64) -> u64 {
    milliseconds.max(0.0).ceil() as u64
}

/// What stood after about a half and three quarters of all exposures, by whole epochs; and at the beginning, where there is
/// nothing in between.
fn earlier(experiment: &Experiment, state: &State, observations: &Observations, now: u64) -> Vec<Then> {
    let exposures = |counts: &EpochCounts<Counts>| counts.settled.iter().map(|cell| cell.assigned).sum::<u64>();
    let total: u64 = observations.epochs.values().map(exposures).sum();
    let mut found: Vec<Then> = Vec::new();
    let mut assessor = Assessor::default();
    for part in STRETCHES {
        #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
        let most = total as f64 * part;
        let mut sum = 0;
        let mut kept = 0;
        for (epoch, counts) in &observations.epochs {
            sum += exposures(counts);
            #[expect(clippy::cast_precision_loss, reason = "an extrapolation")]
            if sum as f64 > most {
                break;
            }
            kept = *epoch;
        }
        // When the epoch after those began.
        let after = state.epochs.iter().find(|epoch| epoch.epoch > kept);
        let Some(at) = after.map(|epoch| epoch.began_at).filter(|at| *at < now) else { continue };
        if found.last().is_some_and(|then| then.at == at) {
            continue;
        }
        let until = |(epoch, counts): (&u32, &EpochCounts<Counts>)| (*epoch <= kept).then(|| (*epoch, counts.clone()));
        let shown = Observations { epochs: observations.epochs.iter().filter_map(until).collect() };
        found.push(Then { at, assessment: assessor.assess(experiment, state, &shown, Depth::Decision) });
    }
    found
}
