//! Claims that wait for their bins to settle, and the secret that makes tokens.

use super::{Ledger, LedgerError};
use rusqlite::params;

/// A claim that waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClaimRow {
    pub(crate) experiment: String,
    /// Of the worker that recorded the exposure.
    pub(crate) incarnation: u128,
    pub(crate) bin: u64,
    /// Tells the exposure from others of that worker and bin.
    pub(crate) nonce: u64,
    pub(crate) epoch: u32,
    /// By index in the experiment.
    pub(crate) version: usize,
    /// The unit's, in a sticky experiment.
    pub(crate) bucket: Option<u16>,
    pub(crate) reward: f64,
}

/// A change of what waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ClaimWrite {
    /// One more.
    Put(ClaimRow),
    /// Those of a worker's bins that begin before a time have settled, or never will.
    Settle { incarnation: u128, experiment: String, before: u64 },
}

impl Ledger {
    /// Writes a change.
    pub(crate) fn write_claim(&self, write: &ClaimWrite) -> Result<(), LedgerError> {
        match write {
            ClaimWrite::Put(row) => self.run(
                "INSERT INTO claim (experiment, incarnation, bin, nonce, epoch, version, bucket, reward)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    row.experiment,
                    text(row.incarnation),
                    i64::try_from(row.bin)?,
                    row.nonce.cast_signed(),
                    row.epoch,
                    i64::try_from(row.version)?,
                    row.bucket,
                    row.reward,
                ],
            ),
            ClaimWrite::Settle { incarnation, experiment, before } => self.run(
                "DELETE FROM claim WHERE incarnation = ?1 AND experiment = ?2 AND bin < ?3",
                params![text(*incarnation), experiment, i64::try_from(*before).unwrap_or(i64::MAX)],
            ),
        }
    }

    /// Every claim on an experiment that is not deleted.
    pub(crate) fn claims(&self) -> Result<Vec<ClaimRow>, LedgerError> {
        let mut statement = self.connection.prepare(
            "SELECT experiment, incarnation, bin, nonce, epoch, version, bucket, reward FROM claim
             WHERE experiment IN (SELECT id FROM experiment WHERE deleted_at IS NULL)
             ORDER BY incarnation, experiment, bin, nonce",
        )?;
        let mut rows = statement.query([])?;
        let mut claims = Vec::new();
        while let Some(row) = rows.next()? {
            claims.push(ClaimRow {
                experiment: row.get(0)?,
                incarnation: weir_core::token::number_from_hex(&row.get::<_, String>(1)?).unwrap_or_default(),
                bin: u64::try_from(row.get::<_, i64>(2)?)?,
                nonce: row.get::<_, i64>(3)?.cast_unsigned(),
                epoch: u32::try_from(row.get::<_, i64>(4)?)?,
                version: usize::try_from(row.get::<_, i64>(5)?)?,
                bucket: row.get(6)?,
                reward: row.get(7)?,
            });
        }
        Ok(claims)
    }

    /// The secret of this ledger, made when it is asked for first.
    pub(crate) fn secret(&self) -> Result<[u8; 16], LedgerError> {
        let (high, low) = match (self.setting("secretHigh")?, self.setting("secretLow")?) {
            (Some(high), Some(low)) => (high, low),
            _ => {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).map_err(|_| LedgerError::Random)?;
                // A setting is a number below 2^63.
                let random = u128::from_be_bytes(bytes);
                #[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits, each without its first")]
                let (high, low) = ((random >> 65) as u64, random as u64 >> 1);
                self.put_setting("secretHigh", high)?;
                self.put_setting("secretLow", low)?;
                (high, low)
            }
        };
        Ok((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

fn text(incarnation: u128) -> String {
    format!("{incarnation:032x}")
}
