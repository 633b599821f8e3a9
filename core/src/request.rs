//! One request's life: match, assign, route, and record how it ended.
//!
//! Owns the order of these steps. A request in flight keeps the experiment it was assigned by, so a new plan does not
//! disturb it. Nothing here may panic or wait.

mod choose;
mod reward;
#[cfg(test)]
mod tests;

use crate::host::Host;
use crate::matching::{Compiled, Experiment, Key};
use crate::outcome::{self, Outcome};
use crate::plan::Measure;
use crate::recorder::{Exposure, Observation, Recorder};
use std::rc::Rc;

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
    /// What its response headers are for; most have none of it.
    response: Option<Box<Response>>,
}

/// What is to be done with a response's headers.
#[derive(Debug)]
struct Response {
    experiment: Rc<Experiment>,
    /// Cookies to set.
    cookies: Vec<String>,
    /// What the reward header said; zero: nothing.
    reward: f64,
}

impl Request {
    /// Removes routing headers that the client sent, finds the experiment, assigns a version and sets its headers.
    pub fn on_request_headers(host: &mut impl Host, plan: &Compiled, worker: Worker<'_>) -> Self {
        for name in plan.routing_headers() {
            host.remove_request_header(name);
        }
        let mut reader = plan.reader(host);
        let Some(experiment) = plan.find(&mut reader).cloned() else { return Self::default() };
        let choice = choose::choose(&experiment, worker.stale, &mut reader);
        if let Some(version) = experiment.versions.get(choice.version) {
            for header in &version.headers {
                host.set_request_header(&header.name, &header.value);
            }
        }
        let recorder = worker.recorder.filter(|_| choice.counts && experiment.running);
        let recorded = recorder.and_then(|recorder| {
            let now = host.now_nanos();
            let exposure = recorder.assign(&experiment, choice.version, choice.bucket, worker.clock.at(now))?;
            if choice.new_key.is_some() {
                recorder.new_unit(&exposure);
            }
            Some((exposure, now))
        });
        let mut request = Self { recorded, response: None };
        if let (Key::Generated(_, cookie), Some(key)) = (&experiment.unit, &choice.new_key) {
            request.response(&experiment).cookies.push(cookie.set(key));
        }
        // Also where nothing is recorded: what an answer earned is nobody's business but ours.
        if experiment.reward_header.is_some() {
            request.response(&experiment);
        }
        request
    }

    /// What is to be done with its response's headers.
    fn response(&mut self, experiment: &Rc<Experiment>) -> &mut Response {
        let none = || Box::new(Response { experiment: Rc::clone(experiment), cookies: Vec::new(), reward: 0.0 });
        self.response.get_or_insert_with(none)
    }

    /// Whether the response's headers are looked at or changed.
    #[must_use]
    pub fn wants_response_headers(&self) -> bool {
        self.response.is_some() || self.recorded.as_ref().is_some_and(|(exposure, _)| measures_to_headers(exposure))
    }

    /// Takes the reward out of the response, sets cookies, and records an experiment that measures to the response headers.
    pub fn on_response_headers(&mut self, host: &mut impl Host, recorder: Option<&mut Recorder>) {
        if let Some(response) = &mut self.response {
            if let Some(name) = &response.experiment.reward_header
                && let Some(values) = host.response_headers(name)
            {
                host.remove_response_header(name);
                response.reward = reward::sum(&values);
            }
            for cookie in response.cookies.drain(..) {
                host.add_response_header("set-cookie", &cookie);
            }
        }
        let Some(recorder) = recorder else { return };
        if let Some((exposure, began)) = self.recorded.take_if(|(exposure, _)| measures_to_headers(exposure)) {
            let age_nanos = host.now_nanos().saturating_sub(began);
            let outcome = outcome::at_headers(host, &exposure.experiment().failure);
            recorder.complete(&exposure, Observation { outcome, age_nanos, reward: self.reward() });
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
        let reward = if outcome == Outcome::Aborted { 0.0 } else { self.reward() };
        recorder.complete(&exposure, Observation { outcome, age_nanos, reward });
    }

    fn reward(&self) -> f64 {
        self.response.as_ref().map_or(0.0, |response| response.reward)
    }

    /// Whether something is still to be recorded.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }
}

fn measures_to_headers(exposure: &Exposure) -> bool {
    exposure.experiment().measure == Measure::Headers
}
