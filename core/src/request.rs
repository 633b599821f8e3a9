//! One request's life: match, assign, route, and record how it ended.
//!
//! Owns the order of these steps. A request in flight keeps the experiment it was assigned by, so a new plan does not
//! disturb it. Nothing here may panic or wait.

use crate::host::Host;
use crate::matching::{Compiled, Experiment, Key, Reader};
use crate::outcome;
use crate::plan::{Measure, PARTS};
use crate::recorder::{Exposure, Observation, Recorder};
use crate::unit::{self, Digest};
use std::rc::Rc;

/// Longest reward that is read, in bytes.
const MAX_REWARD: usize = 32;

/// Turns the monotonic clock into the bin clock: Unix time when the VM began, monotone since.
#[derive(Debug, Clone, Copy)]
pub struct BinClock {
    unix_ms: u64,
    began_nanos: u64,
}

impl BinClock {
    /// A clock that stood at a Unix time, in milliseconds, when the monotonic clock stood at `now_nanos`.
    #[must_use]
    pub const fn new(unix_ms: u64, now_nanos: u64) -> Self {
        Self { unix_ms, began_nanos: now_nanos }
    }

    /// Milliseconds on the bin clock.
    #[must_use]
    pub const fn at(self, now_nanos: u64) -> u64 {
        self.unix_ms.saturating_add(now_nanos.saturating_sub(self.began_nanos) / 1_000_000)
    }
}

/// What a worker knows when a request arrives.
#[derive(Debug)]
pub struct Worker<'a> {
    /// Where running experiments are recorded; `None` without a controller.
    pub recorder: Option<&'a mut Recorder>,
    /// For bins.
    pub clock: BinClock,
    /// Whether the plan is too old for running experiments.
    pub stale: bool,
}

/// One request between its arrival and its end.
#[derive(Debug, Default)]
pub struct Request {
    recorded: Option<(Exposure, u64)>,
}

impl Request {
    /// Removes routing headers that the client sent, finds the experiment, assigns a version and sets its headers.
    pub fn on_request_headers(host: &mut impl Host, plan: &Compiled, worker: Worker<'_>) -> Self {
        for name in plan.routing_headers() {
            host.remove_request_header(name);
        }
        let mut reader = plan.reader(host);
        let Some(experiment) = plan.find(&mut reader).cloned() else { return Self::default() };
        let choice = choose(&experiment, worker.stale, &mut reader);
        if let Some(version) = experiment.versions.get(choice.version) {
            for header in &version.headers {
                host.set_request_header(&header.name, &header.value);
            }
        }
        let recorder = worker.recorder.filter(|_| choice.counts && experiment.running);
        let recorded = recorder.and_then(|recorder| {
            let now = host.now_nanos();
            Some((recorder.assign(&experiment, choice.version, worker.clock.at(now))?, now))
        });
        Self { recorded }
    }

    /// Records an experiment that measures to the response headers.
    pub fn on_response_headers(&mut self, host: &mut impl Host, recorder: &mut Recorder) {
        if let Some((exposure, began)) =
            self.recorded.take_if(|(exposure, _)| exposure.experiment().measure == Measure::Headers)
        {
            let age_nanos = host.now_nanos().saturating_sub(began);
            let outcome = outcome::at_headers(host, &exposure.experiment().failure);
            let reward = reward(host, exposure.experiment());
            recorder.complete(&exposure, Observation { outcome, age_nanos, reward });
        }
    }

    /// Records how the request ended.
    pub fn on_log(&mut self, host: &mut impl Host, recorder: &mut Recorder) {
        let Some((exposure, began)) = self.recorded.take() else { return };
        let age_nanos = host.now_nanos().saturating_sub(began);
        let experiment = exposure.experiment();
        if age_nanos > experiment.deadline_ms.saturating_mul(1_000_000) {
            return;
        }
        let outcome = outcome::at_end(host, &experiment.failure);
        let reward = if outcome == outcome::Outcome::Aborted { 0.0 } else { reward(host, experiment) };
        recorder.complete(&exposure, Observation { outcome, age_nanos, reward });
    }

    /// Whether something is still to be recorded.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }
}

struct Choice {
    version: usize,
    /// Whether chance decided it, so that it may be recorded.
    counts: bool,
}

fn choose<H: Host>(experiment: &Rc<Experiment>, stale: bool, reader: &mut Reader<'_, H>) -> Choice {
    let unrecorded = |version| Choice { version, counts: false };
    let baseline = unrecorded(experiment.baseline);
    if stale && experiment.running {
        return baseline;
    }
    let named = experiment.override_header.and_then(|header| reader.get(header)).and_then(|value| {
        experiment.versions.iter().position(|version| version.name.as_bytes() == value)
    });
    if let Some(version) = named {
        return unrecorded(version);
    }
    let key = match &experiment.unit {
        Key::Request => None,
        Key::Header(header) => reader.get(*header),
        Key::Cookie(header, name) => reader.get(*header).and_then(|value| unit::cookie(value, name)),
    };
    let key = key.filter(|key| !key.is_empty()).map(Digest::of);
    let chosen = match (&experiment.unit, key) {
        (_, Some(key)) => {
            if !experiment.assigner.key_takes_part(key, experiment.share_ppm) {
                return baseline;
            }
            experiment.assigner.by_key(key)
        }
        // A running sticky experiment says nothing about who shows no key; a concluded one has an outcome for everybody.
        (Key::Header(_) | Key::Cookie(..), None) if experiment.running || experiment.share_ppm < PARTS => None,
        _ => {
            if experiment.share_ppm < PARTS
                && !crate::assign::takes_part(reader.host().random_u64(), experiment.share_ppm)
            {
                return baseline;
            }
            experiment.assigner.by_random(reader.host().random_u64())
        }
    };
    chosen.map_or(baseline, |version| Choice { version, counts: true })
}

/// The reward in the response, zero if there is none that can be read.
fn reward(host: &mut impl Host, experiment: &Experiment) -> f64 {
    let value = experiment.reward_header.as_ref().and_then(|name| host.response_header(name));
    value
        .filter(|value| value.len() <= MAX_REWARD)
        .and_then(|value| std::str::from_utf8(&value).ok()?.trim().parse::<f64>().ok())
        .filter(|reward| reward.is_finite())
        .unwrap_or(0.0)
}
