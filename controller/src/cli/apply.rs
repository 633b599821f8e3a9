//! `weir apply`: sends experiment documents to the server.

use super::client::{ApiError, Detail, Server, ServerArgs, Source};
use super::output::{OutputArgs, print, print_value};
use super::plain::plain;
use super::validate::{Finding, check};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Arguments of `weir apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir apply -f checkout.yaml
  weir apply -f checkout.yaml -f search.yaml
  generate-experiment | weir apply -f -
  weir apply -f checkout.yaml --dry-run              only say what would become of each, and how to apply just that
  weir apply -f checkout.yaml --if-match \"0a1b…\"    not if somebody has changed it since

Every file is checked before the first is sent, and each is applied whole or not at all. Prints what became of each
experiment: created, changed or unchanged; of a change, field by field, and what becomes of the weights. What changes the meaning of the evidence is refused while an experiment runs.")]
pub(crate) struct ApplyArgs {
    /// File with one or more experiments, YAML or JSON; `-` is the standard input. May be given several times.
    #[arg(long = "file", short, value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Apply only if the experiment is as it was when it had this tag (`--dry-run` and `weir get NAME --etag` say it); `none`: only
    /// if there is no such experiment. For one experiment.
    #[arg(long, value_name = "ETAG", value_parser = tag)]
    if_match: Option<String>,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// A tag with its quotes, which shells like to take, or `none`.
fn tag(text: &str) -> Result<String, String> {
    let bare = text.trim_matches('"');
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b',') {
        return Err("write it as `weir get NAME --etag` prints it, or `none`".to_owned());
    }
    Ok(if ["none", "*"].contains(&bare) { bare.to_owned() } else { format!("\"{bare}\"") })
}

/// As a header of the request.
fn condition(tag: &str) -> (&'static str, &str) {
    if tag == "none" { ("if-none-match", "*") } else { ("if-match", tag) }
}

/// Runs `weir apply`.
pub(crate) fn run(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let sources = args.files.iter().map(|path| Source::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let (experiments, findings) = check(&sources);
    if !findings.is_empty() {
        return refused(&[], &findings, args.output);
    }
    if args.if_match.is_some() && experiments.len() != 1 {
        anyhow::bail!("--if-match is about one experiment, and there are {}: apply them one by one", experiments.len());
    }
    let server = Server::new(args.server)?;
    let mut applied = Vec::new();
    // Read before: what changes after this is not what was looked at.
    let mut tags = BTreeMap::new();
    for (_, experiment) in experiments.iter().filter(|_| args.dry_run) {
        tags.insert(experiment.name.clone(), server.tag(&format!("/v1/experiments/{}", experiment.name))?);
    }
    let path = if args.dry_run { "/v1/experiments?dryRun=true" } else { "/v1/experiments" };
    for source in &sources {
        let answer = match server.post(path, &source.text, args.if_match.as_deref().map(condition)) {
            Err(ApiError::Invalid { problems, .. }) => {
                let findings: Vec<Finding> = problems.into_iter().map(|detail| finding(&source.name, detail)).collect();
                return refused(&applied, &findings, args.output);
            }
            answer => answer?,
        };
        for Became { name, id, result, reasons } in results(&server, &answer)? {
            let mut told = json!({ "name": name, "id": id, "result": result, "reasons": reasons });
            let mut next = String::new();
            if let Some(fields) = told.as_object_mut().filter(|_| args.dry_run) {
                let tag = tags.get(&name).cloned().flatten();
                if experiments.len() == 1 {
                    let bare = tag.as_deref().map_or("none", |tag| tag.trim_matches('"'));
                    let file = args.files.first().map_or("-", String::as_str);
                    next = format!("  to apply just this: weir apply -f {file} --if-match {bare}\n");
                }
                fields.insert("etag".to_owned(), json!(tag));
                fields.insert("dryRun".to_owned(), json!(true));
            }
            if !args.output.structured() {
                let would = if args.dry_run { "would be " } else { "" };
                let reasons = reasons.iter().map(|reason| format!("  {}\n", plain(reason)));
                print(&format!("experiment {name} {would}{result}\n{}{next}", reasons.collect::<String>()))?;
            }
            applied.push(told);
        }
    }
    if args.output.structured() {
        print_value(args.output, &json!({ "experiments": applied }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `applied`: what earlier files did before one was refused.
fn refused(applied: &[Value], findings: &[Finding], output: OutputArgs) -> anyhow::Result<ExitCode> {
    if output.structured() {
        print_value(output, &json!({ "experiments": applied, "problems": findings }))?;
    } else {
        for finding in findings {
            eprintln!("{finding}");
        }
        eprintln!(
            "weir: {}",
            if applied.is_empty() { "nothing was applied" } else { "nothing of this file was applied" }
        );
    }
    Ok(ExitCode::FAILURE)
}

fn finding(file: &str, detail: Detail) -> Finding {
    let Detail { line, column, path, message } = detail;
    Finding { file: file.to_owned(), line, column, path, message }
}

/// What became of an experiment.
struct Became {
    name: String,
    id: Option<String>,
    result: String,
    /// Of one that was changed: what of it, and what of its weights.
    reasons: Vec<String>,
}

/// What became of each experiment, from the server's answer: one object or several under `experiments`.
fn results(server: &Server, answer: &Value) -> Result<Vec<Became>, ApiError> {
    let one = std::slice::from_ref(answer);
    let items = answer.get("experiments").and_then(Value::as_array).map_or(one, Vec::as_slice);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    items
        .iter()
        .map(|item| {
            let name = text(item.get("name")).or_else(|| text(item.pointer("/experiment/name")));
            let reasons = item.get("reasons").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let reasons = reasons.iter().filter_map(|reason| text(Some(reason))).collect();
            name.zip(text(item.get("result")))
                .map(|(name, result)| Became { name, id: text(item.get("id")), result, reasons })
                .ok_or_else(|| server.strange("no name or no result".to_owned()))
        })
        .collect()
}
