//! Unit keys: what is randomised, and the hashes made of it.
//!
//! Owns how a key is found in a cookie and how keys are hashed. Both are part of the contract between filters, releases
//! and proxies: the same key must mean the same version everywhere, so golden vectors guard this file.

use crate::assign::below;
use crate::report::UNIT_BUCKETS;
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};
use std::hash::Hasher;

/// Most cookies looked at in one header: more is not a browser.
const MAX_COOKIES: usize = 1_024;

/// The values of a cookie in a `Cookie` header, in order: those of that name that are not empty.
///
/// Tolerant as browsers and servers are (RFC 6265, section 5.4): any bytes, optional white space, optional quotes.
#[inline]
pub fn cookies<'a>(header: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    pairs(header).filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

/// The same of all names, each with its value.
#[inline]
pub(crate) fn pairs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|byte| *byte == b';').take(MAX_COOKIES).filter_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = parts.next()?.trim_ascii();
        let value = parts.next()?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (!value.is_empty()).then_some((name, value))
    })
}

/// A key's digest: the key's bytes are read once, however many versions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// SipHash-1-3 of 128 bits, under a zero key.
    #[must_use]
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        let mut hasher = SipHasher13x128::new_with_keys(0, 0);
        hasher.write(key);
        Self(hasher.finish128().as_u128())
    }
}

/// One hash function out of a family: for each purpose, salt and name an independent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedHash(u64, u64);

impl KeyedHash {
    /// The function for a purpose (`version`, `share`, `bucket`), an experiment's salt and a name. All three are visible ASCII, so
    /// that zero bytes separate them.
    #[must_use]
    pub fn new(purpose: &str, salt: &str, name: &str) -> Self {
        let mut hasher = SipHasher13x128::new_with_keys(0, 0);
        for part in [purpose, salt, name] {
            hasher.write(part.as_bytes());
            hasher.write(&[0]);
        }
        let hash = hasher.finish128();
        Self(hash.h1, hash.h2)
    }

    /// Sixty-four bits of a key's digest.
    #[must_use]
    #[inline]
    pub fn hash(self, digest: Digest) -> u64 {
        SipHasher13::new_with_keys(self.0, self.1).hash(&digest.0.to_le_bytes())
    }
}

/// Sorts an experiment's unit keys into unit buckets.
///
/// Under a purpose of its own: in which bucket a unit is says nothing of its version, nor of whether it takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitBuckets(KeyedHash);

impl UnitBuckets {
    /// The buckets under an experiment's salt.
    #[must_use]
    pub fn new(salt: &str) -> Self {
        Self(KeyedHash::new("bucket", salt, ""))
    }

    /// The bucket of a key, below [`UNIT_BUCKETS`]: multiply-shift, so the first bits of the hash.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the high half of a product with a u16 is below it")]
    #[inline]
    pub fn of(self, digest: Digest) -> u16 {
        below(self.0.hash(digest), u64::from(UNIT_BUCKETS)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assign::Assigner;
    use crate::plan::PlannedVersion;
    use proptest::prelude::*;

    #[test]
    fn a_cookie_is_found_as_browsers_and_servers_write_it() {
        for (header, value) in [
            (&b"uid=7"[..], Some(&b"7"[..])),
            (b"a=b; uid=7; c=d", Some(b"7")),
            (b"a=b;uid=7", Some(b"7")),
            (b" uid = 7 ", Some(b"7")),
            (b"uid=\"7\"", Some(b"7")),
            (b"uid=a=b", Some(b"a=b")),
            (b"uid=; uid=8", Some(b"8")),
            (b"uid=\xff\xfe", Some(b"\xff\xfe")),
            (b"xuid=7", None),
            (b"UID=7", None),
            (b"uid", None),
            (b"uid=\"\"", None),
            (b"", None),
            (b";;;=;", None),
        ] {
            assert_eq!(cookies(header, "uid").next(), value, "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn units_spread_evenly_over_all_buckets() {
        let buckets = UnitBuckets::new("salt");
        let mut counts = vec![0_u32; usize::from(UNIT_BUCKETS)];
        for number in 0..16 * u32::from(UNIT_BUCKETS) {
            counts[usize::from(buckets.of(Digest::of(format!("user-{number}").as_bytes())))] += 1;
        }
        // Pearson's statistic against 16 a bucket: 16,383 on average, with a deviation of √(2·16,383) = 181.
        let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - 16.0).powi(2) / 16.0).sum();
        assert!((statistic - 16_383.0).abs() < 6.0 * 181.0, "{statistic}");
    }

    #[test]
    fn a_units_bucket_says_nothing_of_its_version_its_share_or_its_bucket_under_another_salt() {
        let versions = ["v1", "v2"].map(|name| PlannedVersion {
            name: name.to_owned(),
            weight: 1,
            headers: vec![],
            slow_us: None,
        });
        let (assigner, buckets, others) =
            (Assigner::new("salt", &versions), UnitBuckets::new("salt"), UnitBuckets::new("another"));
        // Sixteen classes of buckets against two outcomes of each other hash: a table of independent rows.
        let mut table = [[[0_u32; 2]; 16]; 3];
        for number in 0..64_000_u32 {
            let key = Digest::of(format!("user-{number}").as_bytes());
            let class = usize::from(buckets.of(key) / (UNIT_BUCKETS / 16));
            let outcomes = [
                assigner.by_key(key).unwrap(),
                usize::from(assigner.key_takes_part(key, 500_000)),
                usize::from(others.of(key) >= UNIT_BUCKETS / 2),
            ];
            for (rows, outcome) in table.iter_mut().zip(outcomes) {
                rows[class][outcome] += 1;
            }
        }
        for rows in table {
            // Each of 32 cells: 2,000 expected, 44 the deviation.
            assert!(rows.iter().flatten().all(|count| count.abs_diff(2_000) < 6 * 44), "{rows:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_in_a_cookie_header_do_harm(header in proptest::collection::vec(any::<u8>(), 0..400)) {
            for value in cookies(&header, "u") {
                prop_assert!(!value.is_empty() && value.len() < header.len());
            }
        }
    }
}
