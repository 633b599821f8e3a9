//! The API as the tests call it: each with a keeper and a ledger of its own, and every answer held against the document.

use super::auth::Auth;
use super::openapi_tests::conforms;
use super::{App, Parts};
use crate::access::Access;
use crate::events::Events;
use crate::keeper::{Command, Handle, Keeper};
use crate::publish::Subscriber;
use crate::reader::Reader;
use crate::testing::{Bench, document};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, header};
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

/// Long enough for anything that does happen; shorter than the 20 s for which polls are held, so that a poll that just
/// runs out of time is a failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

pub(super) struct Api {
    pub(super) router: Router,
    pub(super) keeper: Handle,
    /// For long reads.
    pub(super) room: Arc<Semaphore>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) events: Events,
    pub(super) bench: Bench,
}

impl Api {
    pub(super) fn start(tokens: &[&str]) -> Self {
        Self::limited(tokens, 0)
    }

    /// One that lets each caller ask so often a second.
    pub(super) fn limited(tokens: &[&str], rate_limit: u32) -> Self {
        let mut bench = Bench::new();
        let (keeper, plan): (Keeper, Subscriber) = bench.take();
        let events = keeper.events();
        let (keeper, _thread) = keeper.spawn().unwrap();
        let (stop, stopped) = watch::channel(false);
        let auth = Auth::parse(tokens.iter().copied()).unwrap();
        let reader = Reader::new(bench.ledger_file());
        let room = Arc::clone(&reader.room);
        let (metrics, clock) = (bench.metrics.clone(), bench.clock());
        let access = Arc::new(Access::open(&bench.ledger_file()).unwrap());
        let parts = Parts {
            keeper: keeper.clone(),
            reader,
            plan,
            events: events.clone(),
            metrics,
            auth,
            access,
            clock,
            rate_limit,
            hsts: false,
        };
        let router = App::new(parts, stopped).router();
        Self { router, keeper, room, stop, events, bench }
    }

    pub(super) fn call<B: Into<Body>>(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: B,
    ) -> impl Future<Output = Answer> + Send + use<B> {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let sent = self.send(method, path, if token.is_empty() { &[] } else { &headers }, body);
        async move { sent.await.answer }
    }

    /// The same with any headers, and with those of the answer.
    pub(super) fn send<B: Into<Body>>(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
    ) -> impl Future<Output = Sent> + Send + use<B> {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let call = self.router.clone().oneshot(request.body(body.into()).unwrap());
        let (method, path) = (method.to_owned(), path.to_owned());
        async move {
            let response = tokio::time::timeout(PATIENCE, call).await.expect("an answer in time").unwrap();
            let headers = response.headers().clone();
            let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let answer = Answer { status, kind: kind.unwrap_or_default(), body: body.to_vec() };
            conforms(&method, &path, &answer);
            Sent { answer, headers }
        }
    }

    /// One look of the steward.
    pub(super) async fn look(&self) {
        let snapshots = self.keeper.ask(Command::Snapshot).await.unwrap();
        let (now, metrics) = (self.bench.clock().now(), &self.bench.metrics);
        let judge = |snapshot| crate::steward::judge(snapshot, Default::default(), now, metrics).unwrap().0;
        let judged = snapshots.into_iter().map(judge).collect();
        self.keeper.ask(|reply| Command::Decide(judged, reply)).await.unwrap();
    }

    pub(super) async fn apply(&self) -> String {
        let answer = self.call("POST", "/v1/experiments", "", document("shop")).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["experiments"][0]["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn report<B: Into<Body>>(&self, body: B) -> impl Future<Output = Answer> + Send + use<B> {
        self.call("POST", "/v1/reports", "", body)
    }
}

/// An answer with its headers.
#[derive(Debug)]
pub(super) struct Sent {
    answer: Answer,
    headers: header::HeaderMap,
}

impl Sent {
    /// Its status, after a look at whether a failure is told as one.
    pub(super) fn status(&self) -> u16 {
        self.answer.checked_status()
    }

    pub(super) fn json(&self) -> Value {
        self.answer.json()
    }

    /// A header; nothing if it is not there.
    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Its status, after a look at whether a failure is told as one.
    pub(super) fn checked_status(&self) -> u16 {
        if self.status >= 400 {
            assert_eq!(self.kind, "application/problem+json", "{self:?}");
            let problem = self.json();
            assert_eq!(problem["status"], self.status);
            assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        }
        self.status
    }
}
