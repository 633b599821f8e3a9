//! One process per ledger: a lock file beside it.
//!
//! Not a lock on the ledger itself, so that a backup or a reader may open that while the controller runs.

use super::LedgerError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// Held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// For who only reads.
    pub(super) const fn none() -> Self {
        Self { _file: None }
    }

    pub(super) fn take(ledger: &Path) -> Result<Self, LedgerError> {
        let mut name = ledger.as_os_str().to_owned();
        name.push(".lock");
        let failed = |source| LedgerError::Open { path: ledger.to_owned(), source };
        // Never removed: two processes could then hold locks on two files of the same name.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(ledger.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
