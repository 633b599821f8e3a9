//! The HTTP client of the client commands: requests, their answers, and a second try where the first broke off. Knows no command.

use super::config::Config;
use super::destination::Destination;
use super::failure::broken;
use super::plain::{made_plain, plain};
use crate::ledger::Told;
use crate::server::tls::provider;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io;
use std::time::{Duration, Instant};
use ureq::tls::{RootCerts, TlsConfig};
use weir_engine::assess::Assessment;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

pub(crate) use super::destination::ServerArgs;
pub(crate) use super::failure::{ApiError, Detail};

/// A request that takes longer than this has no answer: every one of them is short.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest until there is a connection.
const CONNECTED: Duration = Duration::from_secs(10);
/// Until it is looked again whether a change is still under way.
const UNDER_WAY: Duration = Duration::from_millis(250);
/// Most bytes of an answer that are read.
const MOST: u64 = 64 * 1024 * 1024;

/// The name of an experiment, as it may stand in a URL.
pub(crate) fn experiment_name(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(fine) {
        return Err("names have 1 to 63 lower-case letters, digits and dashes".to_owned());
    }
    Ok(text.to_owned())
}

/// An error answer (RFC 9457), as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemDetails {
    title: String,
    detail: String,
    problems: Vec<Detail>,
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
        let mut destination = args.resolve(&Config::read()?)?;
        destination.warn();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::new_with_certs(&destination.trusted()))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience.min(PATIENCE)))
            .timeout_connect(Some(CONNECTED))
            .max_redirects(0)
            // The server is named outright; an environment's proxy would not reach a loopback address.
            .proxy(None)
            .tls_config(tls)
            .build()
            .into();
        Ok(Self { agent, destination })
    }

    /// Reads a resource.
    pub(crate) fn get(&self, path: &str) -> Result<serde_json::Value, ApiError> {
        let request = self.agent.get(self.url(path)).header("accept", "application/json");
        self.understand(self.answer(self.authorized(request).call(), Asked::Show)?)
    }

    /// Reads what `If-Match` takes of a resource; `None` if there is no such thing.
    pub(crate) fn tag(&self, path: &str) -> Result<Option<String>, ApiError> {
        match self.answer(self.authorized(self.agent.get(self.url(path))).call(), Asked::Show) {
            Ok(Answer { tag: Some(tag), .. }) => Ok(Some(tag)),
            Ok(_) => Err(self.strange("no ETag".to_owned())),
            Err(ApiError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a resource that is no JSON, as text.
    pub(crate) fn text(&self, path: &str) -> Result<String, ApiError> {
        let request = self.agent.get(self.url(path));
        let Answer { body, .. } = self.answer(self.authorized(request).call(), Asked::Show)?;
        String::from_utf8(body).map_err(|error| self.strange(error.to_string()))
    }

    /// Sends a document; with a header that says what must be so for it to be taken.
    pub(crate) fn post(
        &self,
        path: &str,
        document: &str,
        condition: Option<(&str, &str)>,
    ) -> Result<serde_json::Value, ApiError> {
        self.write(|key| {
            let request = self.agent.post(self.url(path)).header("content-type", "application/yaml");
            let request = match condition {
                Some((name, value)) => request.header(name, value),
                None => request,
            };
            self.signed(request, key).send(document)
        })
    }

    /// Sends a command.
    pub(crate) fn command(&self, path: &str, command: &serde_json::Value) -> Result<serde_json::Value, ApiError> {
        let command = command.to_string();
        self.write(|key| {
            let request = self.agent.post(self.url(path)).header("content-type", "application/json");
            self.signed(request, key).send(command.as_str())
        })
    }

    /// Deletes a resource; why, if somebody says.
    pub(crate) fn delete(&self, path: &str, reason: Option<&str>) -> Result<serde_json::Value, ApiError> {
        self.write(|key| {
            let request = self.agent.delete(self.url(path));
            let request = match reason {
                Some(reason) => request.query("reason", reason),
                None => request,
            };
            self.signed(request, key).call()
        })
    }

    /// Asks for a change, and once more where the connection ended before the answer: both have one `Idempotency-Key`, so that it is
    /// done once at most.
    fn write(
        &self,
        send: impl Fn(&str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<serde_json::Value, ApiError> {
        // Without the system's chance there is no key, and no second try.
        let mut random = [0; 16];
        let key = getrandom::fill(&mut random).map(|()| format!("{:032x}", u128::from_be_bytes(random)));
        let key = key.unwrap_or_default();
        let (mut sent, mut asked) = (send(&key), Asked::Change);
        if let Err(error) = &sent
            && !key.is_empty()
            && broken(&self.destination.server, error).ended
        {
            (sent, asked) = (send(&key), Asked::ChangeAgain);
            // The first may still be under way: then its answer is to come.
            let until = Instant::now() + PATIENCE;
            while sent.as_ref().is_ok_and(is_under_way) && Instant::now() < until {
                std::thread::sleep(UNDER_WAY);
                sent = send(&key);
            }
        }
        self.understand(self.answer(sent, asked)?)
    }

    /// One part of an answer as a type, to be shown: its texts are without what would command a terminal.
    pub(crate) fn typed<T: DeserializeOwned>(&self, value: &serde_json::Value) -> Result<T, ApiError> {
        let mut value = value.clone();
        made_plain(&mut value);
        T::deserialize(value).map_err(|error| self.strange(error.to_string()))
    }

    /// The same as it came: to be computed with, not shown.
    pub(crate) fn exactly<T: DeserializeOwned>(&self, value: &serde_json::Value) -> Result<T, ApiError> {
        T::deserialize(value).map_err(|error| self.strange(error.to_string()))
    }

    /// That an answer is not what was asked for.
    pub(crate) fn strange(&self, reason: String) -> ApiError {
        ApiError::Strange { server: self.destination.server.clone(), reason: plain(&reason) }
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

    /// The same with the key of a write, and who asks, for the journal: as the environment has it, which nobody checks.
    fn signed<B>(&self, request: ureq::RequestBuilder<B>, key: &str) -> ureq::RequestBuilder<B> {
        let named =
            |name: &str| std::env::var(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
        let request = self.authorized(request);
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        match named("WEIR_ACTOR").or_else(|| named("USER")).filter(|name| !name.is_empty()) {
            Some(name) => request.header("weir-actor", name),
            None => request,
        }
    }

    fn understand(&self, Answer { body, .. }: Answer) -> Result<serde_json::Value, ApiError> {
        if body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.strange(error.to_string()))
    }

    /// A success.
    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        asked: Asked,
    ) -> Result<Answer, ApiError> {
        let server = self.destination.server.clone();
        let failed = |error: &ureq::Error, begun: bool| {
            let (server, why) = (self.destination.server.clone(), broken(&self.destination.server, error));
            if asked == Asked::ChangeAgain || (asked == Asked::Change && (begun || why.may_be_done)) {
                ApiError::Lost { server, reason: why.reason }
            } else {
                ApiError::Unreachable { server, reason: why.reason, next: why.next }
            }
        };
        let mut answer = answer.map_err(|error| failed(&error, false))?;
        let status = answer.status().as_u16();
        let says_nothing = status >= 500 || [401, 403, 408, 429].contains(&status) || is_under_way(&answer);
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(|error| failed(&error, true))?;
        if (200..300).contains(&status) {
            return Ok(Answer { tag, body });
        }
        let mut details: ProblemDetails = serde_json::from_slice(&body).unwrap_or_default();
        for problem in &mut details.problems {
            problem.path = plain(&problem.path);
            problem.message = plain(&problem.message);
        }
        let detail = plain(&details.sentence());
        if asked == Asked::ChangeAgain && says_nothing {
            let reason = format!("the connection ended, and asked once more it said {status}: {detail}");
            return Err(ApiError::Lost { server, reason });
        }
        Err(match status {
            401 | 403 => ApiError::Forbidden { server, status, detail },
            404 if detail.starts_with("There is no experiment") => {
                ApiError::NotFound(format!("{detail}: `weir get` shows those there are"))
            }
            404 => ApiError::NotFound(detail),
            _ if !details.problems.is_empty() => ApiError::Invalid { detail, problems: details.problems },
            _ => ApiError::Refused { server, status, detail },
        })
    }
}

/// What for a server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Show,
    Change,
    /// After an attempt of which nobody knows what became: a refusal to look at this one says nothing of that.
    ChangeAgain,
}

/// Whether the same change is being made: a 409 that passes, as no refusal does.
fn is_under_way(answer: &ureq::http::Response<ureq::Body>) -> bool {
    answer.status().as_u16() == 409 && answer.headers().contains_key("retry-after")
}

/// A success, as it came.
struct Answer {
    tag: Option<String>,
    body: Vec<u8>,
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
            let file = std::fs::File::open(path).with_context(|| {
                format!("{path} cannot be opened: name a file that is there, or `-` for the standard input")
            })?;
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
    fn a_name_that_would_change_the_url_is_refused() {
        assert!(experiment_name("checkout-2").is_ok());
        for text in ["", "a/b", "..", "a?b", "A", "é"] {
            assert!(experiment_name(text).is_err(), "{text}");
        }
    }
}
