//! What services have been through: concluded experiments, the deleted ones too for as long as the ledger has them. Only read.

use super::{Ledger, LedgerError, rows};
use rusqlite::params;
use weir_engine::assess::Assessment;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

/// Reads no more than it finds: all that it asks for stands in an index.
pub(super) const PAST: &str = "SELECT id, spec, state, deleted_at FROM experiment
     WHERE service = ?1 AND concluded_at IS NOT NULL AND (concluded_at, id) < (?2, ?3)
     ORDER BY concluded_at DESC, id DESC LIMIT ?4";
/// The same.
pub(super) const SERVICES: &str = "SELECT service, COUNT(*), COUNT(concluded_at) FROM experiment WHERE service > ?1
     GROUP BY service ORDER BY service LIMIT ?2";

/// An experiment that is over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PastRow {
    pub(crate) id: String,
    pub(crate) spec: Experiment,
    pub(crate) state: State,
    /// Unix milliseconds.
    pub(crate) deleted_at: Option<u64>,
    /// What its last decision was made on.
    pub(crate) assessment: Option<Assessment>,
}

/// A service that experiments were about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceRow {
    pub(crate) service: String,
    /// Experiments, the deleted too.
    pub(crate) experiments: u64,
    /// Of these, over.
    pub(crate) concluded: u64,
}

impl Ledger {
    /// The experiments of a service that are over, in the order in which they ended: the latest `limit` of them, or of those before one,
    /// by when it ended and its id.
    pub(crate) fn past(
        &self,
        service: &str,
        before: Option<&(u64, String)>,
        limit: u32,
    ) -> Result<Vec<PastRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(PAST)?;
        let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (i64::try_from(*at).unwrap_or(i64::MAX), id.as_str()));
        let mut found = Vec::new();
        let mut rows = statement.query(params![service, at, id, limit])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let spec: Experiment = rows::read("experiment", &id, &row.get::<_, String>(1)?)?;
            let state: State = rows::read("experiment", &id, &row.get::<_, String>(2)?)?;
            let deleted_at = row.get::<_, Option<i64>>(3)?.map(u64::try_from).transpose()?;
            let assessment = self.last_assessment(&id)?;
            found.push(PastRow { id, spec, state, deleted_at, assessment });
        }
        found.reverse();
        Ok(found)
    }

    /// The services that experiments were about, by name: `limit` of them after one.
    pub(crate) fn services(&self, after: Option<&str>, limit: u32) -> Result<Vec<ServiceRow>, LedgerError> {
        // No service has an empty name.
        let mut statement = self.connection.prepare_cached(SERVICES)?;
        let rows = statement.query_map(params![after.unwrap_or_default(), limit], |row| {
            Ok(ServiceRow { service: row.get(0)?, experiments: row.get(1)?, concluded: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn last_assessment(&self, id: &str) -> Result<Option<Assessment>, LedgerError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT assessment FROM decision WHERE experiment = ?1 ORDER BY number DESC LIMIT 1")?;
        let mut rows = statement.query(params![id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        rows::read("decision", id, &row.get::<_, String>(0)?).map(Some)
    }
}
