//! Rewards: from the response, from a later request, and reported by a service.

use super::{one, problems, told, with};
use weir_core::cookie::GeneratedCookie;
use weir_core::plan::{Match, PathMatch, RewardSource};
use weir_core::reward::RequestReward;

const USERS: &str = "unit: {cookie: {name: weir-uid, generate: {}}}\n";

fn source(lines: &str, reward: &str) -> RewardSource {
    let text = with(&format!("{lines}reward: {{{reward}, direction: maximize}}"));
    one(&text).reward.unwrap().source
}

#[test]
fn a_service_reports_rewards_with_the_token_that_a_header_carries() {
    let api = |header: &str| RewardSource::Api(header.to_owned());
    assert_eq!(source("", "api: {}"), api("x-weir-assignment"));
    assert_eq!(source("", "api: {header: X-Earned-By}"), api("x-earned-by"));
}

#[test]
fn a_later_request_is_a_reward_on_the_same_hosts_for_as_long_as_the_deadline_unless_it_says_otherwise() {
    let usual = RequestReward {
        matching: Match {
            hosts: vec!["shop.example".to_owned()],
            paths: vec![PathMatch::Exact("/order".to_owned())],
            ..Match::default()
        },
        method: "POST".to_owned(),
        codes: vec![(200, 299)],
        response_header: None,
        cookie: GeneratedCookie {
            name: "weir-assignment-small".to_owned(),
            attributes: "Max-Age=1800; Path=/; SameSite=Lax; Secure; HttpOnly".to_owned(),
        },
    };
    let lines = format!("{USERS}match: {{hosts: [shop.example]}}\ndeadline: 30m\n");
    let least = source(&lines, "request: {method: POST, path: {exact: /order}}");
    assert_eq!(least, RewardSource::Request(usual.clone()));
    let full = "request: {method: GET, path: {prefix: /thanks}, status: [200, 302-303], hosts: [pay.example], \
                responseHeader: x-order-value, cookie: {name: earned, sameSite: Strict, secure: false}}";
    let expected = RequestReward {
        matching: Match {
            hosts: vec!["pay.example".to_owned()],
            paths: vec![PathMatch::Prefix("/thanks".to_owned())],
            ..Match::default()
        },
        method: "GET".to_owned(),
        codes: vec![(200, 200), (302, 303)],
        response_header: Some("x-order-value".to_owned()),
        cookie: GeneratedCookie {
            name: "earned".to_owned(),
            attributes: "Max-Age=1800; Path=/; SameSite=Strict; HttpOnly".to_owned(),
        },
    };
    assert_eq!(source(&lines, full), RewardSource::Request(expected));
}

#[test]
fn a_reward_that_cannot_come_is_refused_where_it_stands() {
    for (lines, reward, message) in [
        (
            "",
            "responseHeader: x, api: {}",
            "14:11: spec.reward: a reward comes from one place: write one of `responseHeader`, `api` and `request`",
        ),
        ("", "api: {name: x}", "14:18: spec.reward.api: unknown field `name`; known here: `header`"),
        (
            "",
            "api: {header: x-weir-version}",
            "14:11: spec.reward: `x-weir-version` routes requests to versions: let another header carry tokens",
        ),
        (
            "",
            "request: {method: POST, path: {exact: /order}}",
            "14:11: spec.reward: a later request is a reward where users are the unit: write `unit: {cookie: {name: weir-uid, generate: {}}}`, or let the service report it by `api`",
        ),
        (
            USERS,
            "request: {path: {exact: /order}}",
            "15:21: spec.reward.request: the field `method` is missing: write its method, as `method: POST`",
        ),
        (
            USERS,
            "request: {method: post, path: {exact: /order}}",
            "15:30: spec.reward.request.method: `post` is not a method: write it in capitals, as `POST`",
        ),
        (
            USERS,
            "request: {method: POST, path: {exact: /order}, status: []}",
            "15:67: spec.reward.request.status: without a status nothing is a conversion: leave it out for `[200-299]`",
        ),
        (
            USERS,
            "request: {method: POST, path: {exact: /order}, cookie: {lifetime: 1h}}",
            "15:68: spec.reward.request.cookie: unknown field `lifetime`; known here: `name`, `path`, `sameSite`, `secure`, `httpOnly`",
        ),
    ] {
        let text = with(&format!("{lines}reward: {{{reward}, direction: maximize}}"));
        assert_eq!(told(&problems(&text)).trim_end(), message, "{text}");
    }
}
