//! The ledger: the durable record of experiments, counts and decisions, in one SQLite file.
//!
//! The only module with SQL. It keeps what it is given and judges nothing; all writes go through one [`Ledger`], owned by the
//! keeper's thread, inside [`Ledger::begin`] and [`Ledger::commit`].

mod claims;
mod journal;
mod lock;
mod past;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use claims::{ClaimRow, ClaimWrite};
pub(crate) use journal::JournalRow;
pub(crate) use past::{PastRow, ServiceRow};
pub(crate) use rows::{
    DecisionRow, ExperimentRow, OpenExperiment, SettledRow, Told, WorkerBody, WorkerRow, action_name,
};

use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use weir_core::report::Counts;
use weir_engine::state::{Phase, State};

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("another `weir serve` is using the ledger {}; stop it, or give this one its own with --ledger", .0.display())]
    InUse(PathBuf),
    #[error("cannot open the ledger {}, whose folder has to be there and open to writing", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error(
        "the ledger has schema version {found}, this program knows {known}: use the program that wrote it, or a newer one"
    )]
    TooNew { found: i64, known: i64 },
    #[error(
        "the ledger has schema version {found}, this program reads {known}: start `weir serve` of this release on it once"
    )]
    TooOld { found: i64, known: i64 },
    #[error("the ledger failed")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the ledger holds what this program cannot read, in table {table}, at {key}")]
    Unreadable { table: &'static str, key: String, source: serde_json::Error },
    #[error("the operating system gave no randomness for a secret")]
    Random,
    #[error("the ledger cannot hold a number")]
    Number(#[from] std::num::TryFromIntError),
    #[error("the ledger cannot write a value as JSON")]
    Json(#[from] serde_json::Error),
}

/// An open ledger; the only one on its file.
#[derive(Debug)]
pub(crate) struct Ledger {
    connection: Connection,
    /// How many more writes succeed; negative: all of them.
    #[cfg(test)]
    pub(crate) fault: std::sync::Arc<std::sync::atomic::AtomicI64>,
    // Held until the connection is closed: fields drop in order.
    _lock: lock::Lock,
}

/// Makes the file, if there is none, so that its owner alone reads it: it holds the secrets of reward tokens. What SQLite puts beside
/// it has the same mode.
fn private(path: &Path) -> Result<(), LedgerError> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
    Ok(())
}

/// When an experiment was over, if it is.
fn concluded_at(state: &State) -> Result<Option<i64>, LedgerError> {
    let Phase::Concluded { at, .. } = state.phase else { return Ok(None) };
    Ok(Some(i64::try_from(at)?))
}

impl Ledger {
    /// Opens a ledger, making or migrating it as needed, and keeps others from opening it.
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        let lock = lock::Lock::take(path)?;
        private(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // An acknowledged report survives a power cut, not just a crash of this process.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::migrate(&mut connection)?;
        Ok(Self {
            connection,
            #[cfg(test)]
            fault: std::sync::Arc::new((-1).into()),
            _lock: lock,
        })
    }

    /// Begins a transaction; nothing is durable before [`Self::commit`].
    pub(crate) fn begin(&self) -> Result<(), LedgerError> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Makes everything since [`Self::begin`] durable.
    pub(crate) fn commit(&self) -> Result<(), LedgerError> {
        self.may_fail()?;
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Fails where a test asks for it.
    #[cfg(test)]
    fn may_fail(&self) -> Result<(), LedgerError> {
        use std::sync::atomic::Ordering::Relaxed;
        match self.fault.load(Relaxed) {
            left if left < 0 => Ok(()),
            0 => Err(rusqlite::Error::ExecuteReturnedResults.into()),
            left => {
                self.fault.store(left - 1, Relaxed);
                Ok(())
            }
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test's own does")]
    const fn may_fail(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Forgets everything since [`Self::begin`], if that was called.
    pub(crate) fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the ledger could not roll back");
        }
    }

    /// Adds an experiment.
    pub(crate) fn insert_experiment(&self, row: &ExperimentRow) -> Result<(), LedgerError> {
        self.run(
            "INSERT INTO experiment (id, name, document, spec, state, created_at, service, concluded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                row.id,
                row.spec.name,
                row.document,
                serde_json::to_string(&row.spec)?,
                serde_json::to_string(&row.state)?,
                i64::try_from(row.created_at)?,
                row.spec.service,
                concluded_at(&row.state)?,
            ],
        )
    }

    /// Replaces an experiment's document and specification.
    pub(crate) fn update_experiment(&self, row: &ExperimentRow) -> Result<(), LedgerError> {
        self.run(
            "UPDATE experiment SET document = ?2, spec = ?3, service = ?4 WHERE id = ?1",
            params![row.id, row.document, serde_json::to_string(&row.spec)?, row.spec.service],
        )?;
        self.update_state(&row.id, &row.state)
    }

    /// Replaces an experiment's state.
    pub(crate) fn update_state(&self, id: &str, state: &State) -> Result<(), LedgerError> {
        self.run(
            "UPDATE experiment SET state = ?2, concluded_at = ?3 WHERE id = ?1",
            params![id, serde_json::to_string(state)?, concluded_at(state)?],
        )
    }

    /// Marks an experiment as deleted. Its counts and decisions stay until [`Self::prune_deleted`].
    pub(crate) fn delete_experiment(&self, id: &str, now: u64) -> Result<(), LedgerError> {
        self.run("UPDATE experiment SET deleted_at = ?2 WHERE id = ?1", params![id, i64::try_from(now)?])
    }

    /// Replaces the settled counts of one (experiment, epoch, version); `journaled` is what the journal has of them, if not all.
    pub(crate) fn put_settled(
        &self,
        id: &str,
        epoch: u32,
        version: usize,
        counts: &Counts,
        journaled: Option<&Counts>,
    ) -> Result<(), LedgerError> {
        self.run(
            "INSERT INTO settled (experiment, epoch, version, counts, journaled) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (experiment, epoch, version) DO UPDATE SET
                 counts = excluded.counts, journaled = excluded.journaled",
            params![
                id,
                epoch,
                i64::try_from(version)?,
                serde_json::to_string(counts)?,
                journaled.map(serde_json::to_string).transpose()?,
            ],
        )
    }

    /// Replaces what is known of a worker.
    pub(crate) fn put_worker(&self, row: &WorkerRow) -> Result<(), LedgerError> {
        self.run(
            "INSERT INTO worker (node, incarnation, last_sequence, last_seen, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (node, incarnation) DO UPDATE SET
                 last_sequence = excluded.last_sequence, last_seen = excluded.last_seen, body = excluded.body",
            params![
                row.node,
                row.incarnation,
                i64::try_from(row.last_sequence)?,
                i64::try_from(row.last_seen)?,
                serde_json::to_string(&row.body)?,
            ],
        )
    }

    /// Forgets a worker.
    pub(crate) fn delete_worker(&self, node: &str, incarnation: &str) -> Result<(), LedgerError> {
        self.run("DELETE FROM worker WHERE node = ?1 AND incarnation = ?2", params![node, incarnation])
    }

    /// Sets a named number.
    pub(crate) fn put_setting(&self, name: &str, value: u64) -> Result<(), LedgerError> {
        self.run(
            "INSERT INTO setting (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, i64::try_from(value)?],
        )
    }

    /// A named number.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<u64>, LedgerError> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM setting WHERE name = ?1")?;
        let mut rows = statement.query(params![name])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(u64::try_from(row.get::<_, i64>(0)?)?))
    }

    /// Adds a decision under the next number of its experiment, and forgets old ones: of those that changed nothing but the
    /// epoch, all beyond the latest `keep`; of the others, all beyond ten times as many.
    pub(crate) fn insert_decision(&self, id: &str, row: &DecisionRow, keep: u32) -> Result<(), LedgerError> {
        self.run(
            "INSERT INTO decision (experiment, number, at, action, decision, assessment, ordered)
             SELECT ?1, COALESCE(MAX(number), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM decision WHERE experiment = ?1",
            params![
                id,
                i64::try_from(row.told.decision.at)?,
                rows::action_name(row.told.decision.action),
                serde_json::to_string(&row.told.decision)?,
                serde_json::to_string(&row.assessment)?,
                row.told.ordered.as_ref().map(serde_json::to_string).transpose()?,
            ],
        )?;
        self.run(
            "DELETE FROM decision WHERE experiment = ?1 AND (
                 (action IN ('hold', 'renew') AND number <= (SELECT MAX(number) FROM decision WHERE experiment = ?1) - ?2)
                 OR number <= (SELECT MAX(number) FROM decision WHERE experiment = ?1) - 10 * ?2)",
            params![id, keep],
        )
    }

    /// The latest decisions of an experiment, newest first.
    pub(crate) fn decisions(&self, id: &str, limit: u32) -> Result<Vec<DecisionRow>, LedgerError> {
        self.decisions_before(id, None, limit)
    }

    /// The latest decisions of an experiment before one of a number, newest first.
    pub(crate) fn decisions_before(
        &self,
        id: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DecisionRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, decision, assessment, ordered FROM decision WHERE experiment = ?1 AND number < ?2
             ORDER BY number DESC LIMIT ?3",
        )?;
        let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
        let mut rows = statement.query(params![id, before, limit])?;
        let mut decisions = Vec::new();
        while let Some(row) = rows.next()? {
            decisions.push(DecisionRow {
                number: u64::try_from(row.get::<_, i64>(0)?)?,
                told: rows::told(id, &row.get::<_, String>(1)?, row.get(3)?)?,
                assessment: rows::read("decision", id, &row.get::<_, String>(2)?)?,
            });
        }
        Ok(decisions)
    }

    /// The last decision of an experiment that moved traffic, or began, paused, resumed or ended it.
    pub(crate) fn last_change(&self, id: &str) -> Result<Option<Told>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT decision, ordered FROM decision WHERE experiment = ?1 AND action NOT IN ('hold', 'renew', 'ask')
             ORDER BY number DESC LIMIT 1",
        )?;
        let mut rows = statement.query(params![id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(rows::told(id, &row.get::<_, String>(0)?, row.get(1)?)?))
    }

    /// Every experiment that is not deleted, oldest first.
    pub(crate) fn experiments(&self) -> Result<Vec<ExperimentRow>, LedgerError> {
        let mut statement = self.connection.prepare(
            "SELECT id, document, spec, state, created_at FROM experiment
             WHERE deleted_at IS NULL ORDER BY created_at, id",
        )?;
        let mut rows = statement.query([])?;
        let mut experiments = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            experiments.push(ExperimentRow {
                document: row.get(1)?,
                spec: rows::read("experiment", &id, &row.get::<_, String>(2)?)?,
                state: rows::read("experiment", &id, &row.get::<_, String>(3)?)?,
                created_at: u64::try_from(row.get::<_, i64>(4)?)?,
                id,
            });
        }
        Ok(experiments)
    }

    /// The ids of all deleted experiments.
    pub(crate) fn deleted(&self) -> Result<Vec<String>, LedgerError> {
        let mut statement = self.connection.prepare("SELECT id FROM experiment WHERE deleted_at IS NOT NULL")?;
        let ids = statement.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The settled counts of every experiment that is not deleted.
    pub(crate) fn settled(&self) -> Result<Vec<SettledRow>, LedgerError> {
        let mut statement = self.connection.prepare(
            "SELECT experiment, epoch, version, counts, journaled FROM settled
             WHERE experiment IN (SELECT id FROM experiment WHERE deleted_at IS NULL)",
        )?;
        let mut rows = statement.query([])?;
        let mut settled = Vec::new();
        while let Some(row) = rows.next()? {
            let experiment: String = row.get(0)?;
            settled.push(SettledRow {
                epoch: u32::try_from(row.get::<_, i64>(1)?)?,
                version: usize::try_from(row.get::<_, i64>(2)?)?,
                counts: rows::read("settled", &experiment, &row.get::<_, String>(3)?)?,
                journaled: row
                    .get::<_, Option<String>>(4)?
                    .map(|text| rows::read("settled", &experiment, &text))
                    .transpose()?,
                experiment,
            });
        }
        Ok(settled)
    }

    /// Every worker.
    pub(crate) fn workers(&self) -> Result<Vec<WorkerRow>, LedgerError> {
        let mut statement =
            self.connection.prepare("SELECT node, incarnation, last_sequence, last_seen, body FROM worker")?;
        let mut rows = statement.query([])?;
        let mut workers = Vec::new();
        while let Some(row) = rows.next()? {
            let incarnation: String = row.get(1)?;
            workers.push(WorkerRow {
                node: row.get(0)?,
                last_sequence: u64::try_from(row.get::<_, i64>(2)?)?,
                last_seen: u64::try_from(row.get::<_, i64>(3)?)?,
                body: rows::read("worker", &incarnation, &row.get::<_, String>(4)?)?,
                incarnation,
            });
        }
        Ok(workers)
    }

    /// Forgets counts, decisions and journals of experiments deleted before a time. Their ids stay known for ever, and so does the last
    /// decision that changed anything, which a service's past is told from.
    pub(crate) fn prune_deleted(&self, before: u64) -> Result<(), LedgerError> {
        for sql in [
            "DELETE FROM settled WHERE experiment IN (SELECT id FROM experiment WHERE deleted_at < ?1)",
            "DELETE FROM decision WHERE experiment IN (SELECT id FROM experiment WHERE deleted_at < ?1)
                 AND number IS NOT (SELECT MAX(number) FROM decision AS last
                     WHERE last.experiment = decision.experiment AND action NOT IN ('hold', 'renew', 'ask'))",
            "DELETE FROM journal WHERE experiment IN (SELECT id FROM experiment WHERE deleted_at < ?1)",
            "DELETE FROM claim WHERE experiment IN (SELECT id FROM experiment WHERE deleted_at < ?1)",
        ] {
            self.run(sql, params![i64::try_from(before)?])?;
        }
        Ok(())
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), LedgerError> {
        self.may_fail()?;
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}
