//! Errors of the API: RFC 9457 problem details. What is wrong, where, and what to do; never the inside of the controller.

use super::auth::Denied;
use crate::access::AccessError;
use crate::keeper::KeeperError;
use crate::reader::ReadError;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// The status of the answer.
    status: u16,
    /// What the status means.
    title: String,
    /// What is wrong, and what to do.
    detail: String,
    /// Each thing that is wrong with what was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    problems: Vec<Detail>,
    /// Seconds after which to try again.
    #[serde(skip)]
    retry: Option<u64>,
}

/// What a problem says: an extension of its response, for the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Said(pub(crate) String);

/// One thing that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProblemDetail)]
pub(crate) struct Detail {
    /// From 1; absent where lines mean nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    /// As in `spec.versions[1].name`.
    pub(crate) path: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl Problem {
    /// A problem with a sentence about it.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem").to_owned();
        Self { status: status.as_u16(), title, detail: detail.into(), problems: Vec::new(), retry: None }
    }

    /// A problem at places in what was sent.
    pub(crate) fn with(mut self, problems: impl IntoIterator<Item = Detail>) -> Self {
        self.problems.extend(problems);
        self
    }

    /// A problem at one place.
    pub(crate) fn at(self, path: impl Into<String>, message: impl Into<String>) -> Self {
        self.with([Detail { line: None, column: None, path: path.into(), message: message.into() }])
    }

    /// The same, to be tried again after so many seconds.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { retry: Some(seconds), ..self }
    }

    /// Something that passes: try again.
    pub(crate) fn passing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(1)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Exists(_) => Self::new(StatusCode::CONFLICT, format!("{error}.").replacen('t', "T", 1)),
            AccessError::NoOperator => Self::new(StatusCode::CONFLICT, format!("{error}.").replacen('n', "N", 1)),
            AccessError::LastOperator(_) => Self::new(StatusCode::CONFLICT, format!("{error}.")),
            AccessError::Full => Self::new(StatusCode::CONFLICT, format!("{error}.").replacen('t', "T", 1)),
            error => {
                tracing::error!(%error, "tokens and the audit log cannot be read or written");
                Self::passing("The ledger cannot be written; the controller's log says why.")
            }
        }
    }
}

impl From<KeeperError> for Problem {
    fn from(error: KeeperError) -> Self {
        Self::passing(match error {
            KeeperError::Ledger(_) => "The ledger cannot be written; the controller's log says why.".to_owned(),
            KeeperError::Gone => format!("No answer: {error}."),
        })
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy => Self::passing("Too many long reads are under way: try again."),
            ReadError::Ledger(error) => {
                tracing::error!(%error, "the ledger cannot be read");
                Self::passing("The ledger cannot be read; the controller's log says why.")
            }
            ReadError::Failed => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The engine failed on this experiment; the controller's log says more.",
            ),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing => Self::new(
                StatusCode::UNAUTHORIZED,
                "Send a token that this controller knows: `Authorization: Bearer TOKEN`. An operator makes one with `weir token create`.",
            ),
            Denied::Unknown => Self::new(
                StatusCode::UNAUTHORIZED,
                "This token is none that this controller knows: it may have been revoked, or be another controller's. An operator \
                 makes one with `weir token create`.",
            ),
            Denied::Expired => Self::new(
                StatusCode::UNAUTHORIZED,
                "This token has expired: an operator makes another with `weir token create`.",
            ),
            Denied::Role(has, asked) => {
                let asked: Vec<&str> = asked.iter().map(|role| role.name()).collect();
                let detail = format!(
                    "This token has the role {}, and that asks for the role {}.",
                    has.name(),
                    asked.join(" or ")
                );
                Self::new(StatusCode::FORBIDDEN, detail)
            }
            Denied::Host => Self::new(
                StatusCode::FORBIDDEN,
                "Without tokens this controller answers only who asks for it by address, as `localhost`, or by a name that it was \
                 started with: `weir serve --host NAME`.",
            ),
            Denied::Origin => Self::new(
                StatusCode::FORBIDDEN,
                "A web page of another origin may not do that. If it is the dashboard, behind a proxy, give its name, `weir serve --host NAME`, \
                 or have tokens.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(Said(self.detail));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
