//! The HTTP server: which routes there are, who may call them, and what all requests have in common.

#[cfg(test)]
mod access_tests;
pub(crate) mod auth;
mod body;
mod condition;
#[cfg(test)]
mod connection_tests;
mod connections;
#[cfg(test)]
mod dashboard_tests;
#[cfg(test)]
mod event_tests;
mod gate;
mod limits;
pub(crate) mod openapi;
#[cfg(test)]
mod openapi_tests;
mod page;
mod patience;
mod problem;
mod repeat;
mod routes;
mod seats;
#[cfg(test)]
mod test_api;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
#[cfg(test)]
mod write_tests;

pub(crate) use connections::serve;
pub(crate) use routes::dashboard::is_built;

use crate::access::Access;
use crate::clock::Clock;
use crate::events::Events;
use crate::keeper::Handle;
use crate::metrics::Metrics;
use crate::publish::Subscriber;
use crate::reader::Reader;
use auth::{Auth, Role};
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response_with_state;
use axum::response::Response;
use axum::{Extension, Router};
use gate::{Gate, Rule};
use limits::Limits;
use problem::Problem;
use repeat::UnderWay;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, Semaphore, watch};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Report bodies read at a time: bounds memory to so many times their largest size.
const REPORTS_AT_A_TIME: usize = 64;

const READ: Rule = Rule::roles(&[Role::Viewer, Role::Operator]);
const CHANGE: Rule = Rule::roles(&[Role::Operator]);
const ANYBODY: Rule = Rule::roles(&[Role::Proxy, Role::Service, Role::Viewer, Role::Operator]);

/// Requests a second that one address may send without a token that is known, on average.
const FAILURES_A_SECOND: u32 = 10;

/// What the routes share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    keeper: Handle,
    reader: Reader,
    plan: Subscriber,
    events: Events,
    metrics: Metrics,
    auth: Arc<Auth>,
    access: Arc<Access>,
    clock: Clock,
    gate: Gate,
    hsts: bool,
    stop: watch::Receiver<bool>,
    reports: Arc<Semaphore>,
    /// When the ledger was last tried, and whether it could be written.
    probed: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) keeper: Handle,
    pub(crate) reader: Reader,
    pub(crate) plan: Subscriber,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) auth: Auth,
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Clock,
    /// Requests a second for each token, or each address where there are none; 0: no limit.
    pub(crate) rate_limit: u32,
    /// Whether browsers are told to come by TLS alone for a year.
    pub(crate) hsts: bool,
}

impl App {
    /// `stop` becoming true ends long polls.
    pub(crate) fn new(parts: Parts, stop: watch::Receiver<bool>) -> Self {
        let Parts { keeper, reader, plan, events, metrics, auth, access, clock, rate_limit, hsts } = parts;
        let auth = Arc::new(auth.with_access(Arc::clone(&access), clock.clone()));
        let gate = Gate {
            auth: Arc::clone(&auth),
            access: Arc::clone(&access),
            clock: clock.clone(),
            under_way: UnderWay::default(),
            limits: Arc::new(Limits::new(rate_limit)),
            failures: Arc::new(Limits::new(if rate_limit == 0 { 0 } else { FAILURES_A_SECOND })),
        };
        Self {
            gate,
            hsts,
            keeper,
            reader,
            plan,
            events,
            metrics,
            auth,
            access,
            clock,
            stop,
            reports: Arc::new(Semaphore::new(REPORTS_AT_A_TIME)),
            probed: Arc::default(),
        }
    }

    /// The routes.
    pub(crate) fn router(self) -> Router {
        let (router, document) = self.routes();
        let document = routes::document::Document(openapi::text(&document).into());
        router
            .layer(Extension(document))
            .merge(routes::dashboard::routes())
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path."))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
            })
            .layer(map_response_with_state((self.metrics.clone(), self.hsts), count))
            .with_state(self)
    }

    /// The routes with their descriptions: whatever is served is described, under its path, its method and its roles.
    pub(crate) fn routes(&self) -> (Router<Self>, OpenApi) {
        use routes::{
            commands, distributions, document, events, experiments, health, history, plan, rehearsals, reports,
            rewards, services, tokens,
        };
        let gate = &self.gate;
        let (router, document) = OpenApiRouter::new()
            .routes(
                gate.guarded(routes!(plan::get), Rule::roles(&[Role::Proxy, Role::Viewer, Role::Operator]).unmetered()),
            )
            .routes(gate.guarded(routes!(reports::post), Rule::roles(&[Role::Proxy]).counted().unmetered()))
            .routes(gate.guarded(routes!(experiments::list), READ))
            .routes(gate.guarded(routes!(experiments::apply), CHANGE.tried()))
            .routes(gate.guarded(routes!(experiments::get), READ))
            .routes(gate.guarded(routes!(experiments::delete), CHANGE.asked(experiments::asked)))
            .routes(gate.guarded(routes!(experiments::decisions), READ))
            .routes(gate.guarded(routes!(events::all), READ))
            .routes(gate.guarded(routes!(events::one), READ))
            .routes(gate.guarded(routes!(history::journal), READ))
            .routes(gate.guarded(routes!(history::explanation), READ))
            .routes(gate.guarded(routes!(distributions::get), READ))
            .routes(gate.guarded(routes!(services::list), READ))
            .routes(gate.guarded(routes!(services::get_trend), READ))
            .routes(gate.guarded(routes!(rehearsals::post), CHANGE.counted()))
            .routes(gate.guarded(routes!(commands::post), CHANGE.asked(commands::asked)))
            .routes(gate.guarded(routes!(rewards::post), Rule::roles(&[Role::Service, Role::Operator]).counted()))
            .routes(gate.guarded(routes!(tokens::whoami), ANYBODY))
            .routes(gate.guarded(routes!(tokens::list), CHANGE))
            .routes(gate.guarded(routes!(tokens::create), CHANGE.shown_once().asked(tokens::asked)))
            .routes(gate.guarded(routes!(tokens::revoke), CHANGE))
            .routes(gate.guarded(routes!(tokens::audit), CHANGE))
            .routes(gate.guarded(routes!(document::get), READ))
            .routes(gate.guarded(routes!(health::metrics), READ))
            .routes(routes!(health::alive))
            .routes(routes!(health::ready))
            .split_for_parts();
        (router, openapi::complete(document))
    }
}

/// What every answer says: it is nobody's to keep, to frame, to guess at, or to run anything from.
const HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

async fn count(State((metrics, hsts)): State<(Metrics, bool)>, mut response: Response) -> Response {
    if hsts {
        // Asked for alone: it holds for whatever else that host serves, on any port, and nobody can take it back for a year.
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, year);
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    metrics.answered(response.status().as_u16());
    response
}
