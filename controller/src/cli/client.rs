//! The HTTP client of the client commands: where the server is, and how its problems are shown. Knows no command.

use super::config::Config;
use crate::ledger::Told;
use crate::server::tls::provider;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use weir_engine::assess::Assessment;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

/// A request that takes longer than this has no answer: every one of them is short.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most bytes of an answer that are read.
const MOST: u64 = 64 * 1024 * 1024;

/// Where the server is, and what it is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// Where `weir serve` listens; else the context's, else http://127.0.0.1:8181.
    #[arg(long, env = "WEIR_SERVER", value_name = "URL", value_parser = base_url)]
    server: Option<String>,
    /// Token for a server that asks for one (role viewer to look, operator to change); else the context's, for its server alone.
    #[arg(long, env = "WEIR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token_value: Option<String>,
    /// Server and token by name, as `weir context set` keeps them; else the current context.
    #[arg(long, env = "WEIR_CONTEXT", value_name = "NAME", value_parser = super::config::context_name)]
    context: Option<String>,
    /// Certificates to trust a server of `https` by, a PEM file; without it, those of this machine.
    #[arg(long, env = "WEIR_CA_FILE", value_name = "FILE", value_parser = certificates)]
    ca_file: Option<Trusted>,
}

/// Where a server is when nobody says.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8181";

/// A server, and what it is told.
#[derive(Debug)]
struct Destination {
    server: String,
    token: Option<String>,
}

impl ServerArgs {
    /// What is said here goes before the context. A context's token is for the server that stands beside it, and goes to no other.
    fn resolve(self, config: &Config) -> anyhow::Result<Destination> {
        let context = config.context(self.context.as_deref())?;
        let server = self
            .server
            .clone()
            .or_else(|| context.map(|context| context.server.clone()))
            .unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let token = self.token_value.or_else(|| {
            let context = context.filter(|context| context.server == server)?;
            context.token.clone()
        });
        Ok(Destination { server, token })
    }
}

/// Certificates that are trusted.
#[derive(Debug, Clone)]
struct Trusted(Vec<Certificate<'static>>);

fn certificates(path: &str) -> Result<Trusted, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| format!("is not PEM: {error}"))?;
    let found = items.into_iter().filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(Trusted(found)) }
}

/// Those of this machine.
fn trusted_here() -> Trusted {
    // What is unreadable of them is not trusted.
    let found = rustls_native_certs::load_native_certs().certs;
    Trusted(found.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect())
}

/// A server's address without its last slash.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    let schemes = ["http://", "https://"];
    let found = schemes.into_iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)));
    let Some((scheme, authority)) = found else {
        return Err("write it as `http://127.0.0.1:8181` or `https://weir.example:8181`".to_owned());
    };
    let authority = authority.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', ' ']) {
        return Err("write a host and a port alone, as `http://127.0.0.1:8181`".to_owned());
    }
    Ok(format!("{scheme}{authority}"))
}

/// The name of an experiment, as it may stand in a URL.
pub(crate) fn experiment_name(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(fine) {
        return Err("names have 1 to 63 lower-case letters, digits and dashes".to_owned());
    }
    Ok(text.to_owned())
}

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error(
        "no answer from {server} ({reason}): is `weir serve` running there? If it is elsewhere, use --server, WEIR_SERVER or `weir context`"
    )]
    Unreachable { server: String, reason: String },
    /// It wants a token, or another one.
    #[error("{server} refuses ({status}): {detail}. Give a token with --token-value, WEIR_TOKEN or `weir context`")]
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
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || [408, 429].contains(status),
            _ => false,
        }
    }
}

/// An error answer (RFC 9457), as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemDetails {
    title: String,
    detail: String,
    problems: Vec<Detail>,
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

impl ProblemDetails {
    fn sentence(&self) -> String {
        let said = [self.detail.trim(), self.title.trim()].into_iter().find(|text| !text.is_empty());
        said.unwrap_or("it does not say why").trim_end_matches('.').to_owned()
    }
}

/// One experiment, as the server shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) experiment: Experiment,
    pub(crate) state: State,
    pub(crate) assessment: Option<Assessment>,
    pub(crate) decision: Option<Told>,
    pub(crate) last_change: Option<Told>,
    /// What is wrong with telemetry.
    #[serde(default)]
    pub(crate) health_warnings: Vec<String>,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    agent: ureq::Agent,
    destination: Destination,
}

impl Server {
    /// # Errors
    /// When the configuration cannot be read, or has no such context.
    pub(crate) fn new(args: ServerArgs) -> anyhow::Result<Self> {
        Self::patient(args, PATIENCE)
    }

    /// The same, waiting for each answer for so long at most, and never longer than for others.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn patient(args: ServerArgs, patience: Duration) -> anyhow::Result<Self> {
        let ca_file = args.ca_file.clone();
        let destination = args.resolve(&Config::read()?)?;
        let trusted = destination.server.starts_with("https://").then(|| ca_file.unwrap_or_else(trusted_here));
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::new_with_certs(&trusted.map(|trusted| trusted.0).unwrap_or_default()))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience.min(PATIENCE)))
            .max_redirects(0)
            // The server is named outright; an environment's proxy would not reach a loopback address.
            .proxy(None)
            .tls_config(tls)
            .build()
            .into();
        Ok(Self { agent, destination })
    }

    /// Reads a resource: its text as it came, and what it says.
    pub(crate) fn get(&self, path: &str) -> Result<serde_json::Value, ApiError> {
        let request = self.agent.get(self.url(path)).header("accept", "application/json");
        self.understand(self.authorized(request).call())
    }

    /// Reads a resource that is no JSON, as text.
    pub(crate) fn text(&self, path: &str) -> Result<String, ApiError> {
        let request = self.agent.get(self.url(path));
        let body = self.body(self.authorized(request).call())?;
        String::from_utf8(body).map_err(|error| self.strange(error.to_string()))
    }

    /// Sends a document.
    pub(crate) fn post(&self, path: &str, document: &str) -> Result<serde_json::Value, ApiError> {
        let request = self.agent.post(self.url(path)).header("content-type", "application/yaml");
        self.understand(self.signed(request).send(document))
    }

    /// Sends a command.
    pub(crate) fn command(&self, path: &str, command: &serde_json::Value) -> Result<serde_json::Value, ApiError> {
        let request = self.agent.post(self.url(path)).header("content-type", "application/json");
        self.understand(self.signed(request).send(command.to_string()))
    }

    /// Deletes a resource; why, if somebody says.
    pub(crate) fn delete(&self, path: &str, reason: Option<&str>) -> Result<serde_json::Value, ApiError> {
        let request = self.agent.delete(self.url(path));
        let request = match reason {
            Some(reason) => request.query("reason", reason),
            None => request,
        };
        self.understand(self.signed(request).call())
    }

    /// One part of an answer as a type.
    pub(crate) fn typed<T: DeserializeOwned>(&self, value: &serde_json::Value) -> Result<T, ApiError> {
        T::deserialize(value).map_err(|error| self.strange(error.to_string()))
    }

    /// That an answer is not what was asked for.
    pub(crate) fn strange(&self, reason: String) -> ApiError {
        ApiError::Strange { server: self.destination.server.clone(), reason }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.destination.server)
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.destination.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// The same with who asks, for the journal: as the environment has it, which nobody checks.
    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let named =
            |name: &str| std::env::var(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
        let request = self.authorized(request);
        match named("WEIR_ACTOR").or_else(|| named("USER")).filter(|name| !name.is_empty()) {
            Some(name) => request.header("weir-actor", name),
            None => request,
        }
    }

    fn understand(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<serde_json::Value, ApiError> {
        let body = self.body(answer)?;
        if body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.strange(error.to_string()))
    }

    /// The body of a success.
    fn body(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, ApiError> {
        let unreachable = |error: ureq::Error| {
            // The client's own prefix says nothing to a person.
            let reason = match error {
                ureq::Error::Io(error) => error.to_string(),
                error => error.to_string(),
            };
            ApiError::Unreachable { server: self.destination.server.clone(), reason }
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(unreachable)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let details: ProblemDetails = serde_json::from_slice(&body).unwrap_or_default();
        let (server, detail) = (self.destination.server.clone(), details.sentence());
        Err(match status {
            401 | 403 => ApiError::Forbidden { server, status, detail },
            404 => ApiError::NotFound(detail),
            _ if !details.problems.is_empty() => ApiError::Invalid { detail, problems: details.problems },
            _ => ApiError::Refused { server, status, detail },
        })
    }
}

/// A document to send: the name that people know it by, and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads a file with an experiment; `-` is the standard input.
    pub(crate) fn read(path: &str) -> anyhow::Result<Self> {
        Self::read_up_to(path, weir_engine::document::MAX_TEXT)
    }

    /// Reads a file of at most so many bytes; `-` is the standard input.
    pub(crate) fn read_up_to(path: &str, most: usize) -> anyhow::Result<Self> {
        use anyhow::Context;
        // One byte more than it may have: enough to see that it is too long.
        let most = u64::try_from(most)?.saturating_add(1);
        let mut bytes = Vec::new();
        let name = if path == "-" {
            io::Read::read_to_end(&mut io::Read::take(io::stdin().lock(), most), &mut bytes)
                .context("the standard input cannot be read")?;
            "(standard input)".to_owned()
        } else {
            let file = std::fs::File::open(path).with_context(|| format!("{path} cannot be opened"))?;
            io::Read::read_to_end(&mut io::Read::take(file, most), &mut bytes)
                .with_context(|| format!("{path} cannot be read"))?;
            path.to_owned()
        };
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8 text"))?;
        Ok(Self { name, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        assert_eq!(base_url("http://localhost:8181/").as_deref(), Ok("http://localhost:8181"));
        assert_eq!(base_url("https://weir.example").as_deref(), Ok("https://weir.example"));
        for text in ["localhost:8181", "ftp://a", "https://", "http://", "http://a/b", "http://a?b"] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_contexts_token_goes_to_its_own_server_alone() {
        let config: Config = serde_json::from_value(serde_json::json!({
            "currentContext": "prod",
            "contexts": [
                { "name": "prod", "server": "http://prod:8181", "token": "secret" },
                { "name": "test", "server": "http://test:8181" },
            ],
        }))
        .unwrap();
        let resolved = |server: Option<&str>, token: Option<&str>, context: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let args =
                ServerArgs { server: owned(server), token_value: owned(token), context: owned(context), ca_file: None };
            args.resolve(&config).map(|to| (to.server, to.token)).map_err(|error| error.to_string())
        };
        let found = |server: &str, token: Option<&str>| Ok((server.to_owned(), token.map(str::to_owned)));
        assert_eq!(resolved(None, None, None), found("http://prod:8181", Some("secret")));
        assert_eq!(resolved(None, None, Some("test")), found("http://test:8181", None));
        assert_eq!(resolved(Some("http://prod:8181"), None, None), found("http://prod:8181", Some("secret")));
        assert_eq!(resolved(Some("http://other:8181"), None, None), found("http://other:8181", None));
        assert_eq!(resolved(None, Some("mine"), None), found("http://prod:8181", Some("mine")));
        assert!(resolved(None, None, Some("nope")).unwrap_err().contains("prod, test"));
    }

    #[test]
    fn a_name_that_would_change_the_url_is_refused() {
        assert!(experiment_name("checkout-2").is_ok());
        for text in ["", "a/b", "..", "a?b", "A", "é"] {
            assert!(experiment_name(text).is_err(), "{text}");
        }
    }
}
