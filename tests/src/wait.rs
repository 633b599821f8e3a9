//! Waiting on conditions. Nothing here waits for a fixed time.

use std::time::Duration;
use tokio::time::Instant;

/// How long a test waits for what should take milliseconds; generous, for two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks at a condition until it gives a value.
///
/// # Panics
/// When `timeout` passes first, saying `what` was awaited.
pub async fn eventually<T>(timeout: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {timeout:?} in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Turns a condition into what [`eventually`] asks for.
#[must_use]
pub fn holds(condition: bool) -> Option<()> {
    condition.then_some(())
}
