//! One VM's exchange with the controller: the plan comes in, reports go out.
//!
//! Owns what outlives a configuration push: the recorder, the report under way, the incarnation, the fetched plan. Told the
//! time by its host; does nothing on the request path but lend the recorder.

#[cfg(test)]
mod tests;

use crate::config::Controller;
use crate::fetcher::{self, Fetched, PlanFetcher};
use crate::host::{Host, Level};
use crate::plan::{FORMAT, Plan};
use crate::recorder::Recorder;
use crate::report::Report;
use crate::request::{BinClock, Worker};
use crate::sender::{Answered, ReportSender, Step, TIMEOUT_NANOS};
use std::rc::Rc;
use std::time::Duration;

/// Nanoseconds between two warnings of a kind.
const WARN_EVERY: u64 = 60_000_000_000;

/// One VM's exchange with the controller.
#[derive(Debug)]
pub struct Exchange {
    controller: Controller,
    /// The incarnation's, for its life: the controller knows its reports by both.
    node: String,
    /// As configured last: the next incarnation's.
    next_node: String,
    incarnation: String,
    /// The same.
    incarnation_number: u128,
    clock: BinClock,
    recorder: Recorder,
    sender: ReportSender,
    fetcher: PlanFetcher,
    /// Claims in the report that was frozen last, and those that it says were lost.
    held_claims: u64,
    /// The same of refused reports, for the next one to say.
    lost_claims: u64,
    /// Exposures that were lost and told as such, for the next report to say.
    told: u64,
    /// The same in the report that was frozen last.
    held_told: u64,
    stale: bool,
    /// Revision of the static plan, until the controller gives one.
    static_revision: String,
    /// When each kind of warning was given last.
    warned: [Option<u64>; 3],
    news: News,
}

/// What has happened since somebody was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// Reports sent for the first time.
    pub sent: u64,
    /// Sendings of a report that had been sent before.
    pub retried: u64,
    /// Reports acknowledged.
    pub acknowledged: u64,
    /// Reports that the controller will never accept.
    pub refused: u64,
    /// Exposures in them, and those thrown away with them because their incarnation can never be complete.
    pub lost: u64,
    /// Polls without a valid answer.
    pub polls_failed: u64,
}

/// How the exchange does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Of the plan in force; empty before the first.
    pub revision: &'a str,
    /// Since the controller last gave any VM of this Envoy a valid answer, or since this VM began.
    pub silence_nanos: u64,
    /// Whether running experiments go to their baselines.
    pub stale: bool,
    /// Since the last time.
    pub news: News,
}

impl Exchange {
    /// Begins an incarnation. Reads what other VMs have fetched; writes nothing and calls nobody.
    ///
    /// `unix_ms` is the Unix time now, in milliseconds.
    pub fn new(host: &mut impl Host, controller: Controller, node: String, unix_ms: u64) -> Self {
        let now = host.now_nanos();
        let mut fetcher = PlanFetcher::new(&controller, now, host.random_u64());
        fetcher.look(host);
        let (incarnation, incarnation_number) = incarnation(host);
        Self {
            sender: ReportSender::new(now, controller.report_interval, host.random_u64()),
            clock: BinClock::new(unix_ms, now),
            recorder: Recorder::default(),
            incarnation,
            incarnation_number,
            stale: fetcher.is_stale(now, controller.staleness_limit),
            static_revision: String::new(),
            warned: [None; 3],
            news: News::default(),
            held_claims: 0,
            told: 0,
            held_told: 0,
            lost_claims: 0,
            controller,
            next_node: node.clone(),
            node,
            fetcher,
        }
    }

    /// A configuration push: counts, incarnation and plan stay; calls under way belonged to the context that goes. So does the
    /// node's name, once an incarnation has reported under it: another one is for the next incarnation.
    pub fn reconfigure(&mut self, host: &mut impl Host, controller: Controller, node: String) {
        let now = host.now_nanos();
        self.sender.forget_call(now);
        self.fetcher.forget_call(now);
        if controller.report_interval != self.controller.report_interval {
            self.sender.set_interval(controller.report_interval);
        }
        self.controller = controller;
        if !self.sender.has_begun() {
            self.node.clone_from(&node);
        }
        self.next_node = node;
        self.stale = self.fetcher.is_stale(now, self.controller.staleness_limit);
    }

    /// Names the static plan, for reports.
    pub fn set_static_revision(&mut self, revision: &str) {
        revision.clone_into(&mut self.static_revision);
    }

    /// The queue that wakes this VM.
    pub const fn set_queue(&mut self, queue: u32) {
        self.fetcher.set_queue(queue);
    }

    /// The controller's plan, once there is one.
    #[must_use]
    pub const fn plan(&self) -> Option<&Rc<Plan>> {
        self.fetcher.plan()
    }

    /// For a request that arrives.
    pub const fn worker(&mut self) -> Worker<'_> {
        Worker {
            recorder: Some(&mut self.recorder),
            clock: self.clock,
            stale: self.stale,
            incarnation: self.incarnation_number,
        }
    }

    /// For a request that ends.
    pub const fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// A name for this VM's life.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// How it does, with the news since this was last asked.
    pub fn standing(&mut self, now: u64) -> Standing<'_> {
        let news = std::mem::take(&mut self.news);
        let revision = self.fetcher.plan().map_or(&self.static_revision, |plan| &plan.revision);
        Standing { revision, silence_nanos: self.fetcher.silence(now), stale: self.stale, news }
    }

    /// Another VM has fetched a plan.
    pub fn on_wake(&mut self, host: &mut impl Host) {
        if self.fetcher.look(host) {
            self.announce(host);
        }
    }

    /// Does what is due.
    pub fn on_tick(&mut self, host: &mut impl Host) {
        let now = host.now_nanos();
        if self.fetcher.on_tick(host, &self.controller, now) {
            self.announce(host);
        }
        if self.fetcher.take_not_begun() {
            self.news.polls_failed += 1;
            self.warn(
                host,
                now,
                0,
                "no plan from",
                "Envoy sends nothing there: it has no such cluster, or none that works",
            );
        }
        self.judge_staleness(host, now);
        if let Some(fresh) = self.fetcher.fresh() {
            let random = host.random_u64();
            self.sender.hurry(now, fresh, random);
        }
        self.report(host, now);
    }

    /// A call has been answered; status 0: it failed.
    pub fn on_answer(&mut self, host: &mut impl Host, token: u32, status: u32, body: &[u8]) {
        let now = host.now_nanos();
        if self.fetcher.awaits(token) {
            match self.fetcher.on_answer(host, now, status, body) {
                Fetched::New => self.announce(host),
                Fetched::Unchanged => {}
                Fetched::Failed(why) => {
                    self.news.polls_failed += 1;
                    self.warn(host, now, 0, "no plan from", &why);
                }
            }
            self.judge_staleness(host, now);
        } else if self.sender.awaits(token) {
            let random = host.random_u64();
            match self.sender.answered(now, status, body, random) {
                Answered::Acknowledged => {
                    self.news.acknowledged += 1;
                    self.held_told = 0;
                }
                Answered::Nothing => {}
                Answered::Failed => {
                    let why = if status == 0 { "no answer".to_owned() } else { format!("status {status}") };
                    self.warn(host, now, 1, "a report was not acknowledged by", &why);
                }
                Answered::Refused(lost) => {
                    self.news.refused += 1;
                    let lost = self.start_over(host, lost);
                    let reason = String::from_utf8_lossy(body.get(..body.len().min(512)).unwrap_or_default());
                    let why = format!("status {status}, {reason}; {lost} exposures lost, beginning a new incarnation");
                    self.warn(host, now, 2, "a report was refused by", &why);
                }
            }
            // What a full report had to leave behind follows at once.
            self.report(host, now);
        }
    }

    /// After a refusal this worker's counts can never be complete: under a new incarnation nothing of the old one is mixed
    /// in, and the old one's unfinished bins are excluded whole, because its watermark stands still.
    /// Answers how many exposures are lost.
    fn start_over(&mut self, host: &mut impl Host, lost: u64) -> u64 {
        let lost = self.recorder.start_over(lost);
        // What the refused report said was lost before has been told.
        self.news.lost = self.news.lost.saturating_add(lost.saturating_sub(std::mem::take(&mut self.held_told)));
        self.told = self.told.saturating_add(lost);
        self.lost_claims = self.lost_claims.saturating_add(std::mem::take(&mut self.held_claims));
        self.sender.restart();
        self.node.clone_from(&self.next_node);
        (self.incarnation, self.incarnation_number) = incarnation(host);
        lost
    }

    fn report(&mut self, host: &mut impl Host, now: u64) {
        if let Step::Freeze { sequence, heartbeat } = self.sender.step(now) {
            let drained = self.recorder.drain(self.clock.at(now));
            if drained.is_empty() && self.lost_claims == 0 && !heartbeat {
                self.sender.skip(now);
                return;
            }
            let lost_claims = drained.lost_claims.saturating_add(std::mem::take(&mut self.lost_claims));
            let claims = u64::try_from(drained.claims.len()).unwrap_or(u64::MAX);
            self.held_claims = lost_claims.saturating_add(claims);
            self.held_told = std::mem::take(&mut self.told);
            let report = Report {
                format: FORMAT,
                node: self.node.clone(),
                incarnation: self.incarnation.clone(),
                sequence,
                plan: self.plan().map_or(&self.static_revision, |plan| &plan.revision).clone(),
                stale: self.stale,
                dropped: drained.dropped,
                experiments: drained.experiments,
                claims: drained.claims,
                lost_claims,
            };
            let lost = drained.assigned.saturating_add(drained.dropped);
            match serde_json::to_vec(&report) {
                Ok(body) => self.sender.hold(now, body, lost, drained.more),
                // Numbers and text only: there is nothing in it that JSON cannot say.
                Err(_) => drop(self.start_over(host, lost)),
            }
        }
        if let Step::Send(body) = self.sender.step(now) {
            let timeout = Duration::from_nanos(TIMEOUT_NANOS);
            let token = fetcher::call(host, &self.controller, "POST", "/v1/reports", body, timeout);
            let random = host.random_u64();
            match (token, self.sender.sent(now, token, random)) {
                (None, _) => {}
                (Some(_), false) => self.news.sent += 1,
                (Some(_), true) => self.news.retried += 1,
            }
        }
    }

    fn judge_staleness(&mut self, host: &mut impl Host, now: u64) {
        let stale = self.fetcher.is_stale(now, self.controller.staleness_limit);
        if stale != self.stale {
            self.stale = stale;
            if stale {
                host.log(Level::Warn, "the plan is stale: running experiments go to their baselines, unrecorded");
            } else {
                host.log(Level::Info, "the controller answers again: experiments go on");
            }
        }
    }

    fn announce(&self, host: &mut impl Host) {
        if let Some(plan) = self.plan() {
            let message = format!("plan {} with {} experiments", plan.revision, plan.experiments.len());
            host.log(Level::Info, &message);
        }
    }

    fn warn(&mut self, host: &mut impl Host, now: u64, kind: usize, what: &str, why: &str) {
        if let Some(last) = self.warned.get_mut(kind)
            && last.is_none_or(|last| now.saturating_sub(last) >= WARN_EVERY)
        {
            *last = Some(now);
            fetcher::warn(host, &self.controller, what, why);
        }
    }
}

/// A new one, as text and as a number.
fn incarnation(host: &mut impl Host) -> (String, u128) {
    let number = u128::from(host.random_u64()) << 64 | u128::from(host.random_u64());
    (format!("{number:032x}"), number)
}
