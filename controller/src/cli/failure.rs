//! Why a server did not do what it was asked, and what to do about it.

use rustls::{CertificateError, Error as TlsError};
use serde::Deserialize;
use std::io::ErrorKind;

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error("no answer from {server} ({reason}){next}")]
    Unreachable { server: String, reason: String, next: String },
    /// It was asked to change something, and the answer did not come.
    #[error(
        "no answer from {server} ({reason}): whether it was done is not known. Look with `weir get` before you ask for it again"
    )]
    Lost { server: String, reason: String },
    /// It wants a token, or another one.
    #[error(
        "{server} refuses ({status}): {detail}. Give a token with --token-file, --token-value, WEIR_TOKEN or `weir context`"
    )]
    Forbidden { server: String, status: u16, detail: String },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It says what is wrong with what was sent, place by place.
    #[error("{detail}")]
    Invalid { detail: String, problems: Vec<Detail> },
    /// Anything else that it says.
    #[error("{server} answered {status}: {detail}")]
    Refused { server: String, status: u16, detail: String },
    /// It answered with something else than asked for.
    #[error(
        "{server} answered with something that this `weir` does not understand ({reason}): are both of the same release?"
    )]
    Strange { server: String, reason: String },
}

impl ApiError {
    /// Whether trying again may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || [408, 429].contains(status),
            _ => false,
        }
    }
}

/// One thing that is wrong with what was sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Detail {
    /// Absent where lines mean nothing, as for a conflict with what is already there.
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
    pub(crate) path: String,
    pub(crate) message: String,
}

/// An answer that did not come: why, what to do, and whether the server may have taken the request all the same.
pub(super) struct Broken {
    pub(super) reason: String,
    pub(super) next: String,
    pub(super) may_be_done: bool,
    /// Whether the connection ended rather than that nothing came.
    pub(super) ended: bool,
}

/// Where nobody listens, or something else does.
const RUNNING: &str =
    ": is `weir serve` running there? If it is elsewhere, use --server, WEIR_SERVER or `weir context`";

/// What a failure of the client means to a person.
pub(super) fn broken(server: &str, error: &ureq::Error) -> Broken {
    let encrypted = server.starts_with("https://");
    let of = |reason: &str, next: String, may_be_done: bool, ended: bool| Broken {
        reason: reason.to_owned(),
        next,
        may_be_done,
        ended,
    };
    let io = match error {
        ureq::Error::Io(io) => Some(io),
        _ => None,
    };
    let tls = match error {
        ureq::Error::Rustls(error) => Some(error),
        _ => io.and_then(|io| io.get_ref()?.downcast_ref::<TlsError>()),
    };
    if let Some(tls) = tls {
        let (reason, next) = distrust(server, tls);
        return of(&reason, next, false, false);
    }
    let plain_to_tls = ": it may speak TLS there: write https:// instead of http://";
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            of("nobody takes the connection in time", RUNNING.to_owned(), false, false)
        }
        ureq::Error::Timeout(_) => {
            let next = ": it takes connections and says nothing: is it `weir serve`, and has it too much to do?";
            of("nothing in time", next.to_owned(), true, false)
        }
        ureq::Error::HostNotFound => no_such_host(),
        // Something else than HTTP: TLS answers a plain request with an alert.
        ureq::Error::Protocol(_) if !encrypted => of("no HTTP", plain_to_tls.to_owned(), false, false),
        _ => match io.map(std::io::Error::kind) {
            Some(ErrorKind::ConnectionRefused) => of("nobody listens there", RUNNING.to_owned(), false, false),
            Some(ErrorKind::TimedOut) => of("nothing in time", RUNNING.to_owned(), true, false),
            Some(
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof,
            ) => {
                let next = if encrypted {
                    RUNNING
                } else {
                    ": does it end just now, or speak TLS there (then write https://)?"
                };
                of("the connection ended", next.to_owned(), true, true)
            }
            // No kind of its own in the standard library.
            _ if error.to_string().contains("failed to lookup address") => no_such_host(),
            kind => {
                let reason = io.map_or_else(|| error.to_string(), ToString::to_string);
                let on_the_way = matches!(kind, Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable));
                of(&reason, RUNNING.to_owned(), !on_the_way && kind.is_some(), false)
            }
        },
    }
}

fn no_such_host() -> Broken {
    let next = ": is its name right? --server, WEIR_SERVER or `weir context` say which it is".to_owned();
    Broken { reason: "there is no such host".to_owned(), next, may_be_done: false, ended: false }
}

/// Why TLS came to nothing, and what to do.
fn distrust(server: &str, error: &TlsError) -> (String, String) {
    let (reason, next) = match error {
        TlsError::InvalidMessage(_) => {
            ("no TLS".to_owned(), ": it may speak plain HTTP there: write http:// instead of https://".to_owned())
        }
        TlsError::InvalidCertificate(problem) => {
            let (reason, next) = match problem {
                CertificateError::UnknownIssuer => (
                    "is of an issuer who is not trusted here",
                    "if it is your own, name the issuer's certificate with --ca-file, WEIR_CA_FILE or `weir context set --ca-file`",
                ),
                CertificateError::BadSignature => (
                    "is signed with another key than that of the issuer who is trusted",
                    "is --ca-file, WEIR_CA_FILE or the context's still the right one?",
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    ("has expired", "renew it; `weir serve` reads its files again by itself")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    ("is not valid yet", "are the clocks of both machines right?")
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                    "is for another name",
                    "use a name that it is for, or have one made that names this host as subjectAltName",
                ),
                CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
                    "is one of an authority (CA:TRUE), which none may serve with",
                    "make it with `-addext basicConstraints=critical,CA:FALSE` (docs/cli.md has the whole command), and trust the new one",
                ),
                _ => return (format!("its certificate is not valid: {problem}"), ": have it made anew".to_owned()),
            };
            (format!("its certificate {reason}"), format!(": {next}"))
        }
        TlsError::AlertReceived(alert) => (format!("it ended TLS: {alert:?}"), RUNNING.to_owned()),
        other => (other.to_string(), format!(": does {server} speak TLS 1.2 or 1.3?")),
    };
    (reason, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_not_to_be_reached_has_words_of_its_own_and_says_what_to_do() {
        let io = |kind: ErrorKind| ureq::Error::Io(kind.into());
        let tls = |error: TlsError| ureq::Error::Io(std::io::Error::new(ErrorKind::InvalidData, error));
        let bad = |error: CertificateError| tls(TlsError::InvalidCertificate(error));
        let cases = [
            (io(ErrorKind::ConnectionRefused), "nobody listens there", "`weir serve` running"),
            (ureq::Error::HostNotFound, "no such host", "name right"),
            (ureq::Error::Timeout(ureq::Timeout::Connect), "takes the connection", "`weir serve` running"),
            (ureq::Error::Timeout(ureq::Timeout::Global), "nothing in time", "says nothing"),
            (bad(CertificateError::UnknownIssuer), "issuer", "--ca-file"),
            (bad(CertificateError::Expired), "expired", "renew"),
            (bad(CertificateError::NotValidYet), "not valid yet", "clocks"),
            (bad(CertificateError::NotValidForName), "another name", "subjectAltName"),
            (tls(TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), "no TLS", "http://"),
        ];
        for (error, reason, next) in cases {
            let found = broken("https://weir.example", &error);
            assert!(found.reason.contains(reason) && found.next.contains(next), "{}{}", found.reason, found.next);
        }
    }

    #[test]
    fn only_what_was_sent_may_have_been_done() {
        let done = |error: ureq::Error| broken("http://weir.example", &error).may_be_done;
        assert!(done(ureq::Error::Io(ErrorKind::ConnectionReset.into())));
        assert!(done(ureq::Error::Timeout(ureq::Timeout::Global)));
        assert!(!done(ureq::Error::Io(ErrorKind::ConnectionRefused.into())));
        assert!(!done(ureq::Error::HostNotFound));
    }
}
