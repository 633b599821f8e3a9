//! `weir simulate`: rehearses an experiment in virtual time, once or many times. Runs `weir-simulator` and shows what came out.

use super::client::Source;
use super::output::{NOTHING, OutputArgs, Table, amount, count, percent, print, print_value, weight};
use super::progress::Progress;
use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_engine::decide::Action;
use weir_engine::document::{self, Problem};
use weir_simulator::many::{self, Ended, Many, Quantiles, Share};
use weir_simulator::plot::{clock, conclusion, exact, svg};
use weir_simulator::policy::{Name, Weir};
use weir_simulator::run::{Ending, Logged};
use weir_simulator::{Run, Scenario, Watching, expect, scenario, simulate};

/// Arguments of `weir simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir simulate bad-canary.yaml                          what happens, as a table and the decisions with their times
  weir simulate bad-canary.yaml --plot run.svg           and as a picture
  weir simulate bad-canary.yaml --runs 1000              how often what happens, with confidence intervals
  weir simulate night.yaml --experiment checkout.yaml    an experiment that stands in a file of its own

A scenario is an experiment's document and, after a line `---`, one of `kind: Scenario` that says what traffic comes, how versions
behave and what goes wrong: docs/simulate.md. Assignment, recording, statistics and decisions are those of production; the same
seed gives the same run. Exit code 1 if the scenario expects something else; of many runs, if they refute that as large a share of
them as its `expect.share` says (all, if it says nothing) comes out as expected.")]
pub(crate) struct SimulateArgs {
    /// File with the scenario, YAML or JSON; `-` is the standard input.
    #[arg(value_name = "SCENARIO")]
    file: String,
    /// File with the experiment, if the scenario's own file has none.
    #[arg(long, short, value_name = "FILE")]
    experiment: Option<String>,
    /// How often: with more than one, what is shown is how often what happened.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    runs: u64,
    /// Another seed than the scenario's.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Who decides: `weir`, or one of our reconstructions of what others do.
    #[arg(long, value_name = "POLICY", default_value = "weir", value_parser = policies())]
    policy: Name,
    /// File for the picture (SVG) of one run.
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// The policies by their words, which `--help` and a misspelling list.
fn policies() -> impl TypedValueParser<Value = Name> {
    PossibleValuesParser::new(Name::ALL.map(Name::word))
        .try_map(|word| Name::of(&word).ok_or("there is no such policy"))
}

/// Runs `weir simulate`.
pub(crate) fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let mut scenario = read(&args.file, args.experiment.as_deref())?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    if args.runs > 1 {
        return many(&args, &scenario);
    }
    let seed = scenario.seed;
    let mut policy = match args.policy {
        Name::Weir => Box::new(Weir::in_words()),
        other => other.make(seed),
    };
    let run = simulate(&scenario, policy.as_mut(), seed, Watching::Everything);
    let broken = expect::broken(&scenario, &run);
    if let Some(path) = &args.plot {
        std::fs::write(path, svg(&run)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.output.structured() {
        print_value(args.output, &json!({ "run": run, "unexpected": broken }))?;
    } else {
        print(&one(&run))?;
        for broken in &broken {
            print(&format!("not as expected: {broken}\n"))?;
        }
        if let Some(path) = &args.plot {
            print(&format!("picture: {}\n", path.display()))?;
        }
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn many(args: &SimulateArgs, scenario: &Scenario) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(&scenario.experiment.name, args.runs);
    let many = many::run(scenario, args.policy, args.runs, &|done| progress.show(done));
    progress.end();
    if args.output.structured() {
        print_value(args.output, &serde_json::to_value(&many)?)?;
    } else {
        print(&distribution(&many))?;
        if many.as_expected == Some(false) {
            let must = scenario.expect.as_ref().map_or(1.0, |expect| expect.share);
            print(&format!("not as expected: {} of runs must come out so, and fewer do\n", percent(must)))?;
        }
    }
    Ok(if many.as_expected == Some(false) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads a scenario, and the experiment where that stands elsewhere.
pub(crate) fn read(file: &str, experiment: Option<&str>) -> anyhow::Result<Scenario> {
    let source = Source::read(file)?;
    let elsewhere = experiment.map(one_experiment).transpose()?;
    scenario::read_with(&source.text, elsewhere.as_ref()).map_err(|problems| wrong(&source.name, problems))
}

/// The one experiment of a file; a scenario's, if there is one beside it.
pub(crate) fn one_experiment(file: &str) -> anyhow::Result<weir_engine::spec::Experiment> {
    let source = Source::read(file)?;
    let read = document::read(&source.text);
    if read.is_err()
        && let Ok(scenario) = scenario::read(&source.text)
    {
        return Ok(scenario.experiment);
    }
    let mut experiments = read.map_err(|problems| wrong(&source.name, problems))?;
    match (experiments.pop(), experiments.len()) {
        (Some(only), 0) => Ok(only),
        (_, others) => bail!("{} has {} experiments: give a file with one", source.name, others + 1),
    }
}

fn wrong(file: &str, problems: Vec<Problem>) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{file}:{problem}")).collect();
    anyhow::anyhow!("this cannot be simulated:\n{}", lines.join("\n"))
}

/// One run, for people.
fn one(run: &Run) -> String {
    let mut text = format!(
        "{} · {} · seed {}: {} and {} requests\n\n",
        run.experiment,
        run.policy,
        run.seed,
        conclusion(run),
        count(run.requests)
    );
    let mut table =
        Table::new(&["VERSION", "REQUESTS", "SETTLED", "BAD EVENTS", "RATE", "REWARDED", "WEIGHT", "ROLLED BACK"]);
    for version in &run.versions {
        let settled = version.settled;
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let rate = |count: u64, of: u64| percent(count as f64 / of as f64);
        let role = if version.baseline {
            " (baseline)"
        } else if version.bad {
            " (bad)"
        } else {
            ""
        };
        table.row(vec![
            format!("{}{role}", version.name),
            count(version.requests),
            count(settled.assigned),
            count(settled.bad()),
            rate(settled.bad(), settled.assigned),
            rate(settled.rewarded, settled.opportunities()),
            weight(version.weight),
            version.rolled_back_at_ms.map_or_else(|| NOTHING.to_owned(), exact),
        ]);
    }
    text.push_str(&table.render());
    text.push_str("\nDecisions:\n");
    if run.decisions.is_empty() {
        text.push_str("  none that moved traffic\n");
    }
    for decision in &run.decisions {
        text.push_str(&told(decision));
    }
    for warning in &run.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    for unreached in &run.unreached {
        text.push_str(&format!("never reached: {unreached} (it ended after {})\n", clock(run.ended_at_ms)));
    }
    text.push_str(&format!(
        "\nRequests that met a version while it broke a limit: {}; in the whole of {}: {}. Regret: {}.\n",
        count(run.met_bad),
        clock(run.duration_ms),
        whole(run.met_bad_in_all),
        amount(run.regret)
    ));
    text
}

fn told(decision: &Logged) -> String {
    let what = match decision.action {
        Action::Hold => "holds",
        Action::Renew => "begins an epoch",
        Action::Shift => "shifts",
        Action::RollBack => "rolls back",
        Action::Promote => "promotes",
        Action::Conclude => "concludes",
        Action::Start => "starts",
        Action::Pause => "pauses",
        Action::Resume => "resumes",
        Action::Ask => "asks",
        Action::Trip => "breaker trips",
        Action::Release => "breaker releases",
    };
    let weights: Vec<String> = decision.weights.iter().map(|part| weight(*part)).collect();
    let moved = if decision.action.moves_traffic() { format!(" → {}", weights.join(" / ")) } else { String::new() };
    format!("  {:>9}  {what}{moved}: {}\n", exact(decision.at_ms), decision.reasons.join(" "))
}

fn whole(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests; saturates")]
    count(value.round().max(0.0) as u64)
}

/// One way to end, for people.
fn how(ended: &Ended) -> String {
    let version = &ended.version;
    match ended.ending {
        Ending::Promoted => format!("{version} promoted"),
        Ending::RolledBack => format!("rolled back to {version}"),
        Ending::Inconclusive => format!("inconclusive, stays on {version}"),
        Ending::Undecided => "undecided".to_owned(),
    }
}

/// Many runs, for people.
fn distribution(many: &Many) -> String {
    let mut text = format!(
        "{} · {} · {} runs from seed {} · intervals at 95%\n\n",
        many.experiment,
        many.policy,
        count(many.runs),
        many.seed
    );
    let mut table = Table::new(&["OUTCOME", "SHARE", "INTERVAL", "RUNS"]);
    for ended in &many.endings {
        table.row(share_row(&how(ended), &ended.share));
    }
    for (name, share) in [
        ("false roll-back", many.false_roll_back),
        ("bad version promoted", many.bad_promoted),
        ("bad version not rolled back", many.missed),
        ("not as the scenario expects", many.unexpected),
    ] {
        if let Some(share) = share {
            table.row(share_row(name, &share));
        }
    }
    text.push_str(&table.render());
    text.push('\n');
    let mut table = Table::new(&["UNTIL IT CONCLUDES", "10% BY", "HALF BY", "90% BY"]);
    let row = |name: &str, quantiles: Quantiles, shown: &dyn Fn(u64) -> String| {
        let cell = |value: Option<u64>| value.map_or_else(|| "later".to_owned(), shown);
        vec![name.to_owned(), cell(quantiles.p10), cell(quantiles.p50), cell(quantiles.p90)]
    };
    table.row(row("requests", many.requests, &count));
    table.row(row("time", many.time_ms, &clock));
    text.push_str(&table.render());
    text.push('\n');
    let mut table = Table::new(&["ON AVERAGE", "MEAN", "±"]);
    for (name, mean) in [
        ("requests that met a bad version", many.met_bad),
        ("… in the whole time simulated", many.met_bad_in_all),
        ("regret", many.regret),
    ] {
        table.row(vec![name.to_owned(), amount(mean.mean), amount(mean.plus_minus)]);
    }
    text.push_str(&table.render());
    for unreached in &many.unreached {
        let share = percent(unreached.share.share());
        text.push_str(&format!("never reached in {share} of runs: {}\n", unreached.what));
    }
    text
}

/// A share and its interval, as a row.
pub(crate) fn share_row(name: &str, share: &Share) -> Vec<String> {
    vec![name.to_owned(), percent(share.share()), interval(share), count(share.count)]
}

/// The interval of a share.
pub(crate) fn interval(share: &Share) -> String {
    format!("{}–{}", percent(share.low), percent(share.high))
}
