//! One request at a time, over a host in memory.

use super::*;
use crate::cookie::GeneratedCookie;
use crate::plan::{Match, PathMatch, Plan, RewardSource, Status, Unit};
use crate::reward::{ApiReward, Claim, RequestReward};
use crate::testing::{FakeHost, plan};
use crate::token::{Secret, Token};
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
            request.on_response_headers(&mut host, Some(&mut path.recorder));
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
    request.on_response_headers(&mut host, Some(&mut path.recorder));
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
        request.on_response_headers(&mut host, Some(&mut path.recorder));
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
        request.on_response_headers(&mut host, Some(&mut path.recorder));
        request.on_log(&mut host, &mut path.recorder);
        prop_assert!(!request.is_recorded());
    }
}

/// A plan of users who are given a cookie.
fn generated(weights: &[u32]) -> Plan {
    let mut plan = plan(weights);
    plan.experiments[0].unit = Unit::GeneratedCookie(crate::cookie::GeneratedCookie::named("weir-uid"));
    plan
}

/// Serves one request; its version and the cookies that its answer sets.
fn serve(path: &mut Path, host: &mut FakeHost, headers: &[(&str, &[u8])]) -> (String, Vec<String>) {
    host.request = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    (host.response, host.code) = (vec![(":status".to_owned(), b"200".to_vec())], Some(200));
    let mut request = path.arrive(host);
    if request.wants_response_headers() {
        request.on_response_headers(host, Some(&mut path.recorder));
    }
    request.on_log(host, &mut path.recorder);
    (host.sent("x-weir-version").unwrap_or_default(), host.answered("set-cookie"))
}

#[test]
fn who_has_no_cookie_is_given_one_and_stays_with_the_version_it_was_given_by() {
    let mut path = Path::new(&generated(&[1, 1, 1]));
    let mut host = FakeHost::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let (version, cookies) = serve(&mut path, &mut host, &[]);
        let [cookie] = cookies.as_slice() else { panic!("{cookies:?}") };
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly");
        let again = serve(&mut path, &mut host, &[("cookie", format!("a=b; {pair}").as_bytes())]);
        assert_eq!(again, (version.clone(), vec![]), "{pair}");
        seen.insert((version, pair.to_owned()));
    }
    assert_eq!(seen.len(), 50, "every unit has a key of its own");
    let drained = path.recorder.drain(1_000_000);
    let counts = drained.experiments[0].cells.iter().map(|cell| &cell.counts);
    let (assigned, new) = counts.fold((0, 0), |sum, counts| (sum.0 + counts.assigned, sum.1 + counts.new_units));
    assert_eq!((assigned, new), (100, 50));
}

#[test]
fn what_no_cookie_may_hold_is_taken_for_none_and_replaced() {
    let mut path = Path::new(&generated(&[1, 1]));
    let mut host = FakeHost::default();
    let long = format!("weir-uid={}", "x".repeat(129));
    for (header, given) in [
        (&b"weir-uid=an-older-system's-key"[..], false),
        (b"weir-uid=\xff", true),
        (b"weir-uid=a b", true),
        (b"weir-uid=", true),
        (long.as_bytes(), true),
        // Of several the first that can be meant.
        (b"weir-uid=a b; weir-uid=ann", false),
    ] {
        let (_, cookies) = serve(&mut path, &mut host, &[("cookie", header)]);
        assert_eq!(!cookies.is_empty(), given, "{}", header.escape_ascii());
    }
}

#[test]
fn a_cookie_is_given_for_as_long_as_the_experiment_runs_also_to_those_outside_its_share() {
    let mut planned = generated(&[0, 1]);
    planned.experiments[0].matching.share_ppm = 1;
    let mut path = Path::new(&planned);
    let mut host = FakeHost::default();
    let (version, cookies) = serve(&mut path, &mut host, &[]);
    assert_eq!((version.as_str(), cookies.len(), path.assigned()), ("v0", 1, 0));
    path.stale = true;
    assert_eq!(serve(&mut path, &mut host, &[]), ("v0".to_owned(), vec![]));
    let mut planned = generated(&[0, 1]);
    planned.experiments[0].override_header = Some("x-tester".to_owned());
    let mut path = Path::new(&planned);
    assert_eq!(serve(&mut path, &mut host, &[("x-tester", b"v0")]), ("v0".to_owned(), vec![]));
    planned.experiments[0].status = Status::Concluded;
    let mut path = Path::new(&planned);
    assert_eq!(serve(&mut path, &mut host, &[]), ("v1".to_owned(), vec![]));
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
        request.on_response_headers(&mut host, Some(&mut path.recorder));
        request.on_log(&mut host, &mut path.recorder);
        assert_eq!(host.answered("x-reward").len(), left, "{tester} {stale}");
        let drained = path.recorder.drain(1_000_000);
        for cell in drained.experiments.iter().flat_map(|experiment| &experiment.cells) {
            assert_eq!((cell.counts.rewarded, cell.counts.reward_sum), (1, 6.0));
        }
    }
}

const SECRET: &str = "000102030405060708090a0b0c0d0e0f";

fn secret() -> Secret {
    Secret::from_hex(SECRET).unwrap()
}

/// A plan whose rewards come with a token.
fn with_tokens(mut plan: Plan, source: RewardSource) -> Plan {
    plan.experiments[0].reward = Some(source);
    plan.experiments[0].secret = Some(SECRET.to_owned());
    plan
}

fn by_api() -> RewardSource {
    RewardSource::Api(ApiReward { header: "x-weir-assignment".to_owned() })
}

/// `POST /order` that ends well is a conversion, worth what `x-value` says if `valued`.
fn by_request(valued: bool) -> RewardSource {
    RewardSource::Request(RequestReward {
        hosts: vec![],
        method: "POST".to_owned(),
        path: PathMatch::Exact("/order".to_owned()),
        codes: vec![(200, 299)],
        response_header: valued.then(|| "x-value".to_owned()),
        cookie: GeneratedCookie { lifetime_s: 3, ..GeneratedCookie::named("weir-assignment") },
    })
}

#[test]
fn a_version_learns_by_which_token_to_report_a_reward_of_exposures_that_count_and_of_no_others() {
    let mut planned = with_tokens(plan(&[0, 1]), by_api());
    planned.experiments[0].override_header = Some("x-tester".to_owned());
    let mut path = Path::new(&planned);
    let mut host = FakeHost::default();
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..20 {
        serve(&mut path, &mut host, &[("x-weir-assignment", b"forged"), ("x-weir-assignment", b"twice")]);
        let token = host.sent("x-weir-assignment").unwrap();
        let token = Token::read(token.as_bytes(), &secret()).unwrap();
        let expected = Token { incarnation: 7, epoch: 1, version: 1, bin: 1_000_000, nonce: token.nonce, bucket: None };
        assert_eq!(token, expected);
        nonces.insert(token.nonce);
    }
    assert_eq!(nonces.len(), 20);
    serve(&mut path, &mut host, &[("x-weir-assignment", b"forged"), ("x-tester", b"v1")]);
    assert_eq!(host.sent("x-weir-assignment"), None, "nobody counts a tester's rewards");
    path.stale = true;
    serve(&mut path, &mut host, &[("x-weir-assignment", b"forged")]);
    assert_eq!(host.sent("x-weir-assignment"), None);
}

/// A user with a cookie jar.
struct User {
    name: &'static str,
    token: Option<String>,
}

impl User {
    /// One request; what its answer sets.
    fn send(
        &mut self,
        path: &mut Path,
        host: &mut FakeHost,
        method: &str,
        target: &str,
        answer: &[(&str, &str)],
    ) -> Vec<String> {
        let cookies = self.token.as_ref().map_or("a=b".to_owned(), |token| format!("a=b; weir-assignment={token}"));
        host.request = [(":method", method), (":path", target), ("x-user", self.name), ("cookie", &cookies)]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec();
        host.response = answer.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        host.code = Some(200);
        let mut request = path.arrive(host);
        if request.wants_response_headers() {
            request.on_response_headers(host, Some(&mut path.recorder));
        }
        request.on_log(host, &mut path.recorder);
        let set = host.answered("set-cookie");
        for cookie in &set {
            let value = cookie.strip_prefix("weir-assignment=").unwrap().split(';').next().unwrap();
            self.token = (!value.is_empty()).then(|| value.to_owned());
        }
        set
    }
}

fn users(valued: bool) -> Plan {
    with_tokens(sticky(Unit::Header("x-user".to_owned())), by_request(valued))
}

#[test]
fn a_conversion_claims_the_reward_of_the_exposure_before_it_once() {
    let planned = users(false);
    let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
    let mut ann = User { name: "ann", token: None };
    let ok = [(":status", "200")];
    let set = ann.send(&mut path, &mut host, "GET", "/", &ok);
    let token = Token::read(ann.token.clone().unwrap().as_bytes(), &secret()).unwrap();
    assert_eq!(token.bucket, Some(UnitBuckets::new("salt").of(Digest::of(b"ann"))));
    assert!(set[0].ends_with("; Max-Age=3; Path=/; SameSite=Lax; Secure; HttpOnly"), "{set:?}");
    // Later exposures of the unit, and what is not quite a conversion, change nothing.
    for (method, target, status) in
        [("GET", "/", "200"), ("GET", "/order", "200"), ("POST", "/orders", "200"), ("POST", "/order", "500")]
    {
        assert_eq!(ann.send(&mut path, &mut host, method, target, &[(":status", status)]), Vec::<String>::new());
    }
    let drained = path.recorder.drain(1_000_000);
    assert_eq!((drained.claims, drained.experiments[0].cells[0].counts.assigned), (vec![], 5));
    let expected = Claim { experiment: "e1".to_owned(), assignment: ann.token.clone().unwrap(), reward: 1.0 };
    let set = ann.send(&mut path, &mut host, "POST", "/order?now", &ok);
    assert!(set[0].starts_with("weir-assignment=; Max-Age=0; Path=/"), "{set:?}");
    assert_eq!(path.recorder.drain(1_000_000).claims, vec![expected]);
    // Without a token there is nothing to claim; the request is an exposure, whose token a next one may claim.
    let set = ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert_eq!((set.len(), path.recorder.drain(1_000_000).claims), (1, vec![]));
    ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert_eq!(path.recorder.drain(1_000_000).claims.len(), 1);
}

#[test]
fn a_token_is_renewed_when_the_version_or_epoch_is_another_or_no_reward_can_come_any_more() {
    let mut planned = users(false);
    let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
    let mut ann = User { name: "ann", token: None };
    let ok = [(":status", "200")];
    ann.send(&mut path, &mut host, "GET", "/", &ok);
    let first = ann.token.clone();
    // The deadline is 2 s, a bin 1 s: a reward may come until three seconds after the bin began.
    host.now = 3_000_000_000;
    ann.send(&mut path, &mut host, "GET", "/", &ok);
    assert_eq!(ann.token, first);
    host.now += 1_000_000;
    ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert_eq!(path.recorder.drain(1_000_000).claims, vec![], "too late");
    assert_ne!(ann.token, first);
    let second = ann.token.clone();
    planned.experiments[0].epoch = 2;
    path.compiled = Compiled::new(&planned, &[]);
    // The conversion is the exposure's before, and then begins with a token of its own.
    let set = ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert!(set.len() == 2 && set[0].contains("Max-Age=0") && set[1].contains("Max-Age=3"), "{set:?}");
    assert_eq!(path.recorder.drain(1_000_000).claims[0].assignment, second.unwrap());
    assert_eq!(Token::read(ann.token.unwrap().as_bytes(), &secret()).unwrap().epoch, 2);
}

#[test]
fn a_conversions_value_is_taken_out_of_the_answer_whoever_converts() {
    let mut planned = users(true);
    planned.experiments[0].matching.paths = vec![PathMatch::Prefix("/shop".to_owned())];
    let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
    let mut ann = User { name: "ann", token: None };
    for (value, claimed) in [("12.5", Some(12.5)), ("1, 2", Some(3.0)), ("0", None), ("much", None)] {
        if ann.token.is_none() {
            ann.send(&mut path, &mut host, "GET", "/shop/1", &[(":status", "200")]);
        }
        ann.send(&mut path, &mut host, "POST", "/order", &[(":status", "201"), ("x-value", value)]);
        assert!(host.answered("x-value").is_empty());
        let claims: Vec<f64> = path.recorder.drain(1_000_000).claims.iter().map(|claim| claim.reward).collect();
        assert_eq!(claims, claimed.into_iter().collect::<Vec<_>>(), "{value}");
        assert_eq!(ann.token.is_none(), claimed.is_some(), "{value}");
    }
    let mut stranger = User { name: "bob", token: Some("forged".to_owned()) };
    stranger.send(&mut path, &mut host, "POST", "/order", &[(":status", "200"), ("x-value", "1000000")]);
    assert!(host.answered("x-value").is_empty());
    assert_eq!(path.recorder.drain(1_000_000).claims, vec![]);
    stranger.send(&mut path, &mut host, "GET", "/order", &[(":status", "200"), ("x-value", "7")]);
    assert_eq!(host.answered("x-value"), ["7"], "another request's header is its own");
}

#[test]
fn claims_are_bounded_in_a_report_and_in_memory_and_what_is_lost_is_counted() {
    let mut recorder = Recorder::default();
    let id: Rc<str> = "e1".into();
    for _ in 0..10_000 {
        recorder.claim(&id, "x".repeat(62), -1.5);
    }
    let (mut claims, mut lost, mut reports) = (0, 0, 0);
    loop {
        let drained = recorder.drain(1_000_000);
        claims += drained.claims.len();
        lost += drained.lost_claims;
        reports += 1;
        assert!(drained.claims.len() <= crate::reward::MAX_CLAIMS);
        if !drained.more {
            break;
        }
    }
    assert_eq!((claims, lost, reports), (8_192, 1_808, 8));
    assert!(recorder.drain(1_000_000).is_empty());
}
