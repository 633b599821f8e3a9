//! Verdicts: what each gate's evidence amounts to, in three values, and in a sentence. Owns the budgets.

use crate::cells::Tally;
use crate::evidence::{Method, Said, Uncovered};
use crate::spec::{Bound, Experiment, Limit};
use crate::state::{State, Verdict};
use crate::words::{self, e_value, percent};
use serde::{Deserialize, Serialize};
use weir_stats::best;

/// Error probability of the warning that exposures do not follow the weights: rare enough to be believed.
pub(crate) const ALPHA_SAMPLE_RATIO: f64 = 0.001;

/// Evidence on one objective or guardrail of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The objective's or guardrail's name.
    pub name: String,
    /// Which of the two.
    pub kind: GateKind,
    /// What it limits, in words.
    pub limit: String,
    /// The method card that judges it: `A`, `B`, `C`, `D` or `F`; none where no evidence is valid.
    pub card: Option<String>,
    /// Whether evidence covers it: by the experiment's set-up, never by its outcomes.
    pub covered: bool,
    /// What the evidence says; latched.
    pub verdict: Verdict,
    /// Natural log of the e-value against "the limit is kept"; of a guardrail the least number there is while exposures do not follow
    /// the weights, for nothing can be compared then.
    pub log_e_violated: f64,
    /// It fires at this.
    pub violated_at: f64,
    /// Anytime-valid p-value of the same, min(1, 1/E).
    pub p_violated: f64,
    /// Natural log of the e-value against "the limit is broken"; likewise.
    pub log_e_met: f64,
    /// It fires at this.
    pub met_at: f64,
    /// Anytime-valid p-value of the same.
    pub p_met: f64,
    /// A sentence for people.
    pub why: String,
}

/// What a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateKind {
    /// An absolute limit.
    Objective,
    /// A limit relative to the baseline.
    Guardrail,
}

/// Natural log of the e-value at which a claim tested at level α fires: Ville's inequality.
pub(crate) fn fires_at(alpha: f64) -> f64 {
    (1.0 / alpha).ln()
}

/// Natural log of the e-value at which a version is rolled back: at α_R.
pub(crate) fn roll_back_at(experiment: &Experiment) -> f64 {
    fires_at(experiment.alpha.roll_back)
}

/// Natural log of the mean e-value at which a version is beaten (card J): at α_P.
pub(crate) fn beaten_at(experiment: &Experiment) -> f64 {
    fires_at(experiment.alpha.promotion)
}

/// ln of the mean of e-values, each given by its natural log; of none: 0 (no claim).
pub(crate) fn log_mean(log_es: impl Iterator<Item = f64>) -> f64 {
    let log_es: Vec<f64> = log_es.collect();
    if log_es.is_empty() { 0.0 } else { best::log_mean_e(&log_es, log_es.len() + 1) }
}

/// The gates of a version in their order: objectives, then guardrails. Where exposures are not `comparable`, because they do not follow
/// the weights, a guardrail has no evidence, and what it had counts for nothing in the version's budget: only what fired before stays.
pub(crate) fn of(
    experiment: &Experiment,
    state: &State,
    version: usize,
    said: &[Said],
    settled: &Tally,
    comparable: bool,
) -> Vec<Gate> {
    let covered = said.iter().filter(|said| said.covered.is_ok()).count();
    #[expect(clippy::cast_precision_loss, reason = "at most 16 gates and 16 versions")]
    let (gates, candidates) = (covered.max(1) as f64, experiment.candidates().max(1) as f64);
    let violated_at = (gates / experiment.alpha.roll_back).ln();
    let met_at = (candidates / experiment.alpha.promotion).ln();
    let described = experiment
        .objectives
        .iter()
        .map(|objective| (objective.name.as_str(), GateKind::Objective, objective_in_words(&objective.limit)))
        .chain(experiment.guardrails.iter().map(|guardrail| {
            (guardrail.name.as_str(), GateKind::Guardrail, guardrail_in_words(experiment, &guardrail.bound))
        }));
    said.iter()
        .zip(described)
        .enumerate()
        .map(|(index, (said, (name, kind, limit)))| {
            let latched = state.latched.get(index).and_then(|row| row.get(version)).copied().unwrap_or_default();
            let void = !comparable && kind == GateKind::Guardrail;
            let (log_e_violated, log_e_met) =
                if void { (f64::MIN, f64::MIN) } else { (said.log_e_violated, said.log_e_met) };
            let now = if log_e_violated >= violated_at {
                Verdict::Violated
            } else if log_e_met >= met_at {
                Verdict::Met
            } else {
                Verdict::NotEnoughEvidence
            };
            let mut gate = Gate {
                name: name.to_owned(),
                kind,
                limit,
                card: said.covered.ok().map(|method| card(method).to_owned()),
                covered: said.covered.is_ok(),
                // `Violated` is the greatest: it overrides, and what fired stays fired.
                verdict: now.max(latched),
                log_e_violated,
                violated_at,
                p_violated: p_value(log_e_violated),
                log_e_met,
                met_at,
                p_met: p_value(log_e_met),
                why: String::new(),
            };
            gate.why = why(&gate, said.covered.err(), settled, void);
            gate
        })
        .collect()
}

/// min(1, 1/E): valid at every look.
pub(crate) fn p_value(log_e: f64) -> f64 {
    (-log_e).exp().min(1.0)
}

fn card(method: Method) -> &'static str {
    match method {
        Method::Absolute => "D",
        Method::Ratio => "A",
        Method::Margin => "B",
        Method::Dominance => "C",
        Method::FirstEvents => "F",
    }
}

/// An objective's limit, in words.
#[must_use]
pub fn objective_in_words(limit: &Limit) -> String {
    match limit {
        Limit::ErrorRate { max } => format!("error rate at most {}", percent(*max)),
        Limit::Latency { quantile, max_us } => {
            format!("latency at most {} for {} of exposures", words::duration_us(*max_us), percent(*quantile))
        }
    }
}

/// A guardrail's bound, in words.
#[must_use]
pub fn guardrail_in_words(experiment: &Experiment, bound: &Bound) -> String {
    let baseline = experiment.version_name(experiment.baseline);
    match bound {
        Bound::ErrorRate { ratio, margin } if *margin <= 0.0 && !experiment.requests_are_units() => {
            format!("share of users with an error at most {} times that of {baseline}", words::number(*ratio))
        }
        Bound::Latency { ratio } if !experiment.requests_are_units() => {
            format!(
                "share of users with an exposure {} times as slow at most that of {baseline}",
                words::number(*ratio)
            )
        }
        Bound::ErrorRate { ratio, margin } => {
            let times = if *ratio > 1.0 { format!("{} times ", words::number(*ratio)) } else { String::new() };
            let room = if *margin > 0.0 { format!(" plus {} points", words::points(*margin)) } else { String::new() };
            format!("error rate at most {times}that of {baseline}{room}")
        }
        Bound::Latency { ratio } => format!("latency at most {} times that of {baseline}", words::number(*ratio)),
    }
}

fn why(gate: &Gate, uncovered: Option<Uncovered>, settled: &Tally, void: bool) -> String {
    let limit = &gate.limit;
    if let Some(uncovered) = uncovered {
        let reason = match uncovered {
            Uncovered::Objective => {
                "users are the unit, and requests of one user are alike: an absolute limit is shown as belief only"
            }
            Uncovered::Margin => {
                "users are the unit, and first bad events per user tell a ratio, not a margin: use a ratio alone"
            }
            Uncovered::SecondLatency => {
                "users are the unit, and their slow exposures are counted at one latency only: that of the first latency \
                 guardrail"
            }
        };
        return format!("Not covered by evidence ({limit}): {reason}.");
    }
    if settled.assigned == 0 {
        return format!("Nothing has settled yet ({limit}).");
    }
    let (violated, met) = (e_value(gate.log_e_violated), e_value(gate.log_e_met));
    match gate.verdict {
        Verdict::Violated if gate.log_e_violated >= gate.violated_at => {
            format!("Violated ({limit}): e-value {violated}, {} needed.", e_value(gate.violated_at))
        }
        Verdict::Violated => format!("Violated ({limit}): the evidence was there before, and a verdict stays."),
        Verdict::Met if gate.log_e_met >= gate.met_at => {
            format!("Met ({limit}): e-value {met}, {} needed.", e_value(gate.met_at))
        }
        Verdict::Met => format!("Met ({limit}): the evidence was there before, and a verdict stays."),
        Verdict::NotEnoughEvidence if void => {
            format!("Nothing can be compared ({limit}): exposures do not follow the weights.")
        }
        Verdict::NotEnoughEvidence => format!(
            "Not enough evidence ({limit}): e-value {met} of {} that it is met, {violated} of {} that it is violated.",
            e_value(gate.met_at),
            e_value(gate.violated_at)
        ),
    }
}
