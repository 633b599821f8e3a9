//! What a request costs that many experiments would be rewarded by, and that it finds them all the same.

use super::earning::{SECRET, by_request, secret};
use super::*;
use crate::plan::PlannedExperiment;
use crate::token::Token;

/// So many experiments of other requests, which `change` tells what they are rewarded by.
fn many(count: usize, change: impl Fn(usize, &mut crate::reward::RequestReward)) -> Plan {
    let mut planned = sticky(Unit::Header("x-user".to_owned()));
    let first = planned.experiments.remove(0);
    planned.experiments = (0..count)
        .map(|number| {
            let RewardSource::Request(mut request) = by_request(true) else { panic!("by a request") };
            request.cookie.name = format!("token-{number}");
            change(number, &mut request);
            PlannedExperiment {
                id: format!("e{number}"),
                matching: Match { paths: vec![PathMatch::Exact(format!("/page/{number}"))], ..Match::default() },
                reward: Some(RewardSource::Request(request)),
                secret: Some(SECRET.to_owned()),
                ..first.clone()
            }
        })
        .collect();
    planned
}

/// A cookie that keeps a token of Ann's of an experiment.
fn token(number: usize) -> String {
    let nonce = number as u64;
    let bucket = Some(UnitBuckets::new("salt").of(Digest::of(b"ann")));
    let token = Token { incarnation: 7, epoch: 1, version: 1, bin: 1_000_000, nonce, bucket };
    format!("token-{number}={}", token.sign(&secret()))
}

/// Sends a request and its answer; which experiments are rewarded, and how many claims are lost.
fn send(path: &mut Path, host: &mut FakeHost, request: &[(&str, &str)], status: &str) -> (Vec<String>, u64) {
    host.request = request.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    host.response = vec![(":status".to_owned(), status.into()), ("x-value".to_owned(), b"2.5".to_vec())];
    host.reads.clear();
    host.answers.clear();
    let mut request = path.arrive(host);
    if request.wants_response_headers() {
        request.on_response_headers(host, &mut path.recorder);
    }
    request.on_log(host, &mut path.recorder);
    let drained = path.recorder.drain(1_000_000);
    (drained.claims.iter().map(|claim| claim.experiment.clone()).collect(), drained.lost_claims)
}

const ORDER: [(&str, &str); 3] = [(":authority", "shop.example"), (":method", "POST"), (":path", "/order")];

#[test]
fn a_thousand_experiments_with_one_conversion_cost_a_request_no_more_calls_than_one() {
    let (mut path, mut host) = (Path::new(&many(1_000, |_, _| {})), FakeHost::default());
    let page = [(":authority", "shop.example"), (":method", "GET"), (":path", "/")];
    assert_eq!(send(&mut path, &mut host, &page, "200"), (vec![], 0));
    assert_eq!((host.answers.as_slice(), host.answered("x-value").len()), (&[][..], 1), "its header is its own");
    // Who brings no token: the value is nobody's business, and nothing else is looked at.
    assert_eq!(send(&mut path, &mut host, &ORDER, "200"), (vec![], 0));
    assert_eq!(host.answers, ["remove x-value"]);
    let reads = [":authority", ":path", ":method", "cookie", "x-weir-version", "x-configured"];
    assert_eq!(host.reads, reads);
    // Who brings three of a thousand: wherever they are in the plan, and in the plan's order.
    let cookies = ["a=b".to_owned(), token(999), token(7), token(500)].join("; ");
    let request = [ORDER[0], ORDER[1], ORDER[2], ("cookie", cookies.as_str())];
    assert_eq!(send(&mut path, &mut host, &request, "200"), (vec!["e7".into(), "e500".into(), "e999".into()], 0));
    let calls =
        ["read :status", "read x-value", "remove x-value", "add set-cookie", "add set-cookie", "add set-cookie"];
    assert_eq!(
        (host.answers.as_slice(), host.reads.as_slice()),
        (&calls.map(str::to_owned)[..], &reads.map(str::to_owned)[..])
    );
    // What the response makes no conversion is not read.
    assert_eq!(send(&mut path, &mut host, &request, "503"), (vec![], 0));
    assert_eq!(host.answers, ["read :status", "remove x-value"]);
}

#[test]
fn a_request_is_a_conversion_of_sixteen_experiments_at_most_and_what_is_beyond_is_lost_and_counted() {
    let (mut path, mut host) = (Path::new(&many(40, |_, _| {})), FakeHost::default());
    let cookies = (0..40).rev().map(token).collect::<Vec<_>>().join("; ");
    let request = [ORDER[0], ORDER[1], ORDER[2], ("cookie", cookies.as_str())];
    let first: Vec<String> = (0..16).map(|number| format!("e{number}")).collect();
    assert_eq!(send(&mut path, &mut host, &request, "201"), (first, 24));
    let taken = host.answered("set-cookie");
    assert_eq!(taken.len(), 16, "the others keep their tokens, for the next");
    assert!(taken.iter().all(|cookie| cookie.contains("Max-Age=0")), "{taken:?}");
    assert_eq!(send(&mut path, &mut host, &request, "404"), (vec![], 0), "nobody is lost where nothing was earned");
}

#[test]
fn cookies_that_are_no_tokens_are_looked_at_up_to_a_bound() {
    let (mut path, mut host) = (Path::new(&many(2, |_, _| {})), FakeHost::default());
    for (forged, claimed) in [(0, 1), (63, 1), (64, 0), (500, 0)] {
        let forgery = format!("token-0={}", "A".repeat(62));
        // What has another length costs nothing, and other names are not ours.
        let others = ["token-0=short".to_owned(), format!("a={}", "A".repeat(62))];
        let all = others.iter().cycle().take(200).cloned().chain(vec![forgery; forged]).chain([token(0)]);
        let cookies = all.collect::<Vec<_>>().join("; ");
        let request = [ORDER[0], ORDER[1], ORDER[2], ("cookie", cookies.as_str())];
        assert_eq!(send(&mut path, &mut host, &request, "200").0.len(), claimed, "{forged}");
    }
    // Whether an exposure's unit keeps a token: the first four of that name.
    for (forged, given) in [(3, 0), (4, 1)] {
        let cookies = vec![format!("token-0={}", "A".repeat(62)); forged].into_iter().chain([token(0)]);
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let value = format!("/page/{}", 0);
        let mut planned = many(1, |_, _| {});
        planned.experiments[0]
            .versions
            .iter_mut()
            .enumerate()
            .for_each(|(at, version)| version.weight = u32::from(at == 1));
        path = Path::new(&planned);
        let request = [(":method", "GET"), (":path", value.as_str()), ("x-user", "ann"), ("cookie", cookies.as_str())];
        send(&mut path, &mut host, &request, "200");
        assert_eq!(host.answered("set-cookie").len(), given, "{forged}");
    }
}

#[test]
fn a_plan_may_read_rewards_of_later_requests_from_sixty_four_response_headers() {
    let named =
        |count: usize| many(count, |number, request| request.response_header = Some(format!("x-value-{number}")));
    named(64).validate().unwrap();
    let refused = named(65).validate().unwrap_err();
    assert!(refused.problem.starts_with("65 different response headers of later requests"), "{refused}");
    // Each is removed once, though nobody reads it.
    let (mut path, mut host) = (Path::new(&named(64)), FakeHost::default());
    send(&mut path, &mut host, &ORDER, "200");
    assert_eq!(host.answers.len(), 64);
    assert!(host.answers.iter().all(|call| call.starts_with("remove x-value-")), "{:?}", host.answers);
}

proptest! {
    #[test]
    fn a_request_is_a_conversion_of_exactly_those_whose_rules_it_matches(
        rules in proptest::collection::vec((proptest::collection::vec(0_usize..6, 0..3), 0_usize..3, any::<bool>()), 1..12),
        (host_at, path_at, put) in (0_usize..8, 0_usize..3, any::<bool>()),
    ) {
        let hosts = ["a.example", "b.example", "*.example", "*", "A.Example", "b.example-shadow"];
        let paths = ["/order", "/buy", "/"];
        let method = |put: bool| if put { "PUT" } else { "POST" };
        let planned = many(rules.len(), |number, request| {
            let (named, path, put) = &rules[number];
            request.matching.hosts = named.iter().map(|at| hosts[*at].to_owned()).collect();
            request.matching.paths = vec![PathMatch::Prefix(paths[*path].to_owned())];
            request.method = method(*put).to_owned();
        });
        let authority = ["a.example", "A.EXAMPLE:443", "b.example", "c.example", "d", "b.example-shadow", "a.example-shadow", ""]
            [host_at];
        let cookies = (0..rules.len()).map(token).collect::<Vec<_>>().join("; ");
        let mut request = vec![(":method", method(put)), (":path", paths[path_at]), ("cookie", cookies.as_str())];
        if !authority.is_empty() {
            request.push((":authority", authority));
        }
        let expected = planned.experiments.iter().filter(|experiment| {
            let Some(RewardSource::Request(reward)) = &experiment.reward else { return false };
            // An experiment of that very match.
            let mut one = plan(&[1, 1]);
            one.experiments[0].matching = reward.matching.clone();
            let compiled = Compiled::new(&one, &[]);
            let headers: Vec<(&str, &[u8])> = request.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let mut host = FakeHost::with_request(&headers);
            compiled.find(&mut compiled.reader(&mut host)).is_some() && reward.method == method(put)
        });
        let expected: Vec<String> = expected.map(|experiment| experiment.id.clone()).collect();
        let (mut path, mut host) = (Path::new(&planned), FakeHost::default());
        prop_assert_eq!(send(&mut path, &mut host, &request, "200"), (expected, 0));
    }
}
