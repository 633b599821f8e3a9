//! The tables of [`super::Access`], in SQL. Portable, as the ledger's; a migration, once released, never changes.

use super::audit::{Attempt, AuditRow};
use super::token::{Digest, Role, TokenRow, hexadecimal};
use super::{AccessError, MAX_TOKENS};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::path::Path;
use std::time::Duration;

/// One entry per version, the first being version 1.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE access_token (
        digest TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        expires_at BIGINT,
        last_used_at BIGINT,
        revoked_at BIGINT,
        revoked_by TEXT
    );
    CREATE UNIQUE INDEX access_token_name ON access_token (name) WHERE revoked_at IS NULL;

    CREATE TABLE access_audit (
        number BIGINT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        who TEXT NOT NULL,
        says TEXT NOT NULL,
        address TEXT NOT NULL,
        method TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL,
        status BIGINT
    );

    CREATE TABLE access_answer (
        who TEXT NOT NULL,
        key TEXT NOT NULL,
        at BIGINT NOT NULL,
        fingerprint TEXT NOT NULL,
        status BIGINT NOT NULL,
        kind TEXT NOT NULL,
        body BLOB,
        PRIMARY KEY (who, key)
    );
",
    "
    -- How much there is, and what is oldest, without a look at any body.
    ALTER TABLE access_answer ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
    UPDATE access_answer SET bytes = COALESCE(LENGTH(body), 0);
    CREATE INDEX access_answer_at ON access_answer (at, who, key, bytes);
",
    "
    -- The same of one sender's, and which entries are refusals.
    CREATE INDEX access_answer_who ON access_answer (who, at, key, bytes);
    CREATE INDEX access_audit_refused ON access_audit (number) WHERE status = 403;
",
];

/// What whoever may not do something is answered, as it stands in the index of refusals.
const REFUSED: u16 = 403;

/// An open file.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
}

impl Store {
    pub(super) fn open(ledger: &Path) -> Result<Self, AccessError> {
        let mut connection = Connection::open(ledger)?;
        // The keeper's transactions and ours wait for each other: each is short.
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        migrate(&mut connection)?;
        Ok(Self { connection })
    }

    /// Every token there ever was.
    pub(super) fn tokens(&self) -> Result<Vec<(Digest, TokenRow)>, AccessError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT digest, name, role, created_at, created_by, expires_at, last_used_at, revoked_at FROM access_token",
        )?;
        let mut rows = statement.query([])?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            let (digest, role): (String, String) = (row.get(0)?, row.get(2)?);
            let row = TokenRow {
                name: row.get(1)?,
                role: Role::of(&role).ok_or_else(|| AccessError::Unreadable(format!("the role `{role}`")))?,
                created_at: row.get(3)?,
                created_by: row.get(4)?,
                expires_at: row.get(5)?,
                last_used_at: row.get(6)?,
                revoked_at: row.get(7)?,
            };
            tokens.push((from_hexadecimal(&digest)?, row));
        }
        Ok(tokens)
    }

    pub(super) fn insert_token(&mut self, digest: &Digest, row: &TokenRow) -> Result<(), AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let name = "SELECT name FROM access_token WHERE name = ?1 AND revoked_at IS NULL";
        if transaction.query_row(name, params![row.name], |_| Ok(())).optional()?.is_some() {
            return Err(AccessError::Exists(row.name.clone()));
        }
        let live: u64 =
            transaction
                .query_row("SELECT COUNT(*) FROM access_token WHERE revoked_at IS NULL", [], |row| row.get(0))?;
        if usize::try_from(live).unwrap_or(usize::MAX) >= MAX_TOKENS {
            return Err(AccessError::Full);
        }
        transaction.execute(
            "INSERT INTO access_token (digest, name, role, created_at, created_by, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![hexadecimal(digest), row.name, row.role.name(), row.created_at, row.created_by, row.expires_at],
        )?;
        Ok(transaction.commit()?)
    }

    /// Names of the tokens by which somebody is an operator now.
    pub(super) fn operators(&self, now: u64) -> Result<Vec<String>, AccessError> {
        operators(&self.connection, now)
    }

    /// Whether there was one to revoke. What is revoked stays: that there ever was a token closes the door for good. Of those revoked
    /// only the latest thousand are kept. With `spare` the last operator's is refused, in the same transaction: two who revoke each
    /// other's at once do not both succeed.
    pub(super) fn revoke_token(&mut self, name: &str, by: &str, now: u64, spare: bool) -> Result<bool, AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if spare && operators(&transaction, now)? == [name] {
            return Err(AccessError::LastOperator(name.to_owned()));
        }
        let revoked = transaction.execute(
            "UPDATE access_token SET revoked_at = ?2, revoked_by = ?3 WHERE name = ?1 AND revoked_at IS NULL",
            params![name, now, by],
        )?;
        transaction.execute(
            "DELETE FROM access_token WHERE revoked_at IS NOT NULL AND digest NOT IN (
                 SELECT digest FROM access_token WHERE revoked_at IS NOT NULL ORDER BY revoked_at DESC LIMIT 1000)",
            [],
        )?;
        transaction.commit()?;
        Ok(revoked > 0)
    }

    /// When tokens were last used.
    pub(super) fn touch(&mut self, used: &[(Digest, u64)]) -> Result<(), AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (digest, at) in used {
            transaction.execute(
                "UPDATE access_token SET last_used_at = ?2 WHERE digest = ?1",
                params![hexadecimal(digest), at],
            )?;
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn insert_audit(&mut self, attempt: &Attempt, keep: u64) -> Result<u64, AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let last: u64 =
            transaction.query_row("SELECT COALESCE(MAX(number), 0) FROM access_audit", [], |row| row.get(0))?;
        let number = last.saturating_add(1);
        transaction.execute(
            "INSERT INTO access_audit (number, at, who, says, address, method, target, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '')",
            params![number, attempt.at, attempt.who, attempt.says, attempt.from, attempt.method, attempt.target],
        )?;
        // Refusals leave gaps, so that numbers alone do not say how many there are; only where they might be too many is it counted.
        let first: u64 = transaction.query_row("SELECT MIN(number) FROM access_audit", [], |row| row.get(0))?;
        if number.saturating_sub(first) >= keep {
            transaction.execute(
                "DELETE FROM access_audit WHERE number <=
                     (SELECT number FROM access_audit ORDER BY number DESC LIMIT 1 OFFSET ?1)",
                params![keep],
            )?;
        }
        transaction.commit()?;
        Ok(number)
    }

    /// How an entry ended. Of refusals no more than `refusals` stay, the oldest go first: whoever may do nothing cannot push out what
    /// others did.
    pub(super) fn end_audit(
        &mut self,
        number: u64,
        status: u16,
        detail: &str,
        refusals: u64,
    ) -> Result<(), AccessError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute(
            "UPDATE access_audit SET status = ?2, detail = ?3 WHERE number = ?1",
            params![number, status, detail],
        )?;
        if status == REFUSED {
            transaction.execute(
                "DELETE FROM access_audit WHERE status = 403 AND number <=
                     (SELECT number FROM access_audit WHERE status = 403 ORDER BY number DESC LIMIT 1 OFFSET ?1)",
                params![refusals],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// The entries before a number, newest first.
    pub(super) fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, AccessError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, at, who, says, address, method, target, detail, status FROM access_audit
             WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
        )?;
        let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
        let read = |row: &Row<'_>| {
            Ok(AuditRow {
                number: row.get(0)?,
                at: row.get(1)?,
                who: row.get(2)?,
                says: row.get(3)?,
                from: row.get(4)?,
                method: row.get(5)?,
                target: row.get(6)?,
                detail: row.get(7)?,
                status: row.get(8)?,
            })
        };
        let rows = statement.query_map(params![before, limit], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn operators(connection: &Connection, now: u64) -> Result<Vec<String>, AccessError> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM access_token
         WHERE role = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
    )?;
    let names = statement.query_map(params![Role::Operator.name(), now], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn migrate(connection: &mut Connection) -> Result<(), AccessError> {
    migrate_to(connection, MIGRATIONS.len())
}

/// The same to an earlier version.
pub(super) fn migrate_to(connection: &mut Connection, to: usize) -> Result<(), AccessError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS access_migration (version BIGINT NOT NULL PRIMARY KEY)")?;
    let done: i64 =
        transaction.query_row("SELECT COALESCE(MAX(version), 0) FROM access_migration", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if done > known {
        return Err(AccessError::TooNew { found: done, known });
    }
    for (version, sql) in (1_i64..).zip(MIGRATIONS).take(to).filter(|(version, _)| *version > done) {
        transaction.execute_batch(sql)?;
        transaction.execute("INSERT INTO access_migration (version) VALUES (?1)", params![version])?;
    }
    Ok(transaction.commit()?)
}

pub(super) fn from_hexadecimal(text: &str) -> Result<Digest, AccessError> {
    let unreadable = || AccessError::Unreadable("a digest".to_owned());
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return Err(unreadable());
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).ok_or_else(unreadable)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| unreadable())?;
    }
    Ok(digest)
}
