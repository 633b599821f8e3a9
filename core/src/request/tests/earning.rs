//! Rewards that come later: who is given a token, and what a later request claims.

use super::*;
use crate::cookie::GeneratedCookie;
use crate::reward::{Claim, RequestReward};
use crate::token::{Secret, Token};

pub(super) const SECRET: &str = "000102030405060708090a0b0c0d0e0f";

pub(super) fn secret() -> Secret {
    Secret::from_hex(SECRET).unwrap()
}

/// A plan whose rewards come with a token.
pub(super) fn with_tokens(mut plan: Plan, source: RewardSource) -> Plan {
    plan.experiments[0].reward = Some(source);
    plan.experiments[0].secret = Some(SECRET.to_owned());
    plan
}

fn by_api() -> RewardSource {
    RewardSource::Api("x-weir-assignment".to_owned())
}

/// `POST /order` that ends well is a conversion, worth what `x-value` says if `valued`.
pub(super) fn by_request(valued: bool) -> RewardSource {
    RewardSource::Request(RequestReward {
        matching: Match { paths: vec![PathMatch::Exact("/order".to_owned())], ..Match::default() },
        method: "POST".to_owned(),
        codes: vec![(200, 299)],
        response_header: valued.then(|| "x-value".to_owned()),
        cookie: GeneratedCookie { name: "weir-assignment".to_owned(), attributes: "Max-Age=3; Path=/".to_owned() },
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
            request.on_response_headers(host, &mut path.recorder);
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
    assert!(set[0].ends_with("; Max-Age=3; Path=/"), "{set:?}");
    // Later exposures of the unit, and what is not quite a conversion, change nothing.
    for (method, target, status) in
        [("GET", "/", "200"), ("GET", "/order", "200"), ("POST", "/orders", "200"), ("POST", "/order", "500")]
    {
        assert_eq!(ann.send(&mut path, &mut host, method, target, &[(":status", status)]), Vec::<String>::new());
    }
    let drained = path.recorder.drain(1_000_000);
    let counts = &drained.experiments[0].cells[0].counts;
    assert_eq!((drained.claims, counts.assigned, counts.repeats), (vec![], 5, 4));
    let expected = Claim { experiment: "e1".to_owned(), assignment: ann.token.clone().unwrap(), reward: 1.0 };
    let set = ann.send(&mut path, &mut host, "POST", "/order?now", &ok);
    assert!(set[0].ends_with("weir-assignment=; Max-Age=3; Path=/; Max-Age=0"), "{set:?}");
    assert_eq!(path.recorder.drain(1_000_000).claims, vec![expected]);
    // Without a token there is nothing to claim; the request is an exposure, whose token a next one may claim.
    let set = ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert_eq!((set.len(), path.recorder.drain(1_000_000).claims), (1, vec![]));
    ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert_eq!(path.recorder.drain(1_000_000).claims.len(), 1);
}

#[test]
fn an_exposure_is_a_repeat_exactly_if_it_is_given_no_token_as_its_unit_keeps_one() {
    let mut planned = users(false);
    planned.experiments[0].matching.paths = vec![PathMatch::Prefix("/shop".to_owned())];
    let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
    let mut ann = User { name: "ann", token: None };
    let ok = [(":status", "200")];
    let (mut given, mut visits) = (0, 0);
    for round in 0..12_u64 {
        for _ in 0..=round % 3 {
            given += ann.send(&mut path, &mut host, "GET", "/shop/1", &ok).len() as u64;
            visits += 1;
        }
        if round % 2 == 0 {
            ann.send(&mut path, &mut host, "POST", "/order", &ok);
        }
        // Those that are not recorded are no repeats.
        path.stale = round % 4 == 0;
        let target = if path.stale { "/shop/1" } else { "/" };
        ann.send(&mut path, &mut host, "GET", target, &ok);
        path.stale = false;
    }
    let drained = path.recorder.drain(1_000_000);
    let counts = &drained.experiments[0].cells[0].counts;
    assert_eq!((counts.assigned, counts.repeats), (visits, visits - given));
    assert_eq!((given, drained.claims.len()), (7, 6), "the first, and one after each conversion");
}

#[test]
fn a_token_lasts_over_epochs_for_its_own_unit_and_version_alone() {
    let mut planned = users(false);
    let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
    let mut ann = User { name: "ann", token: None };
    let ok = [(":status", "200")];
    let visit = |path: &mut Path, host: &mut FakeHost, user: &mut User| user.send(path, host, "GET", "/", &ok).len();
    assert_eq!(visit(&mut path, &mut host, &mut ann), 1);
    let first = ann.token.clone().unwrap();
    // Weights stand still, and epochs begin nevertheless: who comes often has one opportunity still.
    for epoch in 2..10 {
        planned.experiments[0].epoch = epoch;
        path.compiled = Compiled::new(&planned, &[]);
        assert_eq!(visit(&mut path, &mut host, &mut ann), 0, "epoch {epoch}");
    }
    let cells = |path: &mut Path| {
        let cells = path.recorder.drain(1_000_000).experiments.remove(0).cells;
        let sum = |count: fn(&crate::report::Counts) -> u64| cells.iter().map(|cell| count(&cell.counts)).sum::<u64>();
        (sum(|counts| counts.assigned), sum(|counts| counts.repeats))
    };
    assert_eq!(cells(&mut path), (9, 8));
    // On the same browser somebody else: an opportunity of his own, though the browser keeps her token.
    let mut bob = User { name: "bob", token: Some(first.clone()) };
    assert_eq!(visit(&mut path, &mut host, &mut bob), 1);
    let his = Token::read(bob.token.clone().unwrap().as_bytes(), &secret()).unwrap();
    assert_eq!(his.bucket, Some(UnitBuckets::new("salt").of(Digest::of(b"bob"))));
    assert_eq!(cells(&mut path), (1, 0));
    // Moved to another version, she has an opportunity there.
    let moved = &mut planned.experiments[0].versions;
    let version = Token::read(first.as_bytes(), &secret()).unwrap().version;
    moved.iter_mut().enumerate().for_each(|(at, to)| to.weight = u32::from(at != usize::from(version)));
    path.compiled = Compiled::new(&planned, &[]);
    assert_eq!(visit(&mut path, &mut host, &mut ann), 1);
    assert_ne!(Token::read(ann.token.unwrap().as_bytes(), &secret()).unwrap().version, version);
}

#[test]
fn a_token_is_renewed_when_no_reward_can_come_any_more_and_claimed_for_the_epoch_that_gave_it() {
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
    // The conversion is the exposure's before; the next exposure begins with a token of its own.
    let set = ann.send(&mut path, &mut host, "POST", "/order", &ok);
    assert!(set.len() == 1 && set[0].contains("Max-Age=0"), "{set:?}");
    assert_eq!(path.recorder.drain(1_000_000).claims[0].assignment, second.unwrap());
    ann.send(&mut path, &mut host, "GET", "/", &ok);
    assert_eq!(Token::read(ann.token.unwrap().as_bytes(), &secret()).unwrap().epoch, 2);
}

#[test]
fn a_conversions_value_is_taken_out_of_the_answer_and_claimed_by_nobody_when_the_experiment_is_over() {
    let mut planned = users(true);
    let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
    let mut ann = User { name: "ann", token: None };
    ann.send(&mut path, &mut host, "GET", "/", &[(":status", "200")]);
    assert!(ann.token.is_some());
    planned.experiments[0].status = Status::Concluded;
    path.compiled = Compiled::new(&planned, &[]);
    let set = ann.send(&mut path, &mut host, "POST", "/order", &[(":status", "200"), ("x-value", "24.9")]);
    assert_eq!((host.answered("x-value"), set), (vec![], vec![]));
    assert_eq!(path.recorder.drain(1_000_000).claims, vec![]);
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
    for number in 0..10_000 {
        recorder.claim(&id, format!("{number:062}"), -1.5);
        recorder.claim(&id, format!("{:062}", number / 4), 7.0);
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
    assert_eq!((claims, lost, reports), (4_096, 5_904, 4));
    assert!(recorder.drain(1_000_000).is_empty());
}
