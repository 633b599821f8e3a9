//! Hosts and paths: the rules by which a request is matched, compiled.

use crate::plan::PathMatch;

/// Which hosts match.
#[derive(Debug)]
pub(crate) enum HostRule {
    /// All.
    Any,
    /// This one.
    Exact(String),
    /// All that end so, with the leading dot.
    Suffix(String),
}

/// Which paths match.
#[derive(Debug)]
pub(crate) enum PathRule {
    /// This one.
    Exact(String),
    /// All that begin with these whole elements, without trailing slashes.
    Prefix(String),
}

impl HostRule {
    pub(crate) fn new(text: &str) -> Self {
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(suffix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    pub(crate) fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => host.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Suffix(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|labels| *labels > 0)
                .and_then(|labels| host.get(labels..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }
}

impl PathRule {
    pub(crate) fn new(path: &PathMatch) -> Self {
        match path {
            PathMatch::Exact(path) => Self::Exact(path.clone()),
            PathMatch::Prefix(path) => Self::Prefix(path.trim_end_matches('/').to_owned()),
        }
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|next| *next == b'/'))
            }
        }
    }
}

/// A `Host` value without its port; an IPv6 address keeps its brackets.
pub(crate) fn without_port(authority: &[u8]) -> &[u8] {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = authority.get(..authority.len() - digits).unwrap_or(authority);
    rest.strip_suffix(b":").unwrap_or(authority)
}

/// Whether a host is one that Envoy gives to the copies it makes of mirrored requests. Their originals count, so nothing that
/// means any host means this one; an experiment that names it has a host of that very name.
fn is_copy(host: &[u8]) -> bool {
    const SUFFIX: &[u8] = b"-shadow";
    let end = host.len().checked_sub(SUFFIX.len()).and_then(|length| host.get(length..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
}

pub(crate) fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| b"?#".contains(byte)).next().unwrap_or(path)
}

/// Whether any of these rules means the host of a request; without rules any host does, and even none.
pub(crate) fn any_host(rules: &[HostRule], authority: Option<&[u8]>) -> bool {
    let Some(authority) = authority else { return rules.is_empty() };
    let host = without_port(authority);
    if is_copy(host) {
        return rules.iter().any(|rule| matches!(rule, HostRule::Exact(_)) && rule.matches(host));
    }
    rules.is_empty() || rules.iter().any(|rule| rule.matches(host))
}
