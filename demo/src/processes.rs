//! Waiting for what a started process says. Starting and ending it is `weir_tests::process`'s.

use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use weir_tests::process::Process;

/// How long a process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until a process gives a value, and fails with its last output if it ends or takes too long.
pub(crate) async fn until<T>(
    process: &mut Process,
    what: &str,
    mut look: impl AsyncFnMut(&Process) -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look(process).await {
            return Ok(value);
        }
        if let Some(status) = process.ended() {
            bail!("{} ended ({status}) before {what}:\n{}", process.name(), process.tail());
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} in vain until {what}; last output of {}:\n{}", process.name(), process.tail());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The address that a process prints once it listens.
pub(crate) async fn listening(process: &mut Process) -> anyhow::Result<SocketAddr> {
    let what = format!("{} listens", process.name());
    until(process, &what, async |process| weir_tests::controller::listening(&process.output()))
        .await
        .context("cannot start the demo")
}
