//! The command line's root: which commands there are, and how a failure is shown. Each command owns its own file.

mod ahead;
mod analyze;
mod apply;
mod audit;
mod client;
mod config;
mod context;
mod delete;
mod destination;
mod environment;
mod explain;
mod failure;
mod get;
mod health;
mod insight;
mod order;
mod output;
mod plain;
mod power;
mod progress;
mod render;
mod replay;
mod serve;
mod shell;
mod show;
mod simulate;
mod token;
mod trend;
mod validate;
mod wait;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Continuous experimentation in Envoy: the controller and its command line.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  weir validate -f checkout.yaml && weir apply -f checkout.yaml    begin an experiment
  weir get; weir watch checkout                                    see how it does
  weir explain checkout                                            why it did what it did
  weir COMMAND --help                                              each command, with examples of its own

--server, --token-value, --context, --ca-file and --output may stand before the command as well as behind it."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Serve(serve::ServeArgs),
    /// Create or change the experiments of a file.
    Apply(apply::ApplyArgs),
    /// Show experiments.
    Get(get::GetArgs),
    /// Follow an experiment; with --until-concluded, until it concludes.
    Watch(watch::WatchArgs),
    /// Wait until an experiment has come somewhere, for scripts.
    Wait(wait::WaitArgs),
    /// Tell an experiment's story: what happened and why, what is evident, what is missing.
    Explain(explain::ExplainArgs),
    /// Show how a service has evolved: what its concluded experiments found.
    Trend(trend::TrendArgs),
    /// Compute every decision of an experiment again, or ask what another document would have done.
    Replay(replay::ReplayArgs),
    /// Begin an experiment that waits to be started.
    #[command(after_help = "\
Example: weir start checkout --reason 'all hands are here'

Only an experiment with `approvals: {start: true}` waits; until then all of its traffic goes to the baseline, uncounted.")]
    Start(order::OrderArgs),
    /// Keep an experiment's weights as they are.
    #[command(after_help = "\
Example: weir pause checkout --reason 'sale until six'

Counts and evidence go on, and evidence of a violation still rolls a version back. The pause does not count towards the longest
duration. `weir resume` goes on.")]
    Pause(order::OrderArgs),
    /// Let a paused experiment go on.
    #[command(after_help = "\
Example: weir resume checkout --reason 'the sale is over'

A canary goes on at its rung, an A/B test with its split, a bandit from the weights there are.")]
    Resume(order::OrderArgs),
    /// Do what waits for approval.
    #[command(after_help = "\
Examples:
  weir approve checkout --reason 'seen the dashboards'                                 shows what waits, and approves that
  weir approve checkout --awaited-since 1800000000000 --reason 'seen the dashboards'   approves what `weir get` showed

It is refused if something else has come to wait meanwhile, or if what waits is no longer warranted by what is known.")]
    Approve(order::ApproveArgs),
    /// Set an experiment's weights by hand, and pause it.
    #[command(after_help = "\
Example: weir set-weights checkout v1=90% v2=10% --reason 'load test of v2'

It is paused with them until `weir resume`; evidence of a violation still rolls a version back. Evidence stays valid: every count
carries the weights it was made at.")]
    SetWeights(order::SetWeightsArgs),
    /// End an experiment with all traffic on a version of your choice.
    #[command(after_help = "\
Example: weir promote checkout v2 --reason 'needed for the launch'

Whatever the evidence says, unless the version broke a limit. The journal says that a person did it.")]
    Promote(order::PromoteArgs),
    /// Take all traffic from a version, or from every candidate.
    #[command(after_help = "\
Examples:
  weir roll-back checkout v2 --reason 'a wrong build'      the others go on
  weir roll-back checkout --reason 'a wrong build'         everything goes to the baseline, and the experiment ends")]
    RollBack(order::RollBackArgs),
    /// End an experiment without an outcome, with all traffic on the baseline.
    #[command(after_help = "\
Example: weir stop checkout --reason 'asked the wrong question'

It stays, with its counts and its journal, until it is deleted.")]
    Stop(order::OrderArgs),
    /// Delete an experiment.
    Delete(delete::DeleteArgs),
    /// Make, list and revoke the tokens by which people and programs are known.
    Token(token::TokenArgs),
    /// Show who changed what, from where, and how it ended.
    Audit(audit::AuditArgs),
    /// Say everything that is wrong with a file, without a server.
    Validate(validate::ValidateArgs),
    /// Say what the counts of a file show, without a server.
    Analyze(analyze::AnalyzeArgs),
    /// Rehearse an experiment in virtual time, without a server.
    Simulate(simulate::SimulateArgs),
    /// Say how much traffic and how long an experiment needs, by simulation.
    Power(power::PowerArgs),
    /// Print what a mesh or a stand-alone Envoy needs for an experiment.
    Render(render::RenderArgs),
    /// Say whether a controller can serve.
    Health(health::HealthArgs),
    /// Keep servers and their tokens by name, and choose where commands go.
    Context(context::ContextArgs),
    /// Print a shell's completions.
    Completions(shell::CompletionsArgs),
    /// Print the manual.
    Man(shell::ManArgs),
}

/// That the command line is wrong, which could not be told while it was read: exit code 2, as where it could.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUse(String);

impl Command {
    /// How its results are asked for; `None` of what has none.
    fn output(&self) -> Option<output::OutputArgs> {
        Some(match self {
            Self::Serve(_) | Self::Health(_) | Self::Completions(_) | Self::Man(_) => return None,
            Self::Context(args) => return args.output(),
            Self::Wait(args) => args.output,
            Self::Trend(args) => args.output,
            Self::Apply(args) => args.output,
            Self::Get(args) => args.output,
            Self::Watch(args) => args.output,
            Self::Explain(args) => args.output,
            Self::Replay(args) => args.output,
            Self::Start(args) | Self::Pause(args) | Self::Resume(args) | Self::Stop(args) => args.common.output,
            Self::Approve(args) => args.common.output,
            Self::SetWeights(args) => args.common.output,
            Self::Promote(args) => args.common.output,
            Self::RollBack(args) => args.common.output,
            Self::Delete(args) => args.output,
            Self::Token(args) => args.output(),
            Self::Audit(args) => args.output,
            Self::Validate(args) => args.output,
            Self::Analyze(args) => args.output,
            Self::Simulate(args) => args.output,
            Self::Power(args) => args.output,
            Self::Render(args) => return args.output(),
        })
    }
}

impl Cli {
    /// The command line of this process; ends it where that is wrong, or asks for help.
    pub(crate) fn read() -> Self {
        let arguments = ahead::behind(std::env::args_os());
        let matches = environment::without_empty(Self::command()).get_matches_from(arguments);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command. A failure goes to stderr with its causes, and where programs read to stdout as a line of JSON, and becomes
    /// exit code 1, or 2 where the command line is what is wrong.
    pub(crate) fn run(self) -> ExitCode {
        let structured = self.command.output().filter(|output| output.structured());
        let result = match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Apply(args) => apply::run(args),
            Command::Get(args) => get::run(args),
            Command::Watch(args) => watch::run(args),
            Command::Wait(args) => wait::run(args),
            Command::Explain(args) => explain::run(args),
            Command::Trend(args) => trend::run(args),
            Command::Replay(args) => replay::run(args),
            Command::Start(args) => order::plain(order::Plain::Start, args),
            Command::Pause(args) => order::plain(order::Plain::Pause, args),
            Command::Resume(args) => order::plain(order::Plain::Resume, args),
            Command::Approve(args) => order::approve(args),
            Command::SetWeights(args) => order::set_weights(args),
            Command::Promote(args) => order::promote(args),
            Command::RollBack(args) => order::roll_back(args),
            Command::Stop(args) => order::plain(order::Plain::Stop, args),
            Command::Delete(args) => delete::run(args),
            Command::Token(args) => token::run(args),
            Command::Audit(args) => audit::run(args),
            Command::Validate(args) => validate::run(args),
            Command::Analyze(args) => analyze::run(args),
            Command::Simulate(args) => simulate::run(args),
            Command::Power(args) => power::run(args),
            Command::Render(args) => render::run(args),
            Command::Health(args) => health::run(args),
            Command::Context(args) => context::run(args),
            Command::Completions(args) => shell::completions(args),
            Command::Man(args) => shell::man(args),
        };
        result.unwrap_or_else(|error| {
            eprintln!("weir: {error:#}");
            if let Some(output) = structured {
                // It may follow what `watch` has printed. If nobody reads it, stderr has it.
                let _ = output::print_one_of_several(output, &serde_json::json!({ "error": format!("{error:#}") }));
            }
            if error.is::<WrongUse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        })
    }
}
