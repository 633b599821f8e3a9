//! `weir replay`: computes every decision of an experiment again from its journal, and compares to the bit; or asks what another
//! strategy or other limits would have done.

use super::client::{Server, ServerArgs, Source, experiment_name};
use super::output::{OutputArgs, count, print, print_value, stretch, weight};
use super::plain::plain;
use super::show::action;
use crate::ledger::{JournalRow, Ledger, SettledRow};
use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_engine::journal::{Answer, Rehearsal, Replay};
use weir_engine::spec::Experiment;
use weir_engine::state::{Outcome, Phase};

/// Arguments of `weir replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir replay checkout                                compute every decision again, and compare to the bit
  weir replay checkout --ledger weir.db               without a server, from its ledger: also one that is deleted, by its id
  weir replay checkout --with stricter.yaml           what would this document have done, on the same observations?

A document that is asked about has the same name, versions, match, unit, deadline, bin, measure and failure, the same reward or none,
and, where users are the unit, the same guardrail on latency or none; anything else is its own. From the first decision on whose weights differ, the answer rests on traffic that other weights sent: it says where that is,
and of which versions too little was seen.

Exit code 0 if all is equal, 1 if something differs (the first is named) or cannot be read.")]
pub(crate) struct ReplayArgs {
    /// The experiment's name; with --ledger also its id.
    #[arg(value_name = "NAME", value_parser = experiment_name)]
    name: String,
    /// Read this ledger instead of asking a server; a controller may be running on it.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// A document with another strategy or other limits; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    with: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Where a journal is read.
enum Journal {
    Server(Server, String),
    Ledger(Box<Ledger>, String),
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<JournalRow>,
}

impl Journal {
    fn open(args: &ReplayArgs) -> anyhow::Result<Self> {
        let Some(path) = &args.ledger else {
            return Ok(Self::Server(Server::new(args.server.clone())?, args.name.clone()));
        };
        let ledger = Ledger::read_only(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let Some(id) = ledger.find(&args.name)? else { bail!("{} has no experiment `{}`", path.display(), args.name) };
        Ok(Self::Ledger(Box::new(ledger), id))
    }

    /// The next entries; none: there are no more.
    fn page(&self, after: u64) -> anyhow::Result<Vec<JournalRow>> {
        Ok(match self {
            Self::Server(server, name) => {
                let answer = server.get(&format!("/v1/experiments/{name}/journal?after={after}"))?;
                server.exactly::<Page>(&answer)?.entries
            }
            Self::Ledger(ledger, id) => ledger.journal(id, after, 1_000, 16 << 20)?,
        })
    }

    /// Gives every entry to a function, until that fails.
    fn read<E>(&self, mut each: impl FnMut(&JournalRow) -> Result<(), E>) -> anyhow::Result<Result<u64, E>> {
        let mut after = 0;
        loop {
            let page = self.page(after)?;
            if page.is_empty() {
                return Ok(Ok(after));
            }
            for row in page {
                if row.number != after + 1 {
                    bail!("the journal lacks entry {}: it was changed by hand", after + 1);
                }
                if let Err(error) = each(&row) {
                    return Ok(Err(error));
                }
                after = row.number;
            }
        }
    }

    /// What the ledger has beside the journal; nothing to compare with where a server was asked.
    fn check(&self, replay: &Replay) -> anyhow::Result<Result<(), String>> {
        let Self::Ledger(ledger, id) = self else { return Ok(Ok(())) };
        let (state, settled) = ledger.journaled(id)?;
        if replay.state() != Some(&state) {
            return Ok(Err("the ledger's state is not the one that its journal leads to".to_owned()));
        }
        let counted = |row: &SettledRow| {
            let cells = &replay.observations()?.epochs.get(&row.epoch)?.settled;
            cells.get(row.version).filter(|counts| **counts == row.counts)
        };
        let nothing = weir_core::report::Counts::default();
        let differs = |row: &&SettledRow| row.counts != nothing && counted(row).is_none();
        let name = |version: usize| replay.experiment().map_or("", |experiment| experiment.version_name(version));
        if let Some(row) = settled.iter().find(differs) {
            return Ok(Err(format!(
                "the ledger's counts of epoch {}, version {} are not the journal's",
                row.epoch,
                name(row.version)
            )));
        }
        // And the other way: what the journal counted is in the ledger.
        let kept: BTreeSet<(u32, usize)> = settled.iter().map(|row| (row.epoch, row.version)).collect();
        let journaled = replay.observations().into_iter().flat_map(|observations| &observations.epochs);
        let mut journaled = journaled.flat_map(|(epoch, counts)| {
            let cells = counts.settled.iter().enumerate();
            cells.filter(|(_, cell)| **cell != nothing).map(|(version, _)| (*epoch, version))
        });
        Ok(journaled.find(|cell| !kept.contains(cell)).map_or(Ok(()), |(epoch, version)| {
            Err(format!("the ledger lacks the journal's counts of epoch {epoch}, version {}", name(version)))
        }))
    }
}

/// Runs `weir replay`.
pub(crate) fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let journal = Journal::open(&args)?;
    match &args.with {
        None => replay(&journal, &args),
        Some(path) => rehearse(&journal, &args, path),
    }
}

fn replay(journal: &Journal, args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let mut replay = Replay::default();
    let read = journal.read(|row| replay.push(row.number, &row.entry).map(|_| ()))?;
    let decisions = replay.decisions();
    let difference = match read {
        Ok(entries) => match journal.check(&replay)? {
            Ok(()) => {
                if args.output.structured() {
                    print_value(
                        args.output,
                        &json!({ "name": args.name, "decisions": decisions, "entries": entries, "equal": true }),
                    )?;
                } else {
                    let decisions = format!("{} decision{}", count(decisions), if decisions == 1 { "" } else { "s" });
                    let entries = format!("{} entr{}", count(entries), if entries == 1 { "y" } else { "ies" });
                    print(&format!("{}: {decisions} recomputed from {entries}, all equal\n", args.name))?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            Err(difference) => difference,
        },
        Err(difference) => difference.to_string(),
    };
    differs(args, &replay, &difference)
}

fn differs(args: &ReplayArgs, replay: &Replay, difference: &str) -> anyhow::Result<ExitCode> {
    let (decisions, release, this) = (replay.decisions(), replay.release(), env!("CARGO_PKG_VERSION"));
    let difference = match release {
        "" => difference.to_owned(),
        same if same == this => difference.to_owned(),
        other => format!("{difference}; the journal was begun by weir {other}, and this is {this}: replay with that"),
    };
    if args.output.structured() {
        print_value(
            args.output,
            &json!({ "name": args.name, "decisions": decisions, "equal": false, "difference": difference }),
        )?;
    } else {
        print(&format!("{}: {} decisions are equal, then {}\n", args.name, count(decisions), plain(&difference)))?;
    }
    Ok(ExitCode::FAILURE)
}

fn rehearse(journal: &Journal, args: &ReplayArgs, path: &str) -> anyhow::Result<ExitCode> {
    let mut rehearsal = Rehearsal::new(document(path, &args.name)?);
    let mut began = None;
    let mut entries = 0;
    let read = journal.read(|row| {
        began.get_or_insert(row.entry.at);
        entries = row.number;
        rehearsal.push(row.number, &row.entry)
    })?;
    if let Err(difference) = read {
        return differs(args, rehearsal.actual(), &difference.to_string());
    }
    if let Some(error) = rehearsal.not_comparable() {
        bail!("{path}: {error}");
    }
    if args.output.structured() {
        print_value(args.output, &answered(args, &rehearsal, entries)?)?;
    } else {
        print(&told(args, path, &rehearsal, began.unwrap_or(0)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer for programs: weights in the order of `versions`, outcomes by name.
fn answered(args: &ReplayArgs, rehearsal: &Rehearsal, entries: u64) -> anyhow::Result<Value> {
    let with = rehearsal.with();
    let named = |phase: Option<&Phase>| -> anyhow::Result<Value> {
        let mut value = serde_json::to_value(phase)?;
        if let (Some(Phase::Concluded { version, .. }), Some(shown)) = (phase, value.get_mut("version")) {
            *shown = Value::from(with.version_name(*version));
        }
        Ok(value)
    };
    let mut would = serde_json::to_value(rehearsal.answer())?;
    if let Some(phase) = would.get_mut("phase") {
        *phase = named(rehearsal.answer().phase.as_ref())?;
    }
    let was = named(rehearsal.actual().state().map(|state| &state.phase))?;
    let versions: Vec<&str> = with.versions.iter().map(|version| version.name.as_str()).collect();
    Ok(json!({ "name": args.name, "entries": entries, "versions": versions, "was": was, "would": would }))
}

/// The experiment of this name in a document, or its only one.
fn document(path: &str, name: &str) -> anyhow::Result<Experiment> {
    let source = Source::read(path)?;
    let mut experiments = weir_engine::document::read(&source.text).map_err(|problems| {
        let problems: Vec<String> = problems
            .into_iter()
            .map(|problem| super::validate::Finding::new(&source.name, problem).to_string())
            .collect();
        anyhow::anyhow!("the document is not valid\n{}", problems.join("\n"))
    })?;
    if let Some(at) = experiments.iter().position(|experiment| experiment.name == name) {
        return Ok(experiments.swap_remove(at));
    }
    match experiments.pop() {
        Some(only) if experiments.is_empty() => Ok(only),
        _ => bail!("{} has several experiments, and none is named `{name}`", source.name),
    }
}

fn shares(experiment: &Experiment, weights: &[u32]) -> String {
    let shares =
        experiment.versions.iter().zip(weights).map(|(version, share)| format!("{} {}", version.name, weight(*share)));
    shares.collect::<Vec<_>>().join(", ")
}

fn outcome(experiment: &Experiment, phase: Option<&Phase>, began: u64) -> String {
    match phase {
        None | Some(Phase::Pending) => "has not begun".to_owned(),
        Some(Phase::Running) => "still runs".to_owned(),
        Some(Phase::Paused { since, .. }) => format!("is paused, since +{}", stretch(since.saturating_sub(began))),
        Some(Phase::Concluded { outcome, version, at }) => {
            let name = experiment.version_name(*version);
            let how = match outcome {
                Outcome::Promoted => format!("promoted {name}"),
                Outcome::RolledBack => format!("rolled back to {name}"),
                Outcome::Inconclusive => format!("inconclusive, on {name}"),
                Outcome::Stopped => format!("stopped, on {name}"),
            };
            format!("{how} at +{}", stretch(at.saturating_sub(began)))
        }
    }
}

fn told(args: &ReplayArgs, path: &str, rehearsal: &Rehearsal, began: u64) -> String {
    let with = rehearsal.with();
    let Answer { turns, divergence, shares: seen, phase } = rehearsal.answer();
    let mut text = format!("{} with {path}, on the same observations:\n", args.name);
    for turn in turns {
        let what = turn.action.map_or("refused", action);
        let after = stretch(turn.at.saturating_sub(began));
        text.push_str(&format!("  +{after}: {what}: {}\n", shares(with, &turn.weights)));
        turn.reasons.iter().for_each(|reason| text.push_str(&format!("      {}\n", plain(reason))));
    }
    if turns.is_empty() {
        text.push_str("  it would have done nothing but hold\n");
    }
    let was = rehearsal.actual().state().map(|state| &state.phase);
    text.push_str(&format!("it was:         {}\n", outcome(with, was, began)));
    text.push_str(&format!("it would be:    {}\n", outcome(with, phase.as_ref(), began)));
    let Some(divergence) = divergence else {
        text.push_str("It would have sent the same weights throughout: nothing of this is counterfactual.\n");
        return text;
    };
    text.push_str(&format!(
        "From +{} on (entry {}) this is counterfactual: it would have sent {}, and {} was sent.\n",
        stretch(divergence.at.saturating_sub(began)),
        divergence.number,
        shares(with, &divergence.would),
        shares(with, &divergence.was)
    ));
    text.push_str(
        "Evidence is about each version's outcomes at the weights that were sent, so it is valid there too; but\n",
    );
    for share in seen {
        let lacks = if share.lacks() {
            ": too little; what it says of this version would have come sooner, or differently"
        } else {
            ""
        };
        text.push_str(&format!(
            "  {} was seen {} times where it would have been about {}{lacks}\n",
            share.version,
            count(share.seen),
            count(share.would)
        ));
    }
    text.push_str("It decides only where the journal has an entry, so it may be a little late.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Command;
    use crate::testing::{Bench, START, cell, counts, experiment, report};

    #[test]
    fn what_the_ledger_lost_of_the_journals_counts_is_found_as_well_as_what_it_has_more() {
        let mut bench = Bench::new();
        let id = bench.apply(experiment("shop"));
        let cells = vec![cell("v1", START, counts(5, 5)), cell("v2", START, counts(3, 3))];
        let settles = report(1, 1, &id, START + 1_000, cells);
        bench.ask(|reply| Command::Report(Box::new(settles), reply)).expect("an answer").expect("it counts");
        bench.look();
        let rows = bench.journal("shop");
        bench.crash();
        let check = || {
            let mut replay = Replay::default();
            rows.iter().for_each(|row| drop(replay.push(row.number, &row.entry).expect("it replays")));
            let ledger = Ledger::read_only(&bench.ledger_file()).expect("it opens");
            (
                Journal::Ledger(Box::new(ledger), id.clone()).check(&replay).expect("it reads"),
                replay.release().to_owned(),
            )
        };
        assert_eq!(check(), (Ok(()), env!("CARGO_PKG_VERSION").to_owned()));
        let connection = rusqlite::Connection::open(bench.ledger_file()).expect("it opens");
        connection.execute_batch("DELETE FROM settled WHERE version = 1").expect("it is lost");
        let lost = "the ledger lacks the journal's counts of epoch 1, version v2";
        assert_eq!(check().0, Err(lost.to_owned()));
    }
}
