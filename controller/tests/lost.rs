//! Changes of which the command line does not hear what became: it asks once more, and claims nothing that it does not know.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use support::{Ran, weir};

/// What `weir pause` says to a server that ends its first connection without an answer and then gives these, and the key of each request.
/// With none of them nobody listens any more.
fn paused(answers: &[String]) -> (Ran, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let mut answers = answers.to_vec();
    answers.insert(0, String::new());
    let many = answers.len();
    let serving = std::thread::spawn(move || {
        let (mut keys, mut last) = (Vec::new(), None);
        for answer in answers {
            let (mut client, _) = listener.accept().expect("somebody");
            let (mut asked, mut some) = (String::new(), [0; 4_096]);
            // A command of one experiment: its body ends with a brace.
            while !asked.ends_with('}') {
                let read = client.read(&mut some).expect("a request");
                asked.push_str(&String::from_utf8_lossy(some.get(..read).expect("what was read")));
            }
            let key = asked.lines().find(|line| line.starts_with("idempotency-key: "));
            keys.push(key.expect("a key").to_owned());
            client.write_all(answer.as_bytes()).expect("it is read");
            // Until the next is there, or nobody listens.
            last = (!answer.is_empty() || keys.len() == many).then_some(client);
        }
        drop(listener);
        drop(last);
        keys
    });
    let ran = weir(&["pause", "checkout", "--reason", "a sale", "--server", &url]).output().expect("`weir` runs");
    (Ran::from(ran), serving.join().expect("its end"))
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_change_that_is_under_way_is_waited_for() {
    let under_way = answer("409 Conflict\r\nretry-after: 1", r#"{"detail": "It is under way."}"#);
    let refused = answer("409 Conflict", r#"{"detail": "It is paused already."}"#);
    let (ran, keys) = paused(&[under_way.clone(), under_way, refused]);
    assert!(!ran.ok() && ran.err.contains("answered 409: It is paused already"), "{ran:?}");
    assert!(keys.len() == 4 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn what_may_have_been_done_is_never_told_as_not_done() {
    let limited = answer("429 Too Many Requests\r\nretry-after: 1", r#"{"detail": "Too many requests."}"#);
    let gone = answer("401 Unauthorized", r#"{"detail": "This token has expired."}"#);
    let stopping = answer("503 Service Unavailable", r#"{"detail": "The controller is shutting down."}"#);
    for (second, said) in
        [(vec![], "nobody listens"), (vec![limited], "429"), (vec![gone], "401"), (vec![stopping], "shutting down")]
    {
        let (ran, _) = paused(&second);
        let known = ran.err.contains(said) && ran.err.contains("whether it was done is not known");
        assert!(!ran.ok() && known, "{said}: {ran:?}");
    }
}
