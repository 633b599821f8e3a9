//! A gate between Envoy and the controller: passes everything on, until a test has it refuse reports. Plans still come through, so
//! that nothing but the telemetry is lost.

use crate::client;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running gate. Ends when dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: Arc<State>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    to: SocketAddr,
    shut: AtomicBool,
    refused: AtomicU64,
}

impl Gate {
    /// Starts one on a free port, open.
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State { to, shut: AtomicBool::new(false), refused: AtomicU64::new(0) });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, _server: server }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers every report 503 from here on, or passes it on again.
    pub fn shut(&self, shut: bool) {
        self.state.shut.store(shut, Ordering::Relaxed);
    }

    /// How many reports it refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let service = service_fn(move |request| pass(Arc::clone(&state), request));
        connections.spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/v1/reports" && state.shut.load(Ordering::Relaxed) {
        state.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(respond(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()));
    }
    let Ok(body) = body.collect().await else { return Ok(respond(StatusCode::BAD_GATEWAY, Bytes::new())) };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let passed = ["content-type", "authorization"];
    let headers = passed.iter().filter_map(|name| Some((*name, head.headers.get(*name)?.to_str().ok()?)));
    let headers: Vec<(&str, &str)> = headers.collect();
    let answer = client::call(state.to, head.method.as_str(), path, &headers, body.to_bytes().to_vec()).await;
    Ok(match answer {
        Ok(reply) => respond(reply.status, Bytes::from(reply.body.to_vec())),
        Err(_) => respond(StatusCode::BAD_GATEWAY, Bytes::new()),
    })
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
