//! `weir trend`: how a service has evolved over its concluded experiments.

use super::client::{Server, ServerArgs};
use super::output::{NOTHING, OutputArgs, Table, amount, latency, now, percent, print, print_json, stretch};
use crate::trend::{Fate, Past, PastMetric, PastVersion, Trend, csv};
use anyhow::bail;
use std::fmt::Write as _;
use std::process::ExitCode;
use weir_engine::metrics::MetricName;
use weir_engine::state::Outcome;

/// Arguments of `weir trend`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir trend shop                    every concluded experiment of the service: what became of each version, and its metrics then
  weir trend shop --csv > shop.csv   the same as a table for a spreadsheet, with intervals
  weir trend shop --output json      the same for programs

Values of one experiment were measured at the same time, on the same traffic. From one experiment to the next traffic drifts, too.")]
pub(crate) struct TrendArgs {
    /// The service's name, as in the documents' `spec.service`.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "output")]
    csv: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Runs `weir trend`.
pub(crate) fn run(args: TrendArgs) -> anyhow::Result<ExitCode> {
    let server = Server::new(args.server);
    let answer = server.get(&format!("/v1/services/{}/trend", encoded(&args.service)))?;
    if args.output.json() {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let trend: Trend = server.typed(&answer)?;
    if args.csv {
        print(&csv(&trend))?;
    } else if trend.experiments.is_empty() {
        bail!("no experiment of `{}` has concluded; `weir get` shows what runs", args.service.escape_debug());
    } else {
        print(&told(&trend, now()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A name as it may stand in a URL's path.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // A string takes whatever is written to it.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// The trend as text, oldest first.
fn told(trend: &Trend, now: u64) -> String {
    let mut table = Table::new(&["EXPERIMENT", "CONCLUDED", "OUTCOME", "VERSION", "", "ERRORS", "P99", "REWARD"]);
    for past in &trend.experiments {
        for (index, version) in past.versions.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            table.row(vec![
                first(past.name.clone()),
                first(format!("{} ago", stretch(now.saturating_sub(past.concluded_at)))),
                first(outcome(past).to_owned()),
                version.name.clone(),
                fate(version.fate).to_owned(),
                shown(version, MetricName::ErrorRate, percent),
                shown(version, MetricName::LatencyP99, latency),
                [shown(version, MetricName::RewardRate, percent), shown(version, MetricName::RewardMean, amount)]
                    .into_iter()
                    .find(|shown| shown != NOTHING)
                    .unwrap_or_else(|| NOTHING.to_owned()),
            ]);
        }
    }
    let mut text = table.render();
    for past in trend.experiments.iter().filter(|past| past.changed || past.changed_elsewhere) {
        text.push('\n');
        if past.changed_elsewhere {
            let _ = write!(text, "Before {}, what serves was changed without Weir, to {}. ", past.name, past.baseline);
        }
        if past.changed {
            let _ = write!(text, "With {}, {} came to serve instead of {}.", past.name, past.version, past.baseline);
        }
    }
    text.trim_end().to_owned() + "\n"
}

fn outcome(past: &Past) -> &'static str {
    match past.outcome {
        Outcome::Promoted => "promoted",
        Outcome::RolledBack => "rolled back",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Stopped => "stopped",
    }
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Promoted => "promoted",
        Fate::RolledBack => "rolled back",
        Fate::NotPromoted => "not promoted",
        Fate::Kept => "kept",
        Fate::Replaced => "replaced",
    }
}

/// A metric with its interval.
fn shown(version: &PastVersion, name: MetricName, value: fn(f64) -> String) -> String {
    let Some(PastMetric { observed, belief, .. }) = version.metrics.iter().find(|metric| metric.name == name) else {
        return NOTHING.to_owned();
    };
    let end = |end: Option<f64>| end.map_or_else(|| "∞".to_owned(), value);
    let within = belief.map(|of| format!(" [{}, {}]", of.low.map_or_else(|| value(0.0), value), end(of.high)));
    format!("{}{}", value(*observed), within.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_path_is_one_element_whatever_is_in_it() {
        assert_eq!(encoded("shop-1.2_x~"), "shop-1.2_x~");
        assert_eq!(encoded("a/../b?c=%20#d"), "a%2F..%2Fb%3Fc%3D%2520%23d");
    }
}
