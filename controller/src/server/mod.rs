//! The HTTP server: which routes there are, who may call them, and what all requests have in common.

pub(crate) mod auth;
mod body;
mod connections;
pub(crate) mod openapi;
#[cfg(test)]
mod openapi_tests;
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
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use problem::Problem;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, Semaphore, watch};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

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
        let (router, document) = self.routes();
        let document: Arc<str> = openapi::text(&document).into();
        let served =
            only(&self.auth, get(async move || ([(CONTENT_TYPE, "application/json")], document.to_string())), READ);
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
        use routes::{commands, experiments, health, history, plan, reports, rewards};
        let auth = &self.auth;
        let (router, document) = OpenApiRouter::new()
            .routes(guarded(auth, routes!(plan::get), &[Role::Proxy, Role::Viewer, Role::Operator]))
            .routes(guarded(auth, routes!(reports::post), &[Role::Proxy]))
            .routes(guarded(auth, routes!(experiments::list), READ))
            .routes(guarded(auth, routes!(experiments::apply), WRITE))
            .routes(guarded(auth, routes!(experiments::get), READ))
            .routes(guarded(auth, routes!(experiments::delete), WRITE))
            .routes(guarded(auth, routes!(experiments::decisions), READ))
            .routes(guarded(auth, routes!(history::journal), READ))
            .routes(guarded(auth, routes!(history::explanation), READ))
            .routes(guarded(auth, routes!(commands::post), WRITE))
            .routes(guarded(auth, routes!(rewards::post), &[Role::Service, Role::Operator]))
            .routes(guarded(auth, routes!(health::metrics), READ))
            .routes(routes!(health::alive))
            .routes(routes!(health::ready))
            .split_for_parts();
        (router, openapi::complete(document))
    }
}

const READ: &[Role] = &[Role::Viewer, Role::Operator];
const WRITE: &[Role] = &[Role::Operator];

/// A route for these roles alone.
fn only(auth: &Arc<Auth>, method: MethodRouter<App>, roles: &'static [Role]) -> MethodRouter<App> {
    method.route_layer(from_fn_with_state(Guard { auth: Arc::clone(auth), roles }, admit))
}

/// The same of a route with its description.
fn guarded(auth: &Arc<Auth>, route: UtoipaMethodRouter<App>, roles: &'static [Role]) -> UtoipaMethodRouter<App> {
    let (schemas, paths, method) = route;
    (schemas, paths, only(auth, method, roles))
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
