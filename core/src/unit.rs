//! Unit keys: what is randomised, and the hashes made of it.
//!
//! Owns how a key is found in a cookie and how keys are hashed. Both are part of the contract between filters, releases
//! and proxies: the same key must mean the same version everywhere, so golden vectors guard this file.

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};
use std::hash::Hasher;

/// Most cookies looked at in one header: more is not a browser.
const MAX_COOKIES: usize = 1_024;

/// The value of a cookie in a `Cookie` header: the first of that name with a value that is not empty.
///
/// Tolerant as browsers and servers are (RFC 6265, section 5.4): any bytes, optional white space, optional quotes.
#[must_use]
pub fn cookie<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    header.split(|byte| *byte == b';').take(MAX_COOKIES).find_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let found = parts.next()?.trim_ascii() == name.as_bytes();
        let value = parts.next()?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (found && !value.is_empty()).then_some(value)
    })
}

/// A key's digest: the key's bytes are read once, however many versions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// SipHash-1-3 of 128 bits, under a zero key.
    #[must_use]
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
    /// The function for a purpose (`version`, `share`), an experiment's salt and a name. All three are visible ASCII, so
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
    pub fn hash(self, digest: Digest) -> u64 {
        SipHasher13::new_with_keys(self.0, self.1).hash(&digest.0.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            assert_eq!(cookie(header, "uid"), value, "{}", String::from_utf8_lossy(header));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_in_a_cookie_header_do_harm(header in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(value) = cookie(&header, "u") {
                prop_assert!(!value.is_empty() && value.len() < header.len());
            }
        }
    }
}
