//! `weir get`: shows experiments once.

use super::client::{ApiError, Server, ServerArgs, View, experiment_name};
use super::insight::insight;
use super::output::{OutputArgs, now, print, print_value};
use super::show;
use serde_json::{Value, json};
use std::process::ExitCode;
use weir_engine::budget::AlphaSpent;
use weir_engine::state::Phase;

/// Arguments of `weir get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir get                          every experiment, one a line
  weir get checkout                 one in detail: versions, verdicts, the last decision, comparisons, the α spent
  weir get checkout --output json   everything that is known of it
  weir get --server http://weir.example:8181")]
pub(crate) struct GetArgs {
    /// The experiment's name; every experiment without it.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: Option<String>,
    /// Print its tag alone, which `weir apply --if-match` takes: it changes with the document, the phase, the weights, who is out and
    /// what waits, not with what is counted.
    #[arg(long, requires = "name", conflicts_with = "output")]
    etag: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// A list of experiments with all of its pages.
fn every(server: &Server, path: &str) -> Result<Value, ApiError> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = server.get(&format!("{path}?limit=1000{cursor}"))?;
        match page.get_mut("experiments").map(Value::take) {
            Some(Value::Array(experiments)) => all.extend(experiments),
            _ => return Err(server.strange("no experiments".to_owned())),
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(json!({ "experiments": all })),
        }
    }
}

/// Runs `weir get`.
pub(crate) fn run(args: GetArgs) -> anyhow::Result<ExitCode> {
    let server = Server::new(args.server)?;
    let path = match &args.name {
        Some(name) => format!("/v1/experiments/{name}"),
        None => "/v1/experiments".to_owned(),
    };
    if args.etag {
        // What is read first says it as `get` does if there is no such experiment.
        server.get(&path)?;
        print(&format!("{}\n", server.tag(&path)?.unwrap_or_default().trim_matches('"')))?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = if args.name.is_some() { server.get(&path)? } else { every(&server, &path)? };
    if args.output.structured() {
        print_value(args.output, &answer)?;
    } else if args.name.is_some() {
        let view: View = server.typed(&answer)?;
        let depth = view
            .assessment
            .as_ref()
            .filter(|_| view.state.phase != Phase::Pending)
            .map(|assessment| insight(assessment, &AlphaSpent::of(assessment, assessment.winner.as_deref())));
        print(&format!("{}{}", show::detail(&view, now()), depth.unwrap_or_default()))?;
    } else {
        let views: Vec<View> = server.typed(answer.get("experiments").unwrap_or(&answer))?;
        print(&show::list(&views, now()))?;
    }
    Ok(ExitCode::SUCCESS)
}
