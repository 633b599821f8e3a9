//! The HTTP server: which routes there are, who may call them, and what all requests have in common.

#[cfg(test)]
mod access_tests;
pub(crate) mod auth;
mod body;
mod connections;
mod gate;
pub(crate) mod openapi;
#[cfg(test)]
mod openapi_tests;
mod page;
mod problem;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use connections::serve;

use crate::access::Access;
use crate::clock::Clock;
use crate::keeper::Handle;
use crate::metrics::Metrics;
use crate::publish::Subscriber;
use crate::reader::Reader;
use auth::{Auth, Role};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response_with_state;
use axum::response::Response;
use axum::routing::get;
use gate::{Gate, Rule};
use problem::Problem;
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

/// What the routes share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    keeper: Handle,
    reader: Reader,
    plan: Subscriber,
    metrics: Metrics,
    auth: Arc<Auth>,
    access: Arc<Access>,
    clock: Clock,
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
    pub(crate) metrics: Metrics,
    pub(crate) auth: Auth,
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Clock,
}

impl App {
    /// `stop` becoming true ends long polls.
    pub(crate) fn new(parts: Parts, stop: watch::Receiver<bool>) -> Self {
        let Parts { keeper, reader, plan, metrics, auth, access, clock } = parts;
        Self {
            keeper,
            reader,
            plan,
            metrics,
            auth: Arc::new(auth.with_access(Arc::clone(&access), clock.clone())),
            access,
            clock,
            stop,
            reports: Arc::new(Semaphore::new(REPORTS_AT_A_TIME)),
            probed: Arc::default(),
        }
    }

    fn gate(&self) -> Gate {
        Gate { auth: Arc::clone(&self.auth), access: Arc::clone(&self.access), clock: self.clock.clone() }
    }

    /// The routes.
    pub(crate) fn router(self) -> Router {
        let gate = self.gate();
        let (router, document) = self.routes();
        let document: Arc<str> = openapi::text(&document).into();
        let served = gate.only(get(async move || ([(CONTENT_TYPE, "application/json")], document.to_string())), READ);
        router
            .route("/v1/openapi.json", served)
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path."))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
            })
            .layer(map_response_with_state(self.metrics.clone(), count))
            .with_state(self)
    }

    /// The routes with their descriptions: whatever is served is described, under its path, its method and its roles.
    pub(crate) fn routes(&self) -> (Router<Self>, OpenApi) {
        use routes::{commands, experiments, health, history, plan, reports, rewards, tokens};
        let gate = self.gate();
        let (router, document) = OpenApiRouter::new()
            .routes(gate.guarded(routes!(plan::get), Rule::roles(&[Role::Proxy, Role::Viewer, Role::Operator])))
            .routes(gate.guarded(routes!(reports::post), Rule::roles(&[Role::Proxy]).counted()))
            .routes(gate.guarded(routes!(experiments::list), READ))
            .routes(gate.guarded(routes!(experiments::apply), CHANGE))
            .routes(gate.guarded(routes!(experiments::get), READ))
            .routes(gate.guarded(routes!(experiments::delete), CHANGE))
            .routes(gate.guarded(routes!(experiments::decisions), READ))
            .routes(gate.guarded(routes!(history::journal), READ))
            .routes(gate.guarded(routes!(history::explanation), READ))
            .routes(gate.guarded(routes!(commands::post), CHANGE))
            .routes(gate.guarded(routes!(rewards::post), Rule::roles(&[Role::Service, Role::Operator]).counted()))
            .routes(gate.guarded(routes!(tokens::list), CHANGE))
            .routes(gate.guarded(routes!(tokens::create), CHANGE))
            .routes(gate.guarded(routes!(tokens::revoke), CHANGE))
            .routes(gate.guarded(routes!(tokens::audit), CHANGE))
            .routes(gate.guarded(routes!(health::metrics), READ))
            .routes(routes!(health::alive))
            .routes(routes!(health::ready))
            .split_for_parts();
        (router, openapi::complete(document))
    }
}

async fn count(State(metrics): State<Metrics>, response: Response) -> Response {
    metrics.answered(response.status().as_u16());
    response
}
