//! `weir explain`: the story of an experiment in plain language.

use super::client::{Server, ServerArgs, experiment_name};
use super::output::{OutputArgs, print, print_value, stretch};
use crate::explain::{Chapter, Explanation};
use std::process::ExitCode;

/// Arguments of `weir explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir explain checkout                  what it is, what happened and why, what is believed and evident, what is missing
  weir explain checkout --output json    the same for programs

How long what is missing may take is an extrapolation of the evidence's growth at the traffic of late. It decides nothing.")]
pub(crate) struct ExplainArgs {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir explain`.
pub(crate) fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let server = Server::new(args.server)?;
    let answer = server.get(&format!("/v1/experiments/{}/explanation", args.name))?;
    if args.output.structured() {
        print_value(args.output, &answer)?;
    } else {
        let explanation: Explanation = server.typed(&answer)?;
        print(&told(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The story as text.
fn told(explanation: &Explanation) -> String {
    let Explanation { at, what, stands, story, beliefs, evidence, missing, warnings, .. } = explanation;
    let mut text = format!("{}\n\n{}\n", what.join("\n"), stands.join("\n"));
    let mut part = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    };
    part("What happened", story.iter().flat_map(|chapter| lines_of(chapter, *at)).collect());
    part("What is believed (it steers weights and decides nothing)", beliefs.clone());
    part("What is evident", evidence.clone());
    part("What is missing", missing.iter().map(|gap| gap.sentence.clone()).collect());
    part("Take care", warnings.clone());
    text
}

fn lines_of(chapter: &Chapter, now: u64) -> Vec<String> {
    let by = chapter.by.as_ref().map(|by| format!(" By {by}.")).unwrap_or_default();
    let mut lines = vec![format!("{} ago: {}{by}", stretch(now.saturating_sub(chapter.at)), chapter.what)];
    lines.extend(chapter.reasons.iter().map(|reason| format!("    {reason}")));
    lines
}
