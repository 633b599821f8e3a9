//! `/v1/openapi.json`: what there is to ask for.

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The document as text, which the router has once all routes are in it.
#[derive(Debug, Clone)]
pub(crate) struct Document(pub(crate) Arc<str>);

/// This document.
#[utoipa::path(
    get, operation_id = "getDocument",
    path = "/v1/openapi.json",
    tag = "operation",
    responses((status = 200, description = "This document, OpenAPI 3.1.", body = serde_json::Value)),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn get(Extension(Document(text)): Extension<Document>) -> Response {
    ([(CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}
