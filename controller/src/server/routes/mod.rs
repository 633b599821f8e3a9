//! The routes, a file per resource. They translate between HTTP and the keeper, and decide nothing.

pub(super) mod experiments;
pub(super) mod health;
pub(super) mod plan;
pub(super) mod reports;

use super::problem::Problem;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;

/// A query that cannot be read.
fn bad_query(rejection: &QueryRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("The query cannot be read: {}.", rejection.body_text()))
}
