//! Cookies that the filter sets itself: what they may say of themselves, and the text of `Set-Cookie`.
//!
//! A generated cookie is a random name for a browser and nothing else: no time, no place, no version. It is no credential:
//! whoever makes one up is assigned by it as by any other. The filter only knows the finished text of the attributes;
//! [`Attributes`] is for whoever writes plans.

use crate::plan::MAX_NAME;
use serde::{Deserialize, Serialize};

/// Longest lifetime, in seconds: 400 days, as long as browsers keep any cookie.
pub const MAX_LIFETIME_S: u64 = 400 * 86_400;
/// Longest value of a cookie that counts as a unit's, in bytes.
pub const MAX_KEY: usize = 128;
/// Longest text of attributes, in bytes.
pub const MAX_ATTRIBUTES: usize = 512;
/// Longest path, in bytes.
const MAX_PATH: usize = 256;

/// A cookie that the filter gives to whoever has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratedCookie {
    /// Its name, a token.
    pub name: String,
    /// What follows the value in `Set-Cookie` (RFC 6265, section 4.1): 1 to [`MAX_ATTRIBUTES`] printable ASCII characters.
    #[serde(default = "usual_attributes")]
    pub attributes: String,
}

fn usual_attributes() -> String {
    "Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly".to_owned()
}

impl GeneratedCookie {
    /// A cookie of this name with the usual attributes: those of [`Attributes::default`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), attributes: usual_attributes() }
    }

    /// The value of a `Set-Cookie` header that gives it this value.
    #[must_use]
    #[inline]
    pub fn set(&self, value: &str) -> String {
        [&self.name, "=", value, "; ", &self.attributes].concat()
    }

    /// The one that takes it back: of two lifetimes the last counts.
    #[must_use]
    pub fn take_back(&self) -> String {
        [&self.name, "=; ", &self.attributes, "; Max-Age=0"].concat()
    }
}

/// What a cookie says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// For how many seconds a browser keeps it: 1 to [`MAX_LIFETIME_S`]. `None`: to be said elsewhere.
    pub lifetime_s: Option<u64>,
    /// Below which path browsers send it.
    pub path: String,
    /// Whether browsers send it along from other sites' pages.
    pub same_site: SameSite,
    /// Whether browsers send it over TLS only.
    pub secure: bool,
    /// Whether pages' scripts cannot read it.
    pub http_only: bool,
}

/// Whether browsers send a cookie along from other sites' pages (RFC 6265bis).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    #[default]
    Lax,
    /// Always; asks for `secure`.
    None,
}

impl Default for Attributes {
    /// Thirty days, everywhere on the site, with links from elsewhere, over TLS only, not for scripts.
    fn default() -> Self {
        Self {
            lifetime_s: Some(30 * 86_400),
            path: "/".to_owned(),
            same_site: SameSite::default(),
            secure: true,
            http_only: true,
        }
    }
}

impl Attributes {
    /// Checks what browsers ask of a cookie of this name.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it.
    pub fn validate(&self, name: &str) -> Result<(), (&'static str, &'static str)> {
        let check = |holds: bool, field, problem| if holds { Ok(()) } else { Err((field, problem)) };
        let lifetime = self.lifetime_s.is_none_or(|lifetime| (1..=MAX_LIFETIME_S).contains(&lifetime));
        check(lifetime, "lifetime", "a cookie lives for 1 second to 400 days")?;
        check(is_path(&self.path), "path", "a cookie's path begins with `/` and has no `;` and no blank")?;
        check(self.secure || self.same_site != SameSite::None, "secure", {
            "browsers refuse a cookie with SameSite=None that is not secure"
        })?;
        let prefixed =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(prefix));
        check(self.secure || !(prefixed("__Secure-") || prefixed("__Host-")), "secure", {
            "browsers refuse a cookie whose name begins with `__Secure-` or `__Host-` and that is not secure"
        })?;
        check(self.path == "/" || !prefixed("__Host-"), "path", {
            "browsers refuse a cookie whose name begins with `__Host-` and whose path is not `/`"
        })
    }

    /// As [`GeneratedCookie`] has them.
    #[must_use]
    pub fn text(&self) -> String {
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let lifetime = self.lifetime_s.map_or_else(String::new, |lifetime| format!("Max-Age={lifetime}; "));
        let secure = if self.secure { "; Secure" } else { "" };
        let http_only = if self.http_only { "; HttpOnly" } else { "" };
        format!("{lifetime}Path={}; SameSite={same_site}{secure}{http_only}", self.path)
    }
}

/// Whether a text can be the name of a cookie: a token (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_token)
}

/// Whether a text can be a cookie's path.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_PATH && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

/// Whether what a client sends as a generated cookie's value may stand for a unit: up to [`MAX_KEY`] bytes that a cookie may have
/// (RFC 6265, section 4.1.1). Anything else no browser was given by anybody: it is taken for no cookie, and replaced.
#[must_use]
#[inline]
pub fn is_key(value: &[u8]) -> bool {
    let is_octet = |byte: &u8| byte.is_ascii_graphic() && !b"\",;\\".contains(byte);
    !value.is_empty() && value.len() <= MAX_KEY && value.iter().all(is_octet)
}

/// A new unit's key: 128 random bits as 32 hexadecimal digits.
#[must_use]
pub fn new_key(high: u64, low: u64) -> String {
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_what_it_is_told_and_no_more() {
        let key = new_key(1, u64::MAX);
        assert!(is_key(key.as_bytes()));
        let usual = GeneratedCookie::named("weir-uid");
        assert_eq!(usual.attributes, Attributes::default().text());
        assert_eq!(
            usual.set(&key),
            "weir-uid=0000000000000001ffffffffffffffff; Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly"
        );
        let attributes = Attributes {
            lifetime_s: Some(60),
            path: "/shop".to_owned(),
            same_site: SameSite::Strict,
            secure: false,
            http_only: false,
        };
        let cookie = GeneratedCookie { attributes: attributes.text(), ..usual };
        assert_eq!(cookie.set("x"), "weir-uid=x; Max-Age=60; Path=/shop; SameSite=Strict");
        assert_eq!(cookie.take_back(), "weir-uid=; Max-Age=60; Path=/shop; SameSite=Strict; Max-Age=0");
        assert_eq!(Attributes { lifetime_s: None, ..attributes }.text(), "Path=/shop; SameSite=Strict");
    }

    #[test]
    fn what_browsers_would_refuse_is_refused() {
        let usual = Attributes::default();
        usual.validate("__Host-uid").unwrap();
        let none = Attributes { same_site: SameSite::None, ..usual.clone() };
        none.validate("uid").unwrap();
        let bare = Attributes { secure: false, ..usual.clone() };
        bare.validate("uid").unwrap();
        let path = |path: &str| Attributes { path: path.to_owned(), ..usual.clone() };
        path("/shop").validate("uid").unwrap();
        for (name, attributes, field) in [
            ("uid", Attributes { lifetime_s: Some(0), ..usual.clone() }, "lifetime"),
            ("uid", Attributes { lifetime_s: Some(MAX_LIFETIME_S + 1), ..usual.clone() }, "lifetime"),
            ("uid", path("/; Domain=evil.example"), "path"),
            ("uid", path(""), "path"),
            ("uid", Attributes { secure: false, ..none }, "secure"),
            ("__Secure-uid", bare, "secure"),
            ("__host-uid", path("/shop"), "path"),
        ] {
            assert_eq!(attributes.validate(name).unwrap_err().0, field, "{attributes:?}");
        }
        for (name, fine) in [("weir-uid", true), ("", false), ("a b", false), ("a=b", false), ("a;b", false)] {
            assert_eq!(is_name(name), fine, "{name}");
        }
    }

    #[test]
    fn only_what_a_cookie_may_hold_stands_for_a_unit() {
        for (value, fine) in [
            (&b"7"[..], true),
            (b"a-user@shop.example", true),
            (b"", false),
            (b"a b", false),
            (b"a\"b", false),
            (b"a\xff", false),
            (&[b'x'; MAX_KEY], true),
            (&[b'x'; MAX_KEY + 1], false),
        ] {
            assert_eq!(is_key(value), fine, "{}", value.escape_ascii());
        }
    }
}
