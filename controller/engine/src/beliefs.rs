//! What is believed: posteriors per version and metric, and what follows from them. Informs people and steers weights; decides
//! nothing.

use crate::assess::Depth;
use crate::cells::{Cell, Moments, Span, Tally, Threshold};
use crate::evidence::Stretch;
use crate::latencies::Latencies;
use crate::spec::{Bound, Direction, Experiment, Limit, RewardKind};
use crate::state::{LATENCY_QUANTILES, State};
use std::collections::BTreeMap;
use weir_stats::belief::{self, Contender, Posterior, Profile, Stratum};
use weir_stats::beta::Beta;
use weir_stats::quantile::Bucket;
use weir_stats::student::{MeanStratum, faded_mean};

/// Degrees of freedom that a belief about a mean needs: effective exposures, less one.
const LEAST_DEGREES: f64 = 29.0;

/// Posteriors and what follows from them, per version.
pub(crate) struct Beliefs {
    pub(crate) errors: Vec<Beta>,
    /// Mean latency in seconds; `None` where too little is known.
    pub(crate) latencies: Vec<Option<Posterior>>,
    /// Reward rate, or mean reward; `None` without a reward, or where too little is known.
    pub(crate) rewards: Vec<Option<Posterior>>,
    /// `None` where nothing is believed of any limit.
    pub(crate) feasible: Vec<Option<f64>>,
    pub(crate) best: Vec<Option<f64>>,
    pub(crate) best_and_feasible: Vec<Option<f64>>,
    pub(crate) expected_loss: Vec<Option<f64>>,
    pub(crate) none_feasible: Option<f64>,
    pub(crate) coverage: f64,
    /// The epochs with identical weights that have the most settled exposures: quantiles are theirs.
    pub(crate) stratum: LatencyStratum,
}

/// Latencies of the epochs that share one set of weights.
#[derive(Debug, Default)]
pub(crate) struct LatencyStratum {
    /// Per version.
    pub(crate) buckets: Vec<Vec<Bucket>>,
    /// Per version, how many latencies.
    pub(crate) counts: Vec<u64>,
}

/// A stretch, and as how much of one its exposures count.
struct Seen<'s, 'a, C> {
    stretch: &'s Stretch<'a, C>,
    part: f64,
}

impl Beliefs {
    /// Nothing is believed of `count` versions.
    pub(crate) fn none(count: usize) -> Self {
        Self {
            errors: vec![Beta::JEFFREYS; count],
            latencies: vec![None; count],
            rewards: vec![None; count],
            feasible: vec![None; count],
            best: vec![None; count],
            best_and_feasible: vec![None; count],
            expected_loss: vec![None; count],
            none_feasible: None,
            coverage: 1.0,
            stratum: LatencyStratum::default(),
        }
    }

    /// With [`Depth::Decision`], without what only metrics show: latencies.
    pub(crate) fn of<C: Cell>(
        experiment: &Experiment,
        state: &State,
        stretches: &[Stretch<'_, C>],
        depth: Depth,
    ) -> Self {
        let shown = depth == Depth::Complete;
        let count = experiment.versions.len();
        let compared: Vec<usize> = (0..count).filter(|version| !state.is_out(*version)).collect();
        // Epochs in which some compared version had no weight would compare different traffic.
        let common: Vec<&Stretch<'_, C>> = stretches
            .iter()
            .filter(|stretch| compared.iter().all(|version| stretch.propensity(*version) > 0.0))
            .collect();
        let all: Vec<&Stretch<'_, C>> = stretches.iter().collect();
        let whole = Exposures::new(experiment, state, &common, &all, |_| 1.0);
        let errors = whole.errors(count);
        let mut beliefs = Self {
            feasible: whole.feasible(count, &errors),
            latencies: (0..count)
                .map(|version| if shown { mean(whole.of(version), version, Cell::latency) } else { None })
                .collect(),
            rewards: whole.rewards(count),
            errors,
            coverage: coverage(&common, &all, count),
            stratum: if shown { LatencyStratum::of(&common, count) } else { LatencyStratum::default() },
            ..Self::none(count)
        };
        if let Some(reward) = &experiment.reward {
            let maximize = reward.direction == Direction::Maximize;
            match experiment.half_life_ms() {
                // Who is best is asked of what is true lately.
                Some(half_life) => {
                    let now = state.epoch().map_or(0, |epoch| epoch.began_at);
                    let part = |stretch: &Stretch<'_, C>| fade(now.saturating_sub(stretch.epoch.began_at), half_life);
                    let lately = Exposures::new(experiment, state, &common, &all, part);
                    let feasible = lately.feasible(count, &lately.errors(count));
                    let rewards = lately.rewards(count);
                    beliefs.rank(&compared, maximize, &rewards, &feasible);
                }
                None => {
                    let (rewards, feasible) = (beliefs.rewards.clone(), beliefs.feasible.clone());
                    beliefs.rank(&compared, maximize, &rewards, &feasible);
                }
            }
        }
        beliefs
    }

    fn rank(&mut self, compared: &[usize], maximize: bool, rewards: &[Option<Posterior>], feasible: &[Option<f64>]) {
        let contenders: Option<Vec<Contender>> = compared
            .iter()
            .map(|version| {
                let reward = (*rewards.get(*version)?)?;
                // Of whose limits nothing is known is not shut out for it.
                Some(Contender { reward, feasible: feasible.get(*version).copied()?.unwrap_or(1.0) })
            })
            .collect();
        // Before every compared version has a belief about its reward nobody can be ranked.
        let Some(contenders) = contenders else { return };
        let ranking = belief::best_and_feasible(&contenders, maximize);
        for (into, from) in [
            (&mut self.best, &ranking.best),
            (&mut self.best_and_feasible, &ranking.best_and_feasible),
            (&mut self.expected_loss, &ranking.expected_loss),
        ] {
            into.fill(Some(0.0));
            for (version, value) in compared.iter().zip(from) {
                if let Some(slot) = into.get_mut(*version) {
                    *slot = Some(*value);
                }
            }
        }
        // Who is out is not compared: nothing is known of what choosing it would lose.
        for (version, loss) in self.expected_loss.iter_mut().enumerate() {
            if !compared.contains(&version) {
                *loss = None;
            }
        }
        // Where nothing is known of anybody's limits, that one keeps them is no belief.
        let known = compared.iter().any(|version| feasible.get(*version).copied().flatten().is_some());
        self.none_feasible = known.then_some(ranking.none_feasible);
    }
}

/// As how much of one an exposure counts that is so old. Ages beyond a hundred half-lives count as that.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of an experiment")]
fn fade(age_ms: u64, half_life_ms: u64) -> f64 {
    libm::exp2(-(age_ms as f64 / half_life_ms.max(1) as f64).min(100.0))
}

/// What beliefs are made from: per version, the stretches that it is believed by.
struct Exposures<'e, 's, 'a, C> {
    experiment: &'e Experiment,
    state: &'e State,
    common: Vec<Seen<'s, 'a, C>>,
    all: Vec<Seen<'s, 'a, C>>,
}

impl<'e, 's, 'a, C: Cell> Exposures<'e, 's, 'a, C> {
    fn new(
        experiment: &'e Experiment,
        state: &'e State,
        common: &[&'s Stretch<'a, C>],
        all: &[&'s Stretch<'a, C>],
        part: impl Fn(&Stretch<'a, C>) -> f64,
    ) -> Self {
        let seen = |stretches: &[&'s Stretch<'a, C>]| {
            stretches.iter().map(|stretch| Seen { stretch, part: part(stretch) }).collect()
        };
        Self { experiment, state, common: seen(common), all: seen(all) }
    }

    fn of(&self, version: usize) -> &[Seen<'s, 'a, C>] {
        if self.state.is_out(version) { &self.all } else { &self.common }
    }

    fn errors(&self, count: usize) -> Vec<Beta> {
        (0..count).map(|version| rate(self.of(version), version, |tally| (tally.bad(), tally.assigned))).collect()
    }

    fn rewards(&self, count: usize) -> Vec<Option<Posterior>> {
        let reward = |version: usize| -> Option<Posterior> {
            match self.experiment.reward.as_ref()?.kind {
                // Of opportunities, not of exposures: where a later request rewards the first of several, a version whose users
                // come more often is not worse for it.
                RewardKind::Binary => {
                    Some(rate(self.of(version), version, |tally| (tally.rewarded, tally.opportunities())).into())
                }
                RewardKind::Real => mean(self.of(version), version, |cell| {
                    let opportunities = cell.tally().opportunities();
                    Moments { count: opportunities, ..cell.reward() }
                }),
            }
        };
        (0..count).map(reward).collect()
    }

    fn feasible(&self, count: usize, errors: &[Beta]) -> Vec<Option<f64>> {
        // Each is compared with the baseline in the epochs that the version itself uses.
        let in_common = Baseline::of(self.experiment, errors, &self.common);
        let in_all = self.state.out.contains(&true).then(|| Baseline::of(self.experiment, errors, &self.all));
        let baseline = |version: usize| in_all.as_ref().filter(|_| self.state.is_out(version)).unwrap_or(&in_common);
        let of = |version| feasible(self.experiment, version, errors, self.of(version), baseline(version));
        (0..count).map(of).collect()
    }
}

/// `of`: how many events of how many exposures that could show one.
fn rate<C: Cell>(seen: &[Seen<'_, '_, C>], version: usize, of: impl Fn(&Tally) -> (u64, u64)) -> Beta {
    let strata = seen.iter().map(|Seen { stretch, part }| {
        let (events, exposures) = of(&stretch.tally(version));
        (Stratum { propensity: stretch.propensity(version), exposures, events }, *part)
    });
    belief::faded(strata).posterior
}

fn mean<C: Cell>(seen: &[Seen<'_, '_, C>], version: usize, moments: impl Fn(&C) -> Moments) -> Option<Posterior> {
    let (strata, parts): (Vec<MeanStratum>, Vec<f64>) = seen
        .iter()
        .filter_map(|Seen { stretch, part }| {
            let found = moments(stretch.cell(version)?);
            let stratum = MeanStratum {
                propensity: stretch.propensity(version),
                exposures: found.count,
                sum: found.sum,
                sum_squares: found.squares,
            };
            Some((stratum, *part))
        })
        .unzip();
    // With fewer the tails say more about the prior than about the version.
    let believed = faded_mean(&strata, |at| parts.get(at).copied().unwrap_or(0.0));
    let posterior = believed.posterior.filter(|student| student.degrees >= LEAST_DEGREES);
    posterior.map(Posterior::from)
}

/// What guardrails compare candidates with.
struct Baseline {
    /// `None` where failures were not counted.
    errors: Option<Profile>,
    /// Per quantile of the grid, how many are slow; none without a guardrail on latency, or where latencies are not known.
    slow: Vec<Profile>,
}

impl Baseline {
    fn of<C: Cell>(experiment: &Experiment, errors: &[Beta], seen: &[Seen<'_, '_, C>]) -> Self {
        let baseline = experiment.baseline;
        let asked = experiment.guardrails.iter().any(|guardrail| matches!(guardrail.bound, Bound::Latency { .. }));
        let quantiles = if asked { LATENCY_QUANTILES.len() } else { 0 };
        Self {
            errors: counted_errors(errors, seen, baseline).map(|errors| Profile::new(errors.into())),
            slow: (0..quantiles)
                .map_while(|at| slow(seen, baseline, at, 1.0))
                .map(|slow| Profile::new(slow.into()))
                .collect(),
        }
    }
}

/// The belief about a version's errors; `None` where failures were not counted.
fn counted_errors<C: Cell>(errors: &[Beta], seen: &[Seen<'_, '_, C>], version: usize) -> Option<Beta> {
    let counted = seen.iter().filter_map(|seen| seen.stretch.cell(version)).all(Cell::counts_failures);
    errors.get(version).copied().filter(|_| counted)
}

/// How many of a version's exposures took `ratio` times the latency of the grid, or longer.
fn slow<C: Cell>(seen: &[Seen<'_, '_, C>], version: usize, at: usize, ratio: f64) -> Option<Beta> {
    slow_rate(seen, version, |stretch| {
        #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
        let limit = stretch.epoch.latency_grid.get(at).map_or(f64::INFINITY, |at| *at as f64);
        stretch.compared_at(limit * ratio)
    })
}

/// Probability that a version keeps all its limits, as far as they were measured. Limits on one metric are nested, so that the
/// tightest says it all; errors and latency are taken as independent, and so is the baseline of a guardrail from the version's
/// objectives. `None` where none was measured, or there is none.
fn feasible<C: Cell>(
    experiment: &Experiment,
    version: usize,
    errors: &[Beta],
    seen: &[Seen<'_, '_, C>],
    baseline: &Baseline,
) -> Option<f64> {
    let own = counted_errors(errors, seen, version);
    let (mut of_errors, mut of_latency) = (None, None);
    let tighten = |least: &mut Option<f64>, to: f64| *least = Some(least.map_or(to, |least| least.min(to)));
    for objective in &experiment.objectives {
        match objective.limit {
            Limit::ErrorRate { max } => own.into_iter().for_each(|own| tighten(&mut of_errors, own.cdf(max))),
            Limit::Latency { quantile, max_us } => {
                let slow = slow_rate(seen, version, |_| Threshold::Above(max_us));
                slow.into_iter().for_each(|slow| tighten(&mut of_latency, slow.cdf(1.0 - quantile)));
            }
        }
    }
    if version == experiment.baseline {
        return both(of_errors, of_latency);
    }
    let of_own = own.map(|own| Profile::new(own.into()));
    for guardrail in &experiment.guardrails {
        match guardrail.bound {
            Bound::ErrorRate { ratio, margin } => {
                if let (Some(own), Some(baseline)) = (&of_own, &baseline.errors) {
                    tighten(&mut of_errors, belief::within(own, baseline, ratio, margin));
                }
            }
            Bound::Latency { ratio } => {
                for (at, of_baseline) in baseline.slow.iter().enumerate() {
                    let Some(slow) = slow(seen, version, at, ratio) else { break };
                    tighten(&mut of_latency, belief::within(&Profile::new(slow.into()), of_baseline, 1.0, 0.0));
                }
            }
        }
    }
    both(of_errors, of_latency)
}

/// Of two that are independent, as far as they are known.
fn both(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one * other),
        (one, other) => one.or(other),
    }
}

/// The share of slow exposures among those of which it is known, taking the middle of what a bucket leaves open: belief takes no
/// side. `None` where exposures were served and no latency of them is known.
fn slow_rate<C: Cell>(
    seen: &[Seen<'_, '_, C>],
    version: usize,
    threshold: impl Fn(&Stretch<'_, C>) -> Threshold,
) -> Option<Beta> {
    let cells = || seen.iter().filter_map(|seen| seen.stretch.cell(version));
    if cells().all(|cell| cell.latencies().next().is_none()) && cells().any(|cell| cell.tally().served() > 0) {
        return None;
    }
    let strata = seen.iter().map(|Seen { stretch, part }| {
        let unknown = stretch.unknown(version);
        let (certain, possible) = stretch.slow(version, threshold(stretch));
        let stratum = Stratum {
            propensity: stretch.propensity(version),
            exposures: stretch.tally(version).assigned.saturating_sub(unknown),
            events: u64::midpoint(certain, possible.saturating_sub(unknown)),
        };
        (stratum, *part)
    });
    Some(belief::faded(strata).posterior)
}

fn coverage<C: Cell>(common: &[&Stretch<'_, C>], all: &[&Stretch<'_, C>], versions: usize) -> f64 {
    let exposures = |stretches: &[&Stretch<'_, C>]| -> u64 {
        let each = stretches.iter().flat_map(|stretch| (0..versions).map(|version| stretch.tally(version).assigned));
        each.fold(0, u64::saturating_add)
    };
    let (covered, total) = (exposures(common), exposures(all));
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    if total == 0 { 1.0 } else { covered as f64 / total as f64 }
}

impl LatencyStratum {
    fn of<C: Cell>(stretches: &[&Stretch<'_, C>], versions: usize) -> Self {
        let mut exposures: BTreeMap<&[u32], u64> = BTreeMap::new();
        for stretch in stretches {
            let sum = exposures.entry(&stretch.epoch.weights).or_default();
            *sum = sum.saturating_add(stretch.exposures());
        }
        // The most exposures; of several with as many, the one that comes last in the order of weights: any rule would do.
        let Some((weights, _)) = exposures.into_iter().max_by_key(|(_, exposures)| *exposures) else {
            return Self::default();
        };
        let chosen = || stretches.iter().filter(|stretch| stretch.epoch.weights == weights);
        let of = |version: usize| {
            let mut latencies = Latencies::default();
            chosen().filter_map(|stretch| stretch.cell(version)).for_each(|cell| latencies.add(cell));
            latencies
        };
        let latencies: Vec<Latencies> = (0..versions).map(of).collect();
        Self {
            counts: latencies.iter().map(Latencies::count).collect(),
            buckets: latencies.iter().map(|latencies| latencies.spans().map(bucket).collect()).collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
fn bucket(span: Span) -> Bucket {
    let upper = if span.upper == u64::MAX { f64::INFINITY } else { span.upper as f64 };
    Bucket { lower: span.lower as f64, upper, count: span.count }
}
