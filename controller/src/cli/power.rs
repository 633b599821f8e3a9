//! `weir power`: how much traffic and how long an experiment needs, by simulation.

use super::output::{OutputArgs, Table, amount, count, percent, print, print_value};
use super::progress::Progress;
use super::simulate::{interval, one_experiment};
use anyhow::bail;
use std::process::ExitCode;
use weir_core::duration::parse_milliseconds;
use weir_engine::document::quantity::{WHOLE, billionths};
use weir_engine::spec::Experiment;
use weir_simulator::many::Share;
use weir_simulator::plot::clock;
use weir_simulator::power::{Answer, Question, ask};
use weir_simulator::run::Ending;
use weir_simulator::scenario::{Behaviour, LogNormal, per_second};

/// Arguments of `weir power`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir power -f checkout.yaml --rate 50/s --baseline-errors 0.3% --candidate-errors 0.3%,0.6%,1.5%
  weir power -f checkout.yaml --rate 10/s --latency 80ms --latency-factor 1,1.5,2
  weir power -f checkout.yaml --rate 50/s --baseline-conversion 5% --candidate-conversion 5%,5.5%,6%

One row for each effect: how often the candidate is promoted, rolled back, or neither within the time, and how long that takes. One of
the lists may have several values. With several candidates the first has the effect, the others are as the baseline.")]
pub(crate) struct PowerArgs {
    /// File with the experiment.
    #[arg(long = "file", short, value_name = "FILE")]
    file: String,
    /// Requests: `50/s`, `300/m`, `20/h`.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: f64,
    /// Share of the baseline's requests that fail.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share)]
    baseline_errors: f64,
    /// Of the candidate's; the baseline's, if not given.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share)]
    candidate_errors: Vec<f64>,
    /// Median latency of both; its logarithm has a standard deviation of 0.5.
    #[arg(long, value_name = "DURATION", default_value = "80ms", value_parser = milliseconds)]
    latency: f64,
    /// How many times slower the candidate is.
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', value_parser = factor)]
    latency_factor: Vec<f64>,
    /// Share of the baseline's answers that are rewarded.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share)]
    baseline_conversion: f64,
    /// Of the candidate's; the baseline's, if not given.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share)]
    candidate_conversion: Vec<f64>,
    /// Virtual time after which a run counts as undecided; the experiment's own `maxDuration`, if that is shorter.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = milliseconds)]
    duration: f64,
    /// Runs for each effect.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: u64,
    /// Seeds the runs.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

fn rate(text: &str) -> Result<f64, String> {
    per_second(text)
        .ok_or_else(|| "write more than none, a million a second at most, as `50/s`, `300/m` or `20/h`".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let found = billionths(text)?;
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let share = found as f64 / WHOLE as f64;
    if share <= 1.0 { Ok(share) } else { Err("is more than all".to_owned()) }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    #[expect(clippy::cast_precision_loss, reason = "days at most")]
    parse_milliseconds(text).map(|milliseconds| milliseconds as f64).map_err(|error| error.to_string())
}

fn factor(text: &str) -> Result<f64, String> {
    let fine = |factor: &f64| (0.001..=1_000.0).contains(factor);
    text.parse().ok().filter(fine).ok_or_else(|| "write a number such as `1.5`".to_owned())
}

/// Runs `weir power`.
pub(crate) fn run(args: PowerArgs) -> anyhow::Result<ExitCode> {
    let experiment = one_experiment(&args.file)?;
    if experiment.reward.is_none() && (args.baseline_conversion > 0.0 || !args.candidate_conversion.is_empty()) {
        bail!(
            "{} has no reward: --baseline-conversion and --candidate-conversion would say nothing of it",
            experiment.name
        );
    }
    let effects = effects(&args)?;
    let nothing_to_win = nothing_to_win(&experiment, &args);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was read from a whole number")]
    let duration_ms = (args.duration as u64).max(1_000).min(experiment.max_duration_ms);
    let question = Question {
        baseline: behaviour(args.baseline_errors, args.latency, args.baseline_conversion),
        per_second: args.rate,
        effects,
        duration_ms,
        runs: args.runs,
        seed: args.seed,
        experiment,
    };
    let progress = Progress::new(&question.experiment.name, args.runs.saturating_mul(question.effects.len() as u64));
    let answers = ask(&question, &|done| progress.show(done));
    progress.end();
    if args.output.structured() {
        let mut answer = serde_json::json!({ "perSecond": args.rate, "durationMs": duration_ms, "effects": answers });
        if let (Some(note), Some(object)) = (&nothing_to_win, answer.as_object_mut()) {
            object.insert("note".to_owned(), note.as_str().into());
        }
        print_value(args.output, &answer)?;
    } else {
        print(&table(&question, &answers))?;
        if let Some(note) = nothing_to_win {
            print(&format!("\nnote: {note}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// That nobody can win for want of rewards, where nothing that was said brings one.
fn nothing_to_win(experiment: &Experiment, args: &PowerArgs) -> Option<String> {
    let converts = args.baseline_conversion > 0.0 || args.candidate_conversion.iter().any(|share| *share > 0.0);
    (experiment.reward.is_some() && !converts).then(|| {
        format!(
            "{} is decided by a reward, and no version earns one here, so none can be shown to be the best: give \
             --baseline-conversion and --candidate-conversion",
            experiment.name
        )
    })
}

fn behaviour(errors: f64, median: f64, conversion: f64) -> Behaviour {
    let latency = vec![LogNormal { weight: 1.0, median, sigma: 0.5 }];
    Behaviour { errors, latency, conversion, ..Behaviour::default() }
}

/// The candidate's behaviours, each with a name.
fn effects(args: &PowerArgs) -> anyhow::Result<Vec<(String, Behaviour)>> {
    let lists = [&args.candidate_errors, &args.latency_factor, &args.candidate_conversion];
    if lists.iter().filter(|list| list.len() > 1).count() > 1 {
        bail!("only one of --candidate-errors, --latency-factor and --candidate-conversion may have several values");
    }
    let rows = lists.iter().map(|list| list.len()).max().unwrap_or(0).max(1);
    let at = |list: &[f64], row: usize, usual: f64| list.get(row).or(list.last()).copied().unwrap_or(usual);
    Ok((0..rows)
        .map(|row| {
            let errors = at(&args.candidate_errors, row, args.baseline_errors);
            let factor = at(&args.latency_factor, row, 1.0);
            let conversion = at(&args.candidate_conversion, row, args.baseline_conversion);
            let mut name = Vec::new();
            if !args.candidate_errors.is_empty() {
                name.push(format!("errors {}", percent(errors)));
            }
            if !args.latency_factor.is_empty() {
                name.push(format!("latency ×{factor}"));
            }
            if !args.candidate_conversion.is_empty() {
                name.push(format!("conversion {}", percent(conversion)));
            }
            let name = if name.is_empty() { "as the baseline".to_owned() } else { name.join(", ") };
            (name, behaviour(errors, args.latency * factor, conversion))
        })
        .collect())
}

fn table(question: &Question, answers: &[Answer]) -> String {
    let mut text = format!(
        "{} at {} requests/s, at most {}; {} runs an effect, intervals at 95%\n\n",
        question.experiment.name,
        amount(question.per_second),
        clock(question.duration_ms),
        count(question.runs)
    );
    let mut table = Table::new(&[
        "CANDIDATE",
        "PROMOTED",
        "ROLLED BACK",
        "UNDECIDED",
        "REQUESTS: HALF BY",
        "90% BY",
        "TIME: HALF BY",
        "90% BY",
    ]);
    for Answer { effect, many } in answers {
        let candidate = (0..question.experiment.versions.len())
            .find(|version| *version != question.experiment.baseline)
            .map_or("", |version| question.experiment.version_name(version));
        let sum = |wanted: &dyn Fn(Ending, &str) -> bool| {
            let found = many.endings.iter().filter(|ended| wanted(ended.ending, &ended.version));
            let share = Share::new(found.map(|ended| ended.share.count).sum(), many.runs);
            format!("{} ({})", percent(share.share()), interval(&share))
        };
        let later = |value: Option<u64>, shown: fn(u64) -> String| value.map_or_else(|| "later".to_owned(), shown);
        table.row(vec![
            effect.clone(),
            sum(&|ending, version| ending == Ending::Promoted && version == candidate),
            sum(&|ending, _| ending == Ending::RolledBack),
            sum(&|ending, _| matches!(ending, Ending::Undecided | Ending::Inconclusive)),
            later(many.requests.p50, count),
            later(many.requests.p90, count),
            later(many.time_ms.p50, clock),
            later(many.time_ms.p90, clock),
        ]);
    }
    text.push_str(&table.render());
    text
}
