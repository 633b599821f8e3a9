//! Long reads of the ledger: beside the keeper, on connections that only read, and only a few at a time. Whoever looks at a long
//! journal, or has a story told, keeps neither reports nor decisions waiting.

use crate::ledger::{Ledger, LedgerError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads at a time: each may compute for milliseconds and hold some megabytes.
pub(crate) const AT_A_TIME: usize = 2;
/// Whoever has waited so long is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Others read.
    #[error("too many long reads are under way")]
    Busy,
    /// The ledger's.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What was done with it panicked.
    #[error("the engine failed on what was read")]
    Failed,
}

/// Reads a ledger.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    ledger: PathBuf,
    pub(crate) room: Arc<Semaphore>,
}

/// Somebody's turn to read. To be had before anything is fetched for it: what waits holds nothing.
#[derive(Debug)]
pub(crate) struct Turn {
    ledger: PathBuf,
    permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Of the ledger of this file.
    pub(crate) fn new(ledger: PathBuf) -> Self {
        Self { ledger, room: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Result<Turn, ReadError> {
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.room).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(ReadError::Busy)?;
        Ok(Turn { ledger: self.ledger.clone(), permit })
    }
}

impl Turn {
    /// Reads, on a thread that serves no requests. What was committed before is seen.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        what: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let read = tokio::task::spawn_blocking(move || {
            let ledger = Ledger::read_only(&self.ledger)?;
            let read = what(&ledger);
            // Not before the work is done, whether or not anybody still waits for it.
            drop(self.permit);
            read
        });
        Ok(read.await.map_err(|_| ReadError::Failed)??)
    }
}
