//! The third layer: how much traffic each version gets next. Arithmetic on weights; evidence has already spoken.

use crate::spec::{Experiment, TOTAL_WEIGHT};

/// Bandit weights are multiples of this many basis points: a coarse lattice bounds the number of strata.
pub const LATTICE: u32 = 100;

/// An equal split; what does not divide goes to the baseline.
#[must_use]
pub fn equal_weights(versions: usize, baseline: usize) -> Vec<u32> {
    let count = u32::try_from(versions).unwrap_or(u32::MAX).max(1);
    let share = TOTAL_WEIGHT / count;
    (0..versions).map(|version| if version == baseline { TOTAL_WEIGHT - share * (count - 1) } else { share }).collect()
}

/// Weights of a canary: `step` basis points for each candidate that is not out, the rest for the baseline.
#[must_use]
pub fn canary_weights(experiment: &Experiment, step: u32, out: &[bool]) -> Vec<u32> {
    let is_in = |version: usize| version != experiment.baseline && !out.get(version).copied().unwrap_or(false);
    let candidates = (0..experiment.versions.len()).filter(|version| is_in(*version)).count();
    let most = TOTAL_WEIGHT / u32::try_from(candidates).unwrap_or(u32::MAX).max(1);
    let step = step.min(most);
    let mut weights: Vec<u32> =
        (0..experiment.versions.len()).map(|version| if is_in(version) { step } else { 0 }).collect();
    let given: u32 = weights.iter().sum();
    if let Some(weight) = weights.get_mut(experiment.baseline) {
        *weight = TOTAL_WEIGHT.saturating_sub(given);
    }
    weights
}

/// Weights with the versions that are out at zero. Their share goes to the baseline, so that a roll-back exposes nobody to another
/// candidate. Where users are the unit it goes to all others in proportion, or users of a version that is gone would join pairs unevenly
/// and end the evidence about them; all of it to the baseline when nobody else is left.
#[must_use]
pub fn without_out(experiment: &Experiment, weights: &[u32], out: &[bool]) -> Vec<u32> {
    let baseline = experiment.baseline;
    if experiment.requests_are_units() {
        held_at(weights, out, 0, baseline)
    } else {
        shared_out(weights, out, baseline)
    }
}

/// Weights with the versions that are out at zero and their share given to the others in proportion.
fn shared_out(weights: &[u32], out: &[bool], baseline: usize) -> Vec<u32> {
    let target: Vec<f64> = weights
        .iter()
        .zip(out)
        .enumerate()
        .map(|(version, (weight, out))| if *out && version != baseline { 0.0 } else { f64::from(*weight) })
        .collect();
    round_to(&target, 1, &vec![0; weights.len()], baseline)
}

/// Weights with the versions that are held at `least` basis points at most; what they give up goes to the baseline.
#[must_use]
pub fn held_at(weights: &[u32], held: &[bool], least: u32, baseline: usize) -> Vec<u32> {
    let mut weights = weights.to_vec();
    let mut freed = 0;
    for (version, (weight, held)) in weights.iter_mut().zip(held).enumerate() {
        if *held && version != baseline {
            freed += weight.saturating_sub(least);
            *weight = (*weight).min(least);
        }
    }
    if let Some(weight) = weights.get_mut(baseline) {
        *weight += freed;
    }
    weights
}

/// One step of a bandit: from `current` towards `target` (shares, any positive sum), no weight moving more than
/// `max_step` (but for the rounding), every version that is in keeping at least `floor`, on a lattice of 1%. One that is below the
/// floor, because it was set so by hand or the floor was raised, comes up to it by such steps.
///
/// `open[v]` says whether version v may have traffic at all; versions that may not get zero.
#[must_use]
pub fn step_towards(
    current: &[u32],
    target: &[f64],
    open: &[bool],
    floor: u32,
    max_step: u32,
    baseline: usize,
) -> Vec<u32> {
    let total: f64 = target.iter().zip(open).filter(|(_, open)| **open).map(|(share, _)| share.max(0.0)).sum();
    if !(total.is_finite() && total > 0.0) {
        return current.to_vec();
    }
    let scale = f64::from(TOTAL_WEIGHT);
    // On the lattice from the start: of a floor between two of its weights no version would ever get more than the lower one.
    let floor = floor.next_multiple_of(LATTICE);
    let floors: Vec<u32> = open.iter().map(|open| if *open { floor } else { 0 }).collect();
    let reserved: f64 = floors.iter().map(|floor| f64::from(*floor)).sum::<f64>().min(scale);
    // The floors first, the rest by the target.
    let wanted: Vec<f64> = target
        .iter()
        .zip(open)
        .zip(&floors)
        .map(
            |((share, open), floor)| {
                if *open { f64::from(*floor) + (scale - reserved) * share.max(0.0) / total } else { 0.0 }
            },
        )
        .collect();
    // Who may have no traffic loses it at once, not by steps.
    let from: Vec<f64> =
        current.iter().zip(open).map(|(weight, open)| if *open { f64::from(*weight) } else { 0.0 }).collect();
    let farthest = wanted.iter().zip(&from).map(|(to, from)| (to - from).abs()).fold(0.0, f64::max);
    let part = if farthest > f64::from(max_step) { f64::from(max_step) / farthest } else { 1.0 };
    let moved: Vec<f64> = wanted.iter().zip(&from).map(|(to, from)| from + part * (to - from)).collect();
    let kept: Vec<u32> =
        floors.iter().zip(&from).map(|(floor, from)| if *from < f64::from(*floor) { 0 } else { *floor }).collect();
    round_to(&moved, LATTICE, &kept, baseline)
}

/// Rounds shares to multiples of `lattice` that sum to [`TOTAL_WEIGHT`], each at least its floor; ties and what does not
/// divide go to the baseline first, then to the largest remainder, then in order.
fn round_to(shares: &[f64], lattice: u32, floors: &[u32], baseline: usize) -> Vec<u32> {
    let sum: f64 = shares.iter().sum();
    let mut weights = vec![0; shares.len()];
    if !(sum.is_finite() && sum > 0.0) {
        if let Some(weight) = weights.get_mut(baseline) {
            *weight = TOTAL_WEIGHT;
        }
        return weights;
    }
    let mut remainders = Vec::with_capacity(shares.len());
    for (version, ((weight, share), floor)) in weights.iter_mut().zip(shares).zip(floors).enumerate() {
        let steps = share / sum * f64::from(TOTAL_WEIGHT) / f64::from(lattice);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to TOTAL_WEIGHT")]
        let whole = (steps + 1e-9).floor() as u32 * lattice;
        *weight = if *share > 0.0 { whole.max(*floor) } else { 0 };
        remainders.push((steps - f64::from(whole / lattice), version));
    }
    remainders.sort_by(|(a, v), (b, w)| {
        b.total_cmp(a).then_with(|| (*v != baseline).cmp(&(*w != baseline))).then_with(|| v.cmp(w))
    });
    let mut order =
        remainders.iter().map(|(_, version)| *version).filter(|v| shares.get(*v).is_some_and(|s| *s > 0.0)).cycle();
    let mut given: u32 = weights.iter().sum();
    while given < TOTAL_WEIGHT {
        let more = lattice.min(TOTAL_WEIGHT - given);
        match order.next().and_then(|version| weights.get_mut(version)) {
            Some(weight) => *weight += more,
            None => break,
        }
        given += more;
    }
    // Floors rounded up may have given too much: the largest pays.
    while given > TOTAL_WEIGHT {
        let less = lattice.min(given - TOTAL_WEIGHT);
        match weights.iter_mut().max_by_key(|weight| **weight) {
            Some(weight) if *weight >= less => *weight -= less,
            _ => break,
        }
        given -= less;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_split_gives_what_does_not_divide_to_the_baseline() {
        assert_eq!(equal_weights(3, 1), [3_333, 3_334, 3_333]);
    }

    #[test]
    fn a_step_is_bounded_keeps_floors_and_sums_to_the_whole() {
        let weights = step_towards(&[3_334, 3_333, 3_333], &[0.0, 1.0, 0.0], &[true; 3], 500, 2_000, 0);
        assert_eq!(weights.iter().sum::<u32>(), TOTAL_WEIGHT);
        assert!(weights[1] <= 3_333 + 2_000 + LATTICE, "{weights:?}");
        assert!(weights.iter().all(|weight| *weight >= 500));
        let mut weights = vec![3_334, 3_333, 3_333];
        for _ in 0..10 {
            weights = step_towards(&weights, &[0.0, 1.0, 0.0], &[true; 3], 500, 2_000, 0);
        }
        assert_eq!(weights, [500, 9_000, 500]);
    }

    #[test]
    fn floors_that_fit_on_the_lattice_are_kept_whatever_the_target() {
        for (versions, floor) in [(3_usize, 3_300), (3, 3_250), (16, 600), (16, 501), (7, 1_400)] {
            for leader in 0..versions {
                let target: Vec<f64> = (0..versions).map(|version| f64::from(u8::from(version == leader))).collect();
                let current = equal_weights(versions, 0);
                let weights = step_towards(&current, &target, &vec![true; versions], floor, 10_000, 0);
                assert_eq!(weights.iter().sum::<u32>(), TOTAL_WEIGHT);
                assert!(weights.iter().all(|weight| *weight >= floor), "{versions} {floor}: {weights:?}");
            }
        }
    }

    #[test]
    fn a_floor_between_two_weights_of_the_lattice_is_reached_from_below() {
        for (mut weights, target, reached) in [
            (vec![9_800, 200], vec![1.0, 0.0], vec![9_700, 300]),
            (vec![9_700, 200, 100], vec![1.0, 0.0, 0.0], vec![9_400, 300, 300]),
        ] {
            for _ in 0..10 {
                weights = step_towards(&weights, &target, &vec![true; target.len()], 250, 2_000, 0);
            }
            assert_eq!(weights, reached);
        }
    }

    #[test]
    fn a_version_that_is_closed_gets_nothing_and_a_hopeless_target_changes_nothing() {
        let weights = step_towards(&[5_000, 5_000, 0], &[0.2, 0.2, 0.6], &[true, true, false], 500, 2_000, 0);
        assert_eq!(weights, [5_000, 5_000, 0]);
        let weights = step_towards(&[1_000, 6_000, 3_000], &[0.1, 0.0, 0.9], &[true, false, true], 0, 100, 0);
        assert_eq!((weights[1], weights.iter().sum::<u32>()), (0, TOTAL_WEIGHT), "at once, however small the step");
        assert_eq!(step_towards(&[9_000, 1_000], &[0.0, f64::NAN], &[true, true], 0, 100, 0), [9_000, 1_000]);
    }

    #[test]
    fn of_users_who_is_out_gives_its_share_to_the_others_in_proportion() {
        assert_eq!(shared_out(&[2_000, 3_000, 5_000], &[false, false, true], 0), [4_000, 6_000, 0]);
        assert_eq!(shared_out(&[0, 10_000], &[false, true], 0), [10_000, 0]);
    }
}
