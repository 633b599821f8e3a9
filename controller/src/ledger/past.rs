//! What services have been through: concluded experiments, the deleted ones too for as long as the ledger has them. Only read.

use super::{Ledger, LedgerError, rows};
use rusqlite::params;
use weir_engine::assess::Assessment;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

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

impl Ledger {
    /// The experiments of a service, and whether each is over, that began last; the latest `limit` that are over, oldest first.
    pub(crate) fn past(&self, service: &str, limit: usize) -> Result<Vec<PastRow>, LedgerError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, spec, state, deleted_at FROM experiment ORDER BY created_at DESC, id DESC")?;
        let mut found = Vec::new();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let spec: Experiment = rows::read("experiment", &id, &row.get::<_, String>(1)?)?;
            if spec.service != service {
                continue;
            }
            let state: State = rows::read("experiment", &id, &row.get::<_, String>(2)?)?;
            if !state.is_concluded() {
                continue;
            }
            let deleted_at = row.get::<_, Option<i64>>(3)?.map(u64::try_from).transpose()?;
            let assessment = self.last_assessment(&id)?;
            found.push(PastRow { id, spec, state, deleted_at, assessment });
            if found.len() >= limit {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// The services that experiments were about, each with how many there were and how many of these are over, by name.
    pub(crate) fn services(&self) -> Result<Vec<(String, u64, u64)>, LedgerError> {
        let mut counted = std::collections::BTreeMap::<String, (u64, u64)>::new();
        let mut statement = self.connection.prepare("SELECT id, spec, state FROM experiment")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let spec: Experiment = rows::read("experiment", &id, &row.get::<_, String>(1)?)?;
            let state: State = rows::read("experiment", &id, &row.get::<_, String>(2)?)?;
            let (all, over) = counted.entry(spec.service).or_default();
            *all += 1;
            *over += u64::from(state.is_concluded());
        }
        Ok(counted.into_iter().map(|(service, (all, over))| (service, all, over)).collect())
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
