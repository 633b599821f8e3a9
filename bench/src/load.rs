//! Load over keep-alive connections and the upstream behind it: plain sockets and fixed bytes, so that nearly all the time
//! goes into Envoy. Knows just enough HTTP/1.1 for that.

use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// As many as keep one worker of Envoy busy at every moment.
pub(crate) const CONNECTIONS: usize = 32;
/// The host of every request.
pub(crate) const HOST: &str = "shop.example";
/// Users in turn: many, so that sticky variants spread them.
const USERS: usize = 1_000;
/// Every response: a reward, which only a filter that is told so reads, and a small body.
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-weir-reward: 1\r\ncontent-length: 2\r\n\r\nok";

/// A version that answers everything alike. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    served: Arc<AtomicU64>,
    _server: JoinSet<()>,
}

impl Upstream {
    /// Starts one on a free port.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served = Arc::<AtomicU64>::default();
        let mut server = JoinSet::new();
        let count = Arc::clone(&served);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&count)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, served, _server: server })
    }

    /// How many requests it has answered.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

async fn answer(mut stream: TcpStream, served: Arc<AtomicU64>) {
    let _ = stream.set_nodelay(true);
    let mut request = Vec::with_capacity(2_048);
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        // Envoy sends one request at a time on a connection, here without a body.
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            served.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(RESPONSE).await.is_err() {
                return;
            }
        }
    }
}

/// What a small browser or service sends for a user.
fn request(user: usize) -> String {
    format!(
        "GET /checkout?cart=42 HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: weir-bench\r\naccept: */*\r\n\
         accept-encoding: gzip\r\nx-user: user-{user}\r\ncookie: lang=en; uid={user}\r\n\r\n"
    )
}

/// Sends requests over [`CONNECTIONS`] connections, each waiting for its answer; how long all of them took.
///
/// Connecting is not counted. Anything but a 200 ends the benchmark: a failure is faster than an answer.
///
/// The thread that sends never sleeps meanwhile: to wake it would be Envoy's cost, and the slower Envoy is, the more often it
/// would have to.
pub(crate) async fn drive(address: SocketAddr, requests: u32) -> anyhow::Result<Duration> {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.context("cannot connect to Envoy")?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let users: Arc<Vec<String>> = Arc::new((0..USERS).map(request).collect());
    let left = Arc::new(AtomicI64::from(i64::from(requests)));
    let done = Arc::<AtomicBool>::default();
    let awake = tokio::spawn(stay_awake(Arc::clone(&done)));
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for stream in streams {
        clients.spawn(client(stream, Arc::clone(&users), Arc::clone(&left)));
    }
    while let Some(result) = clients.join_next().await {
        result.context("a client failed")??;
    }
    let took = begin.elapsed();
    done.store(true, Ordering::Relaxed);
    awake.await?;
    Ok(took)
}

async fn stay_awake(done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
}

async fn client(mut stream: TcpStream, users: Arc<Vec<String>>, left: Arc<AtomicI64>) -> anyhow::Result<()> {
    let mut response = Vec::with_capacity(2_048);
    loop {
        let Some(number) = usize::try_from(left.fetch_sub(1, Ordering::Relaxed)).ok().filter(|left| *left > 0) else {
            return Ok(());
        };
        let request = users.get(number % USERS).context("a user")?;
        stream.write_all(request.as_bytes()).await?;
        response.clear();
        while !response.ends_with(b"\r\n\r\nok") {
            if stream.read_buf(&mut response).await? == 0 {
                bail!("Envoy closed a connection after: {}", String::from_utf8_lossy(&response));
            }
            if response.len() > 12 && !response.starts_with(b"HTTP/1.1 200") {
                bail!("Envoy answered: {}", String::from_utf8_lossy(&response));
            }
        }
    }
}
