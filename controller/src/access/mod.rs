//! Access: the tokens there are, and what was written with them. Knows no HTTP and no experiment.
//!
//! Its tables are in the ledger's file, so that one backup has them, but on a connection and under versions of their own: what is
//! kept here never waits for the keeper's batches, and may be changed while no controller runs (`weir token --ledger`).

mod answers;
mod audit;
mod store;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use answers::KeptAnswer;
pub(crate) use audit::{Attempt, AuditRow};
pub(crate) use token::{NAMES, Role, Secret, TokenRow, digest, hexadecimal, is_name, is_spelt};

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use store::Store;
use token::Digest;
use tokio::sync::watch;

/// How soon a token that was made or revoked without this controller is, or is not, known.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// Most tokens that are not revoked.
const MAX_TOKENS: usize = 1_000;
/// Most entries of the audit log; the oldest go first.
const KEEP_AUDIT: u64 = 100_000;
/// … and of them, most refusals of what a token's role may not do.
const KEEP_REFUSALS: u64 = KEEP_AUDIT / 10;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error(
        "the tables of tokens and of the audit log have version {found}, this program knows {known}: use a newer one"
    )]
    TooNew { found: i64, known: i64 },
    #[error("the ledger's file failed")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the ledger's file holds what this program cannot read: {0}")]
    Unreadable(String),
    #[error("the operating system gave no randomness for a token")]
    Random,
    #[error("there is a token `{0}` already; revoke it first, or choose another name")]
    Exists(String),
    #[error("there are {MAX_TOKENS} tokens, which is the most: revoke some")]
    Full,
    #[error(
        "no token is an operator's, so that with this one alone nobody could change anything, nor make another: make an operator's \
         first (`weir token create NAME --role operator`)"
    )]
    NoOperator,
    #[error(
        "`{0}` is the last operator's token: without it nobody can change anything, nor make another but with `weir token create \
         --ledger FILE`. Make another operator's first, or revoke it all the same (`weir token revoke --force`, `?force=true`)"
    )]
    LastOperator(String),
    #[error("the thread that writes failed")]
    Thread,
}

/// A token as it is looked up.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) role: Role,
    expires_at: Option<u64>,
    /// Unix milliseconds; 0: never.
    used_at: AtomicU64,
}

impl Known {
    /// Whether its time is over.
    pub(crate) fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Remembers that it was used.
    pub(crate) fn used(&self, now: u64) {
        self.used_at.fetch_max(now, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Index {
    known: HashMap<Digest, Arc<Known>>,
    /// Whether there ever was one: whoever has revoked the last has not opened the door to everybody.
    ever: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Access {
    store: Mutex<Store>,
    index: RwLock<Index>,
}

impl Access {
    /// Opens the tables in a ledger's file; makes both if they are not there.
    pub(crate) fn open(ledger: &Path) -> Result<Self, AccessError> {
        let access = Self { store: Mutex::new(Store::open(ledger)?), index: RwLock::default() };
        access.refresh()?;
        Ok(access)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there ever was a token.
    pub(crate) fn had_tokens(&self) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).ever
    }

    /// The token of a digest.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Arc<Known>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).known.get(digest).cloned()
    }

    /// Stores when tokens were used, and learns of those that somebody else made or revoked. Waits for the disk.
    pub(crate) fn refresh(&self) -> Result<(), AccessError> {
        let mut store = self.store();
        let rows = store.tokens()?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.ever |= !rows.is_empty();
        let mut before = std::mem::take(&mut index.known);
        let mut used = Vec::new();
        for (digest, row) in rows {
            if row.revoked_at.is_some() {
                continue;
            }
            let known = before.remove(&digest).unwrap_or_else(|| {
                Arc::new(Known {
                    name: row.name.clone(),
                    role: row.role,
                    expires_at: row.expires_at,
                    used_at: row.last_used_at.unwrap_or_default().into(),
                })
            });
            let at = known.used_at.load(Ordering::Relaxed);
            // Nobody needs it to the second, and every token would be a write of every second.
            if at > row.last_used_at.unwrap_or_default().saturating_add(60_000) {
                used.push((digest, at));
            }
            index.known.insert(digest, known);
        }
        drop(index);
        if used.is_empty() { Ok(()) } else { store.touch(&used) }
    }

    /// Makes a token. Its secret is shown by whoever asked, once: nothing of it is kept but the digest.
    pub(crate) fn create(
        &self,
        name: &str,
        role: Role,
        expires_at: Option<u64>,
        by: &str,
        now: u64,
    ) -> Result<(Secret, TokenRow), AccessError> {
        let secret = Secret::random()?;
        let row = TokenRow::new(name, role, now, by, expires_at);
        self.store().insert_token(&secret.digest(), &row)?;
        self.refresh()?;
        Ok((secret, row))
    }

    /// Every token that is not revoked, expired ones too, by name.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenRow>, AccessError> {
        // Before the index, never while it is held: `refresh` has the two in this order.
        let rows = self.store().tokens()?;
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let used = |digest: &Digest| index.known.get(digest).map(|known| known.used_at.load(Ordering::Relaxed));
        let live = rows.into_iter().filter(|(_, row)| row.revoked_at.is_none());
        let mut rows: Vec<TokenRow> = live
            .map(|(digest, row)| TokenRow {
                last_used_at: row.last_used_at.max(used(&digest).filter(|at| *at > 0)),
                ..row
            })
            .collect();
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(rows)
    }

    /// Refuses a first token that would close the door on everybody.
    ///
    /// # Errors
    /// When nobody could operate the controller with the tokens that are kept and one of this role.
    pub(crate) fn check_operated(&self, role: Role, now: u64) -> Result<(), AccessError> {
        let operated = role == Role::Operator || !self.store().operators(now)?.is_empty();
        if operated { Ok(()) } else { Err(AccessError::NoOperator) }
    }

    /// Revokes the token of a name, at once. Whether there was one.
    ///
    /// # Errors
    /// With `spare`, when it is the last of an operator's that are kept.
    pub(crate) fn revoke(&self, name: &str, by: &str, now: u64, spare: bool) -> Result<bool, AccessError> {
        let revoked = self.store().revoke_token(name, by, now, spare)?;
        self.refresh()?;
        Ok(revoked)
    }

    /// Writes down that somebody is about to write; the entry's number.
    pub(crate) fn attempt(&self, attempt: &Attempt) -> Result<u64, AccessError> {
        self.store().insert_audit(attempt, KEEP_AUDIT)
    }

    /// … and how it ended.
    pub(crate) fn ended(&self, number: u64, status: u16, detail: &str) -> Result<(), AccessError> {
        self.store().end_audit(number, status, detail, KEEP_REFUSALS)
    }

    /// What was answered to whoever sent this key before.
    pub(crate) fn answer(&self, who: &str, key: &str, now: u64) -> Result<Option<KeptAnswer>, AccessError> {
        self.store().answer(who, key, now)
    }

    /// Keeps an answer for whoever sends the same again.
    pub(crate) fn keep_answer(&self, who: &str, key: &str, now: u64, answer: &KeptAnswer) -> Result<(), AccessError> {
        self.store().keep_answer(who, key, now, answer, answers::KEEP)
    }

    /// The audit log before a number, newest first.
    pub(crate) fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, AccessError> {
        self.store().audit(before, limit)
    }
}

/// Does something that waits for the disk, where nobody is served.
pub(crate) async fn apart<T: Send + 'static>(
    access: &Arc<Access>,
    what: impl FnOnce(&Access) -> Result<T, AccessError> + Send + 'static,
) -> Result<T, AccessError> {
    let access = Arc::clone(access);
    tokio::task::spawn_blocking(move || what(&access)).await.map_err(|_| AccessError::Thread)?
}

/// Learns of what others change, until `stop` says so.
pub(crate) async fn keep_fresh(access: Arc<Access>, mut stop: watch::Receiver<bool>) {
    loop {
        let ended = tokio::time::timeout(REFRESH_EVERY, stop.wait_for(|stop| *stop)).await.is_ok();
        if let Err(error) = apart(&access, Access::refresh).await {
            tracing::error!(%error, "the tokens cannot be read again; those that were known stay");
        }
        if ended {
            return;
        }
    }
}
