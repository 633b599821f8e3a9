//! Who may do what: bearer tokens with roles, those that the controller was started with and those that it keeps. Knows no route.

use crate::access::{self, Access, TokenRow, digest};
use crate::clock::Clock;
use anyhow::{Context, bail};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub(crate) use crate::access::Role;

/// The tokens there are.
#[derive(Default)]
pub(crate) struct Auth {
    /// Those that it was started with, by the digests of their secrets.
    configured: HashMap<[u8; 32], Configured>,
    /// Those that it keeps; none, in tests.
    kept: Option<(Arc<Access>, Clock)>,
    /// Names of this controller, beside its addresses, each with its port if it was given one.
    hosts: Vec<Authority>,
}

/// A token that the controller was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configured {
    pub(crate) role: Role,
    /// Whom the token was given to, if it says.
    pub(crate) name: Option<String>,
}

/// Whom a request is known by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name of its token, or its role; empty where everybody may do everything.
    pub(crate) who: String,
    /// None where everybody may do everything.
    pub(crate) role: Option<Role>,
    /// What no other token is known by, whatever it is called; what has it is counted and remembered as the same. Empty where everybody
    /// may do everything.
    pub(crate) key: String,
}

/// How keys of tokens begin that the controller keeps.
const KEPT: &str = "kept:";

impl Caller {
    /// Whether this is the token of a name that the controller keeps.
    pub(crate) fn is_kept(&self, name: &str) -> bool {
        self.key.starts_with(KEPT) && self.who == name
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the tokens themselves.
        formatter.debug_struct("Auth").field("configured", &self.configured.len()).finish()
    }
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No token.
    Missing,
    /// A token, and none that is known.
    Unknown,
    /// A known token whose time is over.
    Expired,
    /// A known token of the first role, where one of the others is asked for.
    Role(Role, &'static [Role]),
    /// There are no tokens, and a web page of another origin asks, through somebody's browser.
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
        let mut tokens = HashMap::new();
        for entry in entries {
            let (role, token) = entry
                .split_once('=')
                .context("a token is written ROLE=TOKEN, with role proxy, service, viewer or operator")?;
            let (role, name) = role.split_once(':').map_or((role, None), |(role, name)| (role, Some(name)));
            if !name.is_none_or(access::is_name) {
                bail!("the name in ROLE:NAME=TOKEN {}", access::NAMES);
            }
            // Nothing of it is repeated: with the role left out, or both the wrong way round, what stands before `=` is a secret.
            let Some(role) = Role::of(role) else {
                bail!("what stands before the first `=` of a token is not a role: proxy, service, viewer or operator");
            };
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("a token for the role {} is empty or not visible ASCII", role.name());
            }
            if let Some(name) = name
                && tokens.values().any(|other: &Configured| other.name.as_deref() == Some(name))
            {
                bail!(
                    "the {} of the tokens has the name of one before it, and nobody could tell which of the two did something: \
                     give each a name of its own",
                    ordinal(tokens.len() + 1)
                );
            }
            let configured = Configured { role, name: name.map(str::to_owned) };
            if tokens.insert(digest(token.as_bytes()), configured).is_some() {
                bail!("the same token is there twice: give each role, and each person, one of its own");
            }
        }
        Ok(Self { configured: tokens, ..Self::default() })
    }

    /// Refuses tokens of the same name as one that the ledger keeps.
    ///
    /// # Errors
    /// When there are, with their names.
    pub(crate) fn check_kept(&self, kept: &[TokenRow]) -> anyhow::Result<()> {
        let twice: Vec<String> = self.configured().into_iter().filter_map(|token| token.name).collect();
        let twice: Vec<&str> =
            twice.iter().map(String::as_str).filter(|name| kept.iter().any(|row| row.name == *name)).collect();
        if twice.is_empty() {
            return Ok(());
        }
        bail!(
            "the ledger keeps a token of the same name as one given at the start ({}): rename that one, or revoke the ledger's with \
             `weir token revoke NAME --ledger FILE`",
            twice.join(", ")
        )
    }

    /// Whether somebody can operate this by a token that it was started with.
    pub(crate) fn has_operator(&self) -> bool {
        self.configured.values().any(|token| token.role == Role::Operator)
    }

    /// The same with the tokens that the controller keeps.
    pub(crate) fn with_access(self, access: Arc<Access>, clock: Clock) -> Self {
        Self { kept: Some((access, clock)), ..self }
    }

    /// The tokens that the controller was started with, by role and name.
    pub(crate) fn configured(&self) -> Vec<Configured> {
        let mut configured: Vec<Configured> = self.configured.values().cloned().collect();
        configured.sort_by(|one, other| (one.role.name(), &one.name).cmp(&(other.role.name(), &other.name)));
        configured
    }

    /// The same for a controller that is known by these names too.
    pub(crate) fn with_hosts(self, hosts: impl IntoIterator<Item = Authority>) -> Self {
        Self { hosts: hosts.into_iter().collect(), ..self }
    }

    /// Whether everybody may do everything.
    pub(crate) fn is_open(&self) -> bool {
        // Whoever has revoked every token has not said that everybody may come in.
        self.configured.is_empty() && self.kept.as_ref().is_none_or(|(access, _)| !access.had_tokens())
    }

    /// Refuses to be open where others can reach it.
    ///
    /// # Errors
    /// When it is, and nobody asked for that.
    pub(crate) fn check_listen(&self, addresses: &[SocketAddr], allow_unauthenticated: bool) -> anyhow::Result<()> {
        let exposed = addresses.iter().find(|address| !address.ip().is_loopback());
        match exposed {
            Some(address) if self.is_open() && !allow_unauthenticated => bail!(
                "{address} can be reached from other machines, and there is no token: make one with \
                 `weir token create NAME --role operator --ledger FILE`, \
                 give some by --token ROLE=TOKEN, --token-file or WEIR_TOKENS, or say --allow-unauthenticated if everybody may do everything"
            ),
            _ => Ok(()),
        }
    }

    /// Whether a host is none that an attacker could make resolve to this machine (DNS rebinding), to read through somebody's
    /// browser: an address, or a name that was given.
    ///
    /// A name without a dot is no proof of that: whoever runs the network, or answers on it for names that nobody has, chooses what
    /// it resolves to. Filters and services of a cluster use such names (`weir:8181`), and their requests alone may: what these read is a plan.
    fn is_own(&self, host: Option<&str>, from_programs: bool) -> bool {
        let Some(host) = host else { return true };
        let Ok(authority) = host.parse::<Authority>() else { return false };
        self.is_known(authority.host()) || (from_programs && !authority.host().contains(['.', ':']))
    }

    /// Whether a host is `localhost`, an address, or a name that was given.
    fn is_known(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|own| own.host().eq_ignore_ascii_case(host))
    }

    /// Whether a write comes from no web page, or from one of this controller: that its host is asked for, or that it is known by, as it
    /// is behind a proxy that asks by another name.
    fn is_own_page(&self, host: Option<&str>, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let Some(origin) = origin.and_then(|(_, origin)| origin.parse::<Authority>().ok()) else { return false };
        let asked = host.is_some_and(|host| origin.as_str().eq_ignore_ascii_case(host));
        (asked && self.is_known(origin.host())) || self.hosts.contains(&origin)
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
        roles: &'static [Role],
    ) -> Result<Caller, Denied> {
        if self.is_open() {
            // Being where only this machine, or this network, reaches it is protection against everybody but the web pages that
            // somebody's browser shows there.
            let (host, from_programs) =
                (host(uri, headers), roles.contains(&Role::Proxy) || roles.contains(&Role::Service));
            if !self.is_own(host, from_programs) {
                return Err(Denied::Host);
            }
            if !method.is_safe() && !self.is_own_page(host, headers) {
                return Err(Denied::Origin);
            }
            return Ok(Caller::default());
        }
        // Where there are tokens it does not matter which page asks, or for which host. No browser sends one by itself, as it does
        // cookies: a page of another origin that has one was given it, and without this controller's leave (which it never gives)
        // it may not even send the header. So a proxy before the controller may call it as it likes.
        let caller = self.caller(headers)?;
        match caller.role {
            Some(role) if !roles.contains(&role) => Err(Denied::Role(role, roles)),
            _ => Ok(caller),
        }
    }

    /// Who asks, by the token.
    ///
    /// # Errors
    /// Why that is nobody.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let header = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let given = match header.split_at_checked(b"bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => digest(token),
            _ => return Err(Denied::Missing),
        };
        if let Some(Configured { role, name }) = self.configured.get(&given) {
            // Not by its digest: keys are written down, and this secret may be one that can be guessed.
            let key = format!("start:{}:{}", role.name(), name.as_deref().unwrap_or_default());
            let who = name.clone().unwrap_or_else(|| role.name().to_owned());
            return Ok(Caller { who, role: Some(*role), key });
        }
        let (access, clock) = self.kept.as_ref().ok_or(Denied::Unknown)?;
        let known = access.find(&given).ok_or(Denied::Unknown)?;
        let now = clock.now();
        if known.is_expired(now) {
            return Err(Denied::Expired);
        }
        known.used(now);
        // Not by its name, which somebody else has when it is revoked and made again.
        let key = format!("{KEPT}{}", access::hexadecimal(&given));
        Ok(Caller { who: known.name.clone(), role: Some(known.role), key })
    }
}

/// A place in a list, in words that programs need not read.
fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
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
        let admit = |token: &str, roles: &'static [Role]| {
            auth.admit(&Method::GET, &Uri::default(), &headers(token), roles).map(|_| ())
        };
        assert_eq!(admit("Bearer p", &[Role::Proxy]), Ok(()));
        assert_eq!(admit("bearer v", &[Role::Viewer, Role::Operator]), Ok(()));
        const READ: &[Role] = &[Role::Viewer, Role::Operator];
        assert_eq!(admit("Bearer p", READ), Err(Denied::Role(Role::Proxy, READ)));
        for wrong in ["Bearer pp", "Bearer ", "Bearer  p"] {
            assert_eq!(admit(wrong, &[Role::Proxy]), Err(Denied::Unknown), "{wrong}");
        }
        for none in ["Bearer", "Basic p", "p"] {
            assert_eq!(admit(none, &[Role::Proxy]), Err(Denied::Missing), "{none}");
        }
        assert_eq!(auth.admit(&Method::GET, &Uri::default(), &HeaderMap::new(), &[Role::Proxy]), Err(Denied::Missing));
    }

    #[test]
    fn a_caller_is_known_by_the_name_of_its_token_or_by_its_role() {
        let auth = Auth::parse(["operator:ada@ops=a", "operator=o", "viewer:eve=e"]).unwrap();
        let caller = |token: &str, roles: &'static [Role]| {
            auth.admit(&Method::POST, &Uri::default(), &headers(token), roles).unwrap().who
        };
        assert_eq!(caller("Bearer a", &[Role::Operator]), "ada@ops");
        assert_eq!(caller("Bearer e", &[Role::Viewer]), "eve");
        assert_eq!(caller("Bearer o", &[Role::Operator]), "operator");
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
    fn no_two_tokens_can_be_taken_for_each_other() {
        for (entries, why) in [
            (&["operator:ada=a", "viewer:ada=b"][..], "the 2nd of the tokens has the name of one before it"),
            (&["viewer=v", "operator:viewer=o"], "is neither a role"),
            (&["operator:Proxy=o"], "is neither a role"),
            (&["operator:.=o"], "nor `.` or `..`"),
            (&["operator:..=o"], "nor `.` or `..`"),
        ] {
            let message = format!("{:#}", Auth::parse(entries.iter().copied()).unwrap_err());
            assert!(message.contains(why) && !message.contains("ada"), "{message}");
        }
        // Two of one role without names: the old one and the new, while they are changed.
        assert!(Auth::parse(["proxy=a", "proxy=b", "operator:ada=c", "operator:ada.2=d"]).is_ok());

        let folder = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::open(&folder.path().join("weir.db")).unwrap());
        let auth = Auth::parse(["operator:ada=a", "operator=o"]).unwrap();
        let key = |auth: &Auth, secret: &str| auth.caller(&headers(&format!("Bearer {secret}"))).unwrap().key;
        let make = || access.create("ada", Role::Operator, None, "", 1).unwrap().0;
        let kept = make();
        let error = auth.check_kept(&access.tokens().unwrap()).unwrap_err().to_string();
        assert!(error.contains("(ada)") && error.contains("weir token revoke"), "{error}");
        assert!(Auth::parse(["operator:eve=a"]).unwrap().check_kept(&access.tokens().unwrap()).is_ok());
        // Made on the ledger while the controller ran.
        let auth = auth.with_access(Arc::clone(&access), Clock::system());
        let mut keys = vec![key(&auth, "a"), key(&auth, "o"), key(&auth, kept.reveal())];
        access.revoke("ada", "", 2, false).unwrap();
        assert!(auth.check_kept(&access.tokens().unwrap()).is_ok());
        keys.push(key(&auth, make().reveal()));
        assert!(keys.iter().all(|key| !key.is_empty()));
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 4, "{keys:?}");
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
        let named = Auth::parse([]).unwrap().with_hosts(["weir.default.svc", "weir"].map(|host| host.parse().unwrap()));
        let ask = |auth: &Auth, host: &str, roles: &'static [Role]| {
            let headers: HeaderMap = [(HOST, host.parse().unwrap())].into_iter().collect();
            let by_header = auth.admit(&Method::GET, &Uri::default(), &headers, roles).map(|_| ());
            let uri: Uri = format!("http://{host}/v1/plan").parse().unwrap();
            assert_eq!(auth.admit(&Method::GET, &uri, &HeaderMap::new(), roles).map(|_| ()), by_header, "{host}");
            by_header
        };
        let get = |auth: &Auth, host: &str| ask(auth, host, &[Role::Viewer, Role::Operator]);
        for own in ["127.0.0.1:8181", "[::1]:8181", "10.0.0.7", "localhost:8181", "LocalHost"] {
            assert_eq!(get(&open, own), Ok(()), "{own}");
        }
        // Whoever runs the network says where a name without a dot is: for what people read it is not enough, unless it was given.
        for dotless in ["weir", "weir:8181"] {
            assert_eq!(get(&open, dotless), Err(Denied::Host), "{dotless}");
            assert_eq!(get(&named, dotless), Ok(()), "{dotless}");
            for programs in [&[Role::Proxy, Role::Viewer, Role::Operator][..], &[Role::Service, Role::Operator]] {
                assert_eq!(ask(&open, dotless, programs), Ok(()), "{dotless}");
                assert_eq!(ask(&open, "evil.example", programs), Err(Denied::Host));
            }
        }
        for foreign in ["evil.example:8181", "weir.default.svc", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert_eq!(get(&open, foreign), Err(Denied::Host), "{foreign}");
        }
        assert_eq!(get(&named, "Weir.default.svc:8181"), Ok(()));
        assert_eq!(open.admit(&Method::GET, &Uri::default(), &HeaderMap::new(), &[]).map(|_| ()), Ok(()));
        let with_tokens = Auth::parse(["viewer=v"]).unwrap();
        assert_eq!(get(&with_tokens, "evil.example"), Err(Denied::Missing), "a page has no token");
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

    #[test]
    fn behind_a_proxy_that_asks_by_another_name_the_dashboard_writes_with_a_token_or_by_a_name_that_was_given() {
        let post = |auth: &Auth, origin: &str, host: &str, token: &str| {
            let fields = [(ORIGIN, origin), (HOST, host), (AUTHORIZATION, token)];
            let headers: HeaderMap = fields.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
            auth.admit(&Method::POST, &Uri::default(), &headers, &[Role::Operator]).map(|_| ())
        };
        let with_tokens = Auth::parse(["operator=o"]).unwrap();
        for host in ["10.0.0.7:8181", "weir:8181", "weir.example"] {
            assert_eq!(post(&with_tokens, "https://weir.example", host, "Bearer o"), Ok(()), "{host}");
        }
        assert_eq!(post(&with_tokens, "https://weir.example", "weir.example", ""), Err(Denied::Missing));

        let open = Auth::parse([]).unwrap();
        assert_eq!(post(&open, "https://weir.example", "127.0.0.1:8181", ""), Err(Denied::Origin));
        let named =
            Auth::parse([]).unwrap().with_hosts(["Weir.example", "weir.test:8443"].map(|host| host.parse().unwrap()));
        for (origin, host, admitted) in [
            ("https://weir.example", "127.0.0.1:8181", Ok(())),
            ("https://weir.example", "weir.example", Ok(())),
            ("https://weir.test:8443", "127.0.0.1:8181", Ok(())),
            // Another service of that host.
            ("https://weir.example:3000", "127.0.0.1:8181", Err(Denied::Origin)),
            ("https://weir.test", "127.0.0.1:8181", Err(Denied::Origin)),
            ("https://evil.example", "weir.example", Err(Denied::Origin)),
            ("http://localhost:3000", "localhost:8181", Err(Denied::Origin)),
        ] {
            assert_eq!(post(&named, origin, host, ""), admitted, "{origin} {host}");
        }
    }
}
