//! `weir watch`: follows one experiment, on a terminal as a full-screen view.

mod dialog;
mod full;

use super::client::{ApiError, Server, ServerArgs, View, experiment_name};
use super::output::{OutputArgs, now, print, print_one_of_several};
use super::show;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `weir watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir watch checkout                      on a terminal a full-screen view, whose keys pause, approve, promote and roll back
  weir watch checkout | cat                a line whenever weights or verdicts change
  weir watch checkout --until-concluded    ends when the experiment does
  weir watch checkout --output json        one JSON object a line whenever anything changes

Keys ask for a reason, name the consequence and want a `y` before they do anything. `q` or Ctrl-C ends it; the experiment runs on. Of one that has concluded already it shows where that stands, and ends.")]
pub(crate) struct WatchArgs {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    /// End, with exit code 0, when the experiment has concluded.
    #[arg(long)]
    until_concluded: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir watch`.
pub(crate) fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    if !args.output.structured() && std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return full::run(args);
    }
    let server = Server::new(args.server)?;
    let path = format!("/v1/experiments/{}", args.name);
    let mut screen = Screen::new(args.output);
    let mut seen = false;
    loop {
        match server.get(&path) {
            Ok(answer) => {
                let view: View = server.typed(&answer)?;
                screen.show(&answer, &view)?;
                if view.state.is_concluded() && !seen {
                    // Nothing of it changes any more.
                    eprintln!("weir: {} has concluded: there is nothing more to watch", args.name);
                    return Ok(ExitCode::SUCCESS);
                }
                seen = true;
                if args.until_concluded && view.state.is_concluded() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            // A server that restarts is no reason to stop watching; one that was never there is.
            Err(error) if seen && error.may_pass() => screen.away(&error)?,
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(INTERVAL);
    }
}

/// How what is watched is shown.
enum Screen {
    /// A line per change: what the last line stood for.
    Lines { standing: String, away: bool },
    /// One object per change: the last one.
    Structured { output: OutputArgs, last: serde_json::Value },
}

impl Screen {
    fn new(output: OutputArgs) -> Self {
        if output.structured() {
            Self::Structured { output, last: serde_json::Value::Null }
        } else {
            Self::Lines { standing: String::new(), away: false }
        }
    }

    fn show(&mut self, answer: &serde_json::Value, view: &View) -> std::io::Result<()> {
        match self {
            Self::Lines { standing, away } => {
                let new = show::standing(view);
                if *standing == new && !*away {
                    return Ok(());
                }
                (*standing, *away) = (new, false);
                print(&format!("{}\n", show::line(view, now())))
            }
            Self::Structured { output, last } => {
                if last == answer {
                    return Ok(());
                }
                *last = answer.clone();
                print_one_of_several(*output, answer)
            }
        }
    }

    /// The server does not answer: said once, in a picture as long as it lasts.
    fn away(&mut self, error: &ApiError) -> std::io::Result<()> {
        match self {
            Self::Lines { away, .. } if !*away => {
                *away = true;
                eprintln!("weir: {error}; still trying");
                Ok(())
            }
            Self::Lines { .. } | Self::Structured { .. } => Ok(()),
        }
    }
}
