//! `/v1/tokens` and `/v1/audit`: who may come in, and who did what. Translates, decides nothing.

use super::{actor, bad_query};
use crate::access::{self, AuditRow, NAMES, Role, TokenRow, is_name};
use crate::server::auth::Caller;
use crate::server::gate::Note;
use crate::server::openapi::{BadQuery, Conflict, Invalid, Missing, TooLarge};
use crate::server::page::{self, PageQuery};
use crate::server::problem::Problem;
use crate::server::{App, body};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_core::duration::parse_milliseconds;

/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 12;
/// Entries in one answer, unless asked otherwise.
const ENTRIES: u32 = 100;

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = WantedToken)]
pub(crate) struct Wanted {
    /// Whose it is; unique. Letters, digits, `-`, `_`, `.` and `@`; neither a role nor `.` or `..`.
    #[schema(min_length = 1, max_length = 63, pattern = "^[A-Za-z0-9_.@-]+$")]
    name: String,
    role: Role,
    /// How long it is good for, as in `90d`; absent: until it is revoked.
    #[serde(default)]
    expires_in: Option<String>,
}

/// A new token, with what whoever uses it sends: this is the only answer that has it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedToken {
    /// `Authorization: Bearer` this.
    token: String,
    #[serde(flatten)]
    row: TokenRow,
}

/// A token that the controller was started with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfiguredToken {
    /// Absent: it is known by its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    role: Role,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Whoami {
    /// What the audit log calls whoever asks: the name of the token, or its role. Absent where there are no tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What the token may do. Absent where there are no tokens: everybody may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

/// Tokens, by name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenList {
    tokens: Vec<TokenRow>,
    /// Those of `--token`, `--token-file` and the environment: whoever runs the controller takes them away there.
    configured: Vec<ConfiguredToken>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How a token is to be revoked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevokeQuery {
    /// Also the caller's own, and the last of an operator's.
    #[serde(default)]
    force: bool,
}

/// What was revoked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedToken {
    name: String,
}

/// Entries, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditList {
    entries: Vec<AuditRow>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Whose token this is, and what it may do.
#[utoipa::path(
    get, operation_id = "whoami",
    path = "/v1/whoami",
    tag = "access",
    responses((status = 200, description = "Who asks.", body = Whoami)),
    security(("token" = ["proxy", "service", "viewer", "operator"]))
)]
pub(crate) async fn whoami(Extension(caller): Extension<Caller>) -> Json<Whoami> {
    Json(Whoami { name: Some(caller.who).filter(|who| !who.is_empty()), role: caller.role })
}

/// Every token that is not revoked, without secrets.
#[utoipa::path(
    get, operation_id = "listTokens",
    path = "/v1/tokens",
    tag = "access",
    params(PageQuery),
    responses((status = 200, description = "Tokens.", body = TokenList), BadQuery),
    security(("token" = ["operator"]))
)]
pub(crate) async fn list(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<TokenList>, Problem> {
    let Query(PageQuery { limit, cursor }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = page::limit(limit, ENTRIES)?;
    let after = page::place('t', cursor.as_deref())?;
    let mut tokens = access::apart(&app.access, access::Access::tokens).await?;
    tokens.retain(|token| after.as_ref().is_none_or(|after| token.name > *after));
    let next = page::cut(&mut tokens, limit, |last| page::cursor('t', &last.name));
    let configured = app.auth.configured().into_iter();
    let configured = configured.map(|token| ConfiguredToken { name: token.name, role: token.role }).collect();
    Ok(Json(TokenList { tokens, configured, next }))
}

/// Make a token. Its secret is in this answer and in no other: only its SHA-256 is kept.
#[utoipa::path(
    post, operation_id = "createToken",
    path = "/v1/tokens",
    tag = "access",
    request_body(content = Wanted, content_type = "application/json"),
    responses(
        (status = 201, description = "The token, with its secret.", body = CreatedToken),
        BadQuery, Conflict, TooLarge, Invalid
    ),
    security(("token" = ["operator"]))
)]
pub(crate) async fn create(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    let (note, by) = (Note::on(request.extensions()), actor(&request).who);
    let bytes = body::read(request.into_body(), MAX_BODY).await?;
    let Wanted { name, role, expires_in } = body::json(&bytes, "token")?;
    let invalid = |path: &str, problem: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("The token is not valid: its {path} {problem}."))
            .at(path, problem)
    };
    if !is_name(&name) {
        return Err(invalid("name", format!("is none: one {NAMES}")));
    }
    if app.auth.configured().iter().any(|token| token.name.as_ref() == Some(&name)) {
        let detail = format!("The controller was started with a token of {name}: choose another name.");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let now = app.clock.now();
    let expires_at = match expires_in.as_deref().map(parse_milliseconds) {
        None => None,
        Some(Ok(milliseconds @ 1..)) => Some(now.saturating_add(milliseconds).min(i64::MAX.unsigned_abs())),
        Some(Ok(0)) => return Err(invalid("expiresIn", "is nothing".to_owned())),
        Some(Err(error)) => return Err(invalid("expiresIn", error.to_string())),
    };
    note.say(format!("{name}, {}", role.name()));
    let operated = app.auth.has_operator();
    let made = access::apart(&app.access, move |access| {
        if !operated {
            access.check_operated(role, now)?;
        }
        access.create(&name, role, expires_at, &by, now)
    });
    let made = made.await;
    let (secret, row) = made?;
    Ok((StatusCode::CREATED, Json(CreatedToken { token: secret.reveal().to_owned(), row })))
}

/// What token is asked for, for the audit log.
pub(in crate::server) fn asked(_: &Uri, body: &[u8]) -> Option<String> {
    let Wanted { name, role, .. } = serde_json::from_slice(body).ok()?;
    Some(format!("{name}, {}", role.name()))
}

/// Revoke a token: from here on it opens nothing.
///
/// The caller's own, and the last of an operator's, are revoked with `force=true` alone (409).
#[utoipa::path(
    delete, operation_id = "revokeToken",
    path = "/v1/tokens/{name}",
    tag = "access",
    params(("name" = String, Path, description = "The token's name."), RevokeQuery),
    responses((status = 200, description = "It is revoked.", body = RevokedToken), BadQuery, Missing, Conflict, Invalid),
    security(("token" = ["operator"]))
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<RevokeQuery>, QueryRejection>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<RevokedToken>, Problem> {
    let name = name.map(|Path(name)| name);
    let name = name.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "That is not a token's name."))?;
    let Query(RevokeQuery { force }) = query.map_err(|rejection| bad_query(&rejection))?;
    if !force && caller.is_kept(&name) {
        let detail = format!(
            "`{name}` is the token that this request came with, and would be of no more use to you: to revoke it all the same, \
             `weir token revoke --force`, or `?force=true`."
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let spare = !force && !app.auth.has_operator();
    let (by, now, revoked) = (actor(&request).who, app.clock.now(), name.clone());
    let done = access::apart(&app.access, move |access| access.revoke(&revoked, &by, now, spare)).await?;
    if done {
        return Ok(Json(RevokedToken { name }));
    }
    let configured = app.auth.configured().iter().any(|token| token.name.as_ref() == Some(&name));
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        if configured {
            format!("The controller was started with the token of {name}: it is taken away there.")
        } else {
            format!("There is no token `{}`: `weir token list` shows those there are.", name.escape_debug())
        },
    ))
}

/// Who wrote what, from where, when, and how it ended; newest first.
#[utoipa::path(
    get, operation_id = "listAudit",
    path = "/v1/audit",
    tag = "access",
    params(PageQuery),
    responses((status = 200, description = "Entries.", body = AuditList), BadQuery),
    security(("token" = ["operator"]))
)]
pub(crate) async fn audit(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<AuditList>, Problem> {
    let Query(PageQuery { limit, cursor }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = page::limit(limit, ENTRIES)?;
    let before = page::number('a', cursor.as_deref())?;
    let entries = access::apart(&app.access, move |access| access.audit(before, limit)).await?;
    let last =
        entries.last().map(|entry| entry.number).filter(|number| page::is_full(entries.len(), limit) && *number > 1);
    Ok(Json(AuditList { next: last.map(|number| page::cursor('a', &number.to_string())), entries }))
}
