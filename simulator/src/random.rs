//! Random numbers: one generator, and how a run's seed is made of a scenario's.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// The generator: the same numbers on every machine and in every release.
pub type Random = Xoshiro256PlusPlus;

/// The generator of a seed.
#[must_use]
pub fn seeded(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

/// The seed of one of many runs: that of run 0 is the scenario's own, so that a single run can be repeated alone.
#[must_use]
pub const fn seed_of(seed: u64, run: u64) -> u64 {
    // Weyl's sequence; the generator's own seeding mixes the bits (SplitMix64).
    seed.wrapping_add(run.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// FNV-1a of a name: seeds of different cases have nothing to do with each other.
#[must_use]
pub fn salt(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether an event of probability `p` happens. Draws nothing where the answer is known.
pub(crate) fn happens(random: &mut Random, p: f64) -> bool {
    p > 0.0 && (p >= 1.0 || uniform(random) < p)
}

/// Uniform on [0, 1), on a lattice of 2⁻⁵³.
pub(crate) fn uniform(random: &mut Random) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let bits = (random.next_u64() >> 11) as f64;
    bits * (1.0 / 9_007_199_254_740_992.0)
}
