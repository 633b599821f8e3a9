//! Tokens: who may do what, and by which secret they are known.

use super::AccessError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use utoipa::ToSchema;

/// Longest name of a token.
const MAX_NAME: usize = 63;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Role {
    /// Fetch the plan, send reports.
    Proxy,
    /// Report rewards.
    Service,
    /// Read everything but tokens and the audit log.
    Viewer,
    /// Read everything, change experiments and tokens.
    Operator,
}

impl Role {
    const ALL: [Self; 4] = [Self::Proxy, Self::Service, Self::Viewer, Self::Operator];

    /// As in `ROLE=TOKEN`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Service => "service",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// The role of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// SHA-256 of a secret.
///
/// That is enough at rest: a secret that is made here has 256 random bits, so nobody finds it by trying, neither from the digest nor with
/// a table, and there is nothing for a salt or a slow hash to protect. It also makes looking up safe: how long that takes depends
/// on the digest of what was sent, which says nothing about how near a guess was.
pub(crate) type Digest = [u8; 32];

/// The digest of a secret.
pub(crate) fn digest(secret: &[u8]) -> Digest {
    Sha256::digest(secret).into()
}

/// What names are like, in words.
pub(crate) const NAMES: &str =
    "has 1 to 63 letters, digits, `-`, `_`, `.` and `@`, and is neither a role nor `.` or `..`";

/// Whether a token may have this name: not one that could be taken for that of a token without a name, which is known by its role, nor one
/// that means something else in a path.
pub(crate) fn is_name(name: &str) -> bool {
    is_spelt(name) && Role::of(&name.to_ascii_lowercase()).is_none() && ![".", ".."].contains(&name)
}

/// Whether a token may ever have had this name.
pub(crate) fn is_spelt(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}

/// What whoever uses a token sends. Shown once.
pub(crate) struct Secret(String);

impl Secret {
    /// 256 random bits, after a word by which people and scanners know what it is.
    pub(crate) fn random() -> Result<Self, AccessError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| AccessError::Random)?;
        Ok(Self(format!("weir_{}", hexadecimal(&bytes))))
    }

    pub(super) fn digest(&self) -> Digest {
        digest(self.0.as_bytes())
    }

    /// To be shown.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub(crate) struct TokenRow {
    /// Whose it is, unique: what is done with it is recorded under this name.
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
    /// Who made it: the name of a token; empty where everybody may do everything.
    pub(crate) created_by: String,
    /// From when it is refused, in Unix milliseconds; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
    /// In Unix milliseconds, to the minute; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<u64>,
    #[serde(skip)]
    pub(crate) revoked_at: Option<u64>,
}

impl TokenRow {
    pub(super) fn new(name: &str, role: Role, now: u64, by: &str, expires_at: Option<u64>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            created_at: now,
            created_by: by.to_owned(),
            expires_at,
            last_used_at: None,
            revoked_at: None,
        }
    }
}
