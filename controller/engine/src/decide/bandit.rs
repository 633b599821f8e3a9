//! A bandit's next weights, from beliefs: they steer, they decide nothing.

use super::{Look, reasons};
use crate::policy;
use crate::spec::{Rule, Strategy};
use weir_stats::allocate;

/// Weights move when this many exposures have settled in the epoch …
const SHIFT_EXPOSURES: u64 = 200;
/// … or this share of all settled exposures, if that is more.
const SHIFT_PART: u64 = 50;
/// The leader's part in top-two sampling. Source: Russo (2020): one half is within a factor of two of the best choice.
const LEADERS_PART: f64 = 0.5;

/// The next weights (and the rung, which a bandit has not), if it is time for any.
pub(super) fn step(look: &mut Look<'_>) -> Option<(Vec<u32>, usize)> {
    let Strategy::Bandit { rule, floor, max_step, .. } = look.experiment.strategy else { return None };
    let (here, total) = (look.assessment.settled_in_epoch, look.assessment.settled_exposures);
    if here < SHIFT_EXPOSURES.max(total / SHIFT_PART) {
        return None;
    }
    let baseline = look.experiment.baseline;
    let is_in = |version: usize| version == baseline || !look.next.is_out(version);
    let open: Vec<bool> = (0..look.assessment.versions.len()).map(is_in).collect();
    // Who waits for its counts to settle stays at its floor.
    let wanted = |version: usize| is_in(version) && !look.next.is_tripped(version);
    let best: Vec<f64> = look
        .assessment
        .versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            // Where nobody may keep its limits, the baseline is what was there before.
            let nobody = if version.baseline { look.assessment.probability_none_feasible.unwrap_or(0.0) } else { 0.0 };
            if wanted(index) { version.probability_best_and_feasible.unwrap_or(0.0) + nobody } else { 0.0 }
        })
        .collect();
    let known = best.iter().any(|share| *share > 0.0);
    let target: Vec<f64> = match rule {
        Rule::Thompson => best,
        Rule::TopTwo if known => {
            // Without those that may not lead: they would be second to a leader that is certain.
            let places: Vec<usize> = (0..best.len()).filter(|version| wanted(*version)).collect();
            let shares = allocate::top_two(
                &places.iter().filter_map(|at| best.get(*at).copied()).collect::<Vec<_>>(),
                LEADERS_PART,
            );
            (0..best.len())
                .map(|version| {
                    let at = places.iter().position(|place| *place == version);
                    at.and_then(|at| shares.get(at).copied()).unwrap_or(0.0)
                })
                .collect()
        }
        Rule::TopTwo => best,
        Rule::Uniform => (0..best.len()).map(|version| f64::from(u8::from(wanted(version)))).collect(),
    };
    let weights = policy::step_towards(look.next.weights(), &target, &open, floor, max_step, baseline);
    if weights.as_slice() != look.next.weights() {
        // What is proposed already stands, whatever would be by now: whoever is asked sees that alone.
        if look.proposal_stands() {
            look.reasons.extend(reasons::leader(look.experiment, look.assessment, rule));
        } else {
            look.reasons.push(reasons::follows(look.experiment, look.assessment, rule, &weights));
        }
    }
    Some((weights, look.next.rung))
}
