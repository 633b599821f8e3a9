//! One request's life: match, assign, route, and record how it ended.
//!
//! Owns the order of these steps. A request in flight keeps the experiment it was assigned by, so a new plan does not
//! disturb it. Nothing here may panic or wait.

use crate::host::Host;
use crate::json;
use crate::matching::{Compiled, Experiment, Key, Reader};
use crate::outcome;
use crate::plan::{Measure, PARTS};
use crate::recorder::{Exposure, Observation, Recorder};
use crate::unit::{self, Digest};
use std::rc::Rc;

/// Longest reward that is read, in bytes.
const MAX_REWARD: usize = 32;
/// Largest size of a reward; a greater one is a mistake and no reward. Sums of so many squares stay far from infinity, so no
/// answer of a version can make a report that the controller refuses.
const LARGEST_REWARD: f64 = 1e15;

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
        let mut reader = plan.reader(host);
        let Some(experiment) = plan.find(&mut reader) else {
            strip(host, plan, &[]);
            return Self::default();
        };
        let choice = choose(experiment, worker.stale, &mut reader);
        let version = experiment.versions.get(choice.version);
        strip(host, plan, version.map_or(&[][..], |version| &version.sets));
        for header in version.map_or(&[][..], |version| &version.headers) {
            host.set_request_header(&header.name, &header.value);
        }
        let recorder = worker.recorder.filter(|_| choice.counts && experiment.running);
        let recorded = recorder.and_then(|recorder| {
            let now = host.now_nanos();
            Some((recorder.assign(experiment, choice.version, choice.bucket, worker.clock.at(now))?, now))
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
            exposure.late();
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

/// Removes the routing headers that the client sent, but for those that are set anyway. Removing one that is not there would
/// have Envoy choose the route anew for nothing; looking costs less.
fn strip(host: &mut impl Host, plan: &Compiled, set: &[usize]) {
    for (index, name) in plan.routing_headers().iter().enumerate() {
        if !set.contains(&index) && host.request_header(name).is_some() {
            host.remove_request_header(name);
        }
    }
}

struct Choice {
    version: usize,
    /// Whether chance decided it, so that it may be recorded.
    counts: bool,
    /// The unit's, where it is to be recorded.
    bucket: Option<u16>,
}

fn choose<H: Host>(experiment: &Rc<Experiment>, stale: bool, reader: &mut Reader<'_, H>) -> Choice {
    let unrecorded = |version| Choice { version, counts: false, bucket: None };
    let baseline = unrecorded(experiment.baseline);
    if stale && experiment.running {
        return baseline;
    }
    let named = experiment
        .override_header
        .and_then(|header| reader.get(header))
        .and_then(|value| experiment.versions.iter().position(|version| version.name.as_bytes() == value));
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
    chosen.map_or(baseline, |version| {
        let buckets = experiment.unit_buckets.filter(|_| experiment.running);
        Choice { version, counts: true, bucket: buckets.zip(key).map(|(buckets, key)| buckets.of(key)) }
    })
}

/// The reward in the response, zero if there is none that can be read.
fn reward(host: &mut impl Host, experiment: &Experiment) -> f64 {
    let value = experiment.reward_header.as_ref().and_then(|name| host.response_header(name));
    value
        .filter(|value| value.len() <= MAX_REWARD)
        .and_then(|value| json::number(&value))
        .filter(|reward| reward.abs() <= LARGEST_REWARD)
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Match, Plan, RewardSource, Status, Unit};
    use crate::testing::{FakeHost, plan};
    use proptest::prelude::*;

    struct Path {
        compiled: Compiled,
        recorder: Recorder,
        stale: bool,
    }

    impl Path {
        fn new(plan: &Plan) -> Self {
            plan.validate().unwrap();
            let compiled = Compiled::new(plan, &["x-weir-version".to_owned(), "x-configured".to_owned()]);
            Self { compiled, recorder: Recorder::default(), stale: false }
        }

        fn arrive(&mut self, host: &mut FakeHost) -> Request {
            let worker =
                Worker { recorder: Some(&mut self.recorder), clock: BinClock::new(1_000_000, 0), stale: self.stale };
            Request::on_request_headers(host, &self.compiled, worker)
        }

        fn assigned(&mut self) -> u64 {
            self.recorder.drain(1_000_000).assigned
        }
    }

    /// Where a request with these headers goes.
    fn route(path: &mut Path, headers: &[(&str, &[u8])]) -> Option<String> {
        let mut host = FakeHost::with_request(headers);
        host.seed = 1;
        path.arrive(&mut host);
        host.sent("x-weir-version")
    }

    fn sticky(unit: Unit) -> Plan {
        let mut plan = plan(&[1, 1, 1]);
        plan.experiments[0].unit = unit;
        plan
    }

    #[test]
    fn routing_headers_that_a_client_sends_never_arrive() {
        let mut plan = plan(&[1, 0]);
        plan.experiments[0].matching = Match { hosts: vec!["shop.example".to_owned()], ..Match::default() };
        let mut path = Path::new(&plan);
        for host in [&b"shop.example"[..], b"other.example"] {
            let mut host = FakeHost::with_request(&[
                (":authority", host),
                ("x-weir-version", b"v1"),
                ("x-weir-version", b"v1"),
                ("x-configured", b"\xff"),
            ]);
            path.arrive(&mut host);
            assert_ne!(host.sent("x-weir-version").as_deref(), Some("v1"));
            assert_eq!(host.sent("x-configured"), None);
        }
    }

    #[test]
    fn a_request_that_no_experiment_matches_is_left_alone() {
        let mut plan = plan(&[1, 1]);
        plan.experiments[0].matching = Match { hosts: vec!["shop.example".to_owned()], ..Match::default() };
        let mut path = Path::new(&plan);
        assert_eq!(route(&mut path, &[(":authority", b"other.example")]), None);
        assert_eq!(path.assigned(), 0);
    }

    #[test]
    fn a_unit_gets_one_version_and_no_key_means_the_baseline_unrecorded() {
        for (unit, header) in
            [(Unit::Header("x-user".to_owned()), "x-user"), (Unit::Cookie("uid".to_owned()), "cookie")]
        {
            let mut path = Path::new(&sticky(unit));
            let value = |user: u32| if header == "cookie" { format!("a=b; uid={user}") } else { user.to_string() };
            let mut seen = std::collections::BTreeSet::new();
            for user in 0..50 {
                let first = route(&mut path, &[(header, value(user).as_bytes())]);
                assert_eq!(first, route(&mut path, &[(header, value(user).as_bytes())]));
                seen.insert(first);
            }
            assert_eq!(seen.len(), 3);
            assert_eq!(path.assigned(), 100);
            assert_eq!(route(&mut path, &[]).as_deref(), Some("v0"));
            assert_eq!(route(&mut path, &[(header, b"")]).as_deref(), Some("v0"));
            assert_eq!(path.assigned(), 0);
        }
    }

    #[test]
    fn the_bucket_of_a_unit_that_failed_is_reported_and_of_a_request_on_its_own_none() {
        for (unit, headers) in [
            (Unit::Header("x-user".to_owned()), [("x-user", &b"ann"[..])]),
            (Unit::Cookie("uid".to_owned()), [("cookie", b"uid=ann")]),
            (Unit::Request, [("x-user", b"ann")]),
        ] {
            let is_sticky = unit != Unit::Request;
            let mut plan = sticky(unit);
            plan.experiments[0].reward = Some(RewardSource::ResponseHeader("x-reward".to_owned()));
            plan.experiments[0].versions.iter_mut().for_each(|version| version.slow_us = Some(2_000));
            let mut path = Path::new(&plan);
            let ann = crate::unit::UnitBuckets::new("salt").of(Digest::of(b"ann"));
            // By code, age in microseconds and flags: bad, slow.
            for (code, age, flags, bad, slow) in [
                (500, 1, 0, true, true),
                (200, 1_999, 0, false, false),
                (200, 2_000, 0, false, true),
                (200, 2_000, 0x4000, false, true),
                (200, 1_999, 0x4000, false, false),
            ] {
                let mut host = FakeHost::with_request(&headers);
                (host.code, host.flags) = (Some(code), flags);
                host.response = vec![("x-reward".to_owned(), b"1".to_vec())];
                let mut request = path.arrive(&mut host);
                host.now = age * 1_000;
                request.on_log(&mut host, &mut path.recorder);
                let drained = path.recorder.drain(1_000_100);
                let counts = &drained.experiments[0].cells[0].counts;
                let expected = |shown: bool| if shown && is_sticky { vec![ann] } else { vec![] };
                assert_eq!(counts.failed_buckets, expected(bad), "{code} {age} {flags}");
                assert_eq!(counts.slow_buckets, expected(slow), "{code} {age} {flags}");
                assert_eq!(counts.rewarded_buckets, expected(flags == 0), "{code} {age} {flags}");
            }
        }
    }

    #[test]
    fn who_does_not_take_part_goes_to_the_baseline_unrecorded() {
        for unit in [Unit::Request, Unit::Header("x-user".to_owned())] {
            let mut plan = sticky(unit);
            plan.experiments[0].versions[0].weight = 0;
            plan.experiments[0].matching.share_ppm = 100_000;
            let mut path = Path::new(&plan);
            let mut host = FakeHost::default();
            let mut others = 0;
            for user in 0..2_000_u32 {
                host.request = vec![("x-user".to_owned(), user.to_string().into_bytes())];
                path.arrive(&mut host);
                others += u64::from(host.sent("x-weir-version").as_deref() != Some("v0"));
            }
            // Six standard deviations around 200.
            assert!(others.abs_diff(200) < 6 * 14, "{others}");
            assert_eq!(path.assigned(), others);
        }
    }

    #[test]
    fn a_stale_plan_sends_running_experiments_to_the_baseline_unrecorded_and_keeps_concluded_ones() {
        let mut running = plan(&[0, 1]);
        let mut path = Path::new(&running);
        path.stale = true;
        assert_eq!(route(&mut path, &[]).as_deref(), Some("v0"));
        assert_eq!(path.assigned(), 0);
        running.experiments[0].status = Status::Concluded;
        let mut path = Path::new(&running);
        path.stale = true;
        assert_eq!(route(&mut path, &[]).as_deref(), Some("v1"));
        assert_eq!(path.assigned(), 0, "concluded experiments are not recorded");
    }

    #[test]
    fn a_concluded_sticky_experiment_sends_everybody_to_its_outcome() {
        let mut plan = sticky(Unit::Cookie("uid".to_owned()));
        plan.experiments[0].status = Status::Concluded;
        for (version, weight) in plan.experiments[0].versions.iter_mut().zip([0, 0, 1]) {
            version.weight = weight;
        }
        let mut path = Path::new(&plan);
        assert_eq!(route(&mut path, &[]).as_deref(), Some("v2"));
        assert_eq!(route(&mut path, &[("cookie", b"uid=7")]).as_deref(), Some("v2"));
    }

    #[test]
    fn testers_choose_a_version_only_where_the_experiment_lets_them_and_are_not_recorded() {
        let mut plan = plan(&[1, 0]);
        let mut path = Path::new(&plan);
        assert_eq!(route(&mut path, &[("x-tester", b"v1")]).as_deref(), Some("v0"));
        assert_eq!(path.assigned(), 1);
        plan.experiments[0].override_header = Some("x-tester".to_owned());
        let mut path = Path::new(&plan);
        assert_eq!(route(&mut path, &[("x-tester", b"v1")]).as_deref(), Some("v1"));
        assert_eq!(path.assigned(), 0);
        assert_eq!(route(&mut path, &[("x-tester", b"v9\xff")]).as_deref(), Some("v0"), "no such version");
        assert_eq!(path.assigned(), 1);
    }

    #[test]
    fn a_request_in_flight_keeps_the_epoch_of_its_assignment() {
        let mut first = plan(&[1, 1]);
        let mut path = Path::new(&first);
        let mut host = FakeHost { code: Some(200), ..FakeHost::default() };
        let mut request = path.arrive(&mut host);
        first.experiments[0].epoch = 2;
        path.compiled = Compiled::new(&first, &[]);
        host.now = 1_000_000_000;
        request.on_log(&mut host, &mut path.recorder);
        let drained = path.recorder.drain(1_001_000);
        let cell = &drained.experiments[0].cells[0];
        assert_eq!((cell.epoch, cell.counts.completed, cell.bin), (1, 1, 1_000_000));
    }

    #[test]
    fn a_stream_measured_to_its_headers_counts_then_and_only_once() {
        let mut plan = plan(&[1, 1]);
        plan.experiments[0].measure = Measure::Headers;
        let mut path = Path::new(&plan);
        let mut host = FakeHost::default();
        let mut request = path.arrive(&mut host);
        host.now = 5_000_000;
        host.response = vec![(":status".to_owned(), b"200".to_vec())];
        request.on_response_headers(&mut host, &mut path.recorder);
        assert!(!request.is_recorded());
        host.now = 100_000_000_000;
        host.flags = 0x4000;
        request.on_log(&mut host, &mut path.recorder);
        let drained = path.recorder.drain(1_000_010);
        let counts = &drained.experiments[0].cells[0].counts;
        assert_eq!((counts.completed, counts.aborted, counts.latency_sum), (1, 0, 0.005));
    }

    #[test]
    fn only_finite_short_numbers_of_completed_requests_are_rewards() {
        let mut plan = plan(&[1, 1]);
        plan.experiments[0].reward = Some(RewardSource::ResponseHeader("x-reward".to_owned()));
        for (value, flags, rewarded, sum) in [
            (&b"1"[..], 0, 1, 1.0),
            (b" -2.5e1 ", 0, 1, -25.0),
            (b"0", 0, 0, 0.0),
            (b"nan", 0, 0, 0.0),
            (b"inf", 0, 0, 0.0),
            (b"1e76", 0, 0, 0.0),
            (b"one", 0, 0, 0.0),
            (b"\xff", 0, 0, 0.0),
            (b"0.000000000000000000000000000000001", 0, 0, 0.0),
            (b"1", 0x4000, 0, 0.0),
            (b"1", 0x80_0000, 1, 1.0),
        ] {
            let mut path = Path::new(&plan);
            let mut host = FakeHost { code: Some(200), flags, ..FakeHost::default() };
            host.response = vec![("x-reward".to_owned(), value.to_vec())];
            let mut request = path.arrive(&mut host);
            request.on_log(&mut host, &mut path.recorder);
            let drained = path.recorder.drain(1_000_000);
            let counts = &drained.experiments[0].cells[0].counts;
            assert_eq!((counts.rewarded, counts.reward_sum), (rewarded, sum), "{}", String::from_utf8_lossy(value));
        }
    }

    proptest! {
        #[test]
        fn no_request_does_harm(
            headers in proptest::collection::vec(
                (prop_oneof![
                    Just(":authority"), Just(":path"), Just("cookie"), Just("x-user"), Just("x-tester"), Just("content-type"),
                    Just("x-weir-version"),
                ], proptest::collection::vec(any::<u8>(), 0..300)),
                0..8,
            ),
            seed: u64, flags: u64, code in proptest::option::of(any::<u32>()), grpc in proptest::option::of(any::<u32>()),
            now: u64, later: u64,
        ) {
            let mut plan = sticky(Unit::Cookie("uid".to_owned()));
            plan.experiments[0].override_header = Some("x-tester".to_owned());
            plan.experiments[0].matching.share_ppm = 500_000;
            let mut path = Path::new(&plan);
            let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            let mut host = FakeHost::with_request(&headers);
            (host.seed, host.flags, host.code, host.grpc, host.now) = (seed, flags, code, grpc, now);
            let mut request = path.arrive(&mut host);
            let sent = host.sent("x-weir-version").unwrap();
            prop_assert!(["v0", "v1", "v2"].contains(&sent.as_str()));
            host.now = later;
            request.on_response_headers(&mut host, &mut path.recorder);
            request.on_log(&mut host, &mut path.recorder);
            prop_assert!(!request.is_recorded());
        }
    }
}
