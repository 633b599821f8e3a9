//! `weir token`: makes, lists and revokes tokens, at a server or on a ledger's file.

use super::client::{Server, ServerArgs};
use super::output::{NOTHING, OutputArgs, Table, now, print, print_value, stretch};
use super::plain::made_plain;
use crate::access::{Access, Attempt, NAMES, Role, TokenRow, is_name, is_spelt};
use anyhow::Context;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use weir_core::duration::parse_milliseconds;

/// Arguments of `weir token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir token create ada --role operator --ledger weir.db    the first one, where the controller's ledger is
  weir token create ci --role service --expires-in 90d      over the API, with an operator's token in WEIR_TOKEN
  weir token list
  weir token revoke ci

A token is shown once, when it is made; the ledger has its SHA-256 only. Once there is one, nobody is let in without: so the first is
an operator's, and the last of an operator's is revoked with `--force` alone.")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Make a token, and show it this once.
    Create(CreateArgs),
    /// Show every token that is not revoked, without secrets.
    List(ListArgs),
    /// Take a token away, at once.
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The ledger's file, to work on it without a server: for the first token, and when none is left. A controller that uses it
    /// knows within a second.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Whose it is: what is done with it is recorded under this name.
    #[arg(value_name = "NAME", value_parser = token_name)]
    name: String,
    /// What it may do: fetch the plan and send reports, report rewards, read, or read and change
    #[arg(long, value_enum)]
    role: Role,
    /// How long it is good for, as in `90d`; without it, until it is revoked.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires_in: Option<String>,
    /// With --ledger: also if no operator's token is in it, for a controller that is started with one
    #[arg(long, requires = "ledger")]
    force: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// The token's name.
    #[arg(value_name = "NAME", value_parser = old_name)]
    name: String,
    /// Also the token that this command is sent with, and the last of an operator's
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

fn token_name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(format!("a name {NAMES}")) }
}

/// Of a token that is there, though it could not be made any more.
fn old_name(text: &str) -> Result<String, String> {
    if is_spelt(text) { Ok(text.to_owned()) } else { Err(format!("a name {NAMES}")) }
}

fn duration(text: &str) -> Result<String, String> {
    match parse_milliseconds(text) {
        Ok(0) => Err("that is nothing".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl TokenArgs {
    /// How its results are asked for.
    pub(super) fn output(&self) -> OutputArgs {
        match &self.command {
            TokenCommand::Create(args) => args.common.output,
            TokenCommand::List(args) => args.common.output,
            TokenCommand::Revoke(args) => args.common.output,
        }
    }
}

/// Runs `weir token`.
pub(crate) fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        TokenCommand::Create(args) => create(args)?,
        TokenCommand::List(args) => list(args)?,
        TokenCommand::Revoke(args) => revoke(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { name, role, expires_in, force, common } = args;
    let mut first = false;
    let answer = match &common.ledger {
        Some(ledger) => {
            let expires_at = expires_in.as_deref().map(parse_milliseconds).transpose()?;
            let expires_at = expires_at.map(|milliseconds| now().saturating_add(milliseconds));
            let (secret, row) = local(ledger, &format!("create {name}, {}", role.name()), |access| {
                if !force {
                    access.check_operated(role, now())?;
                }
                first = !access.had_tokens();
                access.create(&name, role, expires_at, &local_actor(), now())
            })?;
            let mut answer = serde_json::to_value(row)?;
            if let Some(fields) = answer.as_object_mut() {
                fields.insert("token".to_owned(), secret.reveal().into());
            }
            answer
        }
        None => {
            let mut wanted = json!({ "name": name, "role": role.name() });
            if let (Some(fields), Some(expires_in)) = (wanted.as_object_mut(), expires_in) {
                fields.insert("expiresIn".to_owned(), expires_in.into());
            }
            Server::new(common.server)?.command("/v1/tokens", &wanted)?
        }
    };
    if common.output.structured() {
        return Ok(print_value(common.output, &answer)?);
    }
    let secret = answer.get("token").and_then(Value::as_str).context("the server did not say the token")?;
    // It goes to a terminal, a file, a header.
    anyhow::ensure!(
        !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()),
        "what the server says is the token of {name} is none, and is not shown (one has printable characters and no blanks): is it a \
         controller of weir? If it is, revoke it with `weir token revoke {name}`"
    );
    // The token alone on stdout, so that it can go where it is needed without passing anybody's eyes.
    eprintln!("token of {name}, role {}: shown this once", role.name());
    if first {
        eprintln!(
            "it is the ledger's first: a controller that runs on it without tokens lets everybody in for up to a second more"
        );
    }
    Ok(print(&format!("{secret}\n"))?)
}

fn list(args: ListArgs) -> anyhow::Result<()> {
    let common = args.common;
    let (tokens, configured) = match &common.ledger {
        Some(ledger) => (serde_json::to_value(Access::open(&existing(ledger)?)?.tokens()?)?, json!([])),
        None => {
            let server = Server::new(common.server)?;
            // As many as there can be.
            let answer = server.get("/v1/tokens?limit=1000")?;
            let part = |name: &str| answer.get(name).cloned().unwrap_or_else(|| json!([]));
            (part("tokens"), part("configured"))
        }
    };
    if common.output.structured() {
        return Ok(print_value(common.output, &json!({ "tokens": tokens, "configured": configured }))?);
    }
    let (mut tokens, mut configured) = (tokens, configured);
    for shown in [&mut tokens, &mut configured] {
        made_plain(shown);
    }
    let rows: Vec<TokenRow> = serde_json::from_value(tokens)?;
    let mut table = Table::new(&["NAME", "ROLE", "MADE", "BY", "USED", "EXPIRES"]);
    let ago = |at: u64| format!("{} ago", stretch(now().saturating_sub(at)));
    for row in rows {
        let expires = match row.expires_at {
            None => NOTHING.to_owned(),
            Some(at) if at <= now() => "expired".to_owned(),
            Some(at) => format!("in {}", stretch(at.saturating_sub(now()))),
        };
        let by = if row.created_by.is_empty() { NOTHING.to_owned() } else { row.created_by };
        let used = row.last_used_at.map_or_else(|| "never".to_owned(), ago);
        table.row(vec![row.name, row.role.name().to_owned(), ago(row.created_at), by, used, expires]);
    }
    for token in configured.as_array().map_or(&[][..], Vec::as_slice) {
        let text = |name: &str| token.get(name).and_then(Value::as_str).unwrap_or(NOTHING).to_owned();
        table.row(vec![text("name"), text("role"), "at the start".to_owned()]);
    }
    if table.is_empty() {
        return Ok(print("no tokens; `weir token create NAME --role operator` makes one\n")?);
    }
    Ok(print(&table.render())?)
}

fn revoke(args: RevokeArgs) -> anyhow::Result<()> {
    let RevokeArgs { name, force, common } = args;
    match &common.ledger {
        Some(ledger) => {
            let by = local_actor();
            let revoked = local(&existing(ledger)?, &format!("revoke {name}"), |access| {
                access.revoke(&name, &by, now(), !force)
            })?;
            anyhow::ensure!(revoked, "there is no token `{name}`; `weir token list` shows those there are");
        }
        None => {
            // Not even encoded do these stay what they are in a URL.
            anyhow::ensure!(
                ![".", ".."].contains(&&*name),
                "a token of this name is revoked with `--ledger FILE` alone"
            );
            let query = if force { "?force=true" } else { "" };
            drop(Server::new(common.server)?.delete(&format!("/v1/tokens/{name}{query}"), None)?);
        }
    }
    if common.output.structured() {
        return Ok(print_value(common.output, &json!({ "name": name, "result": "revoked" }))?);
    }
    Ok(print(&format!("token {name} revoked\n"))?)
}

/// Does something on a ledger's file, and has the audit log say so.
fn local<T>(
    ledger: &std::path::Path,
    what: &str,
    act: impl FnOnce(&Access) -> Result<T, crate::access::AccessError>,
) -> anyhow::Result<T> {
    let access = Access::open(ledger).with_context(|| format!("the ledger {} cannot be used", ledger.display()))?;
    let attempt = Attempt {
        at: now(),
        says: local_actor(),
        method: "LOCAL".to_owned(),
        target: "weir token".to_owned(),
        ..Attempt::default()
    };
    let number = access.attempt(&attempt)?;
    let done = act(&access);
    access.ended(number, if done.is_ok() { 200 } else { 409 }, what)?;
    Ok(done?)
}

/// Who the environment says it is.
fn local_actor() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|name| !name.is_empty());
    named("WEIR_ACTOR").or_else(|| named("USER")).unwrap_or_default()
}

/// A file that is there: a misspelt name is not a new ledger.
pub(super) fn existing(ledger: &std::path::Path) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(ledger.exists(), "there is no ledger {}", ledger.display());
    Ok(ledger.to_owned())
}
