//! Connections: how many, how patient, and how they end. HTTP/1.1, with TLS or without.

use super::patience::Patient;
use super::seats::{Seat, Seats};
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use tower::{ServiceExt, service_fn};

/// How long who has connected may take to ask for something, from when TLS is agreed on.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle or take over a request's headers. Longer than the longest interval that a filter can
/// be configured to report in, so that its connection is still there.
const HEADER_PATIENCE: Duration = Duration::from_secs(75);
/// How long TLS may take to be agreed on.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may wait for the other end to read more of it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// How long requests under way may take to end after `stop`.
const FAREWELL: Duration = Duration::from_secs(10);
/// Most bytes of a connection that wait to be understood: its longest headers. About as many wait to be sent.
const MAX_BUFFER: usize = 1 << 16;
/// How often it is said that there is no room.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Where a request comes from: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Ends the connection of a request when it is notified: an extension of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct Hangup(pub(super) Arc<Notify>);

/// What connections are served within.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) seats: Seats,
    pub(super) first: Duration,
    pub(super) answer: Duration,
}

/// What every connection is served with.
#[derive(Clone)]
struct Service {
    http: http1::Builder,
    router: Router,
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
}

/// Serves until `stop` says so and what was under way has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    let bounds = Bounds { seats: Seats::by_files(), first: FIRST_PATIENCE, answer: ANSWER_PATIENCE };
    tracing::debug!(connections = bounds.seats.most(), "room");
    serve_within(bounds, listener, router, tls, stop).await;
}

/// The same within other bounds.
pub(super) async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).max_buf_size(MAX_BUFFER);
    let seats = bounds.seats.clone();
    let service = Service { http, router, tls, bounds, stop: stop.clone() };
    let graceful = GracefulShutdown::new();
    let mut said: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener) => accepted,
        };
        let Some((stream, peer)) = accepted else { continue };
        let over = Arc::new(Notify::new());
        let Some(seat) = seats.take(peer, Arc::clone(&over)) else {
            if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                said = Some(Instant::now());
                tracing::warn!(%peer, connections = seats.most(), "no room for a connection: all are busy, or half of them with one address");
            }
            continue;
        };
        let connection = service.clone().connection(stream, peer, seat, Arc::clone(&over), graceful.watcher());
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = over.notified() => tracing::debug!(%peer, "a connection was cut off: for another, or as a listener that did not keep up"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests had not ended after {} s and are cut off", FAREWELL.as_secs());
    }
}

impl Service {
    async fn connection(mut self, stream: TcpStream, peer: IpAddr, seat: Seat, over: Arc<Notify>, watcher: Watcher) {
        let stream = Patient::new(stream, self.bounds.answer);
        let visit = Visit { peer, seat: Arc::new(Mutex::new(seat)), asked: Arc::default(), over };
        let Some(tls) = self.tls.take() else { return self.requests(stream, visit, watcher).await };
        let shaken = tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => return,
            shaken = tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.requests(stream, visit, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS was agreed on"),
            Err(_) => tracing::debug!(%peer, "TLS took too long to agree on"),
        }
    }

    async fn requests<S>(self, stream: S, visit: Visit, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, visitor) = (self.router, visit.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (router, visit) = (router.clone(), visitor.clone());
            async move {
                // Whoever has just lost the seat is about to be cut off: nothing is begun any more.
                let Some(busy) = visit.work() else { return std::future::pending().await };
                request.extensions_mut().insert(Peer(visit.peer));
                request.extensions_mut().insert(Hangup(visit.over));
                let answer = router.oneshot(request.map(Body::new)).await;
                answer.map(|answer| answer.map(|body| Held { body, _busy: busy }))
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::select! {
            ended = watcher.watch(connection) => if let Err(error) = ended {
                // Clients that go away: nothing to be done, and nothing to wake anybody for.
                tracing::debug!(%error, "a connection ended badly");
            },
            () = visit.silent(self.bounds.first) => tracing::debug!(peer = %visit.peer, "it asked for nothing"),
        }
    }
}

/// Somebody's connection, as its requests know it.
#[derive(Debug, Clone)]
struct Visit {
    peer: IpAddr,
    seat: Arc<Mutex<Seat>>,
    /// Whether it has asked for anything.
    asked: Arc<AtomicBool>,
    over: Arc<Notify>,
}

impl Visit {
    /// Not idle from here on; `None` if it is over.
    fn work(&self) -> Option<Busy> {
        self.asked.store(true, Ordering::Relaxed);
        let seated = self.seat.lock().unwrap_or_else(PoisonError::into_inner).work();
        seated.then(|| Busy(Arc::clone(&self.seat)))
    }

    /// When nothing has been asked for in time; never otherwise.
    async fn silent(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        if self.asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

/// A connection that answers, until it is dropped.
#[derive(Debug)]
struct Busy(Arc<Mutex<Seat>>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rest();
    }
}

/// An answer's body: the connection is not idle before its end.
#[derive(Debug)]
struct Held {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, IpAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            Some((stream, peer.ip().to_canonical()))
        }
        Err(error) => {
            // Most likely out of file descriptors: wait for some to be closed instead of spinning.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
