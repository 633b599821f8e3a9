//! Where the server of a client command is, what it is told, and whom it is trusted by: arguments, environment, contexts.

use super::config::{Config, Context};
use anyhow::{Context as _, bail};
use std::io::{IsTerminal, Read};
use ureq::tls::{Certificate, PemItem, parse_pem};

/// Longest token, in bytes.
const MAX_TOKEN: u64 = 4_096;

/// Where the server is, and what it is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// Where `weir serve` listens; else the context's, else http://127.0.0.1:8181.
    #[arg(long, env = "WEIR_SERVER", value_name = "URL", value_parser = base_url)]
    server: Option<String>,
    /// Token for a server that asks for one (role viewer to look, operator to change); else the context's, for its server alone.
    /// Other users of this machine can see arguments: prefer WEIR_TOKEN, --token-file or a context.
    #[arg(long, env = "WEIR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token_value: Option<String>,
    /// File with the token; `-` is the standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "token_value")]
    token_file: Option<String>,
    /// Server, token and certificates by name, as `weir context set` keeps them; else the current context.
    #[arg(long, env = "WEIR_CONTEXT", value_name = "NAME", value_parser = super::config::context_name)]
    context: Option<String>,
    /// Certificates to trust a server of `https` by, a PEM file; else the context's, else those of this machine.
    #[arg(long, env = "WEIR_CA_FILE", value_name = "FILE", value_parser = certificates)]
    ca_file: Option<Trusted>,
}

/// Where a server is when nobody says.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8181";
/// With a value, no word is said of a token that goes over the network unencrypted.
const PLAIN_TOKEN: &str = "WEIR_PLAIN_TOKEN";

/// A server, and what it is told.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) server: String,
    pub(super) token: Option<String>,
    /// Whom to trust; those of this machine if nobody says.
    ca: Option<Trusted>,
}

impl ServerArgs {
    /// What is said here goes before the context. A context's token is for the server that stands beside it, and goes to no other.
    pub(super) fn resolve(self, config: &Config) -> anyhow::Result<Destination> {
        let context = config.context(self.context.as_deref())?;
        let server = self
            .server
            .clone()
            .or_else(|| context.map(|context| context.server.clone()))
            .unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let beside: Option<&Context> = context.filter(|context| context.server == server);
        let given = self.token_file.as_deref().map(read_token).transpose()?;
        let token = given.or(self.token_value).or_else(|| beside?.token.clone());
        let kept = beside.and_then(|context| context.ca_file.as_deref().map(|file| (file, &context.name)));
        let ca = match (self.ca_file, kept) {
            (None, Some((file, name))) if server.starts_with("https://") => {
                let problem = |problem| anyhow::anyhow!("the CA file of context {name}, {file}, {problem}");
                Some(certificates(file).map_err(problem)?)
            }
            (given, _) => given,
        };
        Ok(Destination { server, token, ca })
    }
}

impl Destination {
    /// Whom a server of `https` is trusted by; of `http` nobody is asked.
    pub(super) fn trusted(&mut self) -> Vec<Certificate<'static>> {
        if self.server.starts_with("https://") { self.ca.take().unwrap_or_else(trusted_here).0 } else { Vec::new() }
    }

    /// Whether anybody on the way can read the token.
    fn tells_everybody(&self) -> bool {
        let plain = self.server.strip_prefix("http://");
        self.token.is_some() && plain.is_some_and(|authority| !is_loopback(authority))
    }

    /// Says so, once.
    pub(super) fn warn(&self) {
        static SAID: std::sync::Once = std::sync::Once::new();
        if self.tells_everybody() && std::env::var_os(PLAIN_TOKEN).is_none_or(|value| value.is_empty()) {
            SAID.call_once(|| {
                eprintln!(
                    "weir: warning: the token goes to {} unencrypted, and who can read it on the way can use it: serve with --tls-cert \
                     and use https ({PLAIN_TOKEN}=1 if the way is safe)",
                    self.server
                );
            });
        }
    }
}

/// Whether `host:port` is this very machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    let address = host.parse::<std::net::IpAddr>();
    address.map_or_else(|_| host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

/// Certificates that are trusted.
#[derive(Debug, Clone)]
pub(super) struct Trusted(Vec<Certificate<'static>>);

/// Those of a PEM file.
pub(super) fn certificates(path: &str) -> Result<Trusted, String> {
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
    if authority.is_empty() || authority.contains(['/', '?', '#', ' ', '@']) {
        return Err("write a host and a port alone, as `http://127.0.0.1:8181`".to_owned());
    }
    Ok(format!("{scheme}{authority}"))
}

/// The token that a file holds; `-` is the standard input.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(super) fn read_token(file: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == "-" {
        if std::io::stdin().is_terminal() {
            eprintln!("weir: the token, and then a line's end and Ctrl-D:");
        }
        let input = std::io::stdin().lock();
        input.take(MAX_TOKEN).read_to_string(&mut text).context("the standard input cannot be read")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| {
            format!("{file} cannot be opened: name a file with the token, or `-` for the standard input")
        })?;
        opened.take(MAX_TOKEN).read_to_string(&mut text).with_context(|| format!("{file} cannot be read"))?;
    }
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("there is no token in {file}: one has printable characters and no blanks");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        assert_eq!(base_url("http://localhost:8181/").as_deref(), Ok("http://localhost:8181"));
        assert_eq!(base_url("https://weir.example").as_deref(), Ok("https://weir.example"));
        for text in ["localhost:8181", "ftp://a", "https://", "http://", "http://a/b", "http://a?b", "http://u:p@a"] {
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
                { "name": "tls", "server": "https://tls:8181", "caFile": "/no/such/file" },
            ],
        }))
        .unwrap();
        let resolved = |server: Option<&str>, token: Option<&str>, context: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let args = ServerArgs {
                server: owned(server),
                token_value: owned(token),
                token_file: None,
                context: owned(context),
                ca_file: None,
            };
            args.resolve(&config).map(|to| (to.server, to.token)).map_err(|error| error.to_string())
        };
        let found = |server: &str, token: Option<&str>| Ok((server.to_owned(), token.map(str::to_owned)));
        assert_eq!(resolved(None, None, None), found("http://prod:8181", Some("secret")));
        assert_eq!(resolved(None, None, Some("test")), found("http://test:8181", None));
        assert_eq!(resolved(Some("http://prod:8181"), None, None), found("http://prod:8181", Some("secret")));
        assert_eq!(resolved(Some("http://other:8181"), None, None), found("http://other:8181", None));
        assert_eq!(resolved(None, Some("mine"), None), found("http://prod:8181", Some("mine")));
        assert!(resolved(None, None, Some("nope")).unwrap_err().contains("prod, test"));
        // Its certificates, too, and a file that is gone is said by the context that names it.
        assert!(resolved(None, None, Some("tls")).unwrap_err().contains("the CA file of context tls, /no/such/file"));
        assert_eq!(resolved(Some("https://other"), None, Some("tls")), found("https://other", None));
    }

    #[test]
    fn a_token_is_told_to_everybody_only_unencrypted_and_beyond_this_machine() {
        let tells = |server: &str, token: Option<&str>| {
            let token = token.map(str::to_owned);
            Destination { server: server.to_owned(), token, ca: None }.tells_everybody()
        };
        for here in
            ["http://127.0.0.1:8181", "http://LOCALHOST:1", "http://[::1]:8181", "http://a.localhost", "https://far"]
        {
            assert!(!tells(here, Some("secret")), "{here}");
        }
        for far in ["http://weir:8181", "http://10.0.0.1", "http://[fd00::1]:8181", "http://127.0.0.1.example"] {
            assert!(tells(far, Some("secret")) && !tells(far, None), "{far}");
        }
    }
}
