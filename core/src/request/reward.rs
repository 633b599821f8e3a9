//! Reading rewards out of a response header.

use crate::json;
use crate::reward::LARGEST_REWARD;

/// Longest reward that is read, in bytes.
const MAX_REWARD: usize = 32;
/// Most rewards of one response.
const MAX_REWARDS: usize = 16;

/// The sum of the rewards in a header's values, which commas divide: the first [`MAX_REWARDS`], without those that cannot be read.
#[inline]
pub(super) fn sum(values: &[u8]) -> f64 {
    let sum =
        values.split(|byte| *byte == b',').take(MAX_REWARDS).filter_map(read).fold(0.0, |sum, reward| sum + reward);
    if sum.abs() <= LARGEST_REWARD { sum } else { 0.0 }
}

fn read(value: &[u8]) -> Option<f64> {
    let value = value.trim_ascii();
    let reward = json::number(value.get(..=MAX_REWARD).map_or(value, |_| &[]))?;
    (reward.abs() <= LARGEST_REWARD).then_some(reward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rewards_of_one_response_are_added_up_and_what_is_none_is_left_out() {
        for (values, expected) in [
            (&b"1"[..], 1.0),
            (b" -2.5e1 ", -25.0),
            (b"1,2, 3 ", 6.0),
            (b"1,,one,\xff,nan,inf,-inf,2", 3.0),
            (b"1e76", 0.0),
            (b"1,1e76", 1.0),
            (b"1e15,1e15", 0.0),
            (b"1,-1", 0.0),
            (b"", 0.0),
            (b"1.000000000000000000000000000000", 1.0),
            (b"1.0000000000000000000000000000000", 0.0),
            (b"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", 16.0),
        ] {
            assert!((sum(values) - expected).abs() < 1e-12, "{}: {}", values.escape_ascii(), sum(values));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_more_than_a_reward(values in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(sum(&values).abs() <= LARGEST_REWARD);
        }
    }
}
