//! A client for tests: one HTTP/1.1 or HTTP/2 connection, header values of any bytes, and raw bytes where HTTP ends.

use crate::wait::PATIENCE;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The host of requests that name none.
pub const HOST: &str = "shop.example";

/// One connection.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// Status of the response.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// Its trailers, if any.
    pub trailers: Option<HeaderMap>,
    /// Whether the body came to its end.
    pub complete: bool,
}

impl Reply {
    /// The version that answered, as [`crate::Upstream`] names it; empty when Envoy answered itself.
    #[must_use]
    pub fn version(&self) -> &str {
        self.headers.get("x-served-by").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    async fn read(response: Response<Incoming>) -> Self {
        let (parts, mut incoming) = response.into_parts();
        let mut reply =
            Self { status: parts.status, headers: parts.headers, body: Vec::new(), trailers: None, complete: true };
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                reply.complete = false;
                break;
            };
            match frame.into_data() {
                Ok(data) => reply.body.extend_from_slice(&data),
                Err(frame) => reply.trailers = frame.into_trailers().ok(),
            }
        }
        reply
    }
}

impl Client {
    /// Connects with HTTP/1.1, keep-alive.
    pub async fn http1(address: SocketAddr) -> Self {
        Self::try_http1(address).await.expect("connect to Envoy")
    }

    /// The same where it may be that nobody listens.
    ///
    /// # Errors
    /// When it cannot connect.
    pub async fn try_http1(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http1(sender) })
    }

    /// Connects with HTTP/2, prior knowledge.
    pub async fn http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect to Envoy");
        stream.set_nodelay(true).expect("a TCP option");
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("an HTTP/2 connection");
        tokio::spawn(connection);
        Self { sender: Sender::Http2(sender) }
    }

    /// A second user of the same HTTP/2 connection, for requests side by side on one worker.
    ///
    /// # Panics
    /// Over HTTP/1.1.
    #[must_use]
    pub fn beside(&self) -> Self {
        match &self.sender {
            Sender::Http2(sender) => Self { sender: Sender::Http2(sender.clone()) },
            Sender::Http1(_) => panic!("HTTP/1.1 has one request at a time"),
        }
    }

    /// Sends a request and reads the whole answer. A `host` among the headers replaces [`HOST`].
    ///
    /// # Errors
    /// When the connection ends before the response's headers.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &[u8])]) -> hyper::Result<Reply> {
        let what = format!("{method} {path}");
        let exchange = async { Ok(Reply::read(self.begin(method, path, headers).await?).await) };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer to {what} within {PATIENCE:?}"))
    }

    /// Sends a request and returns when the response's headers are there.
    ///
    /// # Errors
    /// When the connection ends before.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &[u8])],
    ) -> hyper::Result<Response<Incoming>> {
        let host = headers.iter().find(|(name, _)| *name == "host").map_or(HOST.as_bytes(), |(_, value)| *value);
        let host = str::from_utf8(host).expect("a host of visible characters");
        let target = match self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("http://{host}{path}"),
        };
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, hyper::header::HeaderValue::from_bytes(value).expect("a header value"));
        }
        if matches!(self.sender, Sender::Http1(_)) {
            request = request.header("host", host);
        }
        let request = request.body(Full::default()).expect("a request");
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// A GET that must be answered, with text headers.
    ///
    /// # Panics
    /// When the connection ends before the response's headers.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.send(Method::GET, path, &headers).await.expect("an answer")
    }
}

/// Sends so many GETs for a host down one connection without waiting for answers in between; how many each version gave.
/// For shares, which need many requests and no details.
///
/// # Panics
/// When the connection ends before every request was answered by a version.
pub async fn pipelined(address: SocketAddr, host: &str, requests: u64) -> BTreeMap<String, u64> {
    pipelined_with(address, (0..requests).map(|_| format!("host: {host}"))).await
}

/// The same with the header lines of each request, the host's among them.
///
/// # Panics
/// When the connection ends before every request was answered by a version.
pub async fn pipelined_with(address: SocketAddr, headers: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    const AT_ONCE: usize = 50;
    const MARK: &str = "x-served-by: ";
    let mut stream = TcpStream::connect(address).await.expect("connect to Envoy");
    let mut versions = BTreeMap::<String, u64>::new();
    let (mut headers, mut requests) = (headers.peekable(), 0);
    while headers.peek().is_some() {
        let texts: Vec<String> =
            headers.by_ref().take(AT_ONCE).map(|lines| format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n")).collect();
        let batch = texts.len() as u64;
        requests += batch;
        stream.write_all(texts.concat().as_bytes()).await.expect("sent");
        let mut answers = Vec::new();
        // Every answer ends with the body that an upstream gives for `/`.
        while answers.windows(6).filter(|window| window == b"\r\n\r\nok").count() as u64 != batch {
            assert!(stream.read_buf(&mut answers).await.expect("an answer") > 0, "Envoy closed the connection");
        }
        for line in String::from_utf8_lossy(&answers).lines() {
            if let Some(version) = line.strip_prefix(MARK) {
                *versions.entry(version.to_owned()).or_default() += 1;
            }
        }
    }
    assert_eq!(versions.values().sum::<u64>(), requests, "every request is answered by a version");
    versions
}

/// Sends bytes on a connection of their own and reads until the other side closes it.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("connect to Envoy");
    // Envoy may refuse and close before it has read everything: what it answered still counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "Envoy keeps waiting after `{}` and `{}`", bytes.escape_ascii(), answer.escape_ascii());
    answer
}

/// A request to any HTTP server on a connection of its own; without a `host` among the headers, its address is that.
///
/// # Errors
/// When no answer comes.
pub async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if headers.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", address.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    Ok(Reply::read(response).await)
}
