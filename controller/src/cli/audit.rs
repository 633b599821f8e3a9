//! `weir audit`: who changed what.

use super::client::{Server, ServerArgs};
use super::output::{NOTHING, OutputArgs, Table, now, print, print_value, stretch};
use super::token::existing;
use crate::access::{Access, AuditRow};
use anyhow::Context;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Most entries that one answer of the server has.
const PAGE: u32 = 1_000;

/// Arguments of `weir audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir audit                            the last 50 changes, newest first
  weir audit --limit 5000 -o json       for a program
  weir audit --ledger weir.db           on the machine with the ledger, whether or not the controller runs

Every change that somebody asked for is in it, done or refused, with the token's name, what the client says of itself and the address. Reports
and rewards are counted in the ledger instead; of these, what a token's role did not allow is here.")]
pub(crate) struct AuditArgs {
    /// Most entries to show.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// The ledger's file, to read it without a server
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir audit`.
pub(crate) fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let rows = match &args.ledger {
        Some(ledger) => Access::open(&existing(ledger)?)
            .and_then(|access| access.audit(None, args.limit))
            .with_context(|| format!("the ledger {} cannot be used", ledger.display()))?,
        None => served(&Server::new(args.server)?, args.limit)?,
    };
    if args.output.structured() {
        print_value(args.output, &json!({ "entries": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    show(rows)
}

/// The entries that a server has.
fn served(server: &Server, limit: u32) -> anyhow::Result<Vec<AuditRow>> {
    let mut entries: Vec<Value> = Vec::new();
    let (mut left, mut cursor) = (limit, String::new());
    while left > 0 {
        let page = server.get(&format!("/v1/audit?limit={}{cursor}", left.min(PAGE)))?;
        let part = page.get("entries").and_then(Value::as_array).cloned().unwrap_or_default();
        left = left.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX));
        entries.extend(part);
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(server.typed(&Value::Array(entries))?)
}

fn show(rows: Vec<AuditRow>) -> anyhow::Result<ExitCode> {
    let mut table = Table::new(&["WHEN", "WHO", "FROM", "WHAT", "OUTCOME", "DETAIL"]);
    for row in rows {
        let who = match (row.who.as_str(), row.says.as_str()) {
            ("", "") => NOTHING.to_owned(),
            ("", says) => format!("{says} (as they say)"),
            (who, _) => who.to_owned(),
        };
        let outcome = match row.status {
            None => "never ended".to_owned(),
            Some(status @ ..=399) => format!("done ({status})"),
            Some(status @ 400..=499) => format!("refused ({status})"),
            Some(status) => format!("failed ({status})"),
        };
        let ago = format!("{} ago", stretch(now().saturating_sub(row.at)));
        let from = if row.from.is_empty() { NOTHING.to_owned() } else { row.from };
        table.row(vec![ago, who, from, format!("{} {}", row.method, row.target), outcome, row.detail]);
    }
    print(&if table.is_empty() { "nobody has changed anything yet\n".to_owned() } else { table.render() })?;
    Ok(ExitCode::SUCCESS)
}
