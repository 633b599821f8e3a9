//! The gate before every route: who comes in, and that what they write is written down.

use super::auth::{Auth, Denied, Role};
use super::body;
use super::limits::Limits;
use super::problem::{Problem, Said};
use super::repeat::{self, UnderWay};
use super::routes::{actor, counted_as, network_of};
use crate::access::{self, Access, Attempt};
use crate::clock::Clock;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{Paths, RefOr};
use utoipa_axum::router::UtoipaMethodRouter;

/// Most characters of a path and query that the audit log keeps, of what was asked for, and of why not.
const MAX_TEXT: usize = 1_000;
/// Most bytes that are read of what somebody asks for who may not.
const MAX_ASKED: usize = 1 << 14;

/// What a request asks for, in words, by its target and its body.
type Asked = fn(&Uri, &[u8]) -> Option<String>;

/// What a route asks of whoever calls it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    roles: &'static [Role],
    /// Telemetry: the ledger says what it counted, and the audit log what was refused to a role.
    counted: bool,
    /// Filters: how often they ask is theirs and the controller's to agree on.
    unmetered: bool,
    /// Its answer has what nobody may keep.
    shown_once: bool,
    /// With `?dryRun=true` it changes nothing, and is asked as somebody types.
    tried: bool,
    /// What a request asks for, in words, if it can be told: for the audit log, where its handler never saw it.
    asked: Option<Asked>,
    /// It takes no query: what is misspelt, or meant for another, is said and not passed over.
    plain: bool,
}

impl Rule {
    /// For these roles alone.
    pub(super) const fn roles(roles: &'static [Role]) -> Self {
        Self { roles, counted: false, unmetered: false, shown_once: false, tried: false, asked: None, plain: false }
    }

    /// What comes so often that it is counted, and not written down each time.
    pub(super) const fn counted(self) -> Self {
        Self { counted: true, ..self }
    }

    /// What may come as often as it likes.
    pub(super) const fn unmetered(self) -> Self {
        Self { unmetered: true, ..self }
    }

    /// What may be tried first: then there is nothing to write down.
    pub(super) const fn tried(self) -> Self {
        Self { tried: true, ..self }
    }

    /// What says in the audit log what was asked for, also of whoever may not.
    pub(super) const fn asked(self, asked: Asked) -> Self {
        Self { asked: Some(asked), ..self }
    }

    /// What is answered once, and not again to whoever repeats it.
    pub(super) const fn shown_once(self) -> Self {
        Self { shown_once: true, ..self }
    }
}

/// What the gate knows.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) auth: Arc<Auth>,
    pub(super) access: Arc<Access>,
    pub(super) clock: Clock,
    pub(super) under_way: UnderWay,
    /// Of callers that are known, and …
    pub(super) limits: Arc<Limits>,
    /// … of networks that send no token that is, and of tokens that may not do what they ask for.
    pub(super) failures: Arc<Limits>,
}

impl Gate {
    /// A route behind the gate.
    fn only<S: Clone + Send + Sync + 'static>(&self, route: MethodRouter<S>, rule: Rule) -> MethodRouter<S> {
        route.route_layer(from_fn_with_state((self.clone(), rule), pass))
    }

    /// The same of a route with its description.
    pub(super) fn guarded<S: Clone + Send + Sync + 'static>(
        &self,
        (schemas, paths, route): UtoipaMethodRouter<S>,
        rule: Rule,
    ) -> UtoipaMethodRouter<S> {
        let plain = !takes_a_query(&paths);
        (schemas, paths, self.only(route, Rule { plain, ..rule }))
    }

    /// Has something done and written down: that it begins before it does, and how it ended.
    async fn audited(&self, attempt: Attempt, what: impl Future<Output = Response>) -> Response {
        let number = match access::apart(&self.access, move |access| access.attempt(&attempt)).await {
            Ok(number) => number,
            Err(error) => return Problem::from(error).into_response(),
        };
        let response = what.await;
        let status = response.status();
        let note = response.extensions().get::<Said>().map(|said| said.0.clone()).unwrap_or_default();
        let ended = access::apart(&self.access, move |access| access.ended(number, status.as_u16(), &note)).await;
        if let Err(error) = ended {
            // It was done, and that it began is on disk.
            tracing::error!(%error, number, status = status.as_u16(), "the audit log does not know how this ended");
        }
        response
    }
}

/// What a handler says of a success for the audit log: an extension of the request, which it fills in.
#[derive(Debug, Clone, Default)]
pub(super) struct Note(Arc<Mutex<String>>);

impl Note {
    /// Notes something on a request, if it is written down.
    pub(super) fn on(extensions: &axum::http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    pub(super) fn say(&self, text: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }
}

/// Lets a request through if its token has one of the roles.
async fn pass(State((gate, rule)): State<(Gate, Rule)>, mut request: Request, next: Next) -> Response {
    let auth = &gate.auth;
    let admitted = auth.admit(request.method(), request.uri(), request.headers(), rule.roles);
    let writes = !request.method().is_safe();
    let caller = match admitted {
        Ok(caller) => caller,
        Err(denied @ Denied::Role(..)) if writes => {
            // Somebody who is known tried. Not so often that it is all the audit log has room for, or keeps the disk from others.
            let caller = match auth.caller(request.headers()) {
                Ok(caller) => caller,
                Err(denied) => return Problem::from(denied).into_response(),
            };
            // By the token, from wherever it comes.
            if let Err(wait) = gate.failures.take(&caller.key, Instant::now()) {
                return too_many(wait);
            }
            request.extensions_mut().insert(caller);
            let refused = tokio::spawn(async move {
                let attempt = gate.attempt(&request);
                gate.audited(attempt, async {
                    let asked = match rule.asked {
                        Some(asked) => {
                            let uri = request.uri().clone();
                            let bytes = body::read(request.into_body(), MAX_ASKED).await.unwrap_or_default();
                            asked(&uri, &bytes).unwrap_or_default()
                        }
                        None => String::new(),
                    };
                    noted(Problem::from(denied).into_response(), &asked)
                })
                .await
            });
            return refused.await.unwrap_or_else(|_| failed());
        }
        Err(denied) => {
            return match gate.failures.take(&network_of(&request), Instant::now()) {
                Ok(()) => Problem::from(denied).into_response(),
                Err(wait) => too_many(wait),
            };
        }
    };
    let key = caller.key.clone();
    request.extensions_mut().insert(caller);
    if !rule.unmetered
        && let Err(wait) = gate.limits.take(&counted_as(&request), Instant::now())
    {
        return too_many(wait);
    }
    // The very query that its handler takes for a trial, and no other that might be one.
    let tries = rule.tried && request.uri().query() == Some("dryRun=true");
    let query = request.uri().query().filter(|query| rule.plain && !query.is_empty()).map(cut);
    if !writes || rule.counted || tries {
        return match query {
            Some(query) => takes_no(&query),
            None => next.run(request).await,
        };
    }
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    // To its end, though the client goes away: whatever was done is written down.
    let done = tokio::spawn(async move {
        let attempt = gate.attempt(&request);
        gate.audited(attempt, async {
            let response = match query {
                Some(query) => takes_no(&query),
                None => repeat::once(&gate, key, rule.shown_once, request, next).await,
            };
            let said = std::mem::take(&mut *note.0.lock().unwrap_or_else(PoisonError::into_inner));
            noted(response, &said)
        })
        .await
    });
    done.await.unwrap_or_else(|_| failed())
}

/// An answer with what the audit log says of it: what was asked for, and of a refusal why.
fn noted(mut response: Response, asked: &str) -> Response {
    let why = response.extensions().get::<Said>().map(|said| cut(&said.0)).unwrap_or_default();
    // Whoever reads it reads it on a terminal.
    let asked: String = cut(asked).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let said = match (asked.is_empty(), why.is_empty()) {
        (true, _) => why,
        (false, true) => asked,
        (false, false) => format!("{asked}; {why}"),
    };
    response.extensions_mut().insert(Said(said));
    response
}

fn failed() -> Response {
    let detail = "The controller failed on this request; its log says more.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
}

impl Gate {
    fn attempt(&self, request: &Request) -> Attempt {
        let actor = actor(request);
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        Attempt {
            at: self.clock.now(),
            who: actor.who,
            says: actor.says,
            from: actor.from,
            method: request.method().as_str().to_owned(),
            target: cut(target),
        }
    }
}

/// Whether any of these is described with a parameter in its query.
fn takes_a_query(paths: &Paths) -> bool {
    let operations = paths.paths.values().flat_map(|item| [&item.get, &item.post, &item.delete]).flatten();
    operations.filter_map(|operation| operation.parameters.as_ref()).flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => true,
    })
}

/// That somebody asks too often.
fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    let detail = "Too many requests: ask again after `Retry-After` seconds, and less often.";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(seconds).into_response()
}

/// That a path was asked for with what it does not take.
fn takes_no(query: &str) -> Response {
    let detail = format!("The query cannot be read: this path takes none, and was sent `{}`.", query.escape_debug());
    Problem::new(StatusCode::BAD_REQUEST, detail).into_response()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
