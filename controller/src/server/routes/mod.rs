//! The routes, a file per resource. They translate between HTTP and the keeper, and decide nothing.

pub(super) mod commands;
pub(super) mod dashboard;
pub(super) mod distributions;
pub(super) mod document;
pub(super) mod events;
pub(super) mod experiments;
pub(super) mod health;
pub(super) mod history;
pub(super) mod plan;
pub(super) mod rehearsals;
pub(super) mod reports;
pub(super) mod rewards;
pub(super) mod services;
pub(super) mod tokens;

use super::auth::Caller;
use super::connections::Peer;
use super::problem::Problem;
use super::seats::network;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use weir_engine::journal::Actor;

/// Longest text that a client may say who it is with.
const MAX_SAYS: usize = 200;
/// Header by which a client says who it is. Nobody checks it.
const ACTOR: &str = "weir-actor";

/// Who asks: by its token, by what it says, and from where.
pub(super) fn actor(request: &Request) -> Actor {
    let extensions = request.extensions();
    let says = request.headers().get(ACTOR).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Actor {
        who: extensions.get::<Caller>().map(|caller| caller.who.clone()).unwrap_or_default(),
        says: says.chars().take(MAX_SAYS).collect(),
        from: extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default(),
    }
}

/// As whose a request is counted: its token's, or its network's where there are none.
pub(super) fn counted_as(request: &Request) -> String {
    let key = request.extensions().get::<Caller>().map(|caller| caller.key.clone()).unwrap_or_default();
    if key.is_empty() { network_of(request) } else { key }
}

/// The network that a request comes from. Not its address: of IPv6 whoever has one has as many as they like.
pub(super) fn network_of(request: &Request) -> String {
    request.extensions().get::<Peer>().map(|peer| network(peer.0).to_string()).unwrap_or_default()
}

/// An experiment's name from a path.
fn named(name: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    name.map(|Path(name)| name).map_err(|_| Problem::new(StatusCode::NOT_FOUND, "That is not an experiment's name."))
}

fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("There is no experiment `{}`.", name.escape_debug()))
}

/// A query that cannot be read.
fn bad_query(rejection: &QueryRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("The query cannot be read: {}.", rejection.body_text()))
}
