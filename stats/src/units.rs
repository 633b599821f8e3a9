//! First events per unit bucket (card F): what carries evidence where users are the unit, whose requests are alike. Keeps sets
//! of buckets; knows no users, no rates and no weights.
//!
//! A bucket is a hash class of unit keys under a salt of its own. In the first look that shows an event of it for a pair of
//! versions it closes for good, and counts once: for the version that showed it. Given that a bucket's first event happened,
//! it is the candidate's with the probability of card A, however many requests its users send and however alike these are.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most buckets there may be.
pub const MAX_BUCKETS: u16 = 16_384;
const WORDS: usize = MAX_BUCKETS as usize / 64;

/// First events of a pair in one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstEvents {
    /// Buckets that only the baseline `a` showed.
    pub baseline: u64,
    /// Buckets that only the candidate `b` showed.
    pub candidate: u64,
    /// Buckets that both showed in the same look: they count against whatever is claimed.
    pub ties: u64,
}

impl FirstEvents {
    /// (candidate's, all) for the claim that the candidate has more: ties are the baseline's.
    #[must_use]
    pub const fn for_more(&self) -> (u64, u64) {
        (self.candidate, self.all())
    }

    /// (candidate's, all) for the claim that the candidate has fewer: ties are the candidate's.
    #[must_use]
    pub const fn for_fewer(&self) -> (u64, u64) {
        (self.candidate.saturating_add(self.ties), self.all())
    }

    const fn all(&self) -> u64 {
        self.baseline.saturating_add(self.candidate).saturating_add(self.ties)
    }
}

/// The closed buckets of a pair of versions, and the first events that closed them.
///
/// Which looks are taken must not depend on outcomes beyond what earlier looks showed; that one is lost (a crash) does no
/// harm, for the next shows more at once and has more ties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    /// One bit per bucket, in hexadecimal words.
    #[serde(with = "hexadecimal")]
    closed: Vec<u64>,
    /// By epoch number.
    first: BTreeMap<u32, FirstEvents>,
}

impl Default for Closing {
    fn default() -> Self {
        Self { closed: vec![0; WORDS], first: BTreeMap::new() }
    }
}

/// One epoch's buckets with events so far: the whole sets, not only what is new.
#[derive(Debug, Clone, Copy)]
pub struct EpochBuckets<'a> {
    /// The epoch's number.
    pub epoch: u32,
    /// The baseline's; below [`MAX_BUCKETS`], others are ignored. In any order.
    pub baseline: &'a [u16],
    /// The candidate's.
    pub candidate: &'a [u16],
}

impl Closing {
    /// Looks: closes every open bucket in which an event of either version is seen. Epochs in order of time. Whether anything
    /// closed.
    pub fn look<'a>(&mut self, epochs: impl IntoIterator<Item = EpochBuckets<'a>>) -> bool {
        // Per open bucket: the earliest epoch that shows it, and who showed it in this look.
        let mut seen: BTreeMap<u16, (u32, bool, bool)> = BTreeMap::new();
        for epoch in epochs {
            for (buckets, of_candidate) in [(epoch.baseline, false), (epoch.candidate, true)] {
                for bucket in buckets.iter().filter(|bucket| self.is_open(**bucket)) {
                    let at = seen.entry(*bucket).or_insert((epoch.epoch, false, false));
                    at.0 = at.0.min(epoch.epoch);
                    at.1 |= !of_candidate;
                    at.2 |= of_candidate;
                }
            }
        }
        for (bucket, (epoch, of_baseline, of_candidate)) in &seen {
            self.close(*bucket);
            let first = self.first.entry(*epoch).or_default();
            let count = match (of_baseline, of_candidate) {
                (true, true) => &mut first.ties,
                (false, true) => &mut first.candidate,
                _ => &mut first.baseline,
            };
            *count = count.saturating_add(1);
        }
        !seen.is_empty()
    }

    /// Sets the first events of an epoch, where somebody else has found and counted each unit's first event. No bucket closes.
    pub fn set(&mut self, epoch: u32, first: FirstEvents) {
        self.first.insert(epoch, first);
    }

    /// First events in an epoch.
    #[must_use]
    pub fn first_events(&self, epoch: u32) -> FirstEvents {
        self.first.get(&epoch).copied().unwrap_or_default()
    }

    /// How many buckets are closed: near [`MAX_BUCKETS`] there is little left to learn.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn is_open(&self, bucket: u16) -> bool {
        self.closed.get(usize::from(bucket / 64)).is_some_and(|word| word & (1 << (bucket % 64)) == 0)
    }

    fn close(&mut self, bucket: u16) {
        if let Some(word) = self.closed.get_mut(usize::from(bucket / 64)) {
            *word |= 1 << (bucket % 64);
        }
    }
}

/// Words of 64 bits as one string of hexadecimal digits, trailing zero words left out.
mod hexadecimal {
    use super::WORDS;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Write;

    pub(super) fn serialize<S: Serializer>(words: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        let used = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let mut text = String::with_capacity(16 * used);
        for word in words.iter().take(used) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{word:016x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > 16 * WORDS || !text.is_ascii() {
            return Err(D::Error::custom("more closed buckets than there are"));
        }
        let mut words = vec![0; WORDS];
        for (word, digits) in words.iter_mut().zip(text.as_bytes().chunks(16)) {
            let digits = std::str::from_utf8(digits).map_err(D::Error::custom)?;
            *word = u64::from_str_radix(digits, 16).map_err(D::Error::custom)?;
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch<'a>(epoch: u32, baseline: &'a [u16], candidate: &'a [u16]) -> EpochBuckets<'a> {
        EpochBuckets { epoch, baseline, candidate }
    }

    #[test]
    fn a_bucket_counts_once_for_who_showed_it_first() {
        let mut closing = Closing::default();
        assert!(closing.look([epoch(1, &[3, 7], &[9])]));
        // Three shows an event of the other version, too late; five is a tie.
        assert!(closing.look([epoch(1, &[3, 7, 5], &[9, 3, 5])]));
        assert!(!closing.look([epoch(1, &[3, 7, 5], &[9, 3, 5])]));
        let first = closing.first_events(1);
        assert_eq!(first, FirstEvents { baseline: 2, candidate: 1, ties: 1 });
        assert_eq!((first.for_more(), first.for_fewer()), ((1, 4), (2, 4)));
        assert_eq!(closing.closed(), 4);
    }

    #[test]
    fn the_earliest_epoch_in_a_look_gets_the_bucket_and_ties_span_epochs() {
        let mut closing = Closing::default();
        closing.look([epoch(1, &[1], &[]), epoch(2, &[], &[1, 2]), epoch(3, &[], &[2])]);
        assert_eq!(closing.first_events(1), FirstEvents { baseline: 0, candidate: 0, ties: 1 });
        assert_eq!(closing.first_events(2), FirstEvents { baseline: 0, candidate: 1, ties: 0 });
        assert_eq!(closing.first_events(3), FirstEvents::default());
    }

    #[test]
    fn buckets_that_cannot_be_are_ignored() {
        let mut closing = Closing::default();
        assert!(!closing.look([epoch(1, &[MAX_BUCKETS, u16::MAX], &[])]));
        assert!(closing.look([epoch(1, &[MAX_BUCKETS - 1], &[])]));
        assert_eq!(closing.closed(), 1);
    }
}
