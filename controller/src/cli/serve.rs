//! `weir serve`: raw arguments to one running controller, and its orderly end.

use super::WrongUse;
use crate::access::{self, Access};
use crate::clock::Clock;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::reader::Reader;
use crate::server::auth::Auth;
use crate::server::tls::Certificate;
use crate::server::{self, App, Parts};
use crate::steward;
use anyhow::Context;
use axum::http::uri::Authority;
use clap::ValueEnum;
use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use weir_core::duration::parse_milliseconds;

/// Arguments of `weir serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8181", env = "WEIR_LISTEN", value_parser = host_port)]
    listen: String,
    /// The ledger's file; made if it is not there
    #[arg(long, value_name = "FILE", default_value = "weir.db", env = "WEIR_LEDGER")]
    ledger: PathBuf,
    /// A token and its role: proxy (plan and reports), service (rewards), viewer (reads) or operator (reads and changes). May be repeated
    #[arg(long, value_name = "ROLE[:NAME]=TOKEN", env = "WEIR_TOKENS", value_delimiter = ',', hide_env_values = true)]
    token: Vec<String>,
    /// A file of tokens, one a line, as with --token
    #[arg(long, value_name = "FILE", env = "WEIR_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Serve by TLS, with this certificate and those between it and its root: a PEM file, read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "WEIR_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "WEIR_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Have browsers come by TLS alone for a year (HSTS), to this and to whatever else its host name serves, on any port
    #[arg(long, requires = "tls_cert", env = "WEIR_HSTS")]
    hsts: bool,
    /// Let everybody who can reach the address do everything
    #[arg(long)]
    allow_unauthenticated: bool,
    /// A name by which people ask for the controller, where there are no tokens; with its port where a proxy before it has one of its own.
    /// May be repeated; addresses and `localhost` need none
    #[arg(long, value_name = "NAME[:PORT]", env = "WEIR_HOSTS", value_delimiter = ',', value_parser = host_name)]
    host: Vec<Option<Authority>>,
    /// Requests a second that each token may send, or each address where there are no tokens; twice as many at once. 0: as many
    /// as they like. Filters are not limited
    #[arg(long, value_name = "NUMBER", default_value_t = 200, env = "WEIR_RATE_LIMIT")]
    rate_limit: u32,
    /// How often experiments are assessed and decided, from 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    decision_interval: Duration,
    /// What to log, as in `info` or `weir=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "WEIR_LOG")]
    log: String,
    /// How to log
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "WEIR_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_milliseconds(text) {
        Ok(milliseconds @ 100..=3_600_000) => Ok(Duration::from_millis(milliseconds)),
        Ok(_) => Err("must be 100ms to 1h".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What looks like an address and a port; whether its name is known is found out when it is listened on.
fn host_port(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    parts.map(|_| text.to_owned()).ok_or_else(|| "not an address to listen on; write it as `127.0.0.1:8181`".to_owned())
}

/// A name, with or without a port; `None` where nothing stands, as after a last comma.
fn host_name(text: &str) -> Result<Option<Authority>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse::<Authority>().ok().filter(|_| !text.contains('@'));
    parsed.map(Some).ok_or_else(|| "write a name alone, as `weir.example` or `weir.example:8443`".to_owned())
}

/// Runs `weir serve` until SIGTERM or SIGINT.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    start_log(&args)?;
    let auth = read_auth(&args)?;
    let addresses: Vec<SocketAddr> = args
        .listen
        .to_socket_addrs()
        .with_context(|| {
            format!("--listen {}: not an address to listen on; write it as `127.0.0.1:8181`", args.listen)
        })?
        .collect();
    let kept = args.ledger.exists() && {
        let access = Access::open(&args.ledger).context("the tokens cannot be read")?;
        auth.check_kept(&access.tokens().context("the tokens cannot be read")?)?;
        access.had_tokens()
    };
    if !kept {
        auth.check_listen(&addresses, args.allow_unauthenticated)?;
    }
    if auth.is_open() && !kept {
        tracing::warn!("no tokens: whoever can reach {} may do everything", args.listen);
    }
    let certificate = match (&args.tls_cert, &args.tls_key) {
        (Some(file), Some(key)) => Some(Arc::new(Certificate::load(file, key).context("--tls-cert, --tls-key")?)),
        _ => None,
    };
    if certificate.is_none() && addresses.iter().any(|address| !address.ip().is_loopback()) {
        tracing::warn!("no TLS: what is sent here, tokens too, can be read on the way; give --tls-cert and --tls-key");
    }
    if !server::is_built() {
        tracing::warn!(
            "no dashboard: this program was built without it, as it is where there is no Node; in weir's repository `make ui` and a new build \
             put it in. The API and the command line have all that it has"
        );
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(serve(&args, &addresses, auth, certificate))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    args: &ServeArgs,
    addresses: &[SocketAddr],
    auth: Auth,
    certificate: Option<Arc<Certificate>>,
) -> anyhow::Result<()> {
    // First: a signal from here on ends things in order.
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let (keeper, plan) = Keeper::open(&args.ledger, clock.clone(), metrics.clone())
        .with_context(|| format!("the ledger {} cannot be used", args.ledger.display()))?;
    let events = keeper.events();
    let (keeper, thread) = keeper.spawn()?;
    let (stop, stopped) = watch::channel(false);

    let listener = TcpListener::bind(addresses).await.with_context(|| {
        format!("cannot listen on {}; another address, or another port, is given with --listen", args.listen)
    })?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let acceptor = certificate.as_ref().map(Certificate::acceptor).transpose()?;
    if let Some(certificate) = &certificate {
        tokio::spawn(Arc::clone(certificate).keep_fresh(stopped.clone()));
    }
    let access = Arc::new(Access::open(&args.ledger).context("the tokens cannot be read")?);
    let parts = Parts {
        keeper: keeper.clone(),
        reader: Reader::new(args.ledger.clone()),
        plan,
        events,
        metrics: metrics.clone(),
        auth,
        access: Arc::clone(&access),
        clock: clock.clone(),
        rate_limit: args.rate_limit,
        hsts: args.hsts,
    };
    let app = App::new(parts, stopped.clone());
    let refreshed = tokio::spawn(access::keep_fresh(access, stopped.clone()));
    let steward = tokio::spawn(steward::run(keeper, clock, metrics, args.decision_interval, stopped.clone()));
    let server = tokio::spawn(server::serve(listener, app.router(), acceptor, stopped));
    let scheme = if certificate.is_some() { "https" } else { "http" };
    announce(scheme, address)?;
    tracing::info!(%address, scheme, ledger = %args.ledger.display(), "serving");

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
    }
    stop.send_replace(true);
    server.await.context("the server ended badly")?;
    steward.await.context("the steward ended badly")?;
    refreshed.await.context("the tokens were not looked after to the end")?;
    // Every handle is gone now, unless a connection was cut off: the keeper does what is left to do and ends.
    let joined = tokio::task::spawn_blocking(move || thread.join());
    match tokio::time::timeout(Duration::from_secs(5), joined).await {
        Ok(Ok(Ok(()))) => tracing::info!("the ledger is closed"),
        Ok(_) => anyhow::bail!("the ledger's thread ended badly; its log says why"),
        Err(_) => tracing::warn!("the ledger is still in use; what was acknowledged is durable all the same"),
    }
    Ok(())
}

/// Tells whoever started this that it can be called, and where.
fn announce(scheme: &str, address: SocketAddr) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {scheme}://{address}")
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
}

fn read_auth(args: &ServeArgs) -> anyhow::Result<Auth> {
    let file = match &args.token_file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => String::new(),
    };
    let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let given = args.token.iter().map(|token| token.trim()).filter(|token| !token.is_empty());
    // Not as they are read, which would repeat what is wrong, and that may be a secret.
    Auth::parse(given.clone()).map_err(|error| WrongUse(format!("--token or WEIR_TOKENS: {error:#}")))?;
    let auth = Auth::parse(given.chain(lines))?.with_hosts(args.host.iter().flatten().cloned());
    if args.token_file.is_some() && auth.is_open() {
        anyhow::bail!(
            "the token file holds no token: write ROLE=TOKEN lines, with role proxy, service, viewer or operator"
        );
    }
    Ok(auth)
}

fn start_log(args: &ServeArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log {}: not a filter", args.log))?;
    // stdout carries the one line that programs read.
    let colour = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    let started = match args.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
