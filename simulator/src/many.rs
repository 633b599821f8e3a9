//! Many runs: how often what happens, how long it takes, what it costs — each with its uncertainty.

use crate::bounds::interval;
use crate::parallel;
use crate::policy::Name;
use crate::random::seed_of;
use crate::run::{Ending, Run};
use crate::scenario::Scenario;
use crate::world::{Watching, simulate};
use serde::Serialize;

/// Confidence of every interval here.
pub const CONFIDENCE: f64 = 0.95;

/// Most users of all runs that go on at once: some 32 bytes each.
const MOST_USERS_AT_ONCE: u64 = 20_000_000;

/// How often, with its Clopper–Pearson interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// In so many runs.
    pub count: u64,
    /// Of so many.
    pub of: u64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Share {
    /// So many of so many.
    #[must_use]
    pub fn new(count: u64, of: u64) -> Self {
        let (low, high) = interval(count, of, CONFIDENCE);
        Self { count, of, low, high }
    }

    /// The share itself; NaN of none.
    #[must_use]
    pub fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
        let share = self.count as f64 / self.of as f64;
        share
    }
}

/// Quantiles over **all** runs: `None` where it did not happen in so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// 10% of runs by.
    pub p10: Option<u64>,
    /// The median.
    pub p50: Option<u64>,
    /// 90% of runs by.
    pub p90: Option<u64>,
}

impl Quantiles {
    /// Of what happened in some of `runs` runs.
    #[must_use]
    pub fn of(mut found: Vec<u64>, runs: u64) -> Self {
        found.sort_unstable();
        let at = |q: f64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank"
            )]
            let rank = (q * runs as f64).ceil() as usize;
            found.get(rank.max(1) - 1).copied()
        };
        Self { p10: at(0.1), p50: at(0.5), p90: at(0.9) }
    }
}

/// A mean and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mean {
    /// The mean over runs.
    pub mean: f64,
    /// 1.96 of its standard errors, either way.
    pub plus_minus: f64,
}

impl Mean {
    /// Of values, summed in their order.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
        let n = values.len() as f64;
        if n < 1.0 {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, plus_minus: if n < 2.0 { 0.0 } else { 1.96 * (squares / (n - 1.0) / n).sqrt() } }
    }
}

/// What came out of many runs of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Many {
    /// The experiment's name.
    pub experiment: String,
    /// Who decided.
    pub policy: String,
    /// How many runs.
    pub runs: u64,
    /// The scenario's seed: run i has one of its own, made of it.
    pub seed: u64,
    /// Which versions are bad.
    pub bad: Vec<String>,
    /// How they ended.
    pub endings: Vec<Ended>,
    /// A candidate that is not bad was rolled back. `None` where all are bad.
    pub false_roll_back: Option<Share>,
    /// A bad candidate was promoted. `None` where none is bad.
    pub bad_promoted: Option<Share>,
    /// A bad candidate was not rolled back within the time. `None` where none is bad.
    pub missed: Option<Share>,
    /// Requests until the conclusion.
    pub requests: Quantiles,
    /// Virtual milliseconds until the conclusion.
    pub time_ms: Quantiles,
    /// Requests that met a bad version before the conclusion.
    pub met_bad: Mean,
    /// The same over all the time that was simulated: whoever promotes a bad version goes on sending requests to it.
    pub met_bad_in_all: Mean,
    /// What was lost in all the time against the best version that keeps the limits.
    pub regret: Mean,
    /// Runs in which something else came out than the scenario expects; absent without an expectation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unexpected: Option<Share>,
    /// Whether that is as the scenario expects: its interval does not refute that the share that must be is as expected. Absent
    /// without an expectation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_expected: Option<bool>,
    /// What of the scenario some runs ended before, and how many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<Unreached>,
}

/// What of the scenario some runs ended before.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unreached {
    /// As in "the silence at 3h".
    pub what: String,
    /// How many runs ended before it.
    pub share: Share,
}

/// One way to end.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// On which version.
    pub version: String,
    /// How often.
    pub share: Share,
}

/// Runs a scenario many times on every core. `progress` hears now and then how many are done.
#[must_use]
pub fn run(scenario: &Scenario, policy: Name, runs: u64, progress: &(dyn Fn(u64) + Sync)) -> Many {
    let words = scenario.expect.as_ref().is_some_and(|expect| !expect.says.is_empty());
    let watching = if words { Watching::Words } else { Watching::Outcome };
    let users = scenario.users.as_ref().map_or(0, |users| u64::from(users.count));
    let all = parallel::map_on(parallel::at_once(users, MOST_USERS_AT_ONCE), runs, progress, |run| {
        let seed = seed_of(scenario.seed, run);
        simulate(scenario, policy.make(seed).as_mut(), seed, watching)
    });
    summary(scenario, policy.make(0).name(), &all)
}

/// What came out.
#[must_use]
pub fn summary(scenario: &Scenario, policy: String, all: &[Run]) -> Many {
    let runs = all.len() as u64;
    let share = |found: &dyn Fn(&Run) -> bool| Share::new(all.iter().filter(|run| found(run)).count() as u64, runs);
    let bad = crate::truth::bad(scenario);
    let candidates = || (0..bad.len()).filter(|version| *version != scenario.experiment.baseline);
    let is_bad = |version: usize| bad.get(version) == Some(&true);
    let rolled_back = |run: &Run, version: usize| {
        run.versions.get(version).is_some_and(|version| version.rolled_back_at_ms.is_some())
    };
    let mut endings: Vec<Ended> = Vec::new();
    for (_, ending) in Ending::WORDS {
        for version in 0..bad.len() {
            let share = share(&|run| run.ending == ending && run.version == version);
            if share.count > 0 {
                let version = scenario.experiment.version_name(version).to_owned();
                endings.push(Ended { ending, version, share });
            }
        }
    }
    let concluded = || all.iter().filter(|run| run.ending != Ending::Undecided);
    #[expect(clippy::cast_precision_loss, reason = "requests of a run")]
    let met: Vec<f64> = all.iter().map(|run| run.met_bad as f64).collect();
    let mean = |of: fn(&Run) -> f64| Mean::of(&all.iter().map(of).collect::<Vec<_>>());
    let unreached = scenario.dated().into_iter().filter_map(|(what, at)| {
        let share = share(&|run| run.ended_at_ms <= at);
        (share.count > 0).then_some(Unreached { what, share })
    });
    let some_bad = candidates().any(is_bad);
    let unexpected = scenario.expect.as_ref().map(|_| share(&|run| !crate::expect::broken(scenario, run).is_empty()));
    let must = scenario.expect.as_ref().map_or(1.0, |expect| expect.share);
    Many {
        experiment: scenario.experiment.name.clone(),
        policy,
        runs,
        seed: scenario.seed,
        bad: candidates()
            .filter(|version| is_bad(*version))
            .map(|version| scenario.experiment.version_name(version).to_owned())
            .collect(),
        endings,
        false_roll_back: candidates()
            .any(|version| !is_bad(version))
            .then(|| share(&|run| candidates().any(|version| !is_bad(version) && rolled_back(run, version)))),
        bad_promoted: some_bad.then(|| share(&|run| run.ending == Ending::Promoted && is_bad(run.version))),
        missed: some_bad
            .then(|| share(&|run| candidates().any(|version| is_bad(version) && !rolled_back(run, version)))),
        requests: Quantiles::of(concluded().map(|run| run.requests).collect(), runs),
        time_ms: Quantiles::of(concluded().map(|run| run.ended_at_ms).collect(), runs),
        met_bad: Mean::of(&met),
        met_bad_in_all: mean(|run| run.met_bad_in_all),
        regret: mean(|run| run.regret),
        as_expected: unexpected.map(|share| share.low <= 1.0 - must),
        unexpected,
        unreached: unreached.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_runs_whether_it_happened_or_not() {
        let quantiles = Quantiles::of(vec![30, 10, 20, 50, 40, 60], 10);
        assert_eq!((quantiles.p10, quantiles.p50, quantiles.p90), (Some(10), Some(50), None));
        assert_eq!(Quantiles::of(Vec::new(), 0), Quantiles::default());
    }

    #[test]
    fn a_mean_has_the_standard_error_of_a_sample() {
        let mean = Mean::of(&[1.0, 2.0, 3.0]);
        assert_eq!((mean.mean, mean.plus_minus), (2.0, 1.96 / 3.0_f64.sqrt()));
    }
}
