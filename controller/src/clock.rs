//! The wall clock, and what tests put in its place. The only reader of the time of day in the controller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds that never go back within a process.
#[derive(Clone)]
pub(crate) struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
    latest: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clock.
    pub(crate) fn system() -> Self {
        Self::from_fn(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// A clock that asks a function.
    pub(crate) fn from_fn(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), latest: Arc::default() }
    }

    /// Unix milliseconds.
    pub(crate) fn now(&self) -> u64 {
        let now = (self.read)();
        // An adjusted system clock must not make an epoch begin before the one it follows.
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Clock").field(&self.now()).finish()
    }
}
