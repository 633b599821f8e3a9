//! The comparison with other policies: its scenarios, and the table that `docs/comparison.md` shows.

use crate::many::{self, Many, Mean, Share};
use crate::plot::clock;
use crate::policy::Name;
use crate::scenario::{Scenario, read};
use std::fmt::Write;

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

/// What is compared: by rate, case and policy.
#[must_use]
pub fn measure(runs: u64, progress: &(dyn Fn(&str, u64) + Sync)) -> Vec<(u32, Case, Vec<Many>)> {
    let mut measured = Vec::new();
    for rate in RATES {
        for case in CASES {
            let Some(scenario) = scenario(case, rate) else { continue };
            let all = Name::ALL.iter().map(|policy| {
                let what = format!("{rate}/s, {}, {}", case.title, policy.word());
                many::run(&scenario, *policy, runs, &|done| progress(&what, done))
            });
            measured.push((rate, case, all.collect()));
        }
    }
    measured
}

/// The tables, as Markdown.
#[must_use]
pub fn tables(measured: &[(u32, Case, Vec<Many>)]) -> String {
    let mut text = String::new();
    for (rate, case, all) in measured {
        let _ = write!(text, "\n### {rate} requests/s: {}\n\n{HEAD}", case.title);
        for many in all {
            let guarantee = if many.policy == "Weir" { "≤ 5%, at any look" } else { "none stated" };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                many.policy,
                share(many.false_roll_back),
                share(many.bad_promoted),
                guarantee,
                mean(many.met_bad),
                mean(many.met_bad_in_all),
                many.time_ms.p50.map_or_else(|| "later".to_owned(), clock),
                many.time_ms.p90.map_or_else(|| "later".to_owned(), clock),
                mean(many.regret),
            );
        }
    }
    text
}

const HEAD: &str = "| policy | rolled back falsely | bad promoted | guarantee | bad requests until decided | bad requests in 24 h | \
                    decided: half by | 90% by | regret |\n|---|---|---|---|---|---|---|---|---|\n";

fn share(share: Option<Share>) -> String {
    share.map_or_else(
        || "–".to_owned(),
        |share| format!("{:.1}% ({:.1}–{:.1}%)", 100.0 * share.share(), 100.0 * share.low, 100.0 * share.high),
    )
}

fn mean(mean: Mean) -> String {
    if mean.mean == 0.0 { "0".to_owned() } else { format!("{:.0} ± {:.0}", mean.mean, mean.plus_minus) }
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
