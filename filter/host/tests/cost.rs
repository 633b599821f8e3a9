//! What a request costs in the built module: Wasm instructions against the committed figures, host calls and entries
//! against bounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use weir_core::cookie::GeneratedCookie;
use weir_core::plan::{FailureRules, Match, PathMatch, Plan, RewardSource, Unit};
use weir_core::reward::RequestReward;
use weir_core::testing;
use weir_core::token::{Secret, Token};
use weir_filter_host::{Cost, Ending, Headers, Host};

/// Requests of each scenario: enough that bins, hash lists and random choices even out.
const REQUESTS: u64 = 400;
/// Growth that fails.
const MAX_GROWTH: f64 = 1.05;
/// Largest module, in bytes.
const MAX_MODULE: u64 = 200 << 10;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn module() -> PathBuf {
    std::env::var_os("WEIR_FILTER").map_or_else(|| repository().join("target/weir-filter.wasm"), Into::into)
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn plan(unit: Unit, host: &str, path: &str) -> Plan {
    let mut plan = testing::plan(&[1, 1, 1]);
    plan.experiments[0].matching =
        Match { hosts: vec![host.to_owned()], paths: vec![PathMatch::Prefix(path.to_owned())], ..Match::default() };
    plan.experiments[0].unit = unit;
    plan.experiments[0].failure = FailureRules::default();
    plan
}

/// Half a secret, in hexadecimal digits.
const SECRET: &str = "0123456789abcdef";

fn generated() -> Unit {
    Unit::GeneratedCookie(GeneratedCookie::named("weir"))
}

/// What a scenario is, and what it may cost besides instructions.
struct Scenario {
    name: &'static str,
    plan: Plan,
    /// Whether the plan is the controller's, so that requests are recorded.
    recorded: bool,
    expressions: bool,
    request: Headers,
    response: Headers,
    ending: Ending,
    /// Most host calls; of those, most that return bytes.
    most: (u64, u64),
}

impl Scenario {
    fn new(name: &'static str, unit: Unit, most: (u64, u64)) -> Self {
        let request = [
            (":authority", "shop.example"),
            (":path", "/checkout/cart?item=7"),
            (":method", "GET"),
            ("cookie", "theme=dark; uid=4711; lang=en"),
            ("x-user", "4711"),
        ];
        Self {
            name,
            plan: plan(unit, "shop.example", "/"),
            recorded: true,
            expressions: true,
            request: headers(&request),
            response: headers(&[(":status", "200"), ("content-type", "text/plain")]),
            ending: Ending { pieces: 1, flags: 0, code: Some(200), grpc: Some(2) },
            most,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sends this in place of the cookies.
    fn cookie(&mut self, cookie: &str) {
        let cookies = self.request.iter_mut().filter(|(name, _)| name == "cookie");
        cookies.for_each(|(_, value)| *value = cookie.into());
    }

    /// Has requests to this path reward what was seen before.
    fn reward_later(&mut self, path: &str) {
        let experiment = &mut self.plan.experiments[0];
        let matching = Match { paths: vec![PathMatch::Prefix(path.to_owned())], ..experiment.matching.clone() };
        experiment.reward = Some(RewardSource::Request(RequestReward {
            matching,
            method: "GET".to_owned(),
            codes: vec![(200, 299)],
            response_header: None,
            cookie: GeneratedCookie::named("weir-token"),
        }));
        experiment.secret = Some(SECRET.repeat(2));
        // So long that the token below still counts when the last request comes.
        experiment.deadline_ms = 600_000;
    }

    fn host(&self) -> Host {
        let plan = serde_json::to_string(&self.plan).unwrap();
        if !self.recorded {
            return Host::start(&module(), &format!(r#"{{"plan":{plan}}}"#), self.expressions).unwrap();
        }
        let mut host = Host::start(&module(), r#"{"controller":{"cluster":"weir"}}"#, self.expressions).unwrap();
        host.publish(&plan).unwrap();
        host
    }

    /// Means over the requests, and the dearest of each count.
    fn cost(&self) -> (u64, Cost) {
        let mut host = self.host();
        // The first seeds the VM's random numbers and makes room that the others find.
        for _ in 0..REQUESTS {
            host.request(&self.request, &self.response, self.ending, 1_000_000).unwrap();
        }
        let (mut instructions, mut most) = (0, Cost::default());
        for request in 0..REQUESTS {
            // 1 to 20 ms, 5 ms apart: most requests share a bin with others.
            let cost =
                host.request(&self.request, &self.response, self.ending, 1_000_000 * (1 + request % 20)).unwrap();
            host.tick(5_000_000).unwrap();
            for call in host.take_calls() {
                assert!(!call.path.is_empty());
            }
            instructions += cost.instructions;
            if cost.host_calls() >= most.host_calls() {
                most = Cost { returning_bytes: most.returning_bytes.max(cost.returning_bytes), ..cost };
            }
        }
        let routed = host.sent().iter().any(|(name, _)| name == "x-weir-version");
        assert_eq!(routed, self.plan.experiments[0].matching.hosts == ["shop.example"], "{}", self.name);
        (instructions / REQUESTS, most)
    }
}

fn scenarios() -> Vec<Scenario> {
    let grpc = headers(&[
        (":authority", "shop.example"),
        (":path", "/a.B/C"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]);
    vec![
        Scenario::new("no experiment matches", Unit::Request, (2, 1))
            .with(|it| it.plan.experiments[0].matching.hosts = vec!["other.example".to_owned()]),
        // Its ends are counted for the stats of Envoy itself.
        Scenario::new("static plan, splits only", Unit::Request, (6, 2)).with(|it| it.recorded = false),
        Scenario::new("request unit", Unit::Request, (6, 2)),
        Scenario::new("request unit, with a path", Unit::Request, (7, 3))
            .with(|it| it.plan = plan(Unit::Request, "shop.example", "/checkout")),
        Scenario::new("request unit, with a body", Unit::Request, (6, 2))
            .with(|it| it.request.push(("content-type".to_owned(), b"application/json".to_vec()))),
        Scenario::new("sticky on a header", Unit::Header("x-user".to_owned()), (7, 3)),
        Scenario::new("sticky on a cookie", Unit::Cookie("uid".to_owned()), (7, 3)),
        Scenario::new("gRPC", Unit::Request, (6, 2)).with(|it| {
            it.request = grpc;
            it.ending = Ending { pieces: 0, flags: 0, code: Some(200), grpc: Some(0) };
        }),
        Scenario::new("a failure", Unit::Request, (8, 3))
            .with(|it| it.ending = Ending { pieces: 0, flags: 0x40, code: Some(503), grpc: None }),
        Scenario::new("trailers after the body", Unit::Request, (6, 1)).with(|it| it.ending.pieces = 0),
        Scenario::new("a body in ten pieces", Unit::Request, (6, 2)).with(|it| it.ending.pieces = 10),
        Scenario::new("a reward in the response", Unit::Request, (8, 3)).with(|it| {
            it.plan.experiments[0].reward = Some(RewardSource::ResponseHeader("x-reward".to_owned()));
            it.response.push(("x-reward".to_owned(), b"2.5".to_vec()));
        }),
        Scenario::new("a reward that is not there", Unit::Request, (7, 2)).with(|it| {
            it.plan.experiments[0].reward = Some(RewardSource::ResponseHeader("x-reward".to_owned()));
        }),
        // Its token header is looked for as it is set.
        Scenario::new("a token for the API", Unit::Request, (8, 2)).with(|it| {
            it.plan.experiments[0].reward = Some(RewardSource::Api("x-weir-assignment".to_owned()));
            it.plan.experiments[0].secret = Some(SECRET.repeat(2));
        }),
        Scenario::new("a later request rewards, this one is none", Unit::Header("x-user".to_owned()), (11, 5))
            .with(|it| it.reward_later("/order")),
        Scenario::new("a later request rewards, this one without a token", Unit::Header("x-user".to_owned()), (13, 6))
            .with(|it| it.reward_later("/checkout")),
        Scenario::new("a later request rewards, this one with a token", Unit::Header("x-user".to_owned()), (15, 7))
            .with(|it| {
                it.reward_later("/checkout");
                // Of the first bin, on the interpreter's clock.
                let token =
                    Token { incarnation: 1, epoch: 1, version: 1, bin: 1_767_225_601_000, nonce: 1, bucket: Some(1) };
                let secret = Secret::from_hex(&SECRET.repeat(2)).unwrap();
                it.cookie(&format!("theme=dark; weir-token={}; lang=en", token.sign(&secret)));
            }),
        Scenario::new("a share of the traffic", Unit::Request, (6, 2))
            .with(|it| it.plan.experiments[0].matching.share_ppm = 999_999),
        Scenario::new("a generated cookie, new", generated(), (8, 3)),
        Scenario::new("a generated cookie, returning", generated(), (7, 3)).with(|it| {
            it.cookie(&format!("theme=dark; weir={}; lang=en", SECRET.repeat(2)));
        }),
        Scenario::new("an Envoy without expressions", Unit::Request, (7, 3)).with(|it| {
            it.expressions = false;
            it.ending.pieces = 0;
        }),
    ]
}

/// What Envoy may call, in a request's order, and what goes on beside requests. Each costs every request its entry.
const EXPORTS: [&str; 11] = [
    "malloc",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_queue_ready",
    "proxy_on_request_headers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_tick",
];

#[test]
fn a_request_costs_no_more_calls_and_entries_than_it_must() {
    for scenario in scenarios() {
        let (_, cost) = scenario.cost();
        let (calls, bytes) = scenario.most;
        assert_eq!((cost.host_calls(), cost.returning_bytes), (calls, bytes), "{}: {cost:?}", scenario.name);
        // Context, request headers, response headers, each piece of the body, log.
        assert_eq!(cost.callbacks, 4 + u64::from(scenario.ending.pieces), "{}", scenario.name);
    }
}

#[test]
fn envoy_enters_the_module_for_nothing_but_what_it_needs() {
    let host = Host::start(&module(), r#"{"controller":{"cluster":"weir"}}"#, true).unwrap();
    assert_eq!(host.exported().into_iter().collect::<BTreeSet<_>>(), EXPORTS.map(str::to_owned).into());
}

#[test]
fn a_request_costs_no_more_instructions_than_the_committed_figure() {
    let file = repository().join("filter/instructions.txt");
    let measured: BTreeMap<&str, u64> = scenarios().iter().map(|scenario| (scenario.name, scenario.cost().0)).collect();
    let mut text =
        String::from("# Wasm instructions per request, counted by filter/host; written by `make instructions`.\n");
    for (name, instructions) in &measured {
        writeln!(text, "{name}: {instructions}").unwrap();
    }
    if std::env::var_os("WEIR_UPDATE_INSTRUCTIONS").is_some() {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    let committed: BTreeMap<&str, u64> = committed
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect();
    println!("{text}");
    assert_eq!(committed.keys().collect::<Vec<_>>(), measured.keys().collect::<Vec<_>>(), "run `make instructions`");
    for (name, instructions) in measured {
        let figure = committed[name];
        assert!(
            instructions as f64 <= figure as f64 * MAX_GROWTH,
            "{name}: {instructions} Wasm instructions, {figure} in {}. If it must be so: `make instructions`",
            file.display()
        );
    }
}

#[test]
fn the_module_is_small() {
    let bytes = std::fs::metadata(module()).unwrap().len();
    assert!(bytes <= MAX_MODULE, "{bytes} bytes; at most {MAX_MODULE}");
}
