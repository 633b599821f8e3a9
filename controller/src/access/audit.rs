//! The audit log: who wrote what, from where, and how it ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody is about to do. It is on disk before it is done, so that nothing is done that nobody could find out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Unix milliseconds.
    pub(crate) at: u64,
    pub(crate) who: String,
    pub(crate) says: String,
    pub(crate) from: String,
    pub(crate) method: String,
    pub(crate) target: String,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub(crate) struct AuditRow {
    /// Counts up.
    pub(crate) number: u64,
    /// Unix milliseconds.
    pub(crate) at: u64,
    /// The name of the token, or its role; empty where everybody may do everything.
    pub(crate) who: String,
    /// Who the client says it is; nobody has checked that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub(crate) says: String,
    /// The address that the request came from.
    pub(crate) from: String,
    /// `POST`, `DELETE`; `LOCAL`: on the ledger's file, without a server.
    pub(crate) method: String,
    /// What it was for: the path, with its query.
    pub(crate) target: String,
    /// What of it: the command and its reason, the experiments of a document; of a refusal, also why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub(crate) detail: String,
    /// How it was answered: below 400 it was done; from 500 on it is not known whether it was. Absent: it never ended, because the controller
    /// did, or the client went away while it was under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
}
