//! The world of one run: virtual time in steps of a second, in which requests come, workers report, and the controller looks.

mod controller;
mod demand;
mod draw;
mod plan;
mod worker;

use crate::policy::{Policy, View};
use crate::random::{Random, happens, seeded};
use crate::run::{Ending, Logged, Run, VersionRun};
use crate::scenario::{Outage, Scenario, TICK_MS, part};
use crate::truth::{self, Truth};
use controller::Controller;
use demand::Demand;
use plan::Published;
use rand_distr::{Distribution, Poisson};
use weir_engine::decide::{Action, Decision};
use weir_engine::state::{Outcome, Phase, State};
use worker::Worker;

mod watch;
use watch::Watcher;
pub use watch::Watching;

/// How often truth is looked at where it changes, in steps of virtual time.
const TRUTH_TICKS: u64 = 60;

/// Runs a scenario once, by a policy. `seed` decides everything else.
#[must_use]
pub fn simulate(scenario: &Scenario, policy: &mut dyn Policy, seed: u64, watching: Watching) -> Run {
    simulate_while(scenario, policy, seed, watching, &|| true)
}

/// The same for as long as `go_on` says so, which is asked at every second of virtual time: a run that is broken off is undecided, and ended
/// before its `duration_ms`.
#[must_use]
pub fn simulate_while(
    scenario: &Scenario,
    policy: &mut dyn Policy,
    seed: u64,
    watching: Watching,
    go_on: &dyn Fn() -> bool,
) -> Run {
    World::new(scenario, policy, seed, watching).run(go_on)
}

struct World<'s> {
    scenario: &'s Scenario,
    policy: &'s mut dyn Policy,
    random: Random,
    demand: Demand<'s>,
    workers: Vec<Worker>,
    controller: Controller,
    state: State,
    plan: Published,
    seed: u64,
    truth: Truth,
    /// Requests by version: of all time, and of the step.
    requests: Vec<u64>,
    now_requests: Vec<u64>,
    met_bad: u64,
    regret: f64,
    lost_reports: u64,
    rolled_back: Vec<Option<(u64, u64)>>,
    decisions: Vec<Logged>,
    watcher: Watcher,
}

impl<'s> World<'s> {
    fn new(scenario: &'s Scenario, policy: &'s mut dyn Policy, seed: u64, watching: Watching) -> Self {
        let versions = scenario.versions.len();
        let state = policy.begin(&scenario.experiment);
        let plan = Published::new(&scenario.experiment, &state, seed, 0);
        let mut random = seeded(seed);
        Self {
            scenario,
            demand: Demand::new(scenario, &mut random),
            random,
            workers: (0..scenario.workers)
                .map(|worker| Worker::new(Some(plan.clone()), 0, scenario.faults.clock_of(worker, scenario.workers)))
                .collect(),
            controller: Controller::new(&scenario.experiment, policy.sees_outcomes_as_they_end()),
            policy,
            state,
            plan,
            seed,
            truth: Truth::at(scenario, 0),
            requests: vec![0; versions],
            now_requests: vec![0; versions],
            met_bad: 0,
            regret: 0.0,
            lost_reports: 0,
            rolled_back: vec![None; versions],
            decisions: Vec::new(),
            watcher: Watcher::new(watching),
        }
    }

    fn run(mut self, go_on: &dyn Fn() -> bool) -> Run {
        let mut next_look = self.scenario.interval_ms;
        let mut now = 0;
        while now < self.scenario.duration_ms && self.is_running() && go_on() {
            if !self.scenario.is_constant() {
                self.demand.refresh(now);
                if (now / TICK_MS).is_multiple_of(TRUTH_TICKS) {
                    self.truth = Truth::at(self.scenario, now);
                }
            }
            self.serve(now);
            let then = now + TICK_MS;
            if then >= next_look {
                next_look += self.scenario.interval_ms.max(TICK_MS);
                if !is_away(&self.scenario.faults.controller, now, 0, 1) {
                    self.look(then);
                }
            }
            now = then;
        }
        self.finish(now)
    }

    fn is_running(&self) -> bool {
        !self.state.is_concluded()
    }

    /// One step of every worker.
    fn serve(&mut self, now: u64) {
        let faults = &self.scenario.faults;
        let then = now + TICK_MS;
        let count = self.scenario.workers;
        #[expect(clippy::cast_precision_loss, reason = "a second")]
        let expected = self.scenario.traffic.rate_at(now) * TICK_MS as f64 / 1_000.0 / f64::from(count);
        // Without any traffic there is no such distribution; with more than a scenario may have there is none either.
        let arrivals = (expected > 0.0).then(|| Poisson::new(expected).ok()).flatten();
        self.now_requests.fill(0);
        let away = is_away(&faults.controller, now, 0, 1);
        self.demand.lose(faults.unrecorded_at(now, self.requests.len()));
        // Whatever the controller keeps is by its own clock.
        let received = set(then, faults.controllers_clock(then));
        if away {
            self.controller.away(received);
        }
        for (index, worker) in (0..count).zip(&mut self.workers) {
            let cut = away || is_away(&faults.partitions, now, index, count);
            if faults.deaths.iter().any(|death| (now..then).contains(&death.at_ms) && index < part(death.share, count))
            {
                // What was under way is lost with it; its unfinished bins never settle.
                let clock = faults.clock_of(index, count);
                let next = Worker::new((!cut).then(|| self.plan.clone()), now, clock);
                self.controller.bury(std::mem::replace(worker, next).open);
            }
            worker.finish(now);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a Poisson draw of a mean within 1e6"
            )]
            let arrived = arrivals.map_or(0, |arrivals| arrivals.sample(&mut self.random) as u64);
            self.demand.serve(&mut self.random, worker, now, arrived, &mut self.now_requests);
            self.controller.dropped(received, worker.report(then));
            if cut {
                continue;
            }
            worker.hear(&self.plan, then);
            if is_away(&faults.silences, now, index, count) {
                continue;
            }
            worker.heartbeat(then, received);
            if worker.has_report() {
                if happens(&mut self.random, faults.lost_reports) {
                    self.lost_reports += 1;
                } else {
                    worker.deliver(&mut self.controller, then, received);
                }
            }
        }
        for (version, now) in self.now_requests.iter().enumerate() {
            if let Some(total) = self.requests.get_mut(version) {
                *total += now;
            }
            self.met_bad += if self.truth.breaks.get(version) == Some(&true) { *now } else { 0 };
            #[expect(clippy::cast_precision_loss, reason = "requests of a second")]
            let lost = *now as f64 * self.truth.regret.get(version).copied().unwrap_or(0.0);
            self.regret += lost;
        }
    }

    /// A look of the controller: what the policy decides is carried out.
    fn look(&mut self, now: u64) {
        let clock = self.scenario.faults.controllers_clock(now);
        let told = set(now, clock);
        self.controller.set_clock(clock, told);
        let (stirred, settled) = self.controller.open_counts(&self.workers, told);
        let health = self.controller.health(&self.scenario.experiment, &self.workers, told);
        let view = View {
            now: told,
            observations: self.controller.observations(),
            stirred,
            settled,
            seen: self.controller.seen(),
            health,
        };
        let experiment = &self.scenario.experiment;
        let Decision { action, reasons, state, .. } = self.policy.look(experiment, &self.state, &view);
        let requests = self.requests.iter().sum();
        for (version, rolled_back) in self.rolled_back.iter_mut().enumerate() {
            if version != experiment.baseline && state.is_out(version) && rolled_back.is_none() {
                *rolled_back = Some((now, requests));
            }
        }
        let changes = action.changes_the_plan();
        self.state = state;
        self.watcher.look(experiment, &self.state, self.controller.observations(), now, requests);
        if action.moves_traffic() || self.watcher.is_news(action, &reasons) || action == Action::Ask {
            let weights = self.state.weights_in_force(experiment);
            self.decisions.push(Logged { at_ms: now, action, requests, weights, reasons });
        }
        if changes {
            self.plan = Published::new(experiment, &self.state, self.seed, self.plan.serial + 1);
            self.controller.published(told, self.plan.serial);
            // Held polls are answered at once.
            for (index, worker) in (0..self.scenario.workers).zip(&mut self.workers) {
                if !is_away(&self.scenario.faults.partitions, now, index, self.scenario.workers) {
                    worker.hear(&self.plan, now);
                }
            }
        }
    }

    fn finish(mut self, now: u64) -> Run {
        let scenario = self.scenario;
        let baseline = scenario.experiment.baseline;
        let (ending, version) = match self.state.phase {
            Phase::Concluded { outcome: Outcome::Promoted, version, .. } => (Ending::Promoted, version),
            Phase::Concluded { outcome: Outcome::RolledBack, version, .. } => (Ending::RolledBack, version),
            Phase::Concluded { version, .. } => (Ending::Inconclusive, version),
            _ => (Ending::Undecided, baseline),
        };
        let bad = truth::bad(scenario);
        #[expect(clippy::cast_precision_loss, reason = "requests of a run")]
        let mut met_bad_in_all = self.met_bad as f64;
        // The rest of the time: everybody gets the outcome.
        let mut at = now;
        while at < scenario.duration_ms {
            let constant = scenario.is_constant();
            let until = if constant { scenario.duration_ms } else { (at + 60_000).min(scenario.duration_ms) };
            let truth = Truth::at(scenario, at);
            let expected = scenario.traffic.expected(at, until);
            met_bad_in_all += if truth.breaks.get(version) == Some(&true) { expected } else { 0.0 };
            self.regret += expected * truth.regret.get(version).copied().unwrap_or(0.0);
            at = until;
        }
        let weights = self.state.weights_in_force(&scenario.experiment);
        let (points, warnings) = self.watcher.finish(
            &scenario.experiment,
            &self.state,
            self.controller.observations(),
            now,
            self.requests.iter().sum(),
        );
        let versions = scenario.experiment.versions.iter().enumerate().map(|(index, version)| VersionRun {
            name: version.name.clone(),
            baseline: index == baseline,
            bad: bad.get(index).copied().unwrap_or(false),
            requests: self.requests.get(index).copied().unwrap_or(0),
            settled: self.controller.settled_of(index),
            weight: weights.get(index).copied().unwrap_or(0),
            rolled_back_at_ms: self.rolled_back.get(index).copied().flatten().map(|(at, _)| at),
            rolled_back_after: self.rolled_back.get(index).copied().flatten().map(|(_, after)| after),
        });
        Run {
            experiment: scenario.experiment.name.clone(),
            policy: self.policy.name(),
            seed: self.seed,
            ending,
            version,
            ended_at_ms: now,
            duration_ms: scenario.duration_ms,
            requests: self.requests.iter().sum(),
            versions: versions.collect(),
            met_bad: self.met_bad,
            met_bad_in_all,
            regret: self.regret,
            lost_reports: self.lost_reports,
            decisions: self.decisions,
            unreached: scenario.unreached(now),
            points,
            warnings,
        }
    }
}

/// A time as a clock shows it that is so many milliseconds ahead.
fn set(now: u64, ahead_ms: i64) -> u64 {
    now.saturating_add_signed(ahead_ms)
}

fn is_away(outages: &[Outage], now: u64, worker: u32, workers: u32) -> bool {
    outages.iter().any(|outage| outage.hits(now, worker, workers))
}

/// Whether a decision is to be told although it moves nothing.
pub(crate) const fn is_quiet(action: Action) -> bool {
    matches!(action, Action::Renew)
}
