//! Answers that are kept for whoever sends the same write again.

use super::AccessError;
use super::store::Store;
use super::token::{Digest, hexadecimal};
use rusqlite::{OptionalExtension, Transaction, params};

/// How long they are kept, in milliseconds: a day.
const KEEP_MS: u64 = 86_400_000;

/// How many of them, and how much in all; half of that for one sender.
pub(super) const KEEP: Keep = Keep { answers: 2_000, bytes: 16 << 20 };

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

    /// Keeps an answer, and forgets old ones: at most `keep` of them and as many bytes stay, and of one sender's half of both, so that
    /// none pushes out all that others may ask for again. The oldest go first.
    pub(super) fn keep_answer(
        &mut self,
        who: &str,
        key: &str,
        now: u64,
        answer: &KeptAnswer,
        keep: Keep,
    ) -> Result<(), AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM access_answer WHERE at <= ?1", params![now.saturating_sub(KEEP_MS)])?;
        transaction.execute("DELETE FROM access_answer WHERE who = ?1 AND key = ?2", params![who, key])?;
        let new = answer.body.as_ref().map_or(0, |body| u64::try_from(body.len()).unwrap_or(u64::MAX));
        let room = |keep: Keep| Keep { answers: keep.answers.saturating_sub(1), bytes: keep.bytes.saturating_sub(new) };
        forget(&transaction, Some(who), room(Keep { answers: keep.answers / 2, bytes: keep.bytes / 2 }))?;
        forget(&transaction, None, room(keep))?;
        transaction.execute(
            "INSERT INTO access_answer (who, key, at, fingerprint, status, kind, body, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![who, key, now, hexadecimal(&answer.fingerprint), answer.status, answer.kind, answer.body, new],
        )?;
        Ok(transaction.commit()?)
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) answers: u64,
    pub(super) bytes: u64,
}

/// Forgets the oldest, of a sender or of all, until there are no more than so many, of so many bytes.
fn forget(transaction: &Transaction<'_>, whose: Option<&str>, keep: Keep) -> Result<(), AccessError> {
    let (sums, oldest) = match whose {
        Some(_) => (
            "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM access_answer WHERE who = ?1",
            "SELECT who, key, bytes FROM access_answer WHERE who = ?1 ORDER BY at, key LIMIT 1",
        ),
        None => (
            "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM access_answer",
            "SELECT who, key, bytes FROM access_answer ORDER BY at, who, key LIMIT 1",
        ),
    };
    let given = || rusqlite::params_from_iter(whose);
    let (mut count, mut sum): (u64, u64) =
        transaction.query_row(sums, given(), |row| Ok((row.get(0)?, row.get(1)?)))?;
    while count > keep.answers || sum > keep.bytes {
        let next = transaction.query_row(oldest, given(), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let Some((who, key, length)): Option<(String, String, u64)> = next.optional()? else { break };
        transaction.execute("DELETE FROM access_answer WHERE who = ?1 AND key = ?2", params![who, key])?;
        (count, sum) = (count.saturating_sub(1), sum.saturating_sub(length));
    }
    Ok(())
}
