//! `weir delete`: ends an experiment and forgets it.

use super::client::{Server, ServerArgs, View, experiment_name};
use super::order::refused;
use super::output::{OutputArgs, print, print_value};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use weir_engine::state::Phase;

/// Arguments of `weir delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir delete checkout                                               one that has concluded
  weir delete checkout --reason 'the new route table is in place'    any, also one that is running

One that has not concluded is deleted with a reason; on a terminal without one it is asked for. To end it and keep it: `weir stop`.

Its traffic then goes where the route table sends what carries no routing header: to the baseline. That is also true of an
experiment that promoted another version, so change the route table first.")]
pub(crate) struct DeleteArgs {
    /// The experiment's name.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    /// Why, in 1 to 1,000 characters: kept in the experiment's journal, which stays for 90 days. Needed unless it has concluded.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir delete`.
pub(crate) fn run(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    // As of every other command: a reason that says nothing is none.
    if args.reason.as_deref().is_some_and(|reason| reason.trim().is_empty()) {
        let empty =
            "the reason is empty: say why, in 1 to 1,000 characters, or leave `--reason` out; nothing was deleted";
        if args.output.structured() {
            return refused(args.output, &args.name, &empty);
        }
        anyhow::bail!(empty);
    }
    let server = Server::new(args.server)?;
    let path = format!("/v1/experiments/{}", args.name);
    let reason = match args.reason {
        None => match wanted(&server, &path, &args.name, args.output.structured()) {
            Err(error) if args.output.structured() => return refused(args.output, &args.name, &error),
            wanted => wanted?,
        },
        given => given,
    };
    let deleted = server.delete(&path, reason.as_deref());
    match deleted {
        Err(error) if args.output.structured() => return refused(args.output, &args.name, &error),
        deleted => drop(deleted?),
    }
    if args.output.structured() {
        print_value(args.output, &json!({ "name": args.name, "result": "deleted" }))?;
    } else {
        print(&format!("experiment {} deleted\n", args.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The reason that an experiment is deleted for which has not concluded, from whoever sits there; `None` of one that needs none.
///
/// # Errors
/// When it needs one, and nobody gives it; when the server cannot say how it stands.
fn wanted(server: &Server, path: &str, name: &str, structured: bool) -> anyhow::Result<Option<String>> {
    let view: View = server.typed(&server.get(path)?)?;
    let stands = match view.state.phase {
        Phase::Concluded { .. } => return Ok(None),
        Phase::Pending => "waits to be started",
        Phase::Paused { .. } => "is paused",
        Phase::Running => "is running",
    };
    let asks = !structured && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if asks {
        let mut err = std::io::stderr().lock();
        write!(
            err,
            "{name} {stands}. It ends, and its traffic goes to the baseline. Why is it deleted (nothing: it is not)? "
        )?;
        err.flush()?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        if !line.trim().is_empty() {
            return Ok(Some(line.trim().to_owned()));
        }
    }
    anyhow::bail!(
        "{name} {stands}: say why it is deleted all the same with --reason WHY (`weir stop {name}` ends it and keeps it); nothing was \
         deleted"
    )
}
