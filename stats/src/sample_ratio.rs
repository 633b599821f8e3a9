//! Evidence that versions do not get the share of exposures that their weights say (card E): a fault of the assignment or of the
//! recording, under which no comparison can be trusted. Looks at no outcome.

use crate::kernel::{is_propensity, shares};
use crate::process::{Claim, Tilted};
use crate::special::log_sum_exp;
use libm::log;

/// The e-process of "exposures follow the propensities".
///
/// **Null hypothesis:** each exposure is version k's with probability w_k, at all times. Per version a mixture over tilts of
/// either sign, averaged over versions; with restarts, so that a fault that begins late is found. Reject at ln E ≥ ln(1/α),
/// valid at every look. Count at **assignment**, not at completion; for sticky units count units as they get their first
/// assignment, never requests.
///
/// Source: Lindon & Malek (2022), sample-ratio mismatch in multinomial counts.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRatio {
    versions: Vec<Tilted>,
}

impl SampleRatio {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(versions: usize) -> Self {
        Self { versions: vec![Tilted::new(Claim::Violated, shares()); versions] }
    }

    /// Adds an epoch, in order of time: per version its propensity and its exposures. A version without a propensity (zero, or
    /// anything outside \[10⁻⁹, 1\]) makes no claim in it.
    pub fn push(&mut self, epoch: &[(f64, u64)]) {
        let total = epoch.iter().fold(0_u64, |total, (_, exposures)| total.saturating_add(*exposures));
        for (process, (propensity, exposures)) in self.versions.iter_mut().zip(epoch) {
            let theta = if is_propensity(*propensity) { *propensity } else { f64::NAN };
            process.push(*exposures, total, theta);
        }
    }

    /// ln of the e-value so far; 0 without versions.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        if self.versions.is_empty() {
            return 0.0;
        }
        let log_es: Vec<f64> = self.versions.iter().map(Tilted::log_e).collect();
        log_sum_exp(&log_es) - log(log_es.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_as_promised_are_no_evidence_and_others_are_found() {
        let mut right = SampleRatio::new(2);
        let mut wrong = SampleRatio::new(2);
        for _ in 0..20 {
            right.push(&[(0.9, 4_500), (0.1, 500)]);
            wrong.push(&[(0.9, 4_580), (0.1, 420)]);
        }
        assert!(right.log_e() < 0.0);
        assert!(wrong.log_e() > log(1000.0), "{}", wrong.log_e());
    }

    #[test]
    fn a_fault_that_begins_late_is_found() {
        let mut process = SampleRatio::new(3);
        for _ in 0..100 {
            process.push(&[(0.5, 2_500), (0.25, 1_250), (0.25, 1_250)]);
        }
        for _ in 0..4 {
            process.push(&[(0.5, 2_700), (0.25, 1_050), (0.25, 1_250)]);
        }
        assert!(process.log_e() > log(1000.0), "{}", process.log_e());
    }

    #[test]
    fn versions_without_weight_and_no_versions_claim_nothing() {
        let mut process = SampleRatio::new(2);
        process.push(&[(1.0, 5_000), (0.0, 0)]);
        process.push(&[(f64::NAN, 7), (-1.0, 9)]);
        assert!(process.log_e().abs() < 1e-12);
        assert_eq!(SampleRatio::new(0).log_e(), 0.0);
    }
}
