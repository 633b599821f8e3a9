//! Sending reports: one at a time, numbered, byte for byte again until it is acknowledged.
//!
//! A state machine that is told the time (nanoseconds of the monotonic clock) and what came back. Owns the sequence, the
//! retries and the interval; knows nothing of cells.

use crate::json;
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
    /// Whether a call has carried it.
    sent: bool,
    failures: u32,
    /// The call under way, if one is.
    token: Option<u32>,
    /// When to send it (again): the retry's time, or when the call under way has to be given up.
    again_at: u64,
    /// When it last failed.
    failed_at: Option<u64>,
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
        self.outstanding = Some(Outstanding {
            body,
            assigned,
            more,
            sent: false,
            failures: 0,
            token: None,
            again_at: now,
            failed_at: None,
        });
    }

    /// A call has begun with this token, or (`None`) could not begin. Answers whether a call had carried the report before.
    pub fn sent(&mut self, now: u64, token: Option<u32>, random: u64) -> bool {
        let Some(outstanding) = &mut self.outstanding else { return false };
        let again = outstanding.sent;
        outstanding.token = token;
        if token.is_some() {
            outstanding.sent = true;
            // The call-back may never come: the context that made the call can be gone.
            outstanding.again_at = now.saturating_add(TIMEOUT_NANOS + SECOND);
        } else {
            outstanding.fail(now, random);
        }
        again
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
            200 => match json::read::<Acknowledgement>(body) {
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

    /// The controller has given some worker an answer at `fresh`: a report that failed before then need not sit out its
    /// retry, and goes within an interval, at a random time, so that a fleet does not send at once.
    pub fn hurry(&mut self, now: u64, fresh: u64, random: u64) {
        if let Some(outstanding) = &mut self.outstanding
            && outstanding.token.is_none()
            && outstanding.failed_at.take_if(|failed| *failed < fresh).is_some()
        {
            let soon = now.saturating_add(random.checked_rem(self.interval).unwrap_or(0));
            outstanding.again_at = outstanding.again_at.min(soon);
        }
    }

    /// Whether a report has been frozen since the incarnation began.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.sequence > 1
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
        self.failed_at = Some(now);
    }
}

/// Half a second, doubled with each failure up to 30 s; of that, a random half to whole.
fn backoff(failures: u32, random: u64) -> u64 {
    let whole = FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY);
    let half = whole / 2;
    half.saturating_add(random.checked_rem(half).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn holding(now: u64) -> ReportSender {
        let mut sender = ReportSender::new(now, 1_000, 0);
        assert!(matches!(sender.step(now), Step::Freeze { sequence: 1, heartbeat: false }));
        sender.hold(now, b"one".to_vec(), 7, false);
        sender
    }

    fn acknowledge(sequence: u64) -> Vec<u8> {
        format!(r#"{{"acknowledged":{sequence}}}"#).into_bytes()
    }

    #[test]
    fn a_report_is_sent_byte_for_byte_until_it_is_acknowledged() {
        let mut sender = holding(0);
        let mut now = 0;
        for (status, body) in [
            (0, &b""[..]),
            (500, b""),
            (401, b""),
            (404, b""),
            (200, b""),
            (200, b"{}"),
            (200, br#"{"acknowledged":0}"#),
        ] {
            assert_eq!(sender.step(now), Step::Send(b"one"));
            sender.sent(now, Some(1), 0);
            assert_eq!(sender.step(now + MS), Step::Wait, "one call at a time");
            assert_eq!(sender.answered(now + MS, status, body, 0), Answered::Failed, "{status}");
            assert_eq!(sender.step(now + MS), Step::Wait, "not at once");
            now += 31 * SECOND;
        }
        sender.sent(now, Some(2), 0);
        assert_eq!(sender.answered(now, 200, &acknowledge(1), 0), Answered::Acknowledged);
        assert!(matches!(sender.step(now), Step::Freeze { sequence: 2, heartbeat: true }));
    }

    #[test]
    fn retries_back_off_to_half_a_minute_at_most() {
        for random in [0, u64::MAX] {
            let mut before = 0;
            for failures in 0..40 {
                let pause = backoff(failures, random);
                assert!(pause >= before.min(LAST_RETRY / 2) && (FIRST_RETRY / 2..LAST_RETRY).contains(&pause));
                before = pause;
            }
            assert!(before >= LAST_RETRY / 2);
        }
    }

    #[test]
    fn a_call_back_that_never_comes_is_given_up() {
        let mut sender = holding(0);
        sender.sent(0, Some(1), 0);
        assert_eq!(sender.step(TIMEOUT_NANOS), Step::Wait);
        assert_eq!(sender.step(TIMEOUT_NANOS + SECOND), Step::Send(b"one"));
    }

    #[test]
    fn a_call_whose_context_is_gone_is_made_again_at_once() {
        let mut sender = holding(0);
        sender.sent(0, Some(1), 0);
        sender.forget_call(MS);
        assert!(!sender.awaits(1));
        assert_eq!(sender.step(MS), Step::Send(b"one"));
    }

    #[test]
    fn a_call_that_cannot_begin_is_a_failure() {
        let mut sender = holding(0);
        sender.sent(0, None, 0);
        assert_eq!(sender.step(0), Step::Wait);
        assert_eq!(sender.step(FIRST_RETRY), Step::Send(b"one"));
    }

    #[test]
    fn a_refused_report_is_never_sent_again() {
        for status in [400, 413, 422] {
            let mut sender = holding(0);
            sender.sent(0, Some(1), 0);
            assert_eq!(sender.answered(0, status, b"", 0), Answered::Refused(7));
            sender.restart();
            assert_eq!(sender.step(0), Step::Wait, "a controller that refuses is not flooded");
            assert!(matches!(sender.step(SECOND), Step::Freeze { sequence: 1, .. }));
        }
    }

    #[test]
    fn the_controller_can_stretch_the_interval() {
        let mut sender = holding(0);
        sender.sent(0, Some(1), 0);
        sender.answered(MS, 200, br#"{"acknowledged":1,"intervalMs":5000}"#, 0);
        assert_eq!(sender.step(4_999 * MS), Step::Wait);
        assert!(matches!(sender.step(5_000 * MS), Step::Freeze { sequence: 2, .. }));
    }

    #[test]
    fn what_found_no_room_follows_at_once() {
        let mut sender = ReportSender::new(0, 1_000, 0);
        sender.hold(0, b"full".to_vec(), 1, true);
        sender.sent(0, Some(1), 0);
        sender.answered(MS, 200, &acknowledge(1), 0);
        assert!(matches!(sender.step(MS), Step::Freeze { sequence: 2, .. }));
    }

    #[test]
    fn a_sign_of_life_shortens_a_long_retry() {
        let mut sender = holding(0);
        let mut now = 0;
        for _ in 0..10 {
            sender.sent(now, Some(1), 0);
            sender.answered(now, 503, b"", u64::MAX);
            sender.hurry(now, now.saturating_sub(1), 0);
            assert_eq!(sender.step(now), Step::Wait, "an older sign says nothing");
            now += 31 * SECOND;
        }
        sender.sent(now, Some(1), 0);
        sender.answered(now, 503, b"", u64::MAX);
        sender.hurry(now + SECOND, now + SECOND, 0);
        assert_eq!(sender.step(now + SECOND), Step::Send(b"one"));
    }
}
