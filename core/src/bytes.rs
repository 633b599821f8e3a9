//! Comparing bytes eight at a time: on the request path one byte after the other is what costs.

/// Whether two texts are the same.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    alike(a, b, 0)
}

/// Whether two texts are the same but for the case of ASCII letters.
#[inline]
pub(crate) fn same_letters(a: &[u8], b: &[u8]) -> bool {
    // The bit that tells cases apart also tells other characters apart, so that it decides only what is not the same.
    same(a, b) || (alike(a, b, 0x2020_2020_2020_2020) && a.eq_ignore_ascii_case(b))
}

/// Whether two texts are the same but for these bits of each eight bytes, which are the same in each byte.
#[inline]
fn alike(a: &[u8], b: &[u8], but: u64) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (whole, rest) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = whole.0.iter().zip(rest.0).all(|(a, b)| u64::from_le_bytes(*a) | but == u64::from_le_bytes(*b) | but);
    #[expect(clippy::cast_possible_truncation, reason = "the mask of one byte")]
    let but = but as u8;
    words && whole.1.iter().zip(rest.1).all(|(a, b)| a | but == b | but)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comparisons_are_those_of_the_standard_library(
            a in proptest::collection::vec(any::<u8>(), 0..40), at in 0_usize..40, bit in 0_u32..8,
        ) {
            let mut b = a.clone();
            prop_assert!(same(&a, &b) && same_letters(&a, &b));
            if let Some(byte) = b.get_mut(at) {
                *byte ^= 1 << bit;
            }
            prop_assert_eq!(same(&a, &b), a == b);
            prop_assert_eq!(same_letters(&a, &b), a.eq_ignore_ascii_case(&b));
            let upper = a.to_ascii_uppercase();
            prop_assert!(same_letters(&a, &upper));
            b.push(0);
            prop_assert_eq!(same(&a, &b), a == b);
        }
    }
}
