//! `weir wait`: until an experiment has come somewhere, for scripts.

use super::client::{Server, ServerArgs, View, experiment_name};
use super::output::{OutputArgs, print, print_value, stretch};
use super::plain::plain;
use clap::ValueEnum;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weir_engine::state::{Outcome, Phase};

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// It can no longer come there.
const NEVER: u8 = 3;
/// It has not come there in time.
const TIMED_OUT: u8 = 4;

/// Arguments of `weir wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir wait checkout --for concluded                       however it ends
  weir wait checkout --for promoted --timeout 2h           in a pipeline: go on only with a winner
  weir wait checkout --for approval && notify              until somebody is asked

Exit codes: 0 it is so; 1 something went wrong; 3 it can no longer be so (it has concluded otherwise, or was deleted); 4 the time is up.")]
pub(crate) struct WaitArgs {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    /// What to wait for.
    #[arg(long = "for", value_enum, value_name = "WHAT")]
    what: What,
    /// For how long at most: `90s`, `30m`, `2h`. Without it, for ever.
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// It has ended, whatever its outcome.
    Concluded,
    /// It has ended with a version promoted.
    Promoted,
    /// It has ended with every candidate rolled back.
    RolledBack,
    /// It runs.
    Running,
    /// It is paused.
    Paused,
    /// It waits for a person: to be started, or for approval.
    Approval,
}

fn time(text: &str) -> Result<Duration, String> {
    weir_core::duration::parse_milliseconds(text).map(Duration::from_millis).map_err(|error| error.to_string())
}

/// Whether it is so, or can never be again.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Is,
    Not,
    Never,
}

fn standing(what: What, view: &View) -> Standing {
    let state = &view.state;
    let is = match (what, &state.phase) {
        (What::Concluded, Phase::Concluded { .. })
        | (What::Promoted, Phase::Concluded { outcome: Outcome::Promoted, .. })
        | (What::RolledBack, Phase::Concluded { outcome: Outcome::RolledBack, .. })
        | (What::Running, Phase::Running)
        | (What::Paused, Phase::Paused { .. }) => true,
        (What::Approval, phase) => *phase == Phase::Pending || state.awaited.is_some(),
        _ => false,
    };
    match is {
        true => Standing::Is,
        false if state.is_concluded() => Standing::Never,
        false => Standing::Not,
    }
}

/// Runs `weir wait`.
pub(crate) fn run(args: WaitArgs) -> anyhow::Result<ExitCode> {
    // An answer that takes longer than there is time is none.
    let server = Server::patient(args.server, args.timeout.unwrap_or(Duration::MAX).max(INTERVAL))?;
    let path = format!("/v1/experiments/{}", args.name);
    let begin = Instant::now();
    let mut seen = false;
    let mut stands = String::new();
    let mut away = false;
    loop {
        match server.get(&path) {
            Ok(answer) => {
                (seen, away) = (true, false);
                let view: View = server.typed(&answer)?;
                let phase = answer.get("phase").cloned().unwrap_or_default();
                stands = format!("it is {}", phase.as_str().unwrap_or_default());
                match standing(args.what, &view) {
                    Standing::Is => return end(args.output, &args.name, true, phase, &how(&view), 0),
                    Standing::Never => return end(args.output, &args.name, false, phase, &how(&view), NEVER),
                    Standing::Not => {}
                }
            }
            Err(super::client::ApiError::NotFound(_)) if seen => {
                return end(args.output, &args.name, false, "deleted".into(), "deleted", NEVER);
            }
            // A server that restarts is no reason to stop waiting; one that was never there is.
            Err(error) if seen && error.may_pass() => {
                if !std::mem::replace(&mut away, true) {
                    eprintln!("weir: {error}; still waiting");
                }
            }
            Err(error) if !error.may_pass() || args.timeout.is_none_or(|timeout| begin.elapsed() < timeout) => {
                return Err(error.into());
            }
            // It did not even answer, and the time is up.
            Err(error) => eprintln!("weir: {error}"),
        }
        let pause = match args.timeout {
            None => INTERVAL,
            Some(timeout) => {
                let left = timeout.saturating_sub(begin.elapsed());
                if left.is_zero() {
                    let (name, time) = (&args.name, u64::try_from(timeout.as_millis())?);
                    let what =
                        args.what.to_possible_value().map_or_else(String::new, |what| what.get_name().to_owned());
                    let stands = if stands.is_empty() || away { "the server does not answer" } else { &stands };
                    let time = if time < 1_000 { format!("{time} ms") } else { stretch(time) };
                    eprintln!(
                        "weir: {name} was not `{what}` within {time}: {stands}; `weir explain {name}` says what is missing"
                    );
                    return end(args.output, &args.name, false, "timeout".into(), "", TIMED_OUT);
                }
                left.min(INTERVAL)
            }
        };
        std::thread::sleep(pause);
    }
}

/// How it stands, in words: of one that has concluded, also how, and by whom if that was not by its evidence.
fn how(view: &View) -> String {
    let phase = plain(&super::show::phase(view));
    if view.state.is_concluded() { format!("concluded ({phase})") } else { phase }
}

fn end(
    output: OutputArgs,
    name: &str,
    is: bool,
    phase: serde_json::Value,
    how: &str,
    code: u8,
) -> anyhow::Result<ExitCode> {
    if output.structured() {
        print_value(output, &json!({ "name": name, "reached": is, "phase": phase }))?;
    } else if code != TIMED_OUT {
        print(&format!("{name}: {how}{}\n", if is { "" } else { ", and will not come there" }))?;
    }
    Ok(ExitCode::from(code))
}
