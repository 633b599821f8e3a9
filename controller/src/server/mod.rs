//! The HTTP server: which routes there are, who may call them, and what all requests have in common.

pub(crate) mod auth;
mod body;
mod connections;
mod problem;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use connections::serve;

use crate::keeper::Handle;
use crate::metrics::Metrics;
use crate::publish::Subscriber;
use crate::reader::Reader;
use auth::{Auth, Role};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use problem::Problem;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, Semaphore, watch};

/// Report bodies read at a time: bounds memory to so many times their largest size.
const REPORTS_AT_A_TIME: usize = 64;

/// What the routes share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    keeper: Handle,
    reader: Reader,
    plan: Subscriber,
    metrics: Metrics,
    auth: Arc<Auth>,
    stop: watch::Receiver<bool>,
    reports: Arc<Semaphore>,
    /// When the ledger was last tried, and whether it could be written.
    probed: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl App {
    /// `stop` becoming true ends long polls.
    pub(crate) fn new(
        keeper: Handle,
        reader: Reader,
        plan: Subscriber,
        metrics: Metrics,
        auth: Auth,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            keeper,
            reader,
            plan,
            metrics,
            auth: Arc::new(auth),
            stop,
            reports: Arc::new(Semaphore::new(REPORTS_AT_A_TIME)),
            probed: Arc::default(),
        }
    }

    /// The routes.
    pub(crate) fn router(self) -> Router {
        use routes::{
            commands, dashboard, distributions, experiments, health, history, plan, rehearsals, reports, rewards,
            services,
        };
        const READ: &[Role] = &[Role::Viewer, Role::Operator];
        const WRITE: &[Role] = &[Role::Operator];
        let only = |method: MethodRouter<Self>, roles: &'static [Role]| {
            let guard = Guard { auth: Arc::clone(&self.auth), roles };
            method.route_layer(from_fn_with_state(guard, admit))
        };
        Router::new()
            .route("/v1/plan", only(get(plan::get), &[Role::Proxy, Role::Viewer, Role::Operator]))
            .route("/v1/reports", only(post(reports::post), &[Role::Proxy]))
            .route("/v1/experiments", only(get(experiments::list), READ).merge(only(post(experiments::apply), WRITE)))
            .route(
                "/v1/experiments/{name}",
                only(get(experiments::get), READ).merge(only(delete(experiments::delete), WRITE)),
            )
            .route("/v1/experiments/{name}/decisions", only(get(experiments::decisions), READ))
            .route("/v1/experiments/{name}/journal", only(get(history::journal), READ))
            .route("/v1/experiments/{name}/explanation", only(get(history::explanation), READ))
            .route("/v1/experiments/{name}/commands", only(post(commands::post), WRITE))
            .route("/v1/experiments/{name}/rewards", only(post(rewards::post), &[Role::Service, Role::Operator]))
            .route("/v1/experiments/{name}/distributions", only(get(distributions::get), READ))
            .route("/v1/services", only(get(services::list), READ))
            .route("/v1/services/{service}/trend", only(get(services::get_trend), READ))
            .route("/v1/rehearsals", only(post(rehearsals::post), WRITE))
            .route("/metrics", only(get(health::metrics), READ))
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .merge(dashboard::routes())
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path."))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
            })
            .layer(map_response_with_state(self.metrics.clone(), count))
            .with_state(self)
    }
}

async fn count(State(metrics): State<Metrics>, response: Response) -> Response {
    metrics.answered(response.status().as_u16());
    response
}

#[derive(Clone)]
struct Guard {
    auth: Arc<Auth>,
    roles: &'static [Role],
}

/// Lets a request through if its token has one of the roles.
async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.auth.admit(request.method(), request.uri(), request.headers(), guard.roles) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => Problem::from(denied).into_response(),
    }
}
