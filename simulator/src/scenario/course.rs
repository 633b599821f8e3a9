//! Courses over time: cycles, stretches with a factor, leaks, and what they make of a version at a moment.

use super::{Behaviour, Scenario, Traffic};

/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// Most that a version's own course multiplies anything by.
const MOST_IN_ALL: f64 = 1e12;

/// A cycle: each factor goes from 1 − swing to 1 + swing and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Virtual milliseconds of one cycle.
    pub period_ms: u64,
    /// When it is highest.
    pub peak_ms: u64,
    /// Swing of traffic or errors, 0 to 1.
    pub errors: f64,
    /// Swing of latency.
    pub latency: f64,
    /// Swing of conversion.
    pub conversion: f64,
}

impl Drift {
    /// Where in the cycle it is: −1 to 1.
    #[must_use]
    pub fn phase(&self, now_ms: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "virtual time is short")]
        let turns = (now_ms as f64 - self.peak_ms as f64) / self.period_ms.max(1) as f64;
        libm::cos(std::f64::consts::TAU * turns)
    }
}

/// A stretch of time with a factor, perhaps again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Virtual milliseconds.
    pub from_ms: u64,
    /// Virtual milliseconds.
    pub until_ms: u64,
    /// It comes again after so many; `None`: never.
    pub every_ms: Option<u64>,
    /// The factor.
    pub factor: f64,
}

impl Change {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self, now_ms: u64) -> bool {
        let Some(since) = now_ms.checked_sub(self.from_ms) else { return false };
        let since = self.every_ms.map_or(since, |every| since % every.max(1));
        since < self.until_ms.saturating_sub(self.from_ms)
    }
}

/// A slow leak: a factor that doubles and doubles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leak {
    /// When it begins, in virtual milliseconds.
    pub from_ms: u64,
    /// Virtual milliseconds in which it doubles.
    pub doubles_ms: u64,
    /// Whether errors grow.
    pub errors: bool,
    /// Whether latency grows.
    pub latency: bool,
}

/// Factors on what a version does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// On the error rate.
    pub errors: f64,
    /// On latency.
    pub latency: f64,
    /// On conversion.
    pub conversion: f64,
}

impl Traffic {
    /// Requests per second at a time.
    #[must_use]
    pub fn rate_at(&self, now_ms: u64) -> f64 {
        let cycle = self.cycle.map_or(1.0, |cycle| 1.0 + cycle.errors * cycle.phase(now_ms));
        let bursts: f64 = self.bursts.iter().filter(|burst| burst.is_on(now_ms)).map(|burst| burst.factor).product();
        self.per_second * cycle * bursts
    }

    /// The highest rate before `end_ms`, and how many requests are expected until then.
    #[must_use]
    pub fn most(&self, end_ms: u64) -> (f64, f64) {
        if self.cycle.is_none() && self.bursts.is_empty() {
            return (self.per_second, self.expected(0, end_ms));
        }
        let rates = (0..end_ms).step_by(1_000).map(|now| self.rate_at(now));
        rates.fold((0.0, 0.0), |(most, all), rate| (f64::max(most, rate), all + rate))
    }

    /// Requests that are expected between two times, by seconds.
    #[must_use]
    pub fn expected(&self, from_ms: u64, until_ms: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "virtual time is short")]
        if self.cycle.is_none() && self.bursts.is_empty() {
            return self.per_second * until_ms.saturating_sub(from_ms) as f64 / 1_000.0;
        }
        (from_ms..until_ms).step_by(1_000).map(|now| self.rate_at(now)).sum()
    }
}

impl Behaviour {
    /// What its own cycles, incidents and leak make of it at a time.
    #[must_use]
    pub fn factors_at(&self, now_ms: u64) -> Factors {
        let mut factors = swung(&self.drift, now_ms);
        for incident in self.incidents.iter().filter(|incident| incident.errors.is_on(now_ms)) {
            factors.errors *= incident.errors.factor;
            factors.latency *= incident.latency;
            factors.conversion *= incident.conversion;
        }
        if let Some(leak) = self.leak {
            #[expect(clippy::cast_precision_loss, reason = "virtual time is short")]
            let doublings = now_ms.saturating_sub(leak.from_ms) as f64 / leak.doubles_ms.max(1) as f64;
            let factor = libm::exp2(doublings);
            factors.errors *= if leak.errors { factor } else { 1.0 };
            factors.latency *= if leak.latency { factor } else { 1.0 };
        }
        // A leak doubles without end, and infinitely many times nothing is no number.
        Factors {
            errors: factors.errors.min(MOST_IN_ALL),
            latency: factors.latency.min(MOST_IN_ALL),
            conversion: factors.conversion.min(MOST_IN_ALL),
        }
    }

    /// Whether it is the same at all times.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.drift.is_empty() && self.incidents.is_empty() && self.leak.is_none()
    }
}

impl Scenario {
    /// What a version is at a time: its own course and the drift that all share.
    #[must_use]
    pub fn factors_at(&self, version: usize, now_ms: u64) -> Factors {
        let shared = swung(&self.drift, now_ms);
        let own = self.versions.get(version).map_or(shared, |behaviour| behaviour.factors_at(now_ms));
        Factors {
            errors: own.errors * shared.errors,
            latency: own.latency * shared.latency,
            conversion: own.conversion * shared.conversion,
        }
    }

    /// Whether versions behave the same at all times.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.drift.is_empty() && self.versions.iter().all(Behaviour::is_constant)
    }
}

fn swung(drift: &[Drift], now_ms: u64) -> Factors {
    let mut factors = Factors { errors: 1.0, latency: 1.0, conversion: 1.0 };
    for drift in drift {
        let phase = drift.phase(now_ms);
        factors.errors *= 1.0 + drift.errors * phase;
        factors.latency *= 1.0 + drift.latency * phase;
        factors.conversion *= 1.0 + drift.conversion * phase;
    }
    factors
}
