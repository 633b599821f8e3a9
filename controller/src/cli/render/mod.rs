//! `weir render`: what a mesh or a stand-alone Envoy needs for an experiment. Reads documents, files and the server;
//! what is printed is `weir-render`'s.

mod envoy;
mod istio;

use super::client::{Server, ServerArgs, Source, View, experiment_name};
use super::output::{OutputArgs, print};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use weir_engine::document;
use weir_engine::spec::Experiment;
use weir_engine::state::Phase;
use weir_render::Rendered;

/// Arguments of `weir render`.
#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print resources of Istio.
    Istio(Box<istio::IstioArgs>),
    /// Print the configuration of a stand-alone Envoy.
    Envoy(Box<envoy::EnvoyArgs>),
}

impl RenderArgs {
    /// The format of failures.
    pub(super) fn output(&self) -> Option<OutputArgs> {
        let output = match &self.what {
            What::Istio(args) => args.output,
            What::Envoy(args) => args.output,
        };
        // What is printed as YAML is for people, and they read what failed on stderr.
        (output.output == Format::Json).then_some(JSON)
    }
}

const JSON: OutputArgs = OutputArgs { output: super::output::Format::Json };

/// How resources are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One YAML document after the other.
    #[default]
    Yaml,
    /// One `List`.
    Json,
}

/// `--output`.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Output {
    /// How to print.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// Which experiment, and what remains of it.
#[derive(Debug, clap::Args)]
struct Of {
    /// File with the document of one experiment, `-` for the standard input; or the name of one on the server.
    #[arg(value_name = "EXPERIMENT")]
    experiment: String,
    /// What remains when it has concluded: of one on the server its outcome, of a document's the version given here.
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "")]
    outcome: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// An experiment, and the version that is its outcome, if that is what is asked for.
struct Asked {
    experiment: Experiment,
    outcome: Option<usize>,
}

impl Of {
    fn read(self) -> anyhow::Result<Asked> {
        let named = self.experiment != "-" && experiment_name(&self.experiment).is_ok();
        let (experiment, concluded) = if named && !Path::new(&self.experiment).exists() {
            let server = Server::new(self.server)?;
            let view: View = server.typed(&server.get(&format!("/v1/experiments/{}", self.experiment))?)?;
            let concluded = match view.state.phase {
                Phase::Concluded { version, .. } => Some(version),
                _ => None,
            };
            (view.experiment, concluded)
        } else {
            (of_file(&self.experiment)?, None)
        };
        let outcome = match self.outcome.as_deref() {
            None => None,
            Some("") => Some(concluded.with_context(|| {
                format!(
                    "{} has no outcome yet: wait until it has concluded, or name a version, `--outcome VERSION`",
                    experiment.name
                )
            })?),
            Some(name) => {
                let known = experiment.versions.iter().position(|version| version.name == name);
                Some(known.with_context(|| format!("{} has no version `{name}`", experiment.name))?)
            }
        };
        if outcome.is_none() && concluded.is_some() {
            eprintln!("weir: {} has concluded; `--outcome` prints what remains", experiment.name);
        }
        Ok(Asked { experiment, outcome })
    }
}

fn of_file(path: &str) -> anyhow::Result<Experiment> {
    let source = Source::read(path)?;
    let mut experiments = document::read(&source.text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", source.name)).collect();
        anyhow::anyhow!("this is no valid experiment:\n{}", lines.join("\n"))
    })?;
    match (experiments.pop(), experiments.len()) {
        (Some(only), 0) => Ok(only),
        (_, others) => bail!("{} has {} experiments: give a file with one", source.name, others + 1),
    }
}

/// What stands for the token, if there is one: never a token, which in Git would be anybody's who reads there.
fn placeholder(text: &str) -> anyhow::Result<Option<String>> {
    // `${NAME}`, `<path:…>`, `{{ … }}`, `@NAME@`, `__NAME__`, `NAME`: whatever is filled in is marked, or all in capitals. It is not repeated
    // here: logs keep what is said.
    let marked = text.contains(['$', '{', '<', '%', '@']) && !text.starts_with("weir_");
    let capitals = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if !(marked || capitals || text == "none") {
        bail!(
            "--token takes a placeholder, as `${{WEIR_PROXY_TOKEN}}`, not the token: fill that in when it is applied (docs/istio.md#the-token)"
        );
    }
    Ok((text != "none" && !text.is_empty()).then(|| text.to_owned()))
}

/// Runs `weir render`.
pub(crate) fn run(args: RenderArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Istio(args) => istio::run(*args),
        What::Envoy(args) => envoy::run(*args),
    }
}

/// Prints resources; notes go to stderr, and what is to be deleted before the resources, as comments.
fn print_resources(rendered: &Rendered, output: Output) -> anyhow::Result<ExitCode> {
    for note in &rendered.notes {
        eprintln!("note: {note}");
    }
    if output.output == Format::Json {
        for old in &rendered.delete {
            eprintln!("then: {}    ({})", old.command(), old.unless);
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": rendered.resources });
        print(&format!("{list:#}\n"))?;
    } else {
        print(&rendered.yaml()?)?;
    }
    Ok(ExitCode::SUCCESS)
}
