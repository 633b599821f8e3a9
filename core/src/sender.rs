//! Sending reports: one at a time, numbered, byte for byte again until it is acknowledged.
//!
//! A state machine that is told the time (nanoseconds of the monotonic clock) and what came back. Owns the sequence, the
//! retries and the interval; knows nothing of cells.

use crate::report::Acknowledgement;

/// Seconds that Envoy waits for an answer to a report.
pub const TIMEOUT_NANOS: u64 = 5 * SECOND;
/// Intervals of silence after which an empty report says that the worker is alive.
const HEARTBEAT: u64 = 10;
const SECOND: u64 = 1_000_000_000;
const FIRST_RETRY: u64 = SECOND / 2;
const LAST_RETRY: u64 = 30 * SECOND;
/// Longest interval that a controller can ask for.
const MAX_INTERVAL_MS: u64 = 600_000;

/// Where sending stands.
#[derive(Debug)]
pub struct ReportSender {
    sequence: u64,
    interval: u64,
    next_at: u64,
    last_frozen: u64,
    outstanding: Option<Outstanding>,
    refusals: u32,
}

#[derive(Debug)]
struct Outstanding {
    body: Vec<u8>,
    assigned: u64,
    more: bool,
    failures: u32,
    /// The call under way, if one is.
    token: Option<u32>,
    /// When to send it (again): the retry's time, or when the call under way has to be given up.
    again_at: u64,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing.
    Wait,
    /// Freeze a report with this sequence, if there is anything to say (or `heartbeat`), and [`ReportSender::hold`] it.
    Freeze {
        /// The sequence.
        sequence: u64,
        /// Whether even an empty one is due.
        heartbeat: bool,
    },
    /// Send this, and say so by [`ReportSender::sent`].
    Send(&'a [u8]),
}

/// What an answer meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// To nothing that was asked.
    Nothing,
    /// The report counts.
    Acknowledged,
    /// It is to be sent again.
    Failed,
    /// It will never be accepted: so many exposures are lost.
    Refused(u64),
}

impl ReportSender {
    /// Begins with sequence 1; the first report is due within an interval, at a random time, so that workers spread.
    #[must_use]
    pub fn new(now: u64, interval_ms: u64, random: u64) -> Self {
        let interval = interval_ms.saturating_mul(1_000_000).max(1);
        let next_at = now.saturating_add(random.checked_rem(interval).unwrap_or(0));
        Self { sequence: 1, interval, next_at, last_frozen: now, outstanding: None, refusals: 0 }
    }

    /// What to do at this time.
    pub fn step(&mut self, now: u64) -> Step<'_> {
        match &self.outstanding {
            Some(outstanding) if now >= outstanding.again_at => Step::Send(&outstanding.body),
            Some(_) => Step::Wait,
            None if now >= self.next_at => {
                let silence = now.saturating_sub(self.last_frozen);
                // Who has never reported anything has nothing to keep alive.
                let heartbeat = self.sequence > 1 && silence >= self.interval.saturating_mul(HEARTBEAT);
                Step::Freeze { sequence: self.sequence, heartbeat }
            }
            None => Step::Wait,
        }
    }

    /// There was nothing to report: looks again in an interval.
    pub const fn skip(&mut self, now: u64) {
        self.next_at = now.saturating_add(self.interval);
    }

    /// Takes a frozen report, with the exposures it carries and whether counts were left that found no room in it.
    pub fn hold(&mut self, now: u64, body: Vec<u8>, assigned: u64, more: bool) {
        self.sequence = self.sequence.saturating_add(1);
        self.last_frozen = now;
        self.next_at = now.saturating_add(self.interval);
        self.outstanding = Some(Outstanding { body, assigned, more, failures: 0, token: None, again_at: now });
    }

    /// A call has begun with this token, or (`None`) could not begin.
    pub fn sent(&mut self, now: u64, token: Option<u32>, random: u64) {
        let Some(outstanding) = &mut self.outstanding else { return };
        outstanding.token = token;
        if token.is_some() {
            // The call-back may never come: the context that made the call can be gone.
            outstanding.again_at = now.saturating_add(TIMEOUT_NANOS + SECOND);
        } else {
            outstanding.fail(now, random);
        }
    }

    /// Whether this is the call under way.
    #[must_use]
    pub fn awaits(&self, token: u32) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.token == Some(token))
    }

    /// The call under way has been answered; status 0: it failed.
    pub fn answered(&mut self, now: u64, status: u32, body: &[u8], random: u64) -> Answered {
        let Some(outstanding) = &mut self.outstanding else { return Answered::Nothing };
        outstanding.token = None;
        match status {
            200 => match serde_json::from_slice::<Acknowledgement>(body) {
                Ok(acknowledgement) if acknowledgement.acknowledged >= self.sequence.saturating_sub(1) => {
                    if outstanding.more {
                        self.next_at = now;
                    }
                    self.refusals = 0;
                    self.outstanding = None;
                    self.stretch(acknowledgement.interval_ms);
                    Answered::Acknowledged
                }
                _ => {
                    outstanding.fail(now, random);
                    Answered::Failed
                }
            },
            400 | 413 | 422 => {
                let lost = outstanding.assigned;
                self.outstanding = None;
                self.next_at = now.saturating_add(backoff(self.refusals, random));
                self.refusals = self.refusals.saturating_add(1);
                Answered::Refused(lost)
            }
            _ => {
                outstanding.fail(now, random);
                Answered::Failed
            }
        }
    }

    /// Counts from 1 again: the worker has begun another incarnation.
    pub const fn restart(&mut self) {
        self.sequence = 1;
    }

    /// The call under way will not be answered: its context is gone.
    pub const fn forget_call(&mut self, now: u64) {
        if let Some(outstanding) = &mut self.outstanding
            && outstanding.token.take().is_some()
        {
            outstanding.again_at = now;
        }
    }

    /// The configured interval has changed.
    pub const fn set_interval(&mut self, interval_ms: u64) {
        self.interval = interval_ms.saturating_mul(1_000_000);
    }

    fn stretch(&mut self, interval_ms: Option<u64>) {
        if let Some(asked) = interval_ms {
            self.interval = asked.clamp(100, MAX_INTERVAL_MS).saturating_mul(1_000_000);
            self.next_at = self.next_at.max(self.last_frozen.saturating_add(self.interval));
        }
    }
}

impl Outstanding {
    fn fail(&mut self, now: u64, random: u64) {
        self.again_at = now.saturating_add(backoff(self.failures, random));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Half a second, doubled with each failure up to 30 s; of that, a random half to whole.
fn backoff(failures: u32, random: u64) -> u64 {
    let whole = FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY);
    let half = whole / 2;
    half.saturating_add(random.checked_rem(half).unwrap_or(0))
}
