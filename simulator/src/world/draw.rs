//! Draws that a simulation makes for every request, made fast. The same bits on every machine: nothing but IEEE arithmetic.

/// Draws an index in proportion to weights, by Walker's alias method (Vose 1991), with probabilities in multiples of 2⁻³².
#[derive(Debug)]
pub(crate) struct Alias {
    /// Below so much of 2³² the index itself, else the other.
    slots: Vec<(u32, u32)>,
}

impl Alias {
    /// Of weights that are positive and finite.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "indices of 32 bits, probabilities clamped"
    )]
    pub(crate) fn new(weights: &[f64]) -> Self {
        const WHOLE: f64 = 4_294_967_296.0;
        let total: f64 = weights.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "millions at most")]
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / total * weights.len() as f64).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..scaled.len()).partition(|at| scaled.get(*at) < Some(&1.0));
        let mut slots: Vec<(u32, u32)> = (0..weights.len()).map(|at| (u32::MAX, at as u32)).collect();
        while let (Some(less), Some(more)) = (small.pop(), large.last().copied()) {
            let own = scaled.get(less).copied().unwrap_or(1.0);
            if let Some(slot) = slots.get_mut(less) {
                *slot = ((own * WHOLE) as u32, more as u32);
            }
            if let Some(rest) = scaled.get_mut(more) {
                *rest -= 1.0 - own;
                if *rest < 1.0 {
                    large.pop();
                    small.push(more);
                }
            }
        }
        Self { slots }
    }

    /// The index that a random number stands for: its high half chooses the slot, its low half within it.
    #[expect(clippy::cast_possible_truncation, reason = "halves of 64 bits")]
    pub(crate) fn draw(&self, random: u64) -> usize {
        let slot = (((random >> 32) * self.slots.len() as u64) >> 32) as usize;
        let (own, other) = self.slots.get(slot).copied().unwrap_or_default();
        if (random as u32) < own { slot } else { other as usize }
    }
}

/// eˣ, with a relative error below 10⁻⁹ within ±700; zero below, infinite above.
pub(crate) fn exp(x: f64) -> f64 {
    // Cody–Waite reduction and Taylor's polynomial of degree 8: |r| ≤ ln2/2, r⁹/9! < 2·10⁻¹⁰.
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if !(-700.0..=700.0).contains(&x) {
        return if x > 0.0 { f64::INFINITY } else { 0.0 };
    }
    // Adding and subtracting 1.5·2⁵² rounds to the nearest whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let whole = (x * std::f64::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    let series = 1.0
        + r * (1.0
            + r * (1.0 / 2.0
                + r * (1.0 / 6.0
                    + r * (1.0 / 24.0
                        + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5_040.0 + r * (1.0 / 40_320.0))))))));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 13 to 2033")]
    let exponent = (whole as i64 + 1_023) as u64;
    series * f64::from_bits(exponent << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::seeded;
    use rand::Rng;

    #[test]
    fn the_exponential_is_the_exponential() {
        let worst = (-69_900..69_900_i32).map(|at| f64::from(at) * 0.009_97).map(|x| (exp(x) / x.exp() - 1.0).abs());
        assert!(worst.fold(0.0, f64::max) < 1e-9);
        assert_eq!((exp(0.0), exp(-1e9), exp(1e9)), (1.0, 0.0, f64::INFINITY));
    }

    #[test]
    fn draws_are_in_proportion() {
        let weights = [1.0, 2.0, 3.0, 94.0, 0.5];
        let alias = Alias::new(&weights);
        let mut random = seeded(7);
        let mut counts = [0_u32; 5];
        (0..1_000_000).for_each(|_| counts[alias.draw(random.next_u64())] += 1);
        for (count, weight) in counts.iter().zip(weights) {
            let expected = weight / 100.5 * 1e6;
            assert!((f64::from(*count) - expected).abs() < 6.0 * expected.sqrt(), "{counts:?}");
        }
    }
}
