//! One request's life: match, assign, route, and record how it ended.
//!
//! Owns the order of these steps. A request in flight keeps the experiment it was assigned by, so a new plan does not
//! disturb it. Nothing here may panic or wait.

mod choose;
mod convert;
mod reward;
#[cfg(test)]
mod tests;

use crate::conversions::Found;
use crate::earning::Earning;
use crate::host::Host;
use crate::matching::{Compiled, Experiment, Key, Reader};
use crate::outcome::{self, Outcome};
use crate::plan::Measure;
use crate::recorder::{Exposure, Observation, Recorder};
use choose::Choice;
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
    /// The life of this VM, for tokens.
    pub incarnation: u128,
}

/// One request between its arrival and its end.
#[derive(Debug, Default)]
pub struct Request {
    recorded: Option<(Exposure, u64)>,
    /// What its response headers are for; most have none of it.
    response: Option<Box<Response>>,
}

/// What is to be done with a response's headers.
#[derive(Debug, Default)]
struct Response {
    /// The experiment whose reward it may carry.
    rewards: Option<Rc<Experiment>>,
    /// Of what this may be a conversion.
    conversions: Option<Box<Found>>,
    /// Cookies to set.
    cookies: Vec<String>,
    /// What the reward header said; zero: nothing.
    reward: f64,
}

impl Request {
    /// Removes routing headers that the client sent, finds the experiment, assigns a version and sets its headers.
    pub fn on_request_headers(host: &mut impl Host, plan: &Compiled, worker: Worker<'_>) -> Self {
        let Worker { recorder, clock, stale, incarnation } = worker;
        let mut reader = plan.reader(host);
        let mut request = Self::default();
        if !plan.conversions().is_empty() {
            request.note_conversions(plan, clock, &mut reader);
        }
        let Some(experiment) = plan.find(&mut reader) else {
            strip(host, plan, &[]);
            return request;
        };
        let choice = choose::choose(experiment, stale, &mut reader);
        let recorder = recorder.filter(|_| choice.counts && experiment.running);
        let has_token = recorder.is_some() && has_token(experiment, &choice, clock, &mut reader);
        let version = experiment.versions.get(choice.version);
        strip(host, plan, version.map_or(&[][..], |version| &version.sets));
        for header in version.map_or(&[][..], |version| &version.headers) {
            host.set_request_header(&header.name, &header.value);
        }
        request.recorded = recorder.and_then(|recorder| {
            let now = host.now_nanos();
            let exposure = recorder.assign(experiment, choice.version, choice.bucket, clock.at(now))?;
            if choice.new_key.is_some() {
                recorder.new_unit(&exposure);
            }
            if has_token {
                recorder.repeat(&exposure);
            }
            Some((exposure, now))
        });
        if let (Key::Generated(_, cookie), Some(key)) = (&experiment.unit, &choice.new_key) {
            request.response().cookies.push(cookie.set(key));
        }
        let token = |host: &mut _, secret| {
            let (exposure, _) = request.recorded.as_ref()?;
            Some(exposure.token(incarnation, Host::random_u64(host))?.sign(secret))
        };
        match &experiment.earning {
            // Also where nothing is recorded: what an answer earned is nobody's business but ours.
            Earning::Response(_) => request.response().rewards = Some(Rc::clone(experiment)),
            Earning::Api(header, secret) => {
                if let Some(token) = token(host, secret) {
                    host.set_request_header(header, &token);
                }
            }
            Earning::Request(conversion) if !has_token => {
                if let Some(token) = token(host, &conversion.secret) {
                    request.response().cookies.push(conversion.cookie.set(&token));
                }
            }
            Earning::Request(_) | Earning::Nothing => {}
        }
        request
    }

    /// Notes what a request may be a conversion of, whatever it is assigned by.
    #[inline(never)]
    fn note_conversions<H: Host>(&mut self, plan: &Compiled, clock: BinClock, reader: &mut Reader<'_, H>) {
        if let Some(found) = plan.conversions().of(clock, reader) {
            self.response().conversions = Some(Box::new(found));
        }
    }

    /// What is to be done with its response's headers.
    fn response(&mut self) -> &mut Response {
        self.response.get_or_insert_default()
    }

    /// Whether the response's headers are looked at or changed.
    #[must_use]
    pub fn wants_response_headers(&self) -> bool {
        self.response.is_some() || self.recorded.as_ref().is_some_and(|(exposure, _)| measures_to_headers(exposure))
    }

    /// Takes rewards out of the response, sets cookies, and records an experiment that measures to the response headers.
    pub fn on_response_headers(&mut self, host: &mut impl Host, recorder: &mut Recorder) {
        if let Some(response) = &mut self.response {
            let conversions = response.conversions.take().map(|found| (convert::worth(host, &found), found));
            // Whatever several experiments read from one header has been read.
            if let Some(Earning::Response(name)) = response.rewards.as_ref().map(|experiment| &experiment.earning)
                && let Some(values) = host.response_headers(name)
            {
                host.remove_response_header(name);
                response.reward = reward::sum(&values);
            }
            // A token is rewarded once, and taken back. A new one that the same answer sets comes after, and so stays.
            if let Some((worth, found)) = conversions {
                convert::claim(host, recorder, *found, worth);
            }
            for cookie in response.cookies.drain(..) {
                host.add_response_header("set-cookie", &cookie);
            }
        }
        if let Some((exposure, began)) = self.recorded.take_if(|(exposure, _)| measures_to_headers(exposure)) {
            let age_nanos = host.now_nanos().saturating_sub(began);
            if age_nanos > exposure.experiment().deadline_ms.saturating_mul(1_000_000) {
                exposure.late();
                return;
            }
            let outcome = outcome::at_headers(host, &exposure.experiment().failure);
            complete(host, recorder, &exposure, Observation { outcome, age_nanos, reward: self.reward() });
        }
    }

    /// Records how the request ended.
    pub fn on_log(&mut self, host: &mut impl Host, recorder: &mut Recorder) {
        let Some((exposure, began)) = self.recorded.take() else { return };
        let age_nanos = host.now_nanos().saturating_sub(began);
        let experiment = exposure.experiment();
        if age_nanos > experiment.deadline_nanos {
            exposure.late();
            return;
        }
        let outcome = outcome::at_end(host, &experiment.failure);
        let reward = if outcome == Outcome::Aborted { 0.0 } else { self.reward() };
        complete(host, recorder, &exposure, Observation { outcome, age_nanos, reward });
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

/// Recording for both ends, so that it is there once; generic, so that it is compiled as the rest of the request path is.
#[inline(never)]
fn complete<H: Host>(_: &H, recorder: &mut Recorder, exposure: &Exposure, observation: Observation) {
    recorder.complete(exposure, observation);
}

/// Removes the headers that no client may send, but for those that are set anyway. Removing one that is not there would have Envoy
/// choose the route anew for nothing; looking costs less.
fn strip(host: &mut impl Host, plan: &Compiled, set: &[usize]) {
    for (index, name) in plan.routing_headers().iter().enumerate() {
        if !set.contains(&index) && host.request_header(name).is_some() {
            host.remove_request_header(name);
        }
    }
}

fn measures_to_headers(exposure: &Exposure) -> bool {
    exposure.experiment().measure == Measure::Headers
}

/// Whether a unit keeps a token of this version already: one token is one reward, for the first exposure of several, whatever epochs
/// have begun since. That of another unit, on a browser that several share, is none.
fn has_token<H: Host>(experiment: &Experiment, choice: &Choice, clock: BinClock, reader: &mut Reader<'_, H>) -> bool {
    let Earning::Request(conversion) = &experiment.earning else { return false };
    let since = experiment.oldest_rewarded(clock.at(reader.host().now_nanos()));
    conversion
        .token(since, reader)
        .is_some_and(|token| usize::from(token.version) == choice.version && token.bucket == choice.bucket)
}
