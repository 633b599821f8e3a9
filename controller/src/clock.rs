//! The wall clock, and what tests put in its place. The only reader of the time of day in the controller.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Time of day and a clock that is never set may drift apart by so many milliseconds between two readings without a step.
const DRIFT_MS: u64 = 1_000;

/// Unix milliseconds that never go back within a process.
#[derive(Clone)]
pub(crate) struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Milliseconds of a clock that nobody sets; `None`: time of day is all there is.
    steady: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    latest: Arc<AtomicU64>,
    /// Time of day, the clock that nobody sets, and the time that was told, as they were compared last.
    compared: Arc<Mutex<Option<(u64, u64, u64)>>>,
}

impl Clock {
    /// The system's clock.
    pub(crate) fn system() -> Self {
        let began = Instant::now();
        let whole = |milliseconds: u128| u64::try_from(milliseconds).unwrap_or(u64::MAX);
        let read = move || whole(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis());
        let steady = move || whole(began.elapsed().as_millis());
        Self { steady: Some(Arc::new(steady)), ..Self::from_fn(read) }
    }

    /// A clock that asks a function.
    pub(crate) fn from_fn(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), steady: None, latest: Arc::default(), compared: Arc::default() }
    }

    /// The same, compared with a clock that nobody sets.
    #[cfg(test)]
    pub(crate) fn beside(self, steady: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { steady: Some(Arc::new(steady)), ..self }
    }

    /// Unix milliseconds.
    pub(crate) fn now(&self) -> u64 {
        let now = (self.read)();
        // An adjusted system clock must not make an epoch begin before the one it follows.
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// By how many milliseconds somebody has set the time of day forward (negative: back) since this was asked last; `None` if nobody
    /// has. Forward only as far as [`Self::now`] jumps with it: what was set back before and is set right again moves nothing.
    pub(crate) fn step(&self) -> Option<i64> {
        let steady = self.steady.as_ref()?;
        let (day, steady, told) = ((self.read)(), steady(), self.now());
        let before = self.compared.lock().unwrap_or_else(PoisonError::into_inner).replace((day, steady, told));
        let (day_before, steady_before, told_before) = before?;
        let passed = steady.saturating_sub(steady_before);
        let expected = day_before.saturating_add(passed);
        let jumped = told.saturating_sub(told_before).saturating_sub(passed);
        let forward = day.saturating_sub(expected).min(jumped);
        let whole = |milliseconds: u64| i64::try_from(milliseconds).unwrap_or(i64::MAX);
        let step = if day < expected { -whole(expected - day) } else { whole(forward) };
        Some(step).filter(|step| step.unsigned_abs() >= DRIFT_MS)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Clock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_time_of_day_is_seen_once_whichever_way_and_time_that_passes_is_none() {
        let times =
            [(100_000, 0), (102_000, 2_000), (92_000, 4_000), (94_500, 6_000), (154_000, 8_000), (156_000, 10_000)];
        let (day, steady) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let clock = {
            let (day, steady) = (Arc::clone(&day), Arc::clone(&steady));
            Clock::from_fn(move || day.load(Ordering::Relaxed)).beside(move || steady.load(Ordering::Relaxed))
        };
        let steps: Vec<Option<i64>> = times
            .into_iter()
            .map(|(now, passed)| {
                day.store(now, Ordering::Relaxed);
                steady.store(passed, Ordering::Relaxed);
                clock.step()
            })
            .collect();
        assert_eq!(
            steps,
            [None, None, Some(-12_000), None, Some(50_000), None],
            "12 s are set right again, less 4.5 that passed"
        );
    }
}
