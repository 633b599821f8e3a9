//! How often one caller may ask: a bucket of tokens each, refilled as time passes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most callers that are remembered; whoever has not asked for a while is forgotten first.
const MAX_CALLERS: usize = 10_000;
/// How many seconds' worth may be asked for at once.
const BURST: f64 = 2.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Limits {
    /// Requests a second; 0: as many as they like.
    rate: f64,
    /// What each has left, and as of when.
    callers: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Limits {
    /// So many requests a second for each caller; 0: no limit.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.into(), callers: Mutex::default() }
    }

    /// Whether a caller may ask now; if not, for how long to wait.
    pub(super) fn take(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        if self.rate <= 0.0 {
            return Ok(());
        }
        let most = self.rate * BURST;
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS && !callers.contains_key(caller) {
            // Who would have everything again is as good as new.
            let refilled = Duration::from_secs_f64(BURST);
            callers.retain(|_, (_, at)| now.saturating_duration_since(*at) < refilled);
            if callers.len() >= MAX_CALLERS {
                callers.clear();
            }
        }
        let (left, at) = callers.entry(caller.to_owned()).or_insert((most, now));
        *left = (*left + now.saturating_duration_since(*at).as_secs_f64() * self.rate).min(most);
        *at = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - *left) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_waits_and_nobody_else_does() {
        let (limits, begin) = (Limits::new(10), Instant::now());
        assert!((0..20).all(|_| limits.take("ada", begin).is_ok()), "two seconds' worth at once");
        let wait = limits.take("ada", begin).unwrap_err();
        assert!((0.09..0.11).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(limits.take("eve", begin).is_ok());
        assert!(limits.take("ada", begin + wait).is_ok() && limits.take("ada", begin + wait).is_err());
        let later = begin + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| limits.take("ada", later).is_ok()).count(), 20, "no more is saved up");
        assert!((0..1_000).all(|_| Limits::new(0).take("ada", begin).is_ok()));
    }

    #[test]
    fn callers_without_end_take_no_memory_without_end() {
        let (limits, now) = (Limits::new(10), Instant::now());
        for caller in 0..3 * MAX_CALLERS {
            assert!(limits.take(&caller.to_string(), now).is_ok());
        }
        assert!(limits.callers.lock().unwrap().len() <= MAX_CALLERS);
    }
}
