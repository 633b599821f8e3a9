//! Who may do what: bearer tokens with roles. Knows no route.

use anyhow::{Context, bail};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Fetch the plan, send reports.
    Proxy,
    /// Report rewards.
    Service,
    /// Read everything.
    Viewer,
    /// Read everything, change experiments.
    Operator,
}

impl Role {
    /// As in `ROLE=TOKEN`.
    const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Service => "service",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// The tokens there are.
pub(crate) struct Auth {
    /// Empty: everybody may do everything.
    tokens: Vec<Token>,
    /// Names of this controller, in lower case, beside its addresses.
    hosts: Vec<String>,
}

struct Token {
    role: Role,
    /// Whom the token was given to, if it says.
    name: Option<String>,
    secret: String,
}

/// Whom a request is known by: the name of its token, or its role; empty where everybody may do everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) String);

/// Longest name of a token's owner.
const MAX_NAME: usize = 63;

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
    /// There are no tokens, and the request is for a host name that may be anybody's.
    Host,
}

impl Auth {
    /// Reads `ROLE=TOKEN` and `ROLE:NAME=TOKEN` entries.
    ///
    /// # Errors
    /// When one is not of that form; the message does not repeat the token.
    pub(crate) fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut tokens = Vec::new();
        for entry in entries {
            let (role, token) = entry
                .split_once('=')
                .context("a token is written ROLE=TOKEN, with role proxy, service, viewer or operator")?;
            let (role, name) = role.split_once(':').map_or((role, None), |(role, name)| (role, Some(name)));
            let fine = |name: &str| {
                (1..=MAX_NAME).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
            };
            if !name.is_none_or(fine) {
                bail!("the name in ROLE:NAME=TOKEN has 1 to {MAX_NAME} letters, digits, `-`, `_`, `.` and `@`");
            }
            let word = role;
            let role = match role {
                "proxy" => Role::Proxy,
                "service" => Role::Service,
                "viewer" => Role::Viewer,
                "operator" => Role::Operator,
                other => bail!("`{}` is not a role: proxy, service, viewer or operator", other.escape_debug()),
            };
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("a token for the role {word} is empty or not visible ASCII");
            }
            if tokens.iter().any(|known: &Token| known.secret == token) {
                bail!("the same token is there twice: give each role, and each person, one of its own");
            }
            tokens.push(Token { role, name: name.map(str::to_owned), secret: token.to_owned() });
        }
        Ok(Self { tokens, hosts: Vec::new() })
    }

    /// The same for a controller that is known by these names too.
    pub(crate) fn with_hosts<'a>(self, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { hosts: hosts.into_iter().map(str::to_ascii_lowercase).collect(), ..self }
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

    /// Whether a host is none that an attacker could make resolve to this machine (DNS rebinding), to read through somebody's
    /// browser: an address, a name that only this network's own resolver can know, as filters use, or one that was given.
    fn is_own(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return true };
        let Ok(authority) = host.parse::<Authority>() else { return false };
        self.is_known(authority.host()) || !authority.host().contains(['.', ':'])
    }

    /// Whether a host is `localhost`, an address, or a name that was given.
    fn is_known(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        host == "localhost" || host.parse::<IpAddr>().is_ok() || self.hosts.contains(&host)
    }

    /// Whether the origin is a host name that an attacker could make resolve to this machine.
    fn is_from_a_name(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return false };
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let authority = authority.and_then(|(_, authority)| authority.parse::<Authority>().ok());
        authority.is_none_or(|authority| !self.is_known(authority.host()))
    }

    /// Whether a request may do what asks for one of these roles, and who asks.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        roles: &[Role],
    ) -> Result<Caller, Denied> {
        if self.is_open() && !self.is_own(host(uri, headers)) {
            return Err(Denied::Host);
        }
        if !method.is_safe() && (is_cross_origin(headers) || (self.is_open() && self.is_from_a_name(headers))) {
            return Err(Denied::Origin);
        }
        if self.is_open() {
            return Ok(Caller::default());
        }
        let header = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let given = match header.split_at_checked(b"bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Err(Denied::Unknown),
        };
        let (mut known, mut caller) = (false, None);
        // Every token is looked at, so that the time says nothing about which one matched.
        for token in &self.tokens {
            let same = bool::from(token.secret.as_bytes().ct_eq(given));
            known |= same;
            if same && roles.contains(&token.role) {
                caller = Some(token);
            }
        }
        match (known, caller) {
            (_, Some(token)) => Ok(Caller(token.name.clone().unwrap_or_else(|| token.role.name().to_owned()))),
            (true, None) => Err(Denied::Role),
            (false, None) => Err(Denied::Unknown),
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

/// What a request is for: none of an old client, which is no browser.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    // What cannot be read is nobody's name.
    let header = || headers.get(HOST).map(|host| host.to_str().unwrap_or("?.?"));
    uri.authority().map(Authority::as_str).or_else(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(token: &str) -> HeaderMap {
        [(AUTHORIZATION, token.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_token_allows_what_its_role_allows_and_nothing_else() {
        let auth = Auth::parse(["proxy=p", "operator=o", "viewer=v"]).unwrap();
        let admit =
            |token: &str, roles: &[Role]| auth.admit(&Method::GET, &Uri::default(), &headers(token), roles).map(|_| ());
        assert_eq!(admit("Bearer p", &[Role::Proxy]), Ok(()));
        assert_eq!(admit("bearer v", &[Role::Viewer, Role::Operator]), Ok(()));
        assert_eq!(admit("Bearer p", &[Role::Viewer, Role::Operator]), Err(Denied::Role));
        for wrong in ["Bearer pp", "Bearer ", "Bearer", "Basic p", "p", "Bearer  p"] {
            assert_eq!(admit(wrong, &[Role::Proxy]), Err(Denied::Unknown), "{wrong}");
        }
        assert_eq!(auth.admit(&Method::GET, &Uri::default(), &HeaderMap::new(), &[Role::Proxy]), Err(Denied::Unknown));
    }

    #[test]
    fn a_caller_is_known_by_the_name_of_its_token_or_by_its_role() {
        let auth = Auth::parse(["operator:ada@ops=a", "operator=o", "viewer:eve=e"]).unwrap();
        let caller =
            |token: &str, role: Role| auth.admit(&Method::POST, &Uri::default(), &headers(token), &[role]).unwrap().0;
        assert_eq!(caller("Bearer a", Role::Operator), "ada@ops");
        assert_eq!(caller("Bearer e", Role::Viewer), "eve");
        assert_eq!(caller("Bearer o", Role::Operator), "operator");
        assert_eq!(
            Auth::parse([]).unwrap().admit(&Method::POST, &Uri::default(), &HeaderMap::new(), &[]),
            Ok(Caller::default())
        );
        for wrong in ["operator:=secret", "operator:a b=secret", "operator:a:b=secret", ":a=secret"] {
            let message = format!("{:#}", Auth::parse([wrong]).unwrap_err());
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_repeating_it() {
        for again in ["viewer=secret", "proxy:eve=secret"] {
            let message = format!("{:#}", Auth::parse(["proxy=secret", again]).unwrap_err());
            assert!(message.contains("twice") && !message.contains("secret"), "{message}");
        }
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
    fn without_tokens_only_what_is_for_this_controller_by_name_is_answered() {
        let open = Auth::parse([]).unwrap();
        let named = Auth::parse([]).unwrap().with_hosts(["weir.default.svc"]);
        let get = |auth: &Auth, host: &str| {
            let headers: HeaderMap = [(HOST, host.parse().unwrap())].into_iter().collect();
            let by_header = auth.admit(&Method::GET, &Uri::default(), &headers, &[Role::Viewer]).map(|_| ());
            let uri: Uri = format!("http://{host}/v1/plan").parse().unwrap();
            assert_eq!(
                auth.admit(&Method::GET, &uri, &HeaderMap::new(), &[Role::Viewer]).map(|_| ()),
                by_header,
                "{host}"
            );
            by_header
        };
        for own in ["127.0.0.1:8181", "[::1]:8181", "10.0.0.7", "localhost:8181", "LocalHost", "weir", "weir:8181"] {
            assert_eq!(get(&open, own), Ok(()), "{own}");
        }
        for foreign in ["evil.example:8181", "weir.default.svc", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert_eq!(get(&open, foreign), Err(Denied::Host), "{foreign}");
        }
        assert_eq!(get(&named, "Weir.default.svc:8181"), Ok(()));
        assert_eq!(open.admit(&Method::GET, &Uri::default(), &HeaderMap::new(), &[]).map(|_| ()), Ok(()));
        let with_tokens = Auth::parse(["viewer=v"]).unwrap();
        assert_eq!(get(&with_tokens, "evil.example"), Err(Denied::Unknown), "a page has no token");
    }

    #[test]
    fn a_web_page_of_another_origin_changes_nothing() {
        let open = Auth::parse([]).unwrap();
        let from = |origin: &'static str| -> HeaderMap {
            [(ORIGIN, origin.parse().unwrap()), (HOST, "127.0.0.1:8181".parse().unwrap())].into_iter().collect()
        };
        let post =
            |headers: &HeaderMap| open.admit(&Method::POST, &Uri::default(), headers, &[Role::Operator]).map(|_| ());
        assert_eq!(post(&from("http://evil.example")), Err(Denied::Origin));
        assert_eq!(post(&from("null")), Err(Denied::Origin));
        assert_eq!(post(&from("http://127.0.0.1:8181")), Ok(()));
        // A name that its owner lets resolve to this machine: origin and host agree.
        let rebound = [(ORIGIN, "http://evil.example:8181"), (HOST, "evil.example:8181")];
        let rebound: HeaderMap = rebound.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
        assert_eq!(post(&rebound), Err(Denied::Host));
        for local in ["localhost:8181", "[::1]:8181"] {
            let headers = [(ORIGIN, format!("http://{local}")), (HOST, local.to_owned())];
            let headers: HeaderMap = headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
            assert_eq!(post(&headers), Ok(()), "{local}");
        }
        assert!(open.admit(&Method::GET, &Uri::default(), &from("http://evil.example"), &[Role::Viewer]).is_ok());
    }
}
