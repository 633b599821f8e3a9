//! Assignment: which version a unit gets.
//!
//! Pure functions of weights and a random number (unit = request) or a key (sticky). Must never depend on anything else:
//! every worker, proxy and release has to give a key the same answer.

use crate::plan::{PARTS, PlannedVersion};
use crate::unit::{Digest, KeyedHash};

/// The versions of one experiment, ready to assign to.
#[derive(Debug)]
pub struct Assigner {
    slots: Vec<Slot>,
    total: u64,
    share: KeyedHash,
}

#[derive(Debug)]
struct Slot {
    name: String,
    weight: u32,
    hash: KeyedHash,
}

impl Assigner {
    /// Prepares the versions under an experiment's salt.
    #[must_use]
    pub fn new(salt: &str, versions: &[PlannedVersion]) -> Self {
        let slot = |version: &PlannedVersion| Slot {
            name: version.name.clone(),
            weight: version.weight,
            hash: KeyedHash::new("version", salt, &version.name),
        };
        Self {
            slots: versions.iter().map(slot).collect(),
            total: versions.iter().map(|version| u64::from(version.weight)).sum(),
            share: KeyedHash::new("share", salt, ""),
        }
    }

    /// The index of the version that a random number stands for: multiply-shift over the cumulative weights, so that the
    /// probabilities are the weights' shares to within 2⁻⁴⁰. `None` when every weight is zero.
    #[must_use]
    #[inline]
    pub fn by_random(&self, random: u64) -> Option<usize> {
        let mut point = below(random, self.total);
        for (index, slot) in self.slots.iter().enumerate() {
            match point.checked_sub(u64::from(slot.weight)) {
                Some(rest) => point = rest,
                None => return Some(index),
            }
        }
        None
    }

    /// The index of the version that a key gets, by weighted rendezvous hashing: the highest of −w / ln(h), h uniform in
    /// (0, 1) from a hash of (salt, version, key); equal scores go to the smaller name. A change of weights moves a key
    /// from i to j only if w_j / w_i rose. `None` when every weight is zero.
    ///
    /// Source: Schindelhauer & Schomaker, "Weighted distributed hash tables" (SPAA 2005), logarithmic method.
    #[must_use]
    #[inline]
    pub fn by_key(&self, key: Digest) -> Option<usize> {
        let mut best: Option<(f64, &Slot, usize)> = None;
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.weight > 0) {
            let score = -f64::from(slot.weight) / libm::log(unit_interval(slot.hash.hash(key)));
            let better = best
                .is_none_or(|(highest, holder, _)| score > highest || (score >= highest && slot.name < holder.name));
            if better {
                best = Some((score, slot, index));
            }
        }
        best.map(|(_, _, index)| index)
    }

    /// Whether a key belongs to the share of traffic that takes part. A key that is in stays in when the share grows.
    #[must_use]
    #[inline]
    pub fn key_takes_part(&self, key: Digest, share_ppm: u32) -> bool {
        takes_part(self.share.hash(key), share_ppm)
    }
}

/// Whether a random number falls into a share of traffic.
#[must_use]
#[inline]
pub fn takes_part(random: u64, share_ppm: u32) -> bool {
    below(random, u64::from(PARTS)) < u64::from(share_ppm)
}

/// A number below `bound`, by multiply-shift: the high half of the product, which always fits.
#[inline]
pub(crate) fn below(random: u64, bound: u64) -> u64 {
    if bound > u64::from(u32::MAX) {
        return ((u128::from(random) * u128::from(bound)) >> 64) as u64;
    }
    // By halves, as no product of them is wider than 64 bits: Wasm multiplies nothing wider.
    let (high, low) = (random >> 32, random & u64::from(u32::MAX));
    (high * bound + ((low * bound) >> 32)) >> 32
}

/// A hash as a number in (0, 1), never 0 nor 1: the middle of one of 2⁵² equal intervals, which is exact in an `f64`.
#[expect(clippy::cast_precision_loss, reason = "52 bits and a half are exact")]
fn unit_interval(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) * (1.0 / (1_u64 << 52) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assigner(weights: &[u32]) -> Assigner {
        let versions: Vec<PlannedVersion> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| PlannedVersion {
                name: format!("v{index}"),
                weight: *weight,
                headers: vec![],
                slow_us: None,
            })
            .collect();
        Assigner::new("salt", &versions)
    }

    fn key(number: u32) -> Digest {
        Digest::of(format!("user-{number}").as_bytes())
    }

    #[test]
    fn hashes_reach_neither_end_of_the_unit_interval() {
        assert!(unit_interval(0) > 0.0);
        assert!(unit_interval(u64::MAX) < 1.0);
        assert!(libm::log(unit_interval(u64::MAX)) < 0.0);
    }

    #[test]
    fn random_numbers_split_exactly_at_the_weights() {
        let assigner = assigner(&[1, 0, 9_999]);
        // The first 1/10,000 of all numbers, rounded up.
        let edge = (u64::MAX / 10_000) + 1;
        assert_eq!(assigner.by_random(0), Some(0));
        assert_eq!(assigner.by_random(edge - 1), Some(0));
        assert_eq!(assigner.by_random(edge), Some(2));
        assert_eq!(assigner.by_random(u64::MAX), Some(2));
    }

    #[test]
    fn nothing_is_assigned_when_every_weight_is_zero() {
        assert_eq!(assigner(&[0, 0]).by_random(7), None);
        assert_eq!(assigner(&[0, 0]).by_key(key(7)), None);
    }

    #[test]
    fn sticky_shares_are_the_weights_shares() {
        // 200,000 keys: six standard deviations of a binomial share.
        for weights in [[500_000, 300_000, 200_000], [1, 9_998, 1], [998_000, 1_000, 1_000]] {
            let assigner = assigner(&weights);
            let total = f64::from(weights.iter().sum::<u32>());
            let mut counts = [0_u32; 3];
            for number in 0..200_000 {
                counts[assigner.by_key(key(number)).unwrap()] += 1;
            }
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(weight) / total;
                let deviation = (200_000.0 * share * (1.0 - share)).sqrt();
                let difference = (f64::from(*count) - 200_000.0 * share).abs();
                assert!(difference <= 6.0 * deviation + 1.0, "{weights:?} gave {counts:?}");
            }
        }
    }

    #[test]
    fn a_keys_share_of_traffic_is_independent_of_its_version_and_grows_monotonously() {
        let assigner = assigner(&[1, 1]);
        let mut inside = [0_u32; 2];
        for number in 0..40_000 {
            let key = key(number);
            if assigner.key_takes_part(key, 100_000) {
                assert!(assigner.key_takes_part(key, 200_000));
                inside[assigner.by_key(key).unwrap()] += 1;
            }
            assert!(assigner.key_takes_part(key, PARTS));
        }
        // Six standard deviations around 2,000 of 40,000 each.
        assert!(inside.iter().all(|count| count.abs_diff(2_000) < 6 * 44), "{inside:?}");
    }

    #[test]
    fn with_two_versions_the_moved_share_is_the_change() {
        let (before, after) = (assigner(&[90, 10]), assigner(&[80, 20]));
        let moved = (0..100_000).filter(|number| before.by_key(key(*number)) != after.by_key(key(*number))).count();
        assert!(moved.abs_diff(10_000) < 6 * 95, "{moved}");
    }

    proptest! {
        #[test]
        fn a_key_moves_only_towards_a_version_whose_relative_weight_rose(
            before in proptest::collection::vec(0_u32..=1_000_000, 2..8),
            changes in proptest::collection::vec(0_u32..=1_000_000, 8),
            keys in proptest::collection::vec(any::<u32>(), 50),
        ) {
            prop_assume!(before.iter().any(|weight| *weight > 0));
            let after: Vec<u32> = before.iter().zip(&changes).map(|(old, new)| if new % 2 == 0 { *old } else { *new }).collect();
            prop_assume!(after.iter().any(|weight| *weight > 0));
            let (old, new) = (assigner(&before), assigner(&after));
            for number in keys {
                let (i, j) = (old.by_key(key(number)).unwrap(), new.by_key(key(number)).unwrap());
                if i != j {
                    // w_j / w_i rose: w'_j · w_i > w_j · w'_i.
                    prop_assert!(
                        u64::from(after[j]) * u64::from(before[i]) > u64::from(before[j]) * u64::from(after[i]),
                        "{before:?} → {after:?} moved a key from {i} to {j}"
                    );
                }
            }
        }

        #[test]
        fn multiplying_by_halves_is_multiplying(random: u64, narrow: u32, wide: u64) {
            for (random, bound) in [(random, u64::from(narrow)), (u64::MAX, u64::from(u32::MAX)), (random, wide)] {
                prop_assert_eq!(u128::from(below(random, bound)), (u128::from(random) * u128::from(bound)) >> 64);
            }
        }

        #[test]
        fn a_random_number_always_gets_a_version_with_weight(
            weights in proptest::collection::vec(0_u32..=1_000_000, 1..16), random: u64,
        ) {
            match assigner(&weights).by_random(random) {
                Some(index) => prop_assert!(weights[index] > 0),
                None => prop_assert!(weights.iter().all(|weight| *weight == 0)),
            }
        }
    }
}
