//! The assignment token: by which whoever learns of a reward later says which exposure earned it. Token format 1.
//!
//! It names the cell of an exposure and the exposure itself by a random number, and cannot be made up: a code is made of it
//! under a secret that only filters and the controller have. Nobody learns from it who somebody is: a unit is there as its
//! bucket alone. Golden vectors guard the format.

use crate::report::UNIT_BUCKETS;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Bytes of a token before they become text.
const BYTES: usize = 46;
/// Length of a token as text.
pub const TOKEN_LENGTH: usize = 62;
const FORMAT: u8 = 1;
/// No bucket: the exposure's unit is the request.
const NO_BUCKET: u16 = u16::MAX;
/// As RFC 4648, section 5.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One recorded exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The life of the worker's VM that recorded it: its report's `incarnation` as a number.
    pub incarnation: u128,
    /// Of the plan it was assigned by.
    pub epoch: u32,
    /// Index of the version.
    pub version: u8,
    /// When the bin of its assignment begins, on its worker's bin clock, in milliseconds; below 2^48.
    pub bin: u64,
    /// Tells it from every other.
    pub nonce: u64,
    /// Its unit's, in a sticky experiment.
    pub bucket: Option<u16>,
}

/// An experiment's secret: what makes its tokens, and no other's.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        number_from_hex(text).map(|number| Self(number.to_be_bytes()))
    }

    /// The same 32 digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// SipHash-2-4: an attacker has to guess 64 bits, each guess with a request.
    #[inline]
    fn code(&self, payload: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(payload);
        hasher.finish()
    }
}

/// The number that 32 lower-case hexadecimal digits write, as an incarnation is.
#[must_use]
pub fn number_from_hex(text: &str) -> Option<u128> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if digits { u128::from_str_radix(text, 16).ok() } else { None }
}

impl Token {
    /// The token as text: [`TOKEN_LENGTH`] letters, digits, `-` and `_`.
    #[must_use]
    #[inline]
    pub fn sign(&self, secret: &Secret) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(FORMAT);
        bytes.extend(self.incarnation.to_be_bytes());
        bytes.extend(self.epoch.to_be_bytes());
        bytes.push(self.version);
        bytes.extend(self.bin.to_be_bytes().iter().skip(2));
        bytes.extend(self.nonce.to_be_bytes());
        bytes.extend(self.bucket.unwrap_or(NO_BUCKET).to_be_bytes());
        bytes.extend(secret.code(&bytes).to_be_bytes());
        to_text(&bytes)
    }

    /// Reads a token that was made with this secret. `None`: it was not, or is none.
    #[must_use]
    #[inline]
    pub fn read(text: &[u8], secret: &Secret) -> Option<Self> {
        let bytes: [u8; BYTES] = from_text(text)?.try_into().ok()?;
        let (payload, code) = bytes.split_last_chunk()?;
        if u64::from_be_bytes(*code) != secret.code(payload) {
            return None;
        }
        let (format, payload) = payload.split_first_chunk()?;
        let (incarnation, payload) = payload.split_first_chunk()?;
        let (epoch, payload) = payload.split_first_chunk()?;
        let (version, payload) = payload.split_first_chunk()?;
        let (bin, payload) = payload.split_first_chunk::<6>()?;
        let (nonce, payload) = payload.split_first_chunk()?;
        let bucket = u16::from_be_bytes(payload.try_into().ok()?);
        let token = Self {
            incarnation: u128::from_be_bytes(*incarnation),
            epoch: u32::from_be_bytes(*epoch),
            version: u8::from_be_bytes(*version),
            bin: bin.iter().fold(0, |bin, byte| bin << 8 | u64::from(*byte)),
            nonce: u64::from_be_bytes(*nonce),
            bucket: (bucket < UNIT_BUCKETS).then_some(bucket),
        };
        (*format == [FORMAT]).then_some(token)
    }
}

/// Base64 for URLs, without padding.
#[inline]
fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(TOKEN_LENGTH);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.extend(ALPHABET.get(index as usize).map(|letter| char::from(*letter)));
        }
    }
    text
}

/// The bytes of a text of [`TOKEN_LENGTH`]. Bits that no whole byte has must be zero, so that a token has one text only.
#[inline]
fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() != TOKEN_LENGTH {
        return None;
    }
    let mut bytes = Vec::with_capacity(BYTES);
    for chunk in text.chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let spare = 2 * (4 - chunk.len());
        if bits & ((1 << spare) - 1) != 0 {
            return None;
        }
        let whole = chunk.len() - 1;
        bytes.extend((bits >> spare).to_be_bytes().iter().skip(4 - whole));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> Secret {
        Secret::from_hex("000102030405060708090a0b0c0d0e0f").unwrap()
    }

    fn token() -> Token {
        Token {
            incarnation: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            epoch: 7,
            version: 2,
            bin: 1_764_000_000_000,
            nonce: 0xfedc_ba98_7654_3210,
            bucket: Some(12_345),
        }
    }

    #[test]
    fn a_token_reads_as_it_was_made() {
        for token in [token(), Token { bucket: None, version: 255, epoch: u32::MAX, bin: (1 << 48) - 1, ..token() }] {
            let text = token.sign(&secret());
            assert_eq!(text.len(), TOKEN_LENGTH);
            assert_eq!(Token::read(text.as_bytes(), &secret()), Some(token), "{text}");
        }
    }

    #[test]
    fn the_text_of_a_token_never_changes() {
        // Made by an implementation apart: Python's base64 and a SipHash-2-4 checked against its authors' vectors.
        let text = "AQEjRWeJq83vASNFZ4mrze8AAAAHAgGatpfoAP7cuph2VDIQMDl0kEmgNr_okg";
        assert_eq!(token().sign(&secret()), text);
    }

    #[test]
    fn no_other_secret_and_no_other_text_makes_a_token() {
        let text = token().sign(&secret());
        assert_eq!(Token::read(text.as_bytes(), &Secret::new([7; 16])), None);
        assert_eq!(Token::read(text.get(1..).unwrap().as_bytes(), &secret()), None);
        assert_eq!(Token::read(format!("{text}A").as_bytes(), &secret()), None);
        for at in 0..text.len() {
            for other in ALPHABET.iter().chain(b"=+/ ") {
                let mut changed = text.clone().into_bytes();
                if std::mem::replace(&mut changed[at], *other) != *other {
                    assert_eq!(Token::read(&changed, &secret()), None, "{at} {other}");
                }
            }
        }
    }

    #[test]
    fn a_secret_is_shown_to_nobody_by_accident() {
        assert_eq!(format!("{:?}", secret()), "Secret(…)");
        assert_eq!(secret().to_hex(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(Secret::from_hex("000102030405060708090A0B0C0D0E0F"), None);
        assert_eq!(Secret::from_hex("+0102030405060708090a0b0c0d0e0f0"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(text in proptest::collection::vec(any::<u8>(), 60..65)) {
            prop_assert_eq!(Token::read(&text, &secret()), None);
        }
    }
}
