//! The ledger's tables and how older ones become them. Portable SQL; a migration, once released, never changes.

use super::LedgerError;
use rusqlite::{Connection, params};
use serde_json::Value;

/// One entry per version of the schema, the first being version 1.
const MIGRATIONS: [&str; 5] = [
    "
    CREATE TABLE experiment (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        document TEXT NOT NULL,
        spec TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        deleted_at BIGINT
    );
    CREATE UNIQUE INDEX experiment_name ON experiment (name) WHERE deleted_at IS NULL;

    CREATE TABLE settled (
        experiment TEXT NOT NULL,
        epoch BIGINT NOT NULL,
        version BIGINT NOT NULL,
        counts TEXT NOT NULL,
        PRIMARY KEY (experiment, epoch, version)
    );

    CREATE TABLE worker (
        node TEXT NOT NULL,
        incarnation TEXT NOT NULL,
        last_sequence BIGINT NOT NULL,
        last_seen BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (node, incarnation)
    );

    CREATE TABLE decision (
        experiment TEXT NOT NULL,
        number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        action TEXT NOT NULL,
        decision TEXT NOT NULL,
        assessment TEXT NOT NULL,
        PRIMARY KEY (experiment, number)
    );

    CREATE TABLE setting (
        name TEXT NOT NULL PRIMARY KEY,
        value BIGINT NOT NULL
    );
",
    "
    CREATE TABLE journal (
        experiment TEXT NOT NULL,
        number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        event TEXT NOT NULL,
        action TEXT,
        entry TEXT NOT NULL,
        PRIMARY KEY (experiment, number)
    );
    ALTER TABLE settled ADD COLUMN journaled TEXT;
    ALTER TABLE decision ADD COLUMN ordered TEXT;
",
    "
    CREATE TABLE claim (
        experiment TEXT NOT NULL,
        incarnation TEXT NOT NULL,
        bin BIGINT NOT NULL,
        nonce BIGINT NOT NULL,
        epoch BIGINT NOT NULL,
        version BIGINT NOT NULL,
        bucket BIGINT,
        reward DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (incarnation, experiment, bin, nonce)
    );
",
    "
    -- No table changes: counts may have `repeats` from now on, which no earlier program reads. Counts without had none that were
    -- told apart, so that their rates of rewards stay what they were.
",
    "
    -- What services are listed by and told from, which stood in JSON alone. Filled in by `fill`.
    ALTER TABLE experiment ADD COLUMN service TEXT NOT NULL DEFAULT '';
    ALTER TABLE experiment ADD COLUMN concluded_at BIGINT;
    CREATE INDEX experiment_service ON experiment (service, concluded_at, id);
",
];

/// The version from which on experiments have their service, and when they concluded, in columns.
const WITH_SERVICE: i64 = 5;

/// Whether a ledger that is only read has this program's tables.
pub(super) fn check(connection: &Connection) -> Result<(), LedgerError> {
    let done: i64 = connection.query_row("SELECT COALESCE(MAX(version), 0) FROM migration", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match done {
        _ if done > known => Err(LedgerError::TooNew { found: done, known }),
        _ if done < known => Err(LedgerError::TooOld { found: done, known }),
        _ => Ok(()),
    }
}

/// Brings the tables to this program's version, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), LedgerError> {
    migrate_to(connection, MIGRATIONS.len())
}

/// The same to an earlier version.
pub(super) fn migrate_to(connection: &mut Connection, version: usize) -> Result<(), LedgerError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS migration (version BIGINT NOT NULL PRIMARY KEY)")?;
    let done: i64 = transaction.query_row("SELECT COALESCE(MAX(version), 0) FROM migration", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if done > known {
        return Err(LedgerError::TooNew { found: done, known });
    }
    for (version, sql) in (1_i64..).zip(MIGRATIONS).take(version).filter(|(version, _)| *version > done) {
        transaction.execute_batch(sql)?;
        if version == WITH_SERVICE {
            fill(&transaction)?;
        }
        transaction.execute("INSERT INTO migration (version) VALUES (?1)", params![version])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Gives each experiment its service and when it concluded. As JSON, not as this program's types: these change, and what a deleted
/// experiment of long ago was like must keep no controller from starting.
fn fill(connection: &Connection) -> Result<(), LedgerError> {
    let mut statement = connection.prepare("SELECT id, spec, state FROM experiment")?;
    let mut update = connection.prepare("UPDATE experiment SET service = ?2, concluded_at = ?3 WHERE id = ?1")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let json = |column: usize| -> Result<Value, rusqlite::Error> {
            Ok(serde_json::from_str(&row.get::<_, String>(column)?).unwrap_or_default())
        };
        let (spec, state) = (json(1)?, json(2)?);
        let service = spec.get("service").and_then(Value::as_str).unwrap_or_default().to_owned();
        let phase = state.get("phase").filter(|phase| phase.get("phase").is_some_and(|phase| phase == "concluded"));
        let concluded_at = phase.and_then(|phase| phase.get("at")).and_then(Value::as_i64);
        found.push((id, service, concluded_at));
    }
    // Not while the table is read.
    for (id, service, concluded_at) in found {
        update.execute(params![id, service, concluded_at])?;
    }
    Ok(())
}
