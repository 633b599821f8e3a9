//! `weir apply`: sends experiment documents to the server.

use super::client::{ApiError, Detail, Server, ServerArgs, Source};
use super::output::{OutputArgs, print, print_value};
use super::validate::{Finding, check};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Arguments of `weir apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir apply -f checkout.yaml
  weir apply -f checkout.yaml -f search.yaml
  generate-experiment | weir apply -f -

Every file is checked before the first is sent, and each is applied whole or not at all. Prints what became of each
experiment: created, changed or unchanged; of a change, field by field, and what becomes of the weights. What changes the meaning of the evidence is refused while an experiment runs.")]
pub(crate) struct ApplyArgs {
    /// File with one or more experiments, YAML or JSON; `-` is the standard input. May be given several times.
    #[arg(long = "file", short, value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir apply`.
pub(crate) fn run(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let sources = args.files.iter().map(|path| Source::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let findings: Vec<Finding> = check(&sources).1;
    if !findings.is_empty() {
        return refused(&[], &findings, args.output);
    }
    let server = Server::new(args.server)?;
    let mut applied = Vec::new();
    for source in &sources {
        let answer = match server.post("/v1/experiments", &source.text) {
            Err(ApiError::Invalid { problems, .. }) => {
                let findings: Vec<Finding> = problems.into_iter().map(|detail| finding(&source.name, detail)).collect();
                return refused(&applied, &findings, args.output);
            }
            answer => answer?,
        };
        for Became { name, id, result, reasons } in results(&server, &answer)? {
            if !args.output.structured() {
                print(&format!("experiment {name} {result}\n"))?;
                for reason in &reasons {
                    print(&format!("  {reason}\n"))?;
                }
            }
            applied.push(json!({ "name": name, "id": id, "result": result, "reasons": reasons }));
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
