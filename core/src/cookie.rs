//! Cookies that the filter sets itself: what they may say of themselves, and the text of `Set-Cookie`.
//!
//! A generated cookie is a random name for a browser and nothing else: no time, no place, no version. It is no credential:
//! whoever makes one up is assigned by it as by any other.

use crate::plan::MAX_NAME;
use serde::{Deserialize, Serialize};

/// Longest lifetime, in seconds: 400 days, as long as browsers keep any cookie.
pub const MAX_LIFETIME_S: u64 = 400 * 86_400;
/// Longest value of a cookie that counts as a unit's, in bytes.
pub const MAX_KEY: usize = 128;
/// Longest path, in bytes.
const MAX_PATH: usize = 256;
const DEFAULT_LIFETIME_S: u64 = 30 * 86_400;

/// A cookie that the filter gives to whoever has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratedCookie {
    /// Its name.
    pub name: String,
    /// For how many seconds a browser keeps it: 1 to [`MAX_LIFETIME_S`].
    #[serde(default = "default_lifetime")]
    pub lifetime_s: u64,
    /// Below which path browsers send it.
    #[serde(default = "root")]
    pub path: String,
    /// Whether browsers send it along from other sites' pages.
    #[serde(default)]
    pub same_site: SameSite,
    /// Whether browsers send it over TLS only.
    #[serde(default = "yes")]
    pub secure: bool,
    /// Whether pages' scripts cannot read it.
    #[serde(default = "yes")]
    pub http_only: bool,
}

/// Whether browsers send a cookie along from other sites' pages (RFC 6265bis).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    #[default]
    Lax,
    /// Always; asks for `secure`.
    None,
}

const fn default_lifetime() -> u64 {
    DEFAULT_LIFETIME_S
}

fn root() -> String {
    "/".to_owned()
}

const fn yes() -> bool {
    true
}

impl GeneratedCookie {
    /// A cookie of this name with every default.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lifetime_s: DEFAULT_LIFETIME_S,
            path: root(),
            same_site: SameSite::default(),
            secure: true,
            http_only: true,
        }
    }

    /// Checks what browsers ask of a cookie.
    ///
    /// # Errors
    /// The field that is wrong, and what is wrong with it.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let check = |holds: bool, field, problem: String| if holds { Ok(()) } else { Err((field, problem)) };
        check(is_name(&self.name), "name", format!("`{}` is not the name of a cookie", self.name.escape_debug()))?;
        check((1..=MAX_LIFETIME_S).contains(&self.lifetime_s), "lifetimeS", {
            format!("{} is not within 1 to {MAX_LIFETIME_S} seconds, 400 days", self.lifetime_s)
        })?;
        check(is_path(&self.path), "path", {
            format!("`{}` is not a path of visible ASCII characters without `;`", self.path.escape_debug())
        })?;
        check(self.secure || self.same_site != SameSite::None, "secure", {
            "browsers refuse a cookie with SameSite=None that is not secure".to_owned()
        })?;
        let prefixed =
            |prefix: &str| self.name.get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(prefix));
        check(self.secure || !(prefixed("__Secure-") || prefixed("__Host-")), "secure", {
            "browsers refuse a cookie whose name begins with `__Secure-` or `__Host-` and that is not secure".to_owned()
        })?;
        check(self.path == "/" || !prefixed("__Host-"), "path", {
            "browsers refuse a cookie whose name begins with `__Host-` and whose path is not `/`".to_owned()
        })
    }

    /// The value of a `Set-Cookie` header that gives it this value; an empty one takes it back.
    #[must_use]
    pub fn set(&self, value: &str) -> String {
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let lifetime = if value.is_empty() { 0 } else { self.lifetime_s };
        let secure = if self.secure { "; Secure" } else { "" };
        let http_only = if self.http_only { "; HttpOnly" } else { "" };
        let Self { name, path, .. } = self;
        format!("{name}={value}; Max-Age={lifetime}; Path={path}; SameSite={same_site}{secure}{http_only}")
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
        let mut cookie = GeneratedCookie::named("weir-uid");
        let key = new_key(1, u64::MAX);
        assert_eq!(
            cookie.set(&key),
            "weir-uid=0000000000000001ffffffffffffffff; Max-Age=2592000; Path=/; SameSite=Lax; Secure; HttpOnly"
        );
        assert!(is_key(key.as_bytes()));
        (cookie.secure, cookie.http_only, cookie.same_site) = (false, false, SameSite::Strict);
        (cookie.path, cookie.lifetime_s) = ("/shop".to_owned(), 60);
        assert_eq!(cookie.set("x"), "weir-uid=x; Max-Age=60; Path=/shop; SameSite=Strict");
        assert_eq!(cookie.set(""), "weir-uid=; Max-Age=0; Path=/shop; SameSite=Strict");
    }

    #[test]
    fn what_browsers_would_refuse_is_refused() {
        let usual = GeneratedCookie::named("weir-uid");
        usual.validate().unwrap();
        type Change = fn(&mut GeneratedCookie);
        let changes: [(&str, Change); 10] = [
            ("name", |cookie| cookie.name = String::new()),
            ("name", |cookie| cookie.name = "a b".to_owned()),
            ("name", |cookie| cookie.name = "a=b".to_owned()),
            ("lifetimeS", |cookie| cookie.lifetime_s = 0),
            ("lifetimeS", |cookie| cookie.lifetime_s = MAX_LIFETIME_S + 1),
            ("path", |cookie| cookie.path = "/; Domain=evil.example".to_owned()),
            ("path", |cookie| cookie.path = String::new()),
            ("secure", |cookie| (cookie.same_site, cookie.secure) = (SameSite::None, false)),
            ("secure", |cookie| (cookie.name, cookie.secure) = ("__Secure-uid".to_owned(), false)),
            ("path", |cookie| (cookie.name, cookie.path) = ("__host-uid".to_owned(), "/shop".to_owned())),
        ];
        for (field, change) in changes {
            let mut cookie = usual.clone();
            change(&mut cookie);
            assert_eq!(cookie.validate().unwrap_err().0, field, "{cookie:?}");
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
