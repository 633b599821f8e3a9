//! Assessing one experiment again and again: what need not be computed anew, and which epochs may be used at all.

use super::assembly::{Look, put_together};
use super::{Assessment, Depth};
use crate::beliefs::Beliefs;
use crate::cells::Cell;
use crate::evidence::{Fold, SlowCounts, Stretch, slow_counts};
use crate::spec::Experiment;
use crate::state::{Epoch, EpochCounts, Observations, PairUnits, State};
use crate::sticky::{self, Joining};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many epochs at the end may still change without the fold being done anew.
const OPEN_EPOCHS: usize = 8;

/// Assesses one experiment again and again. It remembers the evidence of old epochs, so that of them a look only sums what was counted
/// and makes the beliefs anew; what it returns has the same bits as [`assess`](super::assess). What that saves: docs/performance.md.
#[derive(Debug, Clone, Default)]
pub struct Assessor {
    experiment: Option<Experiment>,
    /// What the epochs in `fold` showed.
    prefix: Vec<u64>,
    fold: Option<Arc<Fold>>,
    /// By epoch, what it showed and the slow exposures in that.
    slow: BTreeMap<u32, (u64, Arc<SlowCounts>)>,
    /// How far looks at whole epochs have come; `None` where epochs may still grow.
    whole: Option<WholeEpochs>,
}

/// What looks at whole epochs need not do again.
#[derive(Debug, Clone, Default)]
struct WholeEpochs {
    /// Per epoch of the state, whether its counts may be used.
    usable: Vec<bool>,
    /// Of those that may, how many were looked at for first events.
    looked: usize,
    /// Per pair of versions whose units are looked at.
    joining: Vec<Joining>,
}

impl Assessor {
    /// For epochs that are complete when the first look sees them: neither counts nor weights of theirs change any more, and looks only
    /// add epochs. Then a look sees the new ones alone. What it returns still has the same bits as [`assess`](super::assess).
    #[must_use]
    pub fn of_whole_epochs() -> Self {
        Self { whole: Some(WholeEpochs::default()), ..Self::default() }
    }

    /// Assesses the experiment. Counts of an epoch may only have grown since the last look.
    #[must_use]
    pub fn assess<C: Cell>(
        &mut self,
        experiment: &Experiment,
        state: &State,
        observations: &Observations<C>,
        depth: Depth,
    ) -> Assessment {
        self.assess_with(experiment, state, state.units.clone(), observations, depth)
    }

    /// The same with the state's closed buckets apart: of many pairs they are large, and this look's are made from them.
    pub(crate) fn assess_with<C: Cell>(
        &mut self,
        experiment: &Experiment,
        state: &State,
        mut units: Vec<PairUnits>,
        observations: &Observations<C>,
        depth: Depth,
    ) -> Assessment {
        if self.experiment.as_ref() != Some(experiment) {
            let whole = self.whole.take().map(|_| WholeEpochs::default());
            *self = Self { experiment: Some(experiment.clone()), whole, ..Self::default() };
        }
        let mut warnings = Vec::new();
        let known = self.whole.as_mut().map(|whole| &mut whole.usable);
        let usable = usable_epochs(experiment, state, observations, known, &mut warnings);
        let seen: Vec<u64> = match self.whole {
            Some(_) => vec![0; usable.len()],
            None => usable.iter().map(|(epoch, counts)| fingerprint(epoch, *counts)).collect(),
        };
        let stretches = self.stretches(experiment, &usable, &seen);
        let epochs: Vec<&Epoch> = stretches.iter().map(|stretch| stretch.epoch).collect();
        if let Some(WholeEpochs { looked, joining, .. }) = &mut self.whole {
            joining.resize_with(units.len(), Joining::default);
            joining.iter_mut().zip(&mut units).for_each(|(joining, pair)| joining.advance(&state.epochs, pair));
            sticky::look(&mut units, epochs.get(*looked..).unwrap_or_default(), observations);
            *looked = epochs.len();
        } else {
            units.iter_mut().for_each(|pair| Joining::default().advance(&state.epochs, pair));
            sticky::look(&mut units, &epochs, observations);
        }
        let fold = self.fold(experiment, &units, &stretches, seen);
        let look = Look { experiment, state, stretches: &stretches, fold: &fold };
        put_together(&look, observations, units, warnings, depth)
    }

    /// The epochs with their slow exposures, which are counted anew only where an epoch shows more than at the last look.
    fn stretches<'a, C: Cell>(
        &mut self,
        experiment: &Experiment,
        usable: &[(&'a Epoch, Option<&'a EpochCounts<C>>)],
        seen: &[u64],
    ) -> Vec<Stretch<'a, C>> {
        let mut known = std::mem::take(&mut self.slow);
        let stretch = |((epoch, counts), seen): (&(&'a Epoch, Option<&'a EpochCounts<C>>), &u64)| {
            let slow = match known.remove(&epoch.epoch) {
                Some((then, slow)) if then == *seen => slow,
                _ => Arc::new(slow_counts(experiment, epoch, *counts)),
            };
            self.slow.insert(epoch.epoch, (*seen, Arc::clone(&slow)));
            Stretch { epoch, counts: *counts, slow }
        };
        usable.iter().zip(seen).map(stretch).collect()
    }

    fn fold<C: Cell>(
        &mut self,
        experiment: &Experiment,
        units: &[PairUnits],
        stretches: &[Stretch<'_, C>],
        seen: Vec<u64>,
    ) -> Arc<Fold> {
        let (seen, open) = match self.whole {
            Some(_) => (seen, 0),
            // First events of unit buckets grow too, and later looks may still find some in an old epoch.
            None => {
                let with_units =
                    |(stretch, seen): (&Stretch<'_, C>, u64)| with_first_events(seen, stretch.epoch.epoch, units);
                (stretches.iter().zip(seen).map(with_units).collect(), OPEN_EPOCHS)
            }
        };
        let known = seen.starts_with(&self.prefix);
        let mut fold = match self.fold.take().filter(|_| known) {
            Some(fold) => fold,
            None => {
                self.prefix.clear();
                Arc::new(Fold::new(experiment))
            }
        };
        let keep = seen.len().saturating_sub(open).max(self.prefix.len());
        let mut kept = (keep == self.prefix.len()).then(|| Arc::clone(&fold));
        for (at, stretch) in stretches.iter().enumerate().skip(self.prefix.len()) {
            // Copied only where what is kept is pushed to.
            Arc::make_mut(&mut fold).push(experiment, units, stretch);
            if at + 1 == keep {
                kept = Some(Arc::clone(&fold));
            }
        }
        self.prefix = seen.into_iter().take(keep).collect();
        self.fold = kept;
        fold
    }
}

/// The beliefs that an assessment of the same shows as intervals.
pub(crate) fn believe<C: Cell>(experiment: &Experiment, state: &State, observations: &Observations<C>) -> Beliefs {
    let usable = usable_epochs(experiment, state, observations, None, &mut Vec::new());
    let stretches = Assessor::default().stretches(experiment, &usable, &vec![0; usable.len()]);
    Beliefs::of(experiment, state, &stretches, Depth::Complete)
}

/// The hash of an epoch with what its unit buckets showed first.
fn with_first_events(seen: u64, epoch: u32, units: &[PairUnits]) -> u64 {
    let closings = units.iter().flat_map(|pair| [&pair.bad, &pair.slow, &pair.rewarded]).flatten();
    closings
        .map(|closing| closing.first_events(epoch))
        .fold(seen, |hash, first| [first.baseline, first.candidate, first.ties].into_iter().fold(hash, mixed))
}

/// One more number in a hash (FNV-1a, turned).
const fn mixed(hash: u64, bits: u64) -> u64 {
    (hash ^ bits).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}

/// A hash of an epoch and what it showed. Counts of an epoch only grow, so that equal numbers are the same counts.
fn fingerprint<C: Cell>(epoch: &Epoch, counts: Option<&EpochCounts<C>>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bits: u64| hash = mixed(hash, bits);
    take(u64::from(epoch.epoch));
    take(epoch.centre.to_bits());
    epoch.weights.iter().for_each(|weight| take(u64::from(*weight)));
    epoch.latency_grid.iter().for_each(|limit| take(*limit));
    for cell in counts.iter().flat_map(|counts| &counts.settled) {
        let (tally, latency, reward) = (cell.tally(), cell.latency(), cell.reward());
        for count in [tally.assigned, tally.completed, tally.failed, tally.aborted, tally.overdue, tally.rewarded] {
            take(count);
        }
        for count in [tally.repeats, tally.new_units, latency.count] {
            take(count);
        }
        take(cell.latencies_known());
        take(latency.sum.to_bits());
        take(reward.sum.to_bits());
        take(reward.squares.to_bits());
    }
    hash
}

/// The epochs whose settled counts may be used; the others are named in a warning and left out **whole**, so that nothing is
/// lost for one version only. `known`: per epoch from the first, whether it may; what is new is added.
fn usable_epochs<'a, C: Cell>(
    experiment: &Experiment,
    state: &'a State,
    observations: &'a Observations<C>,
    known: Option<&mut Vec<bool>>,
    warnings: &mut Vec<String>,
) -> Vec<(&'a Epoch, Option<&'a EpochCounts<C>>)> {
    let mut usable = Vec::with_capacity(state.epochs.len());
    let mut nothing = Vec::new();
    let known = known.unwrap_or(&mut nothing);
    for (at, epoch) in state.epochs.iter().enumerate() {
        let counts = observations.epochs.get(&epoch.epoch);
        let broken = known.get(at).map_or_else(|| cannot_be_used(epoch, counts), |usable| !usable);
        if at == known.len() {
            known.push(!broken);
        }
        if broken {
            warnings.push(format!(
                "epoch {} of {} is left out: its counts contradict each other or its weights; look at the proxies",
                epoch.epoch, experiment.name
            ));
        } else {
            usable.push((epoch, counts));
        }
    }
    usable
}

fn cannot_be_used<C: Cell>(epoch: &Epoch, counts: Option<&EpochCounts<C>>) -> bool {
    counts.is_some_and(|counts| {
        counts.settled.iter().enumerate().any(|(version, cell)| {
            cell.is_contradictory() || (cell.tally().assigned > 0 && epoch.propensity(version) <= 0.0)
        })
    })
}
