//! The journal's table: entries are added and read, never changed. And ledgers of others, which are only read.

use super::{Ledger, LedgerError, SettledRow, lock, rows, schema};
use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};
use std::path::Path;
use weir_engine::journal::Entry;
use weir_engine::state::State;

/// An entry and its number: 1, 2, 3, … within the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct JournalRow {
    pub(crate) number: u64,
    #[serde(flatten)]
    #[schema(value_type = crate::server::openapi::wire::Entry)]
    pub(crate) entry: Entry,
}

impl Ledger {
    /// Opens a ledger to read from, beside whoever writes to it; nothing of it changes.
    pub(crate) fn read_only(path: &Path) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        schema::check(&connection)?;
        // Everything that is read is of one time, whoever writes meanwhile.
        connection.execute_batch("BEGIN")?;
        Ok(Self {
            connection,
            #[cfg(test)]
            fault: std::sync::Arc::new((-1).into()),
            _lock: lock::Lock::none(),
        })
    }

    /// Adds an entry under the next number of its experiment, which its caller counts.
    pub(crate) fn insert_entry(&self, id: &str, number: u64, entry: &Entry) -> Result<(), LedgerError> {
        self.run(
            "INSERT INTO journal (experiment, number, at, event, action, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                i64::try_from(number)?,
                i64::try_from(entry.at)?,
                entry.event.name(),
                entry.trace.action.map(rows::action_name),
                serde_json::to_string(entry)?,
            ],
        )
    }

    /// The number of an experiment's last entry; 0 if it has none.
    pub(crate) fn entries(&self, id: &str) -> Result<u64, LedgerError> {
        let mut statement =
            self.connection.prepare_cached("SELECT COALESCE(MAX(number), 0) FROM journal WHERE experiment = ?1")?;
        Ok(u64::try_from(statement.query_row(params![id], |row| row.get::<_, i64>(0))?)?)
    }

    /// The entries after a number, in order: at most `limit`, and no more once they have `bytes` bytes; one at least, if there is one.
    pub(crate) fn journal(
        &self,
        id: &str,
        after: u64,
        limit: u32,
        bytes: usize,
    ) -> Result<Vec<JournalRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, entry FROM journal WHERE experiment = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
        )?;
        let mut rows = statement.query(params![id, i64::try_from(after)?, limit])?;
        let (mut entries, mut length) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let text: String = row.get(1)?;
            length += text.len();
            if length > bytes && !entries.is_empty() {
                break;
            }
            entries.push(read(id, row.get(0)?, &text)?);
        }
        Ok(entries)
    }

    /// The latest entries that are more than a look that held or renewed, in order.
    pub(crate) fn story(&self, id: &str, limit: u32) -> Result<Vec<JournalRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, entry FROM journal
             WHERE experiment = ?1 AND (event <> 'look' OR action NOT IN ('hold', 'renew'))
             ORDER BY number DESC LIMIT ?2",
        )?;
        let mut rows = statement.query(params![id, limit])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(read(id, row.get(0)?, &row.get::<_, String>(1)?)?);
        }
        entries.reverse();
        Ok(entries)
    }

    /// The state of an experiment, and its settled counts as far as its journal has them.
    pub(crate) fn journaled(&self, id: &str) -> Result<(State, Vec<SettledRow>), LedgerError> {
        let state = self
            .connection
            .query_row("SELECT state FROM experiment WHERE id = ?1", params![id], |row| row.get::<_, String>(0))?;
        let mut statement = self.connection.prepare(
            "SELECT epoch, version, COALESCE(journaled, counts) FROM settled WHERE experiment = ?1 ORDER BY epoch, version",
        )?;
        let mut rows = statement.query(params![id])?;
        let mut settled = Vec::new();
        while let Some(row) = rows.next()? {
            settled.push(SettledRow {
                experiment: id.to_owned(),
                epoch: u32::try_from(row.get::<_, i64>(0)?)?,
                version: usize::try_from(row.get::<_, i64>(1)?)?,
                counts: rows::read("settled", id, &row.get::<_, String>(2)?)?,
                journaled: None,
            });
        }
        Ok((rows::read("experiment", id, &state)?, settled))
    }

    /// The id of the experiment of a name, or of an id, deleted ones too; the one created last.
    pub(crate) fn find(&self, name: &str) -> Result<Option<String>, LedgerError> {
        let mut statement = self.connection.prepare(
            "SELECT id FROM experiment WHERE name = ?1 OR id = ?1 ORDER BY deleted_at IS NOT NULL, created_at DESC LIMIT 1",
        )?;
        let mut rows = statement.query(params![name])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }
}

fn read(id: &str, number: i64, text: &str) -> Result<JournalRow, LedgerError> {
    let number = u64::try_from(number)?;
    Ok(JournalRow { number, entry: rows::read("journal", &format!("{id}, {number}"), text)? })
}
