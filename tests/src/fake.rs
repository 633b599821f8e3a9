//! A controller that says what the test wants and remembers what it was told. For faults that a real one does not have.

mod told;

use crate::upstream::{Frames, full, stream};
use crate::wait::{PATIENCE, eventually};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use told::Told;
use weir_core::plan::Plan;
use weir_core::report::{Acknowledgement, Counts, Report};

/// How the next report, or poll for a plan, is answered. All but the refused count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Counted and acknowledged, or the plan; what happens when no other answer is scripted.
    Accept,
    /// Counted, and then the connection dies before the acknowledgement.
    CountAndDisconnect,
    /// Not counted; this status.
    Refuse(u16),
    /// 200 and no JSON.
    Garbage,
    /// Half of the answer, and then the connection dies.
    Truncated,
    /// The answer, after sixteen mebibytes of nothing.
    TooLarge,
    /// The answer, after so many milliseconds.
    Late(u64),
}

/// A running fake. Ends when dropped.
#[derive(Debug)]
pub struct FakeController {
    address: SocketAddr,
    state: Arc<State>,
    server: Option<JoinSet<()>>,
}

#[derive(Debug)]
struct State {
    plan: watch::Sender<Plan>,
    told: Mutex<Told>,
    /// Whether connections end with a reset.
    resets: AtomicBool,
}

impl FakeController {
    /// Starts one that publishes a plan.
    pub async fn start(plan: Plan) -> Self {
        plan.validate().expect("a valid plan");
        let state =
            Arc::new(State { plan: watch::Sender::new(plan), told: Mutex::default(), resets: AtomicBool::new(false) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, server: Some(server) }
    }

    /// Where it listens; the same after [`Self::resume`].
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes another plan: held polls are answered at once.
    pub fn publish(&self, plan: Plan) {
        plan.validate().expect("a valid plan");
        self.state.plan.send_replace(plan);
    }

    /// Cuts every connection and refuses new ones, as a killed controller does.
    pub async fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.shutdown().await;
        }
    }

    /// Listens again, on the same port, and still knows what it knew.
    pub async fn resume(&mut self) {
        let listener = eventually(PATIENCE, "the fake controller's port is free", async || {
            TcpListener::bind(self.address).await.ok()
        })
        .await;
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&self.state)));
        self.server = Some(server);
    }

    /// From now on new connections end with a reset (RST), whoever ends them.
    pub fn reset_connections(&self) {
        self.state.resets.store(true, Ordering::Relaxed);
    }

    /// Answers the next polls for a plan so.
    pub fn script_polls(&self, answers: &[Answer]) {
        self.told().to_polls.extend(answers);
    }

    /// How many of the answers scripted for polls were not given yet.
    #[must_use]
    pub fn scripted_polls(&self) -> usize {
        self.told().to_polls.len()
    }

    /// Answers the next reports so, then accepts.
    pub fn script(&self, answers: &[Answer]) {
        self.told().answers.extend(answers);
    }

    /// How many of the scripted answers were not given yet.
    #[must_use]
    pub fn scripted(&self) -> usize {
        self.told().answers.len()
    }

    /// What was counted of one version of an experiment, each report once.
    #[must_use]
    pub fn counts(&self, experiment: &str, version: &str) -> Counts {
        let mut sum = Counts::default();
        let told = self.told();
        told.of(experiment).filter(|((_, of, _), _)| of == version).for_each(|(_, counts)| sum.merge(counts));
        sum
    }

    /// The same of one worker's incarnation.
    #[must_use]
    pub fn counts_of(&self, incarnation: &str, experiment: &str, version: &str) -> Counts {
        let key = (experiment.to_owned(), version.to_owned(), incarnation.to_owned());
        self.told().totals.get(&key).cloned().unwrap_or_default()
    }

    /// The incarnations that have counted something of an experiment.
    #[must_use]
    pub fn incarnations_of(&self, experiment: &str) -> BTreeSet<String> {
        self.told().of(experiment).map(|((_, _, incarnation), _)| incarnation.clone()).collect()
    }

    /// When the last report that counted came from an incarnation.
    #[must_use]
    pub fn last_heard(&self, incarnation: &str) -> Option<Instant> {
        self.told().heard.get(incarnation).copied()
    }

    /// Every `Host` that reports were sent to.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<String> {
        self.told().hosts.clone()
    }

    /// Assigned, over all versions of an experiment.
    #[must_use]
    pub fn assigned(&self, experiment: &str) -> u64 {
        self.told().of(experiment).map(|(_, counts)| counts.assigned).sum()
    }

    /// Every report that came, counted or not, in order, with its bytes.
    #[must_use]
    pub fn received(&self) -> Vec<(Report, Vec<u8>)> {
        self.told().received.clone()
    }

    /// The last report of each worker, by incarnation.
    #[must_use]
    pub fn last_reports(&self) -> BTreeMap<String, Report> {
        self.told().received.iter().map(|(report, _)| (report.incarnation.clone(), report.clone())).collect()
    }

    /// How many plans were asked for.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.told().polls
    }

    /// How many polls were under way at a time, at most.
    #[must_use]
    pub fn most_polls_at_a_time(&self) -> u64 {
        self.told().most_held
    }

    /// Every `Authorization` seen.
    #[must_use]
    pub fn credentials(&self) -> BTreeSet<String> {
        self.told().credentials.clone()
    }

    /// What the contract forbids and was done all the same: invalid reports, gaps, a sequence with two contents, final
    /// bins that were added to.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.told().complaints.clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.state.told.lock().expect("no panic while noting")
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        if state.resets.load(Ordering::Relaxed) {
            stream.set_zero_linger().expect("a TCP option");
        }
        let service = service_fn(move |request| answer(Arc::clone(&state), request));
        connections.spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Frames>, Disconnect> {
    if let Some(value) = request.headers().get("authorization") {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        state.told.lock().expect("no panic while noting").credentials.insert(value);
    }
    match request.uri().path() {
        "/v1/plan" => plan(&state, request.uri().query().unwrap_or_default()).await,
        "/v1/reports" => {
            let host = request.headers().get("host").map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
            let host = host.or_else(|| request.uri().authority().map(ToString::to_string));
            state.told.lock().expect("no panic while noting").hosts.extend(host);
            let body = request.into_body().collect().await.map_err(|_| Disconnect)?.to_bytes();
            let (answer, script) = report(&state, &body);
            give(answer, script).await
        }
        _ => Ok(respond(StatusCode::NOT_FOUND, String::new()).map(|text| full(&text))),
    }
}

/// The connection is to die without an answer.
#[derive(Debug)]
struct Disconnect;

impl std::fmt::Display for Disconnect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("scripted")
    }
}

impl std::error::Error for Disconnect {}

/// Gives an answer as scripted.
async fn give(answer: Response<String>, script: Answer) -> Result<Response<Frames>, Disconnect> {
    let (parts, body) = answer.into_parts();
    let body = match script {
        Answer::Accept | Answer::Refuse(_) => full(&body),
        Answer::CountAndDisconnect => return Err(Disconnect),
        Answer::Garbage => full("<html>\0\u{1f4a9} this is no JSON"),
        Answer::Truncated => {
            let half = body.as_bytes().get(..body.len() / 2).unwrap_or_default();
            let died = Err(io::Error::other("scripted"));
            let mut response =
                Response::from_parts(parts, stream(vec![Ok(Frame::data(Bytes::copy_from_slice(half))), died]));
            response.headers_mut().insert("content-length", body.len().into());
            return Ok(response);
        }
        Answer::TooLarge => full(&format!("{}{body}", " ".repeat(16 << 20))),
        Answer::Late(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            full(&body)
        }
    };
    Ok(Response::from_parts(parts, body))
}

async fn plan(state: &State, query: &str) -> Result<Response<Frames>, Disconnect> {
    let _held = Held::begin(state);
    let script = state.told.lock().expect("no panic while noting").to_polls.pop_front();
    match script {
        Some(Answer::Refuse(status)) => Ok(refusal(status).map(|text| full(&text))),
        script => give(current(state, query).await, script.unwrap_or(Answer::Accept)).await,
    }
}

async fn current(state: &State, query: &str) -> Response<String> {
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let known = parameter("revision").unwrap_or_default().to_owned();
    let wait = parameter("wait").and_then(|text| weir_core::duration::parse_milliseconds(text).ok()).unwrap_or(0);
    let mut plans = state.plan.subscribe();
    let changed = plans.wait_for(|plan| plan.revision != known);
    match tokio::time::timeout(Duration::from_millis(wait), changed).await {
        Ok(Ok(plan)) => respond(StatusCode::OK, serde_json::to_string(&*plan).expect("a plan is JSON")),
        _ => respond(StatusCode::NOT_MODIFIED, String::new()),
    }
}

/// A poll that is being held, until it is answered or its connection ends.
struct Held<'a>(&'a State);

impl<'a> Held<'a> {
    fn begin(state: &'a State) -> Self {
        let mut told = state.told.lock().expect("no panic while noting");
        told.polls += 1;
        told.held += 1;
        told.most_held = told.most_held.max(told.held);
        Self(state)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Ok(mut told) = self.0.told.lock() {
            told.held -= 1;
        }
    }
}

fn report(state: &State, body: &[u8]) -> (Response<String>, Answer) {
    let mut told = state.told.lock().expect("no panic while noting");
    let report = match Report::from_json(body) {
        Ok(report) => report,
        Err(error) => {
            told.complaints.push(format!("{error} in {}", String::from_utf8_lossy(body)));
            return (respond(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()), Answer::Accept);
        }
    };
    told.check(&report, body);
    told.received.push((report.clone(), body.to_vec()));
    let script = told.answers.pop_front().unwrap_or(Answer::Accept);
    if let Answer::Refuse(status) = script {
        return (refusal(status), script);
    }
    told.count(&report);
    let answer = Acknowledgement { acknowledged: report.sequence, interval_ms: None, ignored: Vec::new() };
    (respond(StatusCode::OK, serde_json::to_string(&answer).expect("an acknowledgement is JSON")), script)
}

fn refusal(status: u16) -> Response<String> {
    respond(StatusCode::from_u16(status).expect("a status"), "scripted".to_owned())
}

fn respond(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
