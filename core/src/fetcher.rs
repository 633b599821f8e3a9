//! Fetching the plan: one long poll per Envoy, whatever its number of workers.
//!
//! The right to poll is a lease, a compare-and-swap entry in the data that all VMs of an Envoy share. Its holder puts the
//! plan there and wakes the others; who misses a wake-up sees it at its next tick. A lease that dies with its VM expires.
//! Fetching is idempotent, so two holders in a race do no harm. A state machine that is told the time.

use crate::config::Controller;
use crate::duration::format_milliseconds;
use crate::host::{Call, Host, Level};
use crate::plan::Plan;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
/// Longest poll.
const MAX_WAIT_MS: u64 = 20_000;
/// How much longer than the poll the call may take.
const CALL_SLACK_MS: u64 = 5_000;
/// How much longer than the call the lease lasts.
const LEASE_SLACK: u64 = 2 * SECOND;
/// A lease that claims to last longer is not one.
const LONGEST_LEASE: u64 = 60 * SECOND;
const FIRST_RETRY: u64 = 250 * MILLISECOND;
const LAST_RETRY: u64 = 5 * SECOND;
/// Largest plan, in bytes.
pub const MAX_PLAN_BYTES: usize = 8 << 20;
/// Most VMs of one Envoy that are woken; the others find the plan at their next tick.
const MAX_QUEUES: usize = 256;
/// How often a VM says that its queue is alive, and when it counts as dead.
const QUEUE_REFRESH: u64 = 10 * SECOND;
const QUEUE_DEAD: u64 = 30 * SECOND;

/// One VM's part in fetching.
#[derive(Debug)]
pub struct PlanFetcher {
    keys: Keys,
    holder: u64,
    began: u64,
    /// When the controller last gave a valid answer to any VM.
    fresh: Option<u64>,
    /// The number, in shared data, of the plan this VM has looked at.
    number: u64,
    plan: Option<Rc<Plan>>,
    poll: Option<Poll>,
    retry_at: u64,
    failures: u32,
    queue: Option<u32>,
    queue_refreshed: Option<u64>,
    /// A poll that Envoy refused to send, until somebody is told.
    not_begun: bool,
}

#[derive(Debug)]
struct Poll {
    token: u32,
    /// Before which an answer that changes nothing was not held as asked.
    held_until: u64,
    give_up_at: u64,
}

#[derive(Debug)]
struct Keys {
    lease: String,
    head: String,
    plan: String,
    queues: String,
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A plan that differs from the one before.
    New,
    /// The plan stays.
    Unchanged,
    /// No valid answer, and why.
    Failed(String),
}

impl PlanFetcher {
    /// Begins for a controller; `holder` tells this VM from the others.
    #[must_use]
    pub fn new(controller: &Controller, now: u64, holder: u64) -> Self {
        // Shared data is shared by every filter of an Envoy: what comes from different controllers stays apart.
        let key = |name: &str| format!("weir/1/{}/{}/{name}", controller.cluster, controller.authority);
        Self {
            keys: Keys { lease: key("lease"), head: key("head"), plan: key("plan"), queues: key("queues") },
            holder,
            began: now,
            fresh: None,
            number: 0,
            plan: None,
            poll: None,
            retry_at: now,
            failures: 0,
            queue: None,
            queue_refreshed: None,
            not_begun: false,
        }
    }

    /// The controller's plan, once there is one.
    #[must_use]
    pub const fn plan(&self) -> Option<&Rc<Plan>> {
        self.plan.as_ref()
    }

    /// When the controller last gave a valid answer to any VM of this Envoy.
    #[must_use]
    pub const fn fresh(&self) -> Option<u64> {
        self.fresh
    }

    /// Whether the controller has been silent for too long.
    #[must_use]
    pub fn is_stale(&self, now: u64, limit_ms: u64) -> bool {
        self.silence(now) > limit_ms.saturating_mul(MILLISECOND)
    }

    /// Nanoseconds since the controller last gave any VM of this Envoy a valid answer, or since this VM began.
    #[must_use]
    pub fn silence(&self, now: u64) -> u64 {
        now.saturating_sub(self.fresh.unwrap_or(self.began))
    }

    /// The queue that wakes this VM.
    pub const fn set_queue(&mut self, queue: u32) {
        self.queue = Some(queue);
        self.queue_refreshed = None;
    }

    /// Looks at what the VMs share, without writing. Whether there is a new plan.
    pub fn look(&mut self, host: &mut impl Host) -> bool {
        let Some((number, fresh)) = host.shared(&self.keys.head).and_then(|(head, _)| pair(&head)) else {
            return false;
        };
        self.fresh = Some(fresh);
        if number == self.number {
            return false;
        }
        let Some((entry, _)) = host.shared(&self.keys.plan) else { return false };
        let Some((stored, json)) = entry.split_first_chunk() else { return false };
        self.number = u64::from_le_bytes(*stored);
        match Plan::from_json(json) {
            Ok(plan) => {
                let is_new = self.plan.as_ref().is_none_or(|old| old.revision != plan.revision);
                self.plan = Some(Rc::new(plan));
                is_new
            }
            Err(_) => false,
        }
    }

    /// Does what is due: looks, and polls if this VM holds the lease or can take it. Whether there is a new plan.
    pub fn on_tick(&mut self, host: &mut impl Host, controller: &Controller, now: u64) -> bool {
        self.refresh_queue(host, now);
        let is_new = self.look(host);
        if self.poll.as_ref().is_some_and(|poll| now >= poll.give_up_at) {
            self.poll = None;
        }
        if self.poll.is_none() && now >= self.retry_at {
            // After a failure any answer is news, so that poll is not to be held.
            let longest = (controller.staleness_limit / 3).min(MAX_WAIT_MS);
            let wait_ms = if self.failures == 0 { longest } else { 0 };
            let expires = now.saturating_add((wait_ms + CALL_SLACK_MS) * MILLISECOND + LEASE_SLACK);
            if self.take_lease(host, now, expires) {
                self.begin_poll(host, controller, now, wait_ms);
            }
        }
        is_new
    }

    /// Whether this is the poll under way.
    #[must_use]
    pub fn awaits(&self, token: u32) -> bool {
        self.poll.as_ref().is_some_and(|poll| poll.token == token)
    }

    /// The poll under way has been answered; status 0: it failed.
    pub fn on_answer(&mut self, host: &mut impl Host, now: u64, status: u32, body: &[u8]) -> Fetched {
        let held_until = self.poll.take().map_or(now, |poll| poll.held_until);
        let fetched = match status {
            200 => self.accept(host, now, body),
            304 => Fetched::Unchanged,
            0 => Fetched::Failed("no answer".to_owned()),
            _ => Fetched::Failed(format!("status {status}")),
        };
        if let Fetched::Failed(_) = fetched {
            self.fail(host, now);
        } else {
            self.failures = 0;
            self.publish_head(host, now);
            // A controller that does not hold the poll is not asked more than once a second.
            let is_hasty = fetched == Fetched::Unchanged && now < held_until;
            self.retry_at = if is_hasty { now.saturating_add(SECOND) } else { now };
        }
        fetched
    }

    /// The poll under way will not be answered: its context is gone.
    pub fn forget_call(&mut self, now: u64) {
        if self.poll.take().is_some() {
            self.retry_at = now;
        }
    }

    fn accept(&mut self, host: &mut impl Host, now: u64, body: &[u8]) -> Fetched {
        if body.len() > MAX_PLAN_BYTES {
            return Fetched::Failed(format!("a plan of {} bytes; at most {MAX_PLAN_BYTES}", body.len()));
        }
        let plan = match Plan::from_json(body) {
            Ok(plan) => plan,
            Err(error) => return Fetched::Failed(format!("a plan that is not valid: {error}")),
        };
        if self.plan.as_ref().is_some_and(|old| old.revision == plan.revision) {
            return Fetched::Unchanged;
        }
        // Past every number that any VM may have seen.
        let stored = host.shared(&self.keys.head).and_then(|(head, _)| pair(&head)).map_or(0, |(number, _)| number);
        self.number = stored.max(self.number).wrapping_add(1);
        let entry: Vec<u8> = self.number.to_le_bytes().iter().chain(body).copied().collect();
        host.set_shared(&self.keys.plan, &entry, None);
        self.publish_head(host, now);
        self.plan = Some(Rc::new(plan));
        self.wake_others(host, now);
        Fetched::New
    }

    fn publish_head(&mut self, host: &mut impl Host, now: u64) {
        self.fresh = Some(now);
        host.set_shared(&self.keys.head, &bytes(self.number, now), None);
    }

    fn fail(&mut self, host: &mut impl Host, now: u64) {
        let whole = FIRST_RETRY.saturating_mul(1 << self.failures.min(10)).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let pause = half.saturating_add(host.random_u64().checked_rem(half).unwrap_or(0));
        self.retry_at = now.saturating_add(pause);
        // Keeps the lease over the pause, so that the others do not try in its stead, and not much longer.
        self.take_lease(host, now, self.retry_at.saturating_add(LEASE_SLACK));
    }

    /// Takes or renews the lease, if it is free or this VM's.
    fn take_lease(&self, host: &mut impl Host, now: u64, expires: u64) -> bool {
        let mine = bytes(self.holder, expires);
        match host.shared(&self.keys.lease) {
            Some((entry, version)) => {
                let is_free = pair(&entry).is_none_or(|(holder, until)| {
                    holder == self.holder || until <= now || until.saturating_sub(now) > LONGEST_LEASE
                });
                is_free && host.set_shared(&self.keys.lease, &mine, Some(version))
            }
            None => {
                // An entry that is not there cannot be compared: makes an expired one, then takes it like the others.
                host.set_shared(&self.keys.lease, &bytes(0, 0), None);
                host.shared(&self.keys.lease)
                    .is_some_and(|(_, version)| host.set_shared(&self.keys.lease, &mine, Some(version)))
            }
        }
    }

    fn begin_poll(&mut self, host: &mut impl Host, controller: &Controller, now: u64, wait_ms: u64) {
        let revision = self.plan.as_ref().map_or("", |plan| &plan.revision);
        let path = format!("/v1/plan?revision={}&wait={}", percent_encoded(revision), format_milliseconds(wait_ms));
        let token = call(host, controller, "GET", &path, &[], Duration::from_millis(wait_ms + CALL_SLACK_MS));
        match token {
            Some(token) => {
                let give_up_at = now.saturating_add((wait_ms + CALL_SLACK_MS) * MILLISECOND + SECOND);
                let held_until = now.saturating_add(wait_ms * MILLISECOND / 2);
                self.poll = Some(Poll { token, held_until, give_up_at });
            }
            None => {
                self.not_begun = true;
                self.fail(host, now);
            }
        }
    }

    /// Whether a poll could not even begin since this was last asked.
    pub const fn take_not_begun(&mut self) -> bool {
        std::mem::replace(&mut self.not_begun, false)
    }

    /// Says, every few seconds, that this VM's queue is alive; forgets those that are not.
    fn refresh_queue(&mut self, host: &mut impl Host, now: u64) {
        let Some(queue) = self.queue else { return };
        if self.queue_refreshed.is_some_and(|last| now < last.saturating_add(QUEUE_REFRESH)) {
            return;
        }
        let (entry, version) = host.shared(&self.keys.queues).map_or((Vec::new(), None), |(e, v)| (e, Some(v)));
        let mut alive: Vec<(u64, u64)> = alive(&entry, now).filter(|(other, _)| *other != u64::from(queue)).collect();
        alive.truncate(MAX_QUEUES - 1);
        alive.push((u64::from(queue), now));
        let entry: Vec<u8> = alive.into_iter().flat_map(|(queue, seen)| bytes(queue, seen)).collect();
        if host.set_shared(&self.keys.queues, &entry, version) {
            self.queue_refreshed = Some(now);
        }
    }

    fn wake_others(&self, host: &mut impl Host, now: u64) {
        let entry = host.shared(&self.keys.queues).map_or_else(Vec::new, |(entry, _)| entry);
        for (queue, _) in alive(&entry, now).take(MAX_QUEUES) {
            if let Ok(queue) = u32::try_from(queue)
                && Some(queue) != self.queue
            {
                host.wake(queue);
            }
        }
    }
}

/// Begins a request to the controller.
pub fn call(
    host: &mut impl Host,
    controller: &Controller,
    method: &str,
    path: &str,
    body: &[u8],
    timeout: Duration,
) -> Option<u32> {
    let authorization = controller.token.as_ref().map(|token| format!("Bearer {token}"));
    let mut headers = vec![(":method", method), (":path", path), (":authority", controller.authority.as_str())];
    headers.push(("accept", "application/json"));
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    if let Some(authorization) = &authorization {
        headers.push(("authorization", authorization));
    }
    host.call(&Call { cluster: &controller.cluster, headers: &headers, body, timeout })
}

/// Writes a warning about the controller.
pub fn warn(host: &mut impl Host, controller: &Controller, what: &str, why: &str) {
    let message = format!("{what} cluster `{}`: {why}; will try again", controller.cluster);
    host.log(Level::Warn, &message);
}

fn alive(entry: &[u8], now: u64) -> impl Iterator<Item = (u64, u64)> {
    let (pairs, _) = entry.as_chunks::<16>();
    pairs.iter().filter_map(|chunk| pair(chunk)).filter(move |(_, seen)| now.saturating_sub(*seen) < QUEUE_DEAD)
}

/// Two numbers as an entry in shared data.
fn bytes(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first) | (u128::from(second) << 64)).to_le_bytes()
}

#[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
fn pair(entry: &[u8]) -> Option<(u64, u64)> {
    let both = u128::from_le_bytes(entry.try_into().ok()?);
    Some((both as u64, (both >> 64) as u64))
}

/// RFC 3986: everything but unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
