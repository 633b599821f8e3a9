//! Server-sent events of a real `weir serve`, as a client on a socket hears them.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{DOCUMENT, Ran, Serve};

/// An event: its id, its name and its data.
type Event = (String, String, serde_json::Value);

/// Somebody who listens.
struct Listener {
    stream: BufReader<TcpStream>,
    status: String,
}

impl Listener {
    fn new(serve: &Serve, path: &str, headers: &str) -> Self {
        let address = serve.url.strip_prefix("http://").expect("http");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n").expect("a request");
        let mut stream = BufReader::new(stream);
        let mut status = String::new();
        stream.read_line(&mut status).expect("a status");
        Self { stream, status: status.trim().to_owned() }
    }

    /// The next event; none when it is over.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            let line = line.trim();
            // Between events there are the sizes of chunks, and signs of life.
            if let Some(text) = line.strip_prefix("id: ") {
                text.clone_into(&mut id);
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id, name, serde_json::from_str(text).expect("JSON")));
            } else if line == "0" {
                return None;
            }
        }
    }

    /// The next event of a name.
    fn next_of(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("it is over before an event `{name}`"));
            if event.1 == name {
                return event;
            }
        }
    }
}

#[test]
fn what_happens_is_heard_and_whoever_comes_back_hears_what_they_missed() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    serve.write("checkout.yaml", DOCUMENT);
    let mut all = Listener::new(&serve, "/v1/events", "");
    assert_eq!(all.status, "HTTP/1.1 200 OK");
    let ready = all.next().expect("it begins");
    assert_eq!((ready.1.as_str(), &ready.2), ("ready", &serde_json::json!({ "missed": false })));
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let created = all.next_of("experiment");
    assert_eq!((&created.2["name"], &created.2["result"]), (&"checkout".into(), &"created".into()));
    let assessed = all.next_of("assessment");
    assert!(assessed.2["assessment"]["versions"].is_array(), "{assessed:?}");
    assert!(serve.run(&["pause", "checkout", "--reason", "a meeting"]).ok());
    let paused = loop {
        let event = all.next_of("decision");
        if event.2["action"] == "pause" {
            break event;
        }
    };
    assert_eq!((&paused.2["ordered"]["reason"], &paused.2["id"]), (&"a meeting".into(), &created.2["id"]));

    drop(all);
    assert!(serve.run(&["resume", "checkout", "--reason", "done"]).ok());
    let mut back =
        Listener::new(&serve, "/v1/experiments/checkout/events", &format!("last-event-id: {}\r\n", paused.0));
    assert_eq!(back.next_of("decision").2["action"], "resume");
    assert_eq!(back.next_of("ready").2["missed"], false);
    let mut stranger = Listener::new(&serve, "/v1/events", "last-event-id: another-7\r\n");
    assert_eq!(stranger.next_of("ready").2["missed"], true, "it must read everything again");
    assert!(Listener::new(&serve, "/v1/experiments/other/events", "").status.contains("404"));
    assert!(serve.run(&["delete", "checkout", "--reason", "done"]).ok());
    assert_eq!(back.next_of("experiment").2["result"], "deleted");
    assert!(back.next().is_none(), "nothing more can happen to it");
}

#[test]
fn who_may_not_read_hears_nothing_and_a_token_that_is_revoked_hears_no_more() {
    let serve = Serve::start(&["--token", "operator:ada=o", "--token", "proxy=p"]);
    serve.write("checkout.yaml", DOCUMENT);
    let ada = |arguments: &[&str]| {
        let ran = Ran::from(serve.command(arguments).env("WEIR_TOKEN", "o").output().expect("`weir` runs"));
        assert!(ran.ok(), "{ran:?}");
        ran
    };
    assert!(Listener::new(&serve, "/v1/events", "").status.contains("401"));
    assert!(Listener::new(&serve, "/v1/events", "authorization: Bearer p\r\n").status.contains("403"));
    let eve = ada(&["token", "create", "eve", "--role", "viewer"]).out;
    let mut eve = Listener::new(&serve, "/v1/events", &format!("authorization: Bearer {}\r\n", eve.trim()));
    assert_eq!(eve.next_of("ready").2["missed"], false);
    ada(&["apply", "-f", "checkout.yaml"]);
    assert_eq!(eve.next_of("experiment").2["result"], "created");
    ada(&["token", "revoke", "eve"]);
    ada(&["delete", "checkout", "--reason", "done"]);
    while let Some(event) = eve.next() {
        assert_ne!(event.2["result"], "deleted", "it was told of after she was sent away");
    }
}

#[test]
fn so_many_may_listen_and_a_controller_that_ends_does_not_wait_for_them() {
    let people = ["ada", "eve", "kim", "lee", "zoe"];
    let tokens: Vec<String> = people.iter().map(|name| format!("viewer:{name}={name}")).collect();
    let mut serve = Serve::start(&["--token", &tokens.join(",")]);
    let listen = |serve: &Serve, name: &str, more: &str| {
        Listener::new(serve, "/v1/events", &format!("authorization: Bearer {name}\r\n{more}"))
    };
    let mut listeners: Vec<Listener> =
        people.iter().take(4).flat_map(|name| [name; 32]).map(|name| listen(&serve, name, "")).collect();
    assert!(listeners.iter().all(|listener| listener.status.contains("200")));
    let mut refused = listen(&serve, "zoe", "connection: close\r\n");
    let mut said = String::new();
    refused.stream.read_to_string(&mut said).expect("an answer");
    assert!(refused.status.contains("503") && said.contains("retry-after: 10") && said.contains("room"), "{said}");
    listeners.pop();
    let begin = Instant::now();
    while listen(&serve, "zoe", "").status.contains("503") {
        assert!(begin.elapsed() < Duration::from_secs(20), "a place was not given back");
    }
    let begin = Instant::now();
    serve.terminate();
    assert!(begin.elapsed() < Duration::from_secs(8), "it waited for its listeners: {:?}", begin.elapsed());
}
