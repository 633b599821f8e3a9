//! The comparison with other policies: its scenarios. What `docs/comparison.md` shows of them is made by `table`.

mod table;

pub use table::{summary, tables};

use crate::many::{self, Many};
use crate::policy::Name;
use crate::scenario::{Scenario, read};

/// Requests per second of each part.
pub const RATES: [u32; 3] = [1, 10, 100];

/// One case: what the candidate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// As the table names it.
    pub title: &'static str,
    /// Its behaviour, in a scenario's words.
    pub behaviour: &'static str,
}

/// The cases of each rate.
pub const CASES: [Case; 3] = [
    Case { title: "an identical canary, 0.3% errors", behaviour: "errors: 0.3%" },
    Case { title: "a canary five times worse, 1.5% errors", behaviour: "errors: 1.5%" },
    Case { title: "a canary 1.7 times as slow, 0.3% errors", behaviour: "errors: 0.3%, latency: 136ms" },
];

/// The scenario of a case at a rate; `None` never, as its text is tested.
#[must_use]
pub fn scenario(case: Case, rate: u32) -> Option<Scenario> {
    let text = format!(
        "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: comparison}}
spec:
  service: checkout
  versions: [{{name: v1, baseline: true}}, {{name: v2}}]
  guardrails: [{{name: errors, errorRate: {{ratio: 1, margin: 0.5%}}}}, {{name: slower, latency: {{ratio: 1.5}}}}]
---
apiVersion: weir.dev/v1alpha1
kind: Scenario
traffic: {rate}/s
interval: 10s
duration: 24h
versions:
  v1: {{errors: 0.3%}}
  v2: {{{}}}
",
        case.behaviour
    );
    read(&text).ok()
}

/// A case at a rate, and what came of it by policy: Weir first.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Requests per second.
    pub rate: u32,
    /// What the candidate does.
    pub case: Case,
    /// What Weir promises: false roll-backs and false promotions with at most this probability.
    pub alpha: f64,
    /// By policy, in the order of [`Name::ALL`].
    pub many: Vec<Many>,
}

/// What is compared: by rate, case and policy.
#[must_use]
pub fn measure(runs: u64, progress: &(dyn Fn(&str, u64) + Sync)) -> Vec<Measured> {
    let mut measured = Vec::new();
    for rate in RATES {
        for case in CASES {
            let Some(scenario) = scenario(case, rate) else { continue };
            let all = Name::ALL.iter().map(|policy| {
                let what = format!("{rate}/s, {}, {}", case.title, policy.word());
                many::run(&scenario, *policy, runs, &|done| progress(&what, done))
            });
            let many: Vec<Many> = all.collect();
            measured.push(Measured { rate, case, alpha: scenario.experiment.alpha.roll_back, many });
        }
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_simulated_and_only_the_first_canary_is_good() {
        for (case, bad) in CASES.into_iter().zip([false, true, true]) {
            let scenario = scenario(case, 10).unwrap();
            assert_eq!(crate::truth::bad(&scenario), [false, bad], "{}", case.title);
        }
    }
}
