//! Answers that are kept for whoever sends the same write again.

use super::AccessError;
use super::store::Store;
use super::token::{Digest, hexadecimal};
use rusqlite::{OptionalExtension, params};

/// How long they are kept, in milliseconds: a day.
const KEEP_MS: u64 = 86_400_000;

/// An answer, and what it was to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptAnswer {
    /// Of the request: its method, target, conditions and body.
    pub(crate) fingerprint: Digest,
    pub(crate) status: u16,
    /// Its content type.
    pub(crate) kind: String,
    /// None of an answer that is shown once, or is long.
    pub(crate) body: Option<Vec<u8>>,
}

impl Store {
    /// What was answered to whoever sent this key, if that is not over.
    pub(super) fn answer(&self, who: &str, key: &str, now: u64) -> Result<Option<KeptAnswer>, AccessError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT fingerprint, status, kind, body FROM access_answer WHERE who = ?1 AND key = ?2 AND at > ?3",
        )?;
        let row = statement.query_row(params![who, key, now.saturating_sub(KEEP_MS)], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        });
        let Some((fingerprint, status, kind, body)) = row.optional()? else { return Ok(None) };
        let fingerprint = super::store::from_hexadecimal(&fingerprint)?;
        Ok(Some(KeptAnswer { fingerprint, status, kind, body }))
    }

    /// Keeps an answer, and forgets old ones: at most `keep` stay, the oldest go first.
    pub(super) fn keep_answer(
        &mut self,
        who: &str,
        key: &str,
        now: u64,
        answer: &KeptAnswer,
        keep: u64,
    ) -> Result<(), AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute(
            "DELETE FROM access_answer WHERE at <= ?1 OR (who = ?2 AND key = ?3)",
            params![now.saturating_sub(KEEP_MS), who, key],
        )?;
        let kept: u64 = transaction.query_row("SELECT COUNT(*) FROM access_answer", [], |row| row.get(0))?;
        if kept >= keep {
            transaction.execute("DELETE FROM access_answer WHERE at <= (SELECT MIN(at) FROM access_answer)", [])?;
        }
        transaction.execute(
            "INSERT INTO access_answer (who, key, at, fingerprint, status, kind, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![who, key, now, hexadecimal(&answer.fingerprint), answer.status, answer.kind, answer.body],
        )?;
        Ok(transaction.commit()?)
    }
}
