//! Who may do what: bearer tokens with roles. Knows no route.

use anyhow::{Context, bail};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Fetch the plan, send reports.
    Proxy,
    /// Read everything.
    Viewer,
    /// Read everything, change experiments.
    Operator,
}

/// The tokens there are.
pub(crate) struct Auth {
    /// Empty: everybody may do everything.
    tokens: Vec<(Role, String)>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the tokens themselves.
        formatter.debug_struct("Auth").field("tokens", &self.tokens.len()).finish()
    }
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No token, or none that is known.
    Unknown,
    /// A known token without the role.
    Role,
    /// A web page of another origin asks, through somebody's browser.
    Origin,
}

impl Auth {
    /// Reads `ROLE=TOKEN` entries.
    ///
    /// # Errors
    /// When one is not of that form; the message does not repeat the token.
    pub(crate) fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut tokens = Vec::new();
        for entry in entries {
            let (role, token) =
                entry.split_once('=').context("a token is written ROLE=TOKEN, with role proxy, viewer or operator")?;
            let role = match role {
                "proxy" => Role::Proxy,
                "viewer" => Role::Viewer,
                "operator" => Role::Operator,
                other => bail!("`{}` is not a role: proxy, viewer or operator", other.escape_debug()),
            };
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("a token for the role {role:?} is empty or not visible ASCII");
            }
            tokens.push((role, token.to_owned()));
        }
        Ok(Self { tokens })
    }

    /// Whether everybody may do everything.
    pub(crate) const fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Refuses to be open where others can reach it.
    ///
    /// # Errors
    /// When it is, and nobody asked for that.
    pub(crate) fn check_listen(&self, addresses: &[SocketAddr], allow_unauthenticated: bool) -> anyhow::Result<()> {
        let exposed = addresses.iter().find(|address| !address.ip().is_loopback());
        match exposed {
            Some(address) if self.is_open() && !allow_unauthenticated => bail!(
                "{address} can be reached from other machines, and there is no token: give some by --token ROLE=TOKEN, \
                 --token-file or WEIR_TOKENS, or say --allow-unauthenticated if everybody may do everything"
            ),
            _ => Ok(()),
        }
    }

    /// Whether a request may do what asks for one of these roles.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&self, method: &Method, headers: &HeaderMap, roles: &[Role]) -> Result<(), Denied> {
        if !method.is_safe() && (is_cross_origin(headers) || (self.is_open() && is_from_a_name(headers))) {
            return Err(Denied::Origin);
        }
        if self.is_open() {
            return Ok(());
        }
        let header = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let given = match header.split_at_checked(b"bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Err(Denied::Unknown),
        };
        let (mut known, mut has_role) = (false, false);
        // Every token is looked at, so that the time says nothing about which one matched.
        for (role, token) in &self.tokens {
            let same = bool::from(token.as_bytes().ct_eq(given));
            known |= same;
            has_role |= same && roles.contains(role);
        }
        match (known, has_role) {
            (_, true) => Ok(()),
            (true, false) => Err(Denied::Role),
            (false, false) => Err(Denied::Unknown),
        }
    }
}

/// Without tokens, the loopback address is protection against everybody but the pages that a local browser shows.
fn is_cross_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.is_none() || authority != host
}

/// Whether the origin is a host name that an attacker could make resolve to this machine (DNS rebinding): any but `localhost`.
fn is_from_a_name(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let Some(authority) = authority.and_then(|authority| authority.parse::<Authority>().ok()) else { return true };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host != "localhost" && host.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(token: &str) -> HeaderMap {
        [(AUTHORIZATION, token.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_token_allows_what_its_roles_allow_and_nothing_else() {
        let auth = Auth::parse(["proxy=p", "operator=o", "viewer=both", "proxy=both"]).unwrap();
        let admit = |token: &str, roles: &[Role]| auth.admit(&Method::GET, &headers(token), roles);
        assert_eq!(admit("Bearer p", &[Role::Proxy]), Ok(()));
        assert_eq!(admit("bearer both", &[Role::Proxy]), Ok(()));
        assert_eq!(admit("Bearer both", &[Role::Viewer]), Ok(()));
        assert_eq!(admit("Bearer p", &[Role::Viewer, Role::Operator]), Err(Denied::Role));
        for wrong in ["Bearer pp", "Bearer ", "Bearer", "Basic p", "p", "Bearer  p"] {
            assert_eq!(admit(wrong, &[Role::Proxy]), Err(Denied::Unknown), "{wrong}");
        }
        assert_eq!(auth.admit(&Method::GET, &HeaderMap::new(), &[Role::Proxy]), Err(Denied::Unknown));
    }

    #[test]
    fn what_is_no_token_is_refused_without_repeating_it() {
        for wrong in ["secret", "admin=secret", "proxy=", "proxy=a b"] {
            let message = format!("{:#}", Auth::parse([wrong]).unwrap_err());
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn without_tokens_only_the_loopback_address_is_open() {
        let open = Auth::parse([]).unwrap();
        let loopback = ["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()];
        let everywhere = ["127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap()];
        assert!(open.check_listen(&loopback, false).is_ok());
        assert!(open.check_listen(&everywhere, false).is_err());
        assert!(open.check_listen(&everywhere, true).is_ok());
        assert!(Auth::parse(["viewer=v"]).unwrap().check_listen(&everywhere, false).is_ok());
    }

    #[test]
    fn a_web_page_of_another_origin_changes_nothing() {
        let open = Auth::parse([]).unwrap();
        let from = |origin: &'static str| -> HeaderMap {
            [(ORIGIN, origin.parse().unwrap()), (HOST, "127.0.0.1:8181".parse().unwrap())].into_iter().collect()
        };
        let post = |headers: &HeaderMap| open.admit(&Method::POST, headers, &[Role::Operator]);
        assert_eq!(post(&from("http://evil.example")), Err(Denied::Origin));
        assert_eq!(post(&from("null")), Err(Denied::Origin));
        assert_eq!(post(&from("http://127.0.0.1:8181")), Ok(()));
        // A name that its owner lets resolve to this machine: origin and host agree.
        let rebound = [(ORIGIN, "http://evil.example:8181"), (HOST, "evil.example:8181")];
        let rebound: HeaderMap = rebound.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
        assert_eq!(post(&rebound), Err(Denied::Origin));
        for local in ["localhost:8181", "[::1]:8181"] {
            let headers = [(ORIGIN, format!("http://{local}")), (HOST, local.to_owned())];
            let headers: HeaderMap = headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
            assert_eq!(post(&headers), Ok(()), "{local}");
        }
        assert_eq!(open.admit(&Method::GET, &from("http://evil.example"), &[Role::Viewer]), Ok(()));
    }
}
