//! Users who stay with their version, and whose requests are alike; of heavy-tailed ones a few send most requests. Assignment and unit
//! buckets are the filter's own.

use crate::traffic::{At, Random, Traffic, seeded};
use rand::{Rng, RngExt};
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Pareto};
use weir_core::assign::Assigner;
use weir_core::plan::PlannedVersion;
use weir_core::report::Counts;
use weir_core::unit::{Digest, UnitBuckets};
use weir_engine::spec::Experiment;
use weir_engine::state::Epoch;

/// How many users there are.
const USERS: u64 = 5_000;

/// What a request of a user shows, by version: probability of failing, of being slow, of converting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Habit {
    pub(crate) fails: f64,
    pub(crate) slow: f64,
    pub(crate) converts: f64,
}

/// How many requests each user sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Pareto's law with exponent 1.1: the heaviest of 5,000 sends a tenth of all requests or so.
    HeavyTailed,
    /// All alike.
    Even,
}

/// Users, their habits, and who has which version.
pub(crate) struct Users {
    salt: String,
    names: Vec<String>,
    population: Vec<User>,
    activity: WeightedAliasIndex<f64>,
    buckets: UnitBuckets,
    weights: Vec<u32>,
    assigned: Vec<Option<usize>>,
    habit: fn(u64, usize) -> Habit,
    /// Whether unit buckets are noted; not, where each request is taken for a unit.
    sticky: bool,
}

struct User {
    digest: Digest,
    bucket: u16,
    /// Uniform on 64 bits, the user's own: what its habits depend on.
    nature: u64,
}

impl Users {
    /// A population drawn anew for the run, under a salt of its own. `habit` by a user's nature and its version.
    pub(crate) fn new(
        experiment: &Experiment,
        seed: u64,
        activity: Activity,
        habit: fn(u64, usize) -> Habit,
    ) -> Option<Self> {
        let mut random = seeded(seed.rotate_left(32) ^ 0x75e5);
        let salt = format!("{:016x}", random.next_u64());
        let buckets = UnitBuckets::new(&salt);
        let population = (0..USERS).map(|_| {
            let digest = Digest::of(&random.next_u64().to_le_bytes());
            User { digest, bucket: buckets.of(digest), nature: random.next_u64() }
        });
        let population: Vec<User> = population.collect();
        let tail = Pareto::new(1.0, 1.1).ok()?;
        let sends = |random: &mut Random| if activity == Activity::Even { 1.0 } else { tail.sample(random) };
        let activity = WeightedAliasIndex::new((0..USERS).map(|_| sends(&mut random)).collect()).ok()?;
        Some(Self {
            salt,
            names: experiment.versions.iter().map(|version| version.name.clone()).collect(),
            assigned: vec![None; population.len()],
            population,
            activity,
            buckets,
            weights: Vec::new(),
            habit,
            sticky: !experiment.requests_are_units(),
        })
    }

    fn assigner(&self) -> Assigner {
        let versions = self.names.iter().zip(&self.weights).map(|(name, weight)| PlannedVersion {
            name: name.clone(),
            weight: *weight,
            headers: Vec::new(),
            slow_us: None,
        });
        Assigner::new(&self.salt, &versions.collect::<Vec<_>>())
    }
}

impl Traffic for Users {
    fn serve(&mut self, random: &mut Random, _at: At, requests: u64, epoch: &Epoch, cells: &mut [Counts]) {
        if self.weights != epoch.weights {
            self.weights.clone_from(&epoch.weights);
            let assigner = self.assigner();
            for (user, assigned) in self.population.iter().zip(&mut self.assigned) {
                *assigned = assigner.by_key(user.digest);
            }
            debug_assert_eq!(self.buckets, UnitBuckets::new(&self.salt));
        }
        for _ in 0..requests {
            let at = self.activity.sample(random);
            let (Some(user), Some(Some(version))) = (self.population.get(at), self.assigned.get(at)) else { continue };
            let habit = (self.habit)(user.nature, *version);
            let Some(counts) = cells.get_mut(*version) else { continue };
            let failed = random.random_bool(habit.fails);
            let slow = failed || random.random_bool(habit.slow);
            let rewarded = random.random_bool(habit.converts);
            counts.assigned += 1;
            counts.completed += 1;
            counts.failed += u64::from(failed);
            counts.rewarded += u64::from(rewarded);
            if self.sticky {
                for (set, shown) in [
                    (&mut counts.failed_buckets, failed),
                    (&mut counts.slow_buckets, slow),
                    (&mut counts.rewarded_buckets, rewarded),
                ] {
                    if let (true, Err(place)) = (shown, set.binary_search(&user.bucket)) {
                        set.insert(place, user.bucket);
                    }
                }
            }
        }
    }
}
