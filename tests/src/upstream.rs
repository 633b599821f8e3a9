//! A version of a service: HTTP/1.1 and HTTP/2 on one port, misbehaving as the request's path asks.
//!
//! `/status/503`, `/delay/250` (milliseconds), `/reset` (no answer), `/truncate` (half a body), `/hang` (until the other
//! side gives up), `/stall` (half a body, then the same), `/grpc/13` (status in trailers), `/grpc-now/13` (status in headers, no
//! body), `/reward/1`, `/reward-hex/ff31` (any bytes), `/echo` (the request's headers), `/upgrade` (101, then every byte comes back
//! until a `!` ends it); anything else: 200.

use crate::wait::PATIENCE;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running version. Ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    address: SocketAddr,
    received: Arc<Mutex<BTreeMap<String, u64>>>,
    _server: JoinSet<()>,
}

impl Upstream {
    /// Starts a version on a free port. Every answer carries its name in `x-served-by`.
    pub async fn start(name: &str) -> Self {
        Self::start_that(name, None).await
    }

    /// Starts one that answers every path as it would this one: `/status/500`.
    pub async fn always(name: &str, path: &'static str) -> Self {
        Self::start_that(name, Some(path)).await
    }

    async fn start_that(name: &str, always: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::<Mutex<BTreeMap<String, u64>>>::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, name.to_owned(), always, Arc::clone(&received)));
        Self { name: name.to_owned(), address, received, _server: server }
    }

    /// The same with one canned answer for requests without a body, at a tenth of the cost: for shares, which need
    /// many requests. Counts them all under `/`.
    pub async fn canned(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::<Mutex<BTreeMap<String, u64>>>::default();
        let mut server = JoinSet::new();
        server.spawn(serve_canned(listener, name.to_owned(), Arc::clone(&received)));
        Self { name: name.to_owned(), address, received, _server: server }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has received.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.received.lock().expect("no panic while counting").values().sum()
    }

    /// How many requests for a path it has received.
    #[must_use]
    pub fn requests_for(&self, path: &str) -> u64 {
        self.received.lock().expect("no panic while counting").get(path).copied().unwrap_or_default()
    }
}

async fn serve(
    listener: TcpListener,
    name: String,
    always: Option<&'static str>,
    received: Arc<Mutex<BTreeMap<String, u64>>>,
) {
    let mut connections = JoinSet::new();
    let name: Arc<str> = name.into();
    while let Ok((stream, _)) = listener.accept().await {
        let (name, received) = (Arc::clone(&name), Arc::clone(&received));
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path().to_owned();
            *received.lock().expect("no panic while counting").entry(path.clone()).or_default() += 1;
            answer(Arc::clone(&name), always.map_or(path, str::to_owned), request)
        });
        connections.spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_canned(listener: TcpListener, name: String, received: Arc<Mutex<BTreeMap<String, u64>>>) {
    let mut connections = JoinSet::new();
    let answer = format!("HTTP/1.1 200 OK\r\nx-served-by: {name}\r\ncontent-length: 2\r\n\r\nok");
    while let Ok((mut stream, _)) = listener.accept().await {
        let (answer, received) = (answer.clone(), Arc::clone(&received));
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            let mut request = Vec::new();
            while stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {
                // Envoy sends one request at a time on a connection.
                if request.ends_with(b"\r\n\r\n") {
                    request.clear();
                    *received.lock().expect("no panic while counting").entry("/".to_owned()).or_default() += 1;
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        });
    }
}

/// Sends every byte back until a `!` comes, or the other side ends it.
async fn echo(mut request: Request<Incoming>) {
    let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
    let mut stream = TokioIo::new(upgraded);
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        let came = bytes.get(..count).unwrap_or_default();
        if stream.write_all(came).await.is_err() || came.contains(&b'!') {
            break;
        }
    }
    let _ = stream.shutdown().await;
}

async fn answer(name: Arc<str>, path: String, request: Request<Incoming>) -> Result<Response<Frames>, io::Error> {
    let mut parts = path.trim_start_matches('/').split('/');
    let (kind, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let response = Response::builder().header("x-served-by", &*name);
    let response = response.header("x-served-over", format!("{:?}", request.version()));
    let response = match kind {
        "status" => response.status(argument.parse::<u16>().unwrap_or(200)).body(full(kind)),
        "delay" => {
            tokio::time::sleep(Duration::from_millis(argument.parse().unwrap_or(0))).await;
            response.body(full(kind))
        }
        "hang" => {
            tokio::time::sleep(PATIENCE).await;
            return Err(io::Error::other("nobody gave up"));
        }
        // An error of the service makes hyper close the connection (HTTP/1.1) or reset the stream (HTTP/2).
        "reset" => return Err(io::Error::other("asked to reset")),
        "truncate" => response.header("content-length", "1000").body(stream(vec![
            Ok(Frame::data(Bytes::from_static(b"half of it"))),
            Err(io::Error::other("asked to truncate")),
        ])),
        "stall" => response
            .header("content-length", "1000")
            .body(Frames { stalls: true, ..stream(vec![Ok(Frame::data(Bytes::from_static(b"half of it")))]) }),
        "grpc" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", argument.parse().expect("a status"));
            response
                .header("content-type", "application/grpc")
                .body(stream(vec![Ok(Frame::data(Bytes::from_static(&[0; 5]))), Ok(Frame::trailers(trailers))]))
        }
        "grpc-now" => {
            response.header("content-type", "application/grpc").header("grpc-status", argument).body(stream(Vec::new()))
        }
        "upgrade" => {
            tokio::spawn(echo(request));
            response.status(101).header("connection", "upgrade").header("upgrade", "websocket").body(stream(Vec::new()))
        }
        "reward" => response.header("x-weir-reward", argument).body(full(kind)),
        // One header for each value.
        "rewards" => argument
            .split(';')
            .fold(response, |response, value| response.header("x-weir-reward", value))
            .body(full(kind)),
        "reward-hex" => response.header("x-weir-reward", bytes_of(argument)).body(full(kind)),
        "echo" => {
            let headers: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii()))
                .collect();
            response.body(full(&headers.join("\n")))
        }
        _ => response.body(full("ok")),
    };
    response.map_err(io::Error::other)
}

/// The bytes that pairs of hexadecimal digits name.
fn bytes_of(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal digits"))
        .collect()
}

pub(crate) fn full(text: &str) -> Frames {
    stream(vec![Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))])
}

pub(crate) fn stream(frames: Vec<Result<Frame<Bytes>, io::Error>>) -> Frames {
    Frames { frames: frames.into_iter(), rested: true, stalls: false }
}

/// A body of frames and errors, with a rest before each but the first: hyper flushes then, so that what comes before an
/// error is on the wire before the connection breaks.
pub(crate) struct Frames {
    frames: std::vec::IntoIter<Result<Frame<Bytes>, io::Error>>,
    rested: bool,
    /// Never ends.
    stalls: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.stalls && self.frames.len() == 0 {
            return Poll::Pending;
        }
        if std::mem::replace(&mut self.rested, false) || self.frames.len() == 0 {
            return Poll::Ready(self.frames.next());
        }
        self.rested = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.frames.len() == 0 && !self.stalls
    }

    fn size_hint(&self) -> SizeHint {
        match self.frames.as_slice() {
            [Ok(frame)] if !self.stalls => {
                frame.data_ref().map_or_else(SizeHint::default, |data| SizeHint::with_exact(data.len() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}
