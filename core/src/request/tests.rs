//! One request at a time, over a host in memory.

mod conversions;
mod cookies;
mod earning;

use super::*;
use crate::plan::{Match, PathMatch, Plan, RewardSource, Status, Unit};
use crate::testing::{FakeHost, plan};
use crate::unit::{Digest, UnitBuckets};
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
        let worker = Worker {
            recorder: Some(&mut self.recorder),
            clock: BinClock::new(1_000_000, 0),
            stale: self.stale,
            incarnation: 7,
        };
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
    for (unit, header) in [(Unit::Header("x-user".to_owned()), "x-user"), (Unit::Cookie("uid".to_owned()), "cookie")] {
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
        let ann = UnitBuckets::new("salt").of(Digest::of(b"ann"));
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
            request.on_response_headers(&mut host, &mut path.recorder);
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
        request.on_response_headers(&mut host, &mut path.recorder);
        assert!(host.answered("x-reward").is_empty(), "no client sees what its request earned");
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
                Just("x-weir-version"), Just(":method"),
            ], proptest::collection::vec(any::<u8>(), 0..300)),
            0..8,
        ),
        seed: u64, flags: u64, code in proptest::option::of(any::<u32>()), grpc in proptest::option::of(any::<u32>()),
        now: u64, later: u64, gives: bool,
    ) {
        let mut plan = sticky(if gives {
            Unit::GeneratedCookie(crate::cookie::GeneratedCookie::named("uid"))
        } else {
            Unit::Cookie("uid".to_owned())
        });
        if later > now {
            plan = earning::with_tokens(plan, earning::by_request(seed % 2 == 0));
        }
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

/// Serves one request; its version and the cookies that its answer sets.
fn serve(path: &mut Path, host: &mut FakeHost, headers: &[(&str, &[u8])]) -> (String, Vec<String>) {
    host.request = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    (host.response, host.code) = (vec![(":status".to_owned(), b"200".to_vec())], Some(200));
    let mut request = path.arrive(host);
    if request.wants_response_headers() {
        request.on_response_headers(host, &mut path.recorder);
    }
    request.on_log(host, &mut path.recorder);
    (host.sent("x-weir-version").unwrap_or_default(), host.answered("set-cookie"))
}

#[test]
fn a_mirrored_copy_goes_to_the_baseline_unrecorded_unless_its_host_is_meant_by_name() {
    let mut planned = plan(&[0, 1]);
    for (hosts, host, version) in [
        (vec![], "shop.example", Some("v1")),
        (vec![], "shop.example-shadow", None),
        (vec![], "shop.example-SHADOW:8080", None),
        (vec!["*"], "shop.example-shadow", None),
        (vec!["*.example-shadow"], "shop.example-shadow", None),
        (vec!["cart-shadow"], "cart-shadow:80", Some("v1")),
        (vec![], "shadow", Some("v1")),
        (vec![], "cart-shadow.shop", Some("v1")),
    ] {
        planned.experiments[0].matching.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut path = Path::new(&planned);
        let got = route(&mut path, &[(":authority", host.as_bytes()), ("x-weir-version", b"v1")]);
        assert_eq!(got.as_deref(), version, "{hosts:?} {host}");
        assert_eq!(path.assigned(), u64::from(version.is_some()));
    }
}

#[test]
fn the_reward_header_is_taken_out_of_every_answer_of_the_experiment_and_of_no_other() {
    let mut planned = plan(&[1, 1]);
    planned.experiments[0].reward = Some(RewardSource::ResponseHeader("x-reward".to_owned()));
    planned.experiments[0].matching.hosts = vec!["shop.example".to_owned()];
    planned.experiments[0].override_header = Some("x-tester".to_owned());
    for (host, tester, stale, left) in [
        ("shop.example", "", false, 0),
        ("shop.example", "v1", false, 0),
        ("shop.example", "", true, 0),
        ("other.example", "", false, 2),
    ] {
        let mut path = Path::new(&planned);
        path.stale = stale;
        let mut host = FakeHost::with_request(&[(":authority", host.as_bytes()), ("x-tester", tester.as_bytes())]);
        host.code = Some(200);
        host.response = [b"1".to_vec(), b"2, 3".to_vec()].map(|value| ("x-reward".to_owned(), value)).to_vec();
        let mut request = path.arrive(&mut host);
        request.on_response_headers(&mut host, &mut path.recorder);
        request.on_log(&mut host, &mut path.recorder);
        assert_eq!(host.answered("x-reward").len(), left, "{tester} {stale}");
        let drained = path.recorder.drain(1_000_000);
        for cell in drained.experiments.iter().flat_map(|experiment| &experiment.cells) {
            assert_eq!((cell.counts.rewarded, cell.counts.reward_sum), (1, 6.0));
        }
    }
}

#[test]
fn what_ends_after_its_deadline_is_late_in_envoys_stats_whatever_is_measured() {
    for measure in [Measure::End, Measure::Headers] {
        let mut planned = plan(&[0, 1]);
        planned.experiments[0].measure = measure;
        let mut path = Path::new(&planned);
        crate::stats::Stats::default().adopt(&path.compiled);
        for age_nanos in [2_000_000_000, 2_000_000_001] {
            let mut host = FakeHost { code: Some(200), ..FakeHost::default() };
            let mut request = path.arrive(&mut host);
            host.now += age_nanos;
            request.on_response_headers(&mut host, &mut path.recorder);
            request.on_log(&mut host, &mut path.recorder);
        }
        let tally = path.compiled.experiments()[0].versions[1].tally.get().unwrap();
        assert_eq!((tally.completed.get(), tally.late.get()), (1, 1), "{measure:?}");
    }
}
