//! Connections that ask for nothing, that read nothing, and that are too many.

use super::connections::{Bounds, serve_within};
use super::seats::Seats;
use axum::Router;
use axum::routing::get;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(15);

/// A server within bounds; it ends with the sender.
async fn start(most: usize, first: Duration, answer: Duration) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/held", get(async || std::future::pending::<&str>().await))
        .route("/large", get(async || vec![b'x'; 64 << 20]));
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve_within(Bounds { seats: Seats::new(most), first, answer }, listener, router, None, stopped));
    (address, stop)
}

/// Somebody of an address of this machine.
async fn connect(server: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

async fn ask(connection: &mut TcpStream, path: &str) {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: weir\r\n\r\n").as_bytes()).await.unwrap();
}

/// Whether it is answered in time; not if the connection is over.
async fn is_answered(connection: &mut TcpStream) -> bool {
    ask(connection, "/").await;
    let (mut heard, mut bytes) = (Vec::new(), [0; 512]);
    while !heard.ends_with(b"here") {
        match timeout(LONG, connection.read(&mut bytes)).await.expect("an answer, or an end") {
            Ok(read @ 1..) => heard.extend_from_slice(&bytes[..read]),
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

/// What comes until it is over, in bytes.
async fn rest(connection: &mut TcpStream) -> usize {
    let mut all = Vec::new();
    // An end, or a reset: either is one.
    let _ = timeout(LONG, connection.read_to_end(&mut all)).await.expect("it is over");
    all.len()
}

#[tokio::test]
async fn idle_connections_of_one_address_keep_nobody_out() {
    let (server, _stop) = start(8, LONG, LONG).await;
    let mut held = connect(server, "127.0.0.2").await;
    ask(&mut held, "/held").await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(connect(server, "127.0.0.2").await);
    }
    for from in ["127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.2"] {
        assert!(is_answered(&mut connect(server, from).await).await, "{from}");
    }
    assert_eq!(rest(&mut crowd[0]).await, 0, "who has been idle the longest made way");
    let mut byte = [0];
    let waits = timeout(Duration::from_millis(200), held.read(&mut byte)).await;
    assert!(waits.is_err(), "who waits for an answer has not: {waits:?}");
}

#[tokio::test]
async fn who_asks_for_nothing_is_cut_off_soon_and_who_has_asked_may_think() {
    let (server, _stop) = start(8, Duration::from_millis(300), LONG).await;
    let mut asked = connect(server, "127.0.0.1").await;
    assert!(is_answered(&mut asked).await);
    let mut silent = connect(server, "127.0.0.1").await;
    let mut slow = connect(server, "127.0.0.1").await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!((rest(&mut silent).await, rest(&mut slow).await), (0, 0));
    assert!(is_answered(&mut asked).await, "idle for longer, and still there");
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_cut_off_and_who_reads_on_is_not() {
    let (server, _stop) = start(8, LONG, Duration::from_millis(500)).await;
    let mut deaf = connect(server, "127.0.0.1").await;
    ask(&mut deaf, "/large").await;
    let mut reads = connect(server, "127.0.0.1").await;
    ask(&mut reads, "/large").await;
    let mut bytes = vec![0; 1 << 20];
    let mut read = 0;
    while read < 64 << 20 {
        read += timeout(LONG, reads.read(&mut bytes)).await.unwrap().expect("it goes on");
        // In all longer than anything may wait.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(rest(&mut deaf).await < 64 << 20, "what was on the way, and no more");
}
