//! Requests made of noise, with seeds that never change: no byte of a method, host, path, cookie or header does harm, and what
//! reaches a version is counted, once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_core::plan::{HeaderMatch, PathMatch, RewardSource, Unit};
use weir_tests::noise::Noise;
use weir_tests::plans::{experiment, plan};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Stand, eventually};

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

/// One request of noise, more or less like HTTP.
fn request(noise: &mut Wild) -> Vec<u8> {
    let mut text = Vec::new();
    noise.wild = noise.next(10) == 0;
    let method = noise.one_of(&[b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"BREW", b"!#$%"]);
    text.extend(method);
    text.extend(b" /");
    if noise.next(2) == 0 {
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
                    text.extend(noise.one_of(&[b"uid", b"UID", b"uid ", b"", b"a", b"__Host-uid"]));
                    text.extend(noise.one_of(&[b"=", b"==", b"", b" = ", b"=\""]));
                    text.extend(noise.bytes(30));
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

/// Sends it and reads the head of what comes back: Envoy lets a connection that it refuses stand for a second.
async fn status(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        let read = read.unwrap_or_else(|_| panic!("no answer to {}", request.escape_ascii()));
        assert!(read.is_ok_and(|count| count > 0), "{} for {}", answer.escape_ascii(), request.escape_ascii());
    }
    String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_noise_do_no_harm_and_those_that_arrive_are_counted() {
    const CONNECTIONS: u64 = 4;
    const EACH: u64 = 300;
    let half = [("v1", 1), ("v2", 1)];
    let mut by_cookie = experiment("by-cookie", &half);
    by_cookie.unit = Unit::Cookie("uid".to_owned());
    by_cookie.matching.paths = vec![PathMatch::Exact("/".to_owned())];
    by_cookie.matching.share_ppm = 1_000_000;
    let mut matched = experiment("matched", &half);
    matched.matching.headers = vec![HeaderMatch { name: "x-match".to_owned(), exact: None }];
    matched.reward = Some(RewardSource::ResponseHeader("x-weir-reward".to_owned()));
    let rest = experiment("rest", &half);
    let Stand { versions: [one, two], fake, envoy, .. } = Stand::start(plan("1", vec![by_cookie, matched, rest])).await;
    let before = one.requests() + two.requests();

    let address = envoy.address();
    let mut connections = tokio::task::JoinSet::new();
    for seed in 0..CONNECTIONS {
        connections.spawn(async move {
            let mut noise = Wild { noise: Noise::new(seed), wild: false };
            let mut refused = 0;
            for at in 0..EACH {
                let request = request(&mut noise);
                match status(address, &request).await.as_str() {
                    "200" => {}
                    code if code.starts_with('4') => refused += 1,
                    code => panic!("seed {seed}, {at}: {code} for {}", request.escape_ascii()),
                }
            }
            refused
        });
    }
    let refused: u64 = connections.join_all().await.iter().sum();
    let arrived = one.requests() + two.requests() - before;
    assert_eq!(arrived + refused, CONNECTIONS * EACH, "Envoy refuses it, or a version answers");
    assert!(arrived > CONNECTIONS * EACH / 2 && refused > 0, "{arrived} arrived, {refused} were refused");
    let log = envoy.log();
    for word in ["panicked", "Uncaught", "Function:", "reload"] {
        assert!(!log.contains(word), "`{word}` in the log:\n{log}");
    }
    // Who has no cookie is no user: routed to the baseline, and not counted.
    let counted = || ["by-cookie", "matched", "rest"].map(|id| fake.assigned(id));
    let mut last = [0; 3];
    eventually(PATIENCE, "the counts stand still", async || {
        let before = std::mem::replace(&mut last, counted());
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        holds(before == last && last.iter().all(|count| *count > 0))
    })
    .await;
    let without_cookie = arrived - last.iter().sum::<u64>();
    assert!(last.iter().sum::<u64>() <= arrived && without_cookie < arrived, "{last:?} of {arrived}");
    for id in ["by-cookie", "matched", "rest"] {
        let [v1, v2] = ["v1", "v2"].map(|version| fake.counts(id, version));
        assert_eq!(v1.assigned + v2.assigned, v1.completed + v2.completed + v1.aborted + v2.aborted, "{id}");
    }
    assert_eq!(fake.complaints(), Vec::<String>::new());
}
