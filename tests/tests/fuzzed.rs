//! Requests made of noise, with seeds that never change: no byte of a method, host, path, cookie or header does harm. What reached a
//! version is what was recorded for it and what is documented as not recorded, to the last request; so are cookies that were given
//! and rewards that were earned.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_core::cookie::{self, GeneratedCookie};
use weir_core::plan::{Header, HeaderMatch, Match, PathMatch, PlannedExperiment, RewardSource, Unit};
use weir_core::reward::RequestReward;
use weir_core::token::TOKEN_LENGTH;
use weir_core::unit::cookies;
use weir_tests::noise::Noise;
use weir_tests::plans::{experiment, plan};
use weir_tests::stand::arrived;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{EnvoyBuilder, Stand, eventually};

/// Noise, and whether this request may have bytes that no header may have.
struct Wild {
    noise: Noise,
    wild: bool,
}

impl Wild {
    fn next(&mut self, below: usize) -> usize {
        self.noise.index(below)
    }

    fn one_of<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        self.noise.one_of(choices)
    }

    /// Any bytes but those that end a line: those are in [`request`]'s hands.
    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.next(longest + 1);
        let narrow = self.next(3) == 0;
        let byte = |at: usize| u8::try_from(if narrow { b"=;,. \"\\%+-_*:/x1"[at % 16] as usize } else { at }).unwrap();
        let wild = self.wild;
        let may = |byte: &u8| !b"\r\n".contains(byte) && (wild || (*byte >= b' ' && *byte != 0x7f));
        (0..length).map(|_| byte(self.next(256))).filter(may).collect()
    }
}

/// One request of noise, more or less like HTTP; some of them buy, some of those with a token.
fn request(noise: &mut Wild, tokens: &mut Vec<String>) -> Vec<u8> {
    let mut text = Vec::new();
    noise.wild = noise.next(10) == 0;
    let buys = noise.next(5) == 0;
    let method = noise.one_of(&[b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"BREW", b"!#$%"]);
    text.extend(if buys { b"POST" } else { method });
    text.extend(b" /");
    if buys {
        text.extend(b"buy");
    } else if noise.next(2) == 0 {
        let path = noise.bytes(60);
        text.extend(path.iter().filter(|byte| may_be_in_a_path(**byte, noise.wild)));
    }
    text.extend(b" HTTP/1.1\r\nhost: ");
    match noise.next(6) {
        0 => text.extend(noise.bytes(80)),
        1 => text.extend(b"[::1]:80"),
        2 => text.extend(vec![b'a'; noise.next(3_000)]),
        _ => {
            text.extend(noise.one_of(&[b"shop.example", b"SHOP.example:8080", b".", b"*.example", b"xn--4ca.example"]))
        }
    }
    text.extend(b"\r\nconnection: close\r\n");
    if buys && noise.next(2) == 0 {
        text.extend(b"cookie: tok=");
        text.extend(token(noise, tokens).as_bytes());
        text.extend(b"\r\n");
    }
    for _ in 0..noise.next(12) {
        let name = noise.one_of(&[
            b"cookie",
            b"Cookie",
            b"x-user",
            b"x-match",
            b"x-choose",
            b"x-weir-version",
            b"X-Weir-Version",
            b"content-type",
            b"x-forwarded-for",
            b"traceparent",
            b"x-weir-trap",
            b"x-odd",
            b"accept-encoding",
        ]);
        text.extend(name);
        text.extend(b": ");
        match (name, noise.next(3)) {
            (b"cookie" | b"Cookie", 0 | 1) => {
                for _ in 0..noise.next(20) {
                    text.extend(noise.one_of(&[
                        b"uid",
                        b"UID",
                        b"uid ",
                        b"gid",
                        b"gid",
                        b"tok",
                        b"",
                        b"a",
                        b"__Host-uid",
                    ]));
                    text.extend(noise.one_of(&[b"=", b"==", b"", b" = ", b"=\""]));
                    let longest = noise.one_of(&[b"\x05", b"\x1e", b"\x1e", b"\xff"])[0];
                    text.extend(noise.bytes(longest.into()));
                    text.extend(noise.one_of(&[b"; ", b";", b",", b";;"]));
                }
            }
            (_, 0) => text.extend(noise.bytes(2_000)),
            _ => text.extend(noise.bytes(20)),
        }
        text.extend(b"\r\n");
    }
    text.extend(b"\r\n");
    text
}

/// What would end the path is left out, and unless it is to be wild what Envoy refuses.
fn may_be_in_a_path(byte: u8, wild: bool) -> bool {
    byte > b' ' && byte != b'#' && (wild || byte < 0x7f)
}

/// A token as clients might send it: one of those that were given, once; or one like it that nobody was given.
fn token(noise: &mut Wild, tokens: &mut Vec<String>) -> String {
    match noise.next(3) {
        0 if !tokens.is_empty() => {
            let mut forged = tokens[0].clone();
            let at = noise.next(TOKEN_LENGTH);
            forged.replace_range(at..=at, if forged[at..].starts_with('A') { "B" } else { "A" });
            forged
        }
        1 if !tokens.is_empty() => tokens.remove(0),
        _ => (0..TOKEN_LENGTH).map(|_| char::from(b"ABab01-_"[noise.next(8)])).collect(),
    }
}

/// A request header by which the plan says which experiment a request is in.
const TOLD_BY: &str = "x-told-by";

/// Routes to the versions by which Envoy tells what the filter saw and said of a request. It does so too where a version's server
/// refuses the request before the version has seen it. Of several headers of one name it tells the first, as the filter reads it.
fn telling(envoy: EnvoyBuilder) -> EnvoyBuilder {
    let told = [
        ("x-told-version", "x-weir-version"),
        (TOLD_BY, TOLD_BY),
        ("x-told-cookie", "cookie"),
        ("x-told-user", "x-user"),
    ];
    let tell = told.map(|(header, of)| json!({"header": {"key": header, "value": format!("%REQ({of})%")}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}));
    let to = |version: &str| -> Value {
        json!({
            "match": {"prefix": "/", "headers": [{"name": "x-weir-version", "string_match": {"exact": version}}]},
            "route": {"cluster": version},
            "response_headers_to_add": tell,
        })
    };
    envoy.route(to("v1")).route(to("v2"))
}

/// What came of a request that the filter saw.
struct Answer {
    /// Where it went, and whether that version answered it and not its server in its stead.
    version: String,
    by_version: bool,
    /// The experiment that the request was in.
    by: String,
    cookie: Vec<u8>,
    user: Vec<u8>,
    /// Cookies that the client was given, with a value each.
    given: Vec<(String, String)>,
    /// Whether it is a conversion, should it have a token.
    bought: bool,
}

/// Sends it and reads what comes back. `None`: Envoy refused it before the filter saw it.
async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut read = async |answer: &mut Vec<u8>| {
        let read = timeout(PATIENCE, stream.read_buf(answer)).await;
        read.unwrap_or_else(|_| panic!("no answer to {}", request.escape_ascii())).unwrap()
    };
    let head = loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break answer[..end].to_vec();
        }
        assert!(read(&mut answer).await > 0, "{} for {}", answer.escape_ascii(), request.escape_ascii());
    };
    let all = |name: &str| -> Vec<&[u8]> {
        let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines
            .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
            .map(<[u8]>::trim_ascii)
            .collect()
    };
    let one = |name: &str| all(name).first().copied().unwrap_or_default().to_vec();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (code, by) = (text(head.get(9..12).unwrap_or_default()), text(&one(TOLD_BY)));
    assert!(code == "200" || code.starts_with('4'), "{code} for {}", request.escape_ascii());
    if by.is_empty() {
        // Envoy lets a connection that it refuses stand for a second.
        assert_ne!(code, "200", "{}", request.escape_ascii());
        return None;
    }
    // To its end, so that no client leaves early.
    while read(&mut answer).await > 0 {}
    let pair = |cookie: &[u8]| {
        let cookie = text(cookie);
        let (name, value) = cookie.split_once(';')?.0.split_once('=')?;
        (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    Some(Answer {
        version: text(&one("x-told-version")),
        by_version: !one("x-served-by").is_empty(),
        by,
        cookie: one("x-told-cookie"),
        user: one("x-told-user"),
        given: all("set-cookie").into_iter().filter_map(pair).collect(),
        bought: request.starts_with(b"POST /buy ") && code == "200",
    })
}

/// Four experiments: over users by cookie, by generated cookie with conversions, and by header, and over requests.
fn experiments() -> Vec<PlannedExperiment> {
    let half = [("v1", 1), ("v2", 1)];
    let present = |name: &str| vec![HeaderMatch { name: name.to_owned(), exact: None }];
    let mut by_cookie = experiment("by-cookie", &half);
    by_cookie.unit = Unit::Cookie("uid".to_owned());
    by_cookie.matching.paths = vec![PathMatch::Exact("/".to_owned())];
    let mut generated = experiment("generated", &half);
    generated.unit = Unit::GeneratedCookie(GeneratedCookie::named("gid"));
    generated.matching.headers = present("x-match");
    generated.secret = Some("000102030405060708090a0b0c0d0e0f".to_owned());
    generated.reward = Some(RewardSource::Request(RequestReward {
        matching: Match { paths: vec![PathMatch::Exact("/buy".to_owned())], ..Match::default() },
        method: "POST".to_owned(),
        codes: vec![(200, 299)],
        response_header: None,
        cookie: GeneratedCookie::named("tok"),
    }));
    // No token is too old to be rewarded.
    generated.deadline_ms = 300_000;
    let mut by_user = experiment("by-user", &half);
    by_user.unit = Unit::Header("x-user".to_owned());
    by_user.matching.headers = present("x-odd");
    let mut all = vec![by_cookie, generated, by_user, experiment("rest", &half)];
    for experiment in &mut all {
        let told = Header { name: TOLD_BY.to_owned(), value: experiment.id.clone() };
        experiment.versions.iter_mut().for_each(|version| version.headers.push(told.clone()));
    }
    all
}

/// Whether the request that was answered so is to be recorded: who has none of what is the unit is no unit.
fn is_recorded(answer: &Answer) -> bool {
    match answer.by.as_str() {
        "by-cookie" => cookies(&answer.cookie, "uid").next().is_some(),
        "by-user" => !answer.user.is_empty(),
        "generated" | "rest" => true,
        other => panic!("no experiment: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_noise_do_no_harm_and_each_that_arrives_is_accounted_for() {
    const CONNECTIONS: u64 = 4;
    const EACH: u64 = 500;
    let Stand { versions: [one, two], fake, envoy, .. } = Stand::with(plan("1", experiments()), telling).await;
    let address = envoy.address();
    let mut connections = tokio::task::JoinSet::new();
    for seed in 0..CONNECTIONS {
        connections.spawn(async move {
            let mut noise = Wild { noise: Noise::new(seed), wild: false };
            let (mut answers, mut refused, mut tokens) = (Vec::new(), 0, Vec::new());
            for _ in 0..EACH {
                let request = request(&mut noise, &mut tokens);
                match exchange(address, &request).await {
                    Some(answer) => {
                        let new = answer.given.iter().filter(|(name, _)| name == "tok");
                        tokens.extend(new.map(|(_, token)| token.clone()));
                        answers.push(answer);
                    }
                    None => refused += 1,
                }
            }
            (answers, refused)
        });
    }
    let (answers, refused): (Vec<_>, Vec<u64>) = connections.join_all().await.into_iter().unzip();
    let (answers, refused): (Vec<Answer>, u64) = (answers.into_iter().flatten().collect(), refused.iter().sum());
    assert_eq!(answers.len() as u64 + refused, CONNECTIONS * EACH, "Envoy refuses it, or a version answers");
    assert!(answers.len() as u64 > CONNECTIONS * EACH / 2 && refused > 0, "{refused} were refused");

    // No trap, and no VM but the first two.
    let log = envoy.log();
    for word in ["panicked", "Uncaught", "Function:", "reload"] {
        assert!(!log.contains(word), "`{word}` in the log:\n{log}");
    }
    let mut recorded = BTreeMap::<(&str, &str), u64>::new();
    let mut unrecorded = BTreeMap::<&str, u64>::new();
    for answer in &answers {
        if is_recorded(answer) {
            *recorded.entry((&answer.by, &answer.version)).or_default() += 1;
        } else {
            assert_eq!(answer.version, "v1", "{}: who is no unit goes to the baseline", answer.by);
            *unrecorded.entry(&answer.by).or_default() += 1;
        }
    }
    for version in [&one, &two] {
        let of = answers.iter().filter(|answer| answer.version == version.name() && answer.by_version);
        assert_eq!(arrived(version), of.count() as u64, "what reached {}", version.name());
    }
    assert!(recorded.len() == 8 && recorded.values().all(|count| *count > 20), "each is met: {recorded:?}");
    assert!(unrecorded.len() == 2 && unrecorded.values().all(|count| *count > 20), "{unrecorded:?}");
    let all: u64 = recorded.values().sum();
    let counted = || ["by-cookie", "generated", "by-user", "rest"].map(|id| fake.assigned(id)).iter().sum::<u64>();
    let ended = || recorded.keys().map(|(id, version)| fake.counts(id, version).completed).sum::<u64>();
    eventually(PATIENCE, "everything is counted", async || holds(counted() >= all && ended() >= all)).await;
    for ((id, version), count) in &recorded {
        let counts = fake.counts(id, version);
        assert_eq!(
            (counts.assigned, counts.completed, counts.aborted, counts.failed),
            (*count, *count, 0, 0),
            "{id} {version}"
        );
    }
    assert_eq!(counted(), all);

    // Whoever has no usable cookie is given one and is a new unit, and nobody else is.
    let mut new_units = 0;
    for answer in &answers {
        let has = cookies(&answer.cookie, "gid").any(cookie::is_key);
        let given = answer.given.iter().filter(|(name, _)| name == "gid").count();
        assert_eq!(given, usize::from(answer.by == "generated" && !has), "{}", answer.cookie.escape_ascii());
        new_units += given as u64;
    }
    let reported: u64 = ["v1", "v2"].map(|version| fake.counts("generated", version).new_units).iter().sum();
    assert!(new_units > 20 && reported == new_units, "{reported} of {new_units}");
    // Each token that came back with a purchase is claimed, once, and none that nobody was given.
    let tokens = |answer: &Answer| {
        answer.given.iter().filter(|(name, _)| name == "tok").map(|(_, token)| token.clone()).collect::<Vec<_>>()
    };
    let issued: BTreeSet<String> = answers.iter().flat_map(tokens).collect();
    let text = |token: &[u8]| String::from_utf8_lossy(token).into_owned();
    let earned = answers.iter().filter(|answer| answer.bought);
    let earned =
        earned.filter_map(|answer| cookies(&answer.cookie, "tok").map(text).find(|token| issued.contains(token)));
    let mut earned: Vec<String> = earned.collect();
    earned.sort_unstable();
    let claimed = || {
        let mut reports = BTreeMap::new();
        for (report, _) in fake.received() {
            reports.insert((report.incarnation.clone(), report.sequence), report);
        }
        let mut claims: Vec<String> = reports
            .into_values()
            .flat_map(|report| report.claims)
            .map(|claim| {
                assert_eq!((claim.experiment.as_str(), claim.reward), ("generated", 1.0));
                claim.assignment
            })
            .collect();
        claims.sort_unstable();
        claims
    };
    assert!(earned.len() > 20, "{} purchases with a token", earned.len());
    eventually(PATIENCE, "every reward is claimed", async || holds(claimed().len() >= earned.len())).await;
    assert_eq!(claimed(), earned);
    assert_eq!(fake.last_reports().len(), 2, "no VM has begun anew");
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
