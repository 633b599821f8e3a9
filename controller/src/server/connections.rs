//! Connections: how many, how patient, and how they end. HTTP/1.1, with TLS or without.

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Most connections at a time; more wait in the kernel.
const MAX_CONNECTIONS: usize = 8_192;
/// How long a connection may be idle or take over a request's headers. Longer than the longest interval that a filter can
/// be configured to report in, so that its connection is still there.
const HEADER_PATIENCE: Duration = Duration::from_secs(75);
/// How long TLS may take to be agreed on.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long requests under way may take to end after `stop`.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where a request comes from: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Ends the connection of a request when it is notified: an extension of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct Hangup(pub(super) Arc<Notify>);

/// What every connection is served with.
#[derive(Clone)]
struct Service {
    http: http1::Builder,
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
}

/// Serves until `stop` says so and what was under way has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
    let service = Service { http, router, tls, stop: stop.clone() };
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let (service, watcher) = (service.clone(), graceful.watcher());
        tokio::spawn(async move {
            service.connection(stream, peer, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests had not ended after {} s and are cut off", FAREWELL.as_secs());
    }
}

impl Service {
    async fn connection(mut self, stream: TcpStream, peer: IpAddr, watcher: Watcher) {
        let Some(tls) = self.tls.take() else { return self.requests(stream, peer, watcher).await };
        let shaken = tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => return,
            shaken = tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.requests(stream, peer, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS was agreed on"),
            Err(_) => tracing::debug!(%peer, "TLS took too long to agree on"),
        }
    }

    async fn requests<S>(self, stream: S, peer: IpAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let hangup = Hangup::default();
        let over = Arc::clone(&hangup.0);
        let service = self.router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(hangup.clone());
            request.map(Body::new)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::select! {
            ended = watcher.watch(connection) => if let Err(error) = ended {
                // Clients that go away: nothing to be done, and nothing to wake anybody for.
                tracing::debug!(%error, "a connection ended badly");
            },
            () = over.notified() => tracing::debug!(%peer, "a listener that did not keep up was cut off"),
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            Some((stream, peer.ip().to_canonical(), permit))
        }
        Err(error) => {
            // Most likely out of file descriptors: wait for some to be closed instead of spinning.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
