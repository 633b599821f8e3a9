//! Demand: who sends a request, which version it gets (by the filter's own assigner), and what that version does with it.

use super::draw::{Alias, exp};
use super::plan::Published;
use super::worker::Worker;
use crate::random::{Random, happens, uniform};
use crate::scenario::{LogNormal, Scenario, TICK_MS};
use rand::Rng;
use rand_distr::{Distribution, Pareto, StandardNormal};
use weir_core::assign::takes_part;
use weir_core::matching::{Experiment as Matched, Key};
use weir_core::outcome::Outcome;
use weir_core::plan::PARTS;
use weir_core::recorder::Observation;
use weir_core::unit::{Digest, UnitBuckets};

/// Where demand comes from.
pub(crate) struct Demand<'s> {
    scenario: &'s Scenario,
    population: Option<Population>,
    kinds: usize,
    /// What a version does at the moment to a kind of users: by kind, then version.
    shown: Vec<Shown>,
    /// Whether a reward is asked for.
    rewards: bool,
    /// The share of each version's exposures that is not recorded; empty: all are.
    unrecorded: Vec<f64>,
}

/// What a version does at the moment.
#[derive(Debug, Clone, Default)]
struct Shown {
    fails: f64,
    converts: f64,
    answers: Vec<Part>,
    failures: Option<Vec<Part>>,
    amount: Option<Part>,
}

/// A log-normal part of a mixture.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Of this part and those before it, as a share of all.
    cumulative: f64,
    /// Natural log of the median.
    centre: f64,
    sigma: f64,
}

/// One request as it arrives.
#[derive(Debug, Default)]
struct Arrival {
    /// The kind of who sends it.
    kind: usize,
    /// `None`: it takes no part.
    version: Option<usize>,
    bucket: Option<u16>,
    /// Whether its sender is given a cookie.
    new: bool,
}

struct Population {
    people: Vec<Person>,
    /// Who has been given a cookie; empty where nobody is.
    named: Vec<bool>,
    digests: Vec<Digest>,
    /// `None`: all alike.
    activity: Option<Alias>,
    buckets: Option<UnitBuckets>,
}

/// Small, for there are many and they are met in no order.
#[derive(Clone, Copy)]
struct Person {
    /// Serial of the plan that `version` is of, plus one; zero: of none.
    plan: u32,
    bucket: u16,
    kind: u8,
    /// `u8::MAX`: takes no part.
    version: u8,
}

const NO_PART: u8 = u8::MAX;

impl<'s> Demand<'s> {
    pub(crate) fn new(scenario: &'s Scenario, random: &mut Random) -> Self {
        let kinds = 1 + scenario.users.as_ref().map_or(0, |users| users.kinds.len());
        let population = scenario.users.as_ref().map(|users| {
            let draw_kind = |random: &mut Random| {
                let mut point = uniform(random);
                let found = users.kinds.iter().position(|kind| {
                    point -= kind.share;
                    point < 0.0
                });
                found.map_or(0, |kind| u8::try_from(kind + 1).unwrap_or(0))
            };
            let person = |random: &mut Random| Person { plan: 0, bucket: 0, kind: draw_kind(random), version: NO_PART };
            let people = (0..users.count).map(|_| person(random)).collect();
            let digests = (0..users.count).map(|_| Digest::of(&random.next_u64().to_le_bytes())).collect();
            let activity = users.tail.and_then(|tail| {
                let pareto = Pareto::new(1.0, tail).ok()?;
                let weights: Vec<f64> = (0..users.count).map(|_| f64::min(pareto.sample(random), 1e12)).collect();
                Some(Alias::new(&weights))
            });
            Population { people, named: Vec::new(), digests, activity, buckets: None }
        });
        let rewards = scenario.experiment.reward.is_some();
        let mut demand = Self { scenario, population, kinds, shown: Vec::new(), rewards, unrecorded: Vec::new() };
        demand.refresh(0);
        demand
    }

    /// Looks up how versions behave at a time.
    pub(crate) fn refresh(&mut self, now: u64) {
        let users = self.scenario.users.as_ref();
        self.shown.clear();
        for kind in 0..self.kinds {
            let kind = kind.checked_sub(1).and_then(|kind| users?.kinds.get(kind));
            let of_kind = |of: fn(&crate::scenario::Kind) -> f64| kind.map_or(1.0, of);
            for (index, version) in self.scenario.versions.iter().enumerate() {
                let factors = self.scenario.factors_at(index, now);
                let slower = libm::log((factors.latency * of_kind(|kind| kind.latency)).max(1e-9));
                self.shown.push(Shown {
                    fails: version.errors * factors.errors * of_kind(|kind| kind.errors),
                    converts: if self.rewards {
                        version.conversion * factors.conversion * of_kind(|kind| kind.conversion)
                    } else {
                        0.0
                    },
                    answers: parts(&version.latency, slower),
                    failures: version.error_latency.as_ref().map(|latency| parts(latency, slower)),
                    amount: version.amount.map(|amount| Part {
                        cumulative: 1.0,
                        centre: libm::log(amount.median),
                        sigma: amount.sigma,
                    }),
                });
            }
        }
    }

    /// From now on so many of each version's exposures are not recorded.
    pub(crate) fn lose(&mut self, unrecorded: Vec<f64>) {
        self.unrecorded = unrecorded;
    }

    /// Sends requests to a worker within a step, evenly over its time. Adds to `requests` by version.
    pub(crate) fn serve(
        &mut self,
        random: &mut Random,
        worker: &mut Worker,
        now: u64,
        count: u64,
        requests: &mut [u64],
    ) {
        let versions = requests.len();
        let baseline = self.scenario.experiment.baseline;
        let Some(plan) = worker.plan.clone().filter(|plan| !(plan.matched.running && worker.is_stale(now))) else {
            if let Some(of_baseline) = requests.get_mut(baseline) {
                *of_baseline += count;
            }
            return;
        };
        let matched = &plan.matched;
        let deadline_nanos = matched.deadline_ms.saturating_mul(1_000_000);
        // A fixed-point fraction of the step, for a division is slow.
        let step = (TICK_MS << 32) / count.max(1);
        for at in 0..count {
            let time = now + ((at * step) >> 32);
            let Arrival { kind, version, bucket, new } = self.assign(random, &plan);
            let to = version.unwrap_or(baseline);
            if let Some(of_version) = requests.get_mut(to) {
                *of_version += 1;
            }
            if version.is_none() || !matched.running {
                continue;
            }
            let Some(shown) = self.shown.get(kind * versions + to) else { continue };
            let observation = shown.request(random);
            if self.unrecorded.get(to).is_some_and(|lost| happens(random, *lost)) {
                continue;
            }
            let assigned_at = worker.bin_clock(time);
            let Some(exposure) = worker.recorder.assign(matched, to, bucket, assigned_at) else { continue };
            if new {
                worker.recorder.new_unit(&exposure);
            }
            if observation.age_nanos > deadline_nanos {
                // Its end will change nothing: it is overdue.
                continue;
            }
            let ends_at = time + observation.age_nanos / 1_000_000;
            if ends_at < now + TICK_MS {
                worker.recorder.complete(&exposure, observation);
            } else {
                worker.ends_later(ends_at, exposure, observation);
            }
        }
    }

    /// Who sends a request, and what the filter makes of it.
    fn assign(&mut self, random: &mut Random, plan: &Published) -> Arrival {
        let matched = &plan.matched;
        let Some(population) = &mut self.population else {
            return Arrival { version: by_random(random, matched), ..Arrival::default() };
        };
        let index = population.draw(random);
        if matches!(matched.unit, Key::Request) {
            let kind = population.people.get(index).map_or(0, |person| usize::from(person.kind));
            return Arrival { kind, version: by_random(random, matched), ..Arrival::default() };
        }
        let Some(person) = population.person(index, plan) else { return Arrival::default() };
        Arrival {
            kind: usize::from(person.kind),
            version: (person.version != NO_PART).then_some(usize::from(person.version)),
            bucket: matched.unit_buckets.map(|_| person.bucket),
            new: matched.running && matches!(matched.unit, Key::Generated(..)) && population.name(index),
        }
    }
}

impl Population {
    /// Gives a person a cookie, and says whether that is its first. Everybody keeps it.
    fn name(&mut self, index: usize) -> bool {
        self.named.resize(self.people.len(), false);
        self.named.get_mut(index).is_some_and(|named| !std::mem::replace(named, true))
    }

    fn draw(&self, random: &mut Random) -> usize {
        match &self.activity {
            Some(activity) => activity.draw(random.next_u64()),
            #[expect(clippy::cast_possible_truncation, reason = "below the number of people")]
            None => ((u128::from(random.next_u64()) * self.people.len() as u128) >> 64) as usize,
        }
    }

    /// A person, with what the plan gives it: asked of the filter's assigner once per plan.
    fn person(&mut self, index: usize, plan: &Published) -> Option<Person> {
        let person = self.people.get_mut(index)?;
        if person.plan == plan.serial + 1 {
            return Some(*person);
        }
        let digest = *self.digests.get(index)?;
        let matched = &plan.matched;
        if person.plan == 0 {
            // Of the salt alone, so once and for all.
            self.buckets = self.buckets.or(matched.unit_buckets);
            person.bucket = self.buckets.map_or(0, |buckets| buckets.of(digest));
        }
        let takes_part = matched.assigner.key_takes_part(digest, matched.share_ppm);
        let version = takes_part.then(|| matched.assigner.by_key(digest)).flatten();
        person.version = version.and_then(|version| u8::try_from(version).ok()).unwrap_or(NO_PART);
        person.plan = plan.serial + 1;
        Some(*person)
    }
}

/// As the filter does where each request is its own unit.
fn by_random(random: &mut Random, matched: &Matched) -> Option<usize> {
    if matched.share_ppm < PARTS && !takes_part(random.next_u64(), matched.share_ppm) {
        return None;
    }
    matched.assigner.by_random(random.next_u64())
}

fn parts(mixture: &[LogNormal], slower: f64) -> Vec<Part> {
    let all: f64 = mixture.iter().map(|part| part.weight).sum();
    let mut cumulative = 0.0;
    mixture
        .iter()
        .map(|part| {
            cumulative += part.weight / all;
            // In nanoseconds.
            Part { cumulative, centre: libm::log(part.median * 1e6) + slower, sigma: part.sigma }
        })
        .collect()
}

impl Shown {
    /// One request.
    fn request(&self, random: &mut Random) -> Observation {
        let failed = happens(random, self.fails);
        let mixture = self.failures.as_ref().filter(|_| failed).unwrap_or(&self.answers);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; latencies are positive"
        )]
        let age_nanos = draw(random, mixture) as u64;
        let reward = if !failed && happens(random, self.converts) {
            self.amount.map_or(1.0, |amount| sample(random, &amount))
        } else {
            0.0
        };
        let outcome = if failed { Outcome::Failed } else { Outcome::Ok };
        Observation { outcome, age_nanos, reward }
    }
}

fn draw(random: &mut Random, mixture: &[Part]) -> f64 {
    let part = match mixture {
        [only] => Some(only),
        _ => {
            let point = uniform(random);
            mixture.iter().find(|part| point < part.cumulative).or(mixture.last())
        }
    };
    part.map_or(0.0, |part| sample(random, part))
}

fn sample(random: &mut Random, part: &Part) -> f64 {
    let normal: f64 = StandardNormal.sample(random);
    exp(part.centre + part.sigma * normal)
}
