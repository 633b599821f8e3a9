//! Hosts, paths and headers: the rules by which a request is matched, compiled.

use crate::bytes::{same, same_letters};
use crate::host::Host;
use crate::matching::{AUTHORITY, PATH, Reader, intern};
use crate::plan::{Match, PathMatch};

/// Which requests are meant.
#[derive(Debug)]
pub(crate) struct Rules {
    hosts: Vec<HostRule>,
    paths: Vec<PathRule>,
    /// Indices of headers, and the values they must have.
    headers: Vec<(usize, Option<String>)>,
}

impl Rules {
    /// Compiles them; `names` is what [`intern`] adds to.
    pub(crate) fn new(matching: &Match, names: &mut Vec<String>) -> Self {
        let Match { hosts, paths, headers, .. } = matching;
        Self {
            hosts: hosts.iter().map(|host| HostRule::new(host)).collect(),
            paths: if paths.iter().any(is_every_path) { Vec::new() } else { paths.iter().map(PathRule::new).collect() },
            headers: headers.iter().map(|header| (intern(names, &header.name), header.exact.clone())).collect(),
        }
    }

    /// Whether a request is meant.
    pub(crate) fn match_request<H: Host>(&self, reader: &mut Reader<'_, H>) -> bool {
        self.host_matches(reader) && self.path_matches(reader) && self.headers_match(reader)
    }

    fn host_matches<H: Host>(&self, reader: &mut Reader<'_, H>) -> bool {
        let Some(authority) = reader.get(AUTHORITY) else { return self.hosts.is_empty() };
        let host = without_port(authority);
        let copy = is_copy(host);
        (self.hosts.is_empty() && !copy)
            || self.hosts.iter().any(|rule| (!copy || matches!(rule, HostRule::Exact(_))) && rule.matches(host))
    }

    fn path_matches<H: Host>(&self, reader: &mut Reader<'_, H>) -> bool {
        self.paths.is_empty()
            || reader.get(PATH).is_some_and(|path| {
                let path = without_query(path);
                self.paths.iter().any(|rule| rule.matches(path))
            })
    }

    fn headers_match<H: Host>(&self, reader: &mut Reader<'_, H>) -> bool {
        self.headers.iter().all(|(name, exact)| {
            reader.get(*name).is_some_and(|value| exact.as_ref().is_none_or(|exact| same(value, exact.as_bytes())))
        })
    }
}

/// Which hosts match.
#[derive(Debug)]
enum HostRule {
    /// All.
    Any,
    /// This one.
    Exact(String),
    /// All that end so, with the leading dot.
    Suffix(String),
}

/// Which paths match.
#[derive(Debug)]
enum PathRule {
    /// This one.
    Exact(String),
    /// All that begin with these whole elements, without trailing slashes.
    Prefix(String),
}

impl HostRule {
    fn new(text: &str) -> Self {
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(suffix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    #[inline]
    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => same_letters(host, exact.as_bytes()),
            Self::Suffix(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|labels| *labels > 0)
                .and_then(|labels| host.get(labels..))
                .is_some_and(|end| same_letters(end, suffix.as_bytes())),
        }
    }
}

impl PathRule {
    fn new(path: &PathMatch) -> Self {
        match path {
            PathMatch::Exact(path) => Self::Exact(path.clone()),
            PathMatch::Prefix(path) => Self::Prefix(path.trim_end_matches('/').to_owned()),
        }
    }

    #[inline]
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => same(path, exact.as_bytes()),
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|next| *next == b'/'))
            }
        }
    }
}

/// A `Host` value without its port; an IPv6 address keeps its brackets.
#[inline]
pub(crate) fn without_port(authority: &[u8]) -> &[u8] {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = authority.get(..authority.len() - digits).unwrap_or(authority);
    rest.strip_suffix(b":").unwrap_or(authority)
}

/// Whether a host is one that Envoy gives to the copies it makes of mirrored requests. Their originals count, so nothing that
/// means any host means this one; an experiment that names it has a host of that very name.
fn is_copy(host: &[u8]) -> bool {
    const SUFFIX: &[u8] = b"-shadow";
    // Nearly all end in another letter.
    if !matches!(host.last(), Some(b'w' | b'W')) {
        return false;
    }
    let end = host.len().checked_sub(SUFFIX.len()).and_then(|length| host.get(length..));
    end.is_some_and(|end| same_letters(end, SUFFIX))
}

pub(crate) fn without_query(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// The prefix `/` is every path, `*` of a request to the server as a whole among them: none needs to be read.
fn is_every_path(path: &PathMatch) -> bool {
    matches!(path, PathMatch::Prefix(prefix) if prefix.trim_end_matches('/').is_empty())
}
