//! Experiments for the cases, from few words.

use weir_core::plan::{FailureRules, Match, Measure, RewardSource, Unit};
use weir_engine::spec::{
    Alpha, Approvals, Bound, Direction, Experiment, Guardrail, Limit, Objective, OnTimeout, Reward, RewardKind,
    Strategy, Version,
};

/// An experiment of so many versions, split evenly, α 0.05, that limits and rewards nothing yet. Version 0 is the baseline.
pub(crate) fn experiment(versions: u32) -> Experiment {
    Experiment {
        name: "calibration".into(),
        service: "calibration".into(),
        matching: Match::default(),
        unit: Unit::Request,
        versions: (1..=versions).map(|n| Version { name: format!("v{n}"), headers: Vec::new() }).collect(),
        baseline: 0,
        strategy: Strategy::Ab { weights: even(versions) },
        objectives: Vec::new(),
        guardrails: Vec::new(),
        reward: None,
        alpha: Alpha { roll_back: 0.05, promotion: 0.05 },
        deadline_ms: 15_000,
        bin_ms: 1_000,
        measure: Measure::End,
        failure: FailureRules::default(),
        override_header: None,
        min_exposures: 100,
        // Never: every case has a horizon of its own.
        max_duration_ms: u64::MAX,
        on_timeout: OnTimeout::default(),
        approvals: Approvals::default(),
        priority: 0,
    }
}

/// Even weights; what does not divide goes to the baseline.
pub(crate) fn even(versions: u32) -> Vec<u32> {
    weir_engine::policy::equal_weights(versions as usize, 0)
}

/// Builders that read like a document.
pub(crate) trait Goals: Sized {
    fn error_objective(self, max: f64) -> Self;
    fn latency_objective(self, quantile: f64, max_us: u64) -> Self;
    fn error_guardrail(self, ratio: f64, margin: f64) -> Self;
    fn latency_guardrail(self, ratio: f64) -> Self;
    fn reward(self, kind: RewardKind) -> Self;
    fn of_users(self) -> Self;
}

impl Goals for Experiment {
    fn error_objective(mut self, max: f64) -> Self {
        self.objectives.push(Objective { name: "errors".into(), limit: Limit::ErrorRate { max } });
        self
    }

    fn latency_objective(mut self, quantile: f64, max_us: u64) -> Self {
        self.objectives.push(Objective { name: "latency".into(), limit: Limit::Latency { quantile, max_us } });
        self
    }

    fn error_guardrail(mut self, ratio: f64, margin: f64) -> Self {
        self.guardrails.push(Guardrail { name: "more-errors".into(), bound: Bound::ErrorRate { ratio, margin } });
        self
    }

    fn latency_guardrail(mut self, ratio: f64) -> Self {
        self.guardrails.push(Guardrail { name: "slower".into(), bound: Bound::Latency { ratio } });
        self
    }

    fn reward(mut self, kind: RewardKind) -> Self {
        let source = RewardSource::ResponseHeader("x-reward".into());
        self.reward = Some(Reward { source, kind, direction: Direction::Maximize });
        self
    }

    fn of_users(mut self) -> Self {
        self.unit = Unit::Header("x-user".into());
        self
    }
}
