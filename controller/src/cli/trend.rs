//! `weir trend`: how a service has evolved.

use super::client::{Server, ServerArgs};
use super::output::{NOTHING, OutputArgs, Table, amount, count, latency, percent, print, print_value};
use serde::Deserialize;
use std::process::ExitCode;
use weir_engine::metrics::{Interval, MetricName};

/// Arguments of `weir trend`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir trend shop                  every concluded experiment of a service: what served, what was rejected, each metric with its range
  weir trend                       which services there are
  weir trend shop --csv > shop.csv

Each row is what was known when its experiment concluded. Compare the versions of one experiment, which had the same days: traffic differs
between experiments. ◆ marks who has the traffic since, where that is another version than before.")]
pub(crate) struct TrendArgs {
    /// The service, as documents name it; every service without it.
    #[arg(value_name = "SERVICE", value_parser = service_name)]
    service: Option<String>,
    /// Print a row for each metric of each version, as CSV.
    #[arg(long, requires = "service", conflicts_with = "output")]
    csv: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// As it may stand in a URL; everything else is escaped.
fn service_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 253 {
        Err("a service's name has 1 to 253 bytes".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[derive(Debug, Deserialize)]
struct Services {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    service: String,
    experiments: u64,
    concluded: u64,
}

#[derive(Debug, Deserialize)]
struct Trend {
    experiments: Vec<Past>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Past {
    name: String,
    concluded_at: u64,
    outcome: String,
    changed_elsewhere: bool,
    versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    name: String,
    fate: String,
    metrics: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    name: MetricName,
    exposures: u64,
    observed: f64,
    belief: Option<Interval>,
}

/// Runs `weir trend`.
pub(crate) fn run(args: TrendArgs) -> anyhow::Result<ExitCode> {
    let server = Server::new(args.server)?;
    let Some(service) = &args.service else {
        let answer = server.get("/v1/services")?;
        if args.output.structured() {
            print_value(args.output, &answer)?;
        } else {
            let Services { services } = server.typed(&answer)?;
            print(&list(&services))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let path = format!("/v1/services/{}/trend", escaped(service));
    if args.csv {
        print(&server.text(&format!("{path}?format=csv"))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = server.get(&path)?;
    if args.output.structured() {
        print_value(args.output, &answer)?;
    } else {
        let trend: Trend = server.typed(&answer)?;
        print(&shown(service, &trend))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A path's segment (RFC 3986, section 2.3: what is unreserved stays).
fn escaped(text: &str) -> String {
    let escape = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(escape).collect()
}

fn list(services: &[Service]) -> String {
    if services.is_empty() {
        return "no experiment was ever about a service\n".to_owned();
    }
    let mut table = Table::new(&["SERVICE", "EXPERIMENTS", "CONCLUDED"]);
    for service in services {
        table.row(vec![service.service.clone(), count(service.experiments), count(service.concluded)]);
    }
    table.render()
}

fn shown(service: &str, trend: &Trend) -> String {
    if trend.experiments.is_empty() {
        return format!("no experiment of {service} has concluded yet; `weir trend` says which services there are\n");
    }
    let measured = trend.experiments.iter().flat_map(|past| &past.versions).flat_map(|version| &version.metrics);
    let mut metrics: Vec<MetricName> = measured.map(|metric| metric.name).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let fixed = ["DAY", "NAME", "OUTCOME", "VERSION", "FATE", "EXPOSURES"];
    let headings: Vec<&str> = fixed.into_iter().chain(metrics.iter().map(|metric| heading(*metric))).collect();
    let mut table = Table::new(&headings);
    let mut notes = Vec::new();
    for past in &trend.experiments {
        if past.changed_elsewhere {
            notes.push(format!("before {} somebody changed what serves without Weir\n", past.name));
        }
        for (index, version) in past.versions.iter().enumerate() {
            let once = |text: String| if index == 0 { text } else { String::new() };
            let exposures = version.metrics.iter().map(|metric| metric.exposures).max();
            let mut cells = vec![
                once(date(past.concluded_at)),
                once(past.name.clone()),
                once(words(&past.outcome)),
                version.name.clone(),
                format!("{}{}", words(&version.fate), if version.fate == "promoted" { " ◆" } else { "" }),
                exposures.map_or_else(|| NOTHING.to_owned(), count),
            ];
            cells.extend(metrics.iter().map(|metric| {
                let known = version.metrics.iter().find(|known| known.name == *metric);
                known.map_or_else(|| NOTHING.to_owned(), value)
            }));
            table.row(cells);
        }
    }
    let heading = format!(
        "{service}: what each experiment found when it concluded (days in UTC; what was observed, and its 95% interval)\n\n"
    );
    format!("{heading}{}{}", table.render(), notes.concat())
}

/// The day of a time in Unix milliseconds, in UTC, as ISO 8601 writes it. (H. Hinnant, “chrono-compatible low-level date algorithms”:
/// years that begin in March, so that the leap day is their last.)
fn date(at: u64) -> String {
    let days = at / 86_400_000 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + next)
}

/// `rolledBack` as people write it.
fn words(word: &str) -> String {
    word.chars().fold(String::new(), |mut text, letter| {
        if letter.is_ascii_uppercase() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
        text
    })
}

const fn heading(metric: MetricName) -> &'static str {
    match metric {
        MetricName::ErrorRate => "ERROR RATE",
        MetricName::LatencyMean => "MEAN LATENCY",
        MetricName::LatencyP50 => "P50 LATENCY",
        MetricName::LatencyP99 => "P99 LATENCY",
        MetricName::RewardRate | MetricName::RewardMean => "REWARD",
    }
}

/// What was observed, and the 95% interval of what is believed.
fn value(measured: &Measured) -> String {
    let value = |value: f64| match measured.name {
        MetricName::ErrorRate | MetricName::RewardRate => percent(value),
        MetricName::LatencyMean | MetricName::LatencyP50 | MetricName::LatencyP99 => latency(value),
        MetricName::RewardMean => amount(value),
    };
    let range = match measured.belief {
        Some(Interval { low: Some(low), high: Some(high) }) => format!(" ({} to {})", value(low), value(high)),
        Some(Interval { low: Some(low), high: None }) => format!(" ({} or more)", value(low)),
        Some(Interval { low: None, high: Some(high) }) => format!(" ({} or less)", value(high)),
        _ => String::new(),
    };
    format!("{}{range}", value(measured.observed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds * 1_000), day);
        }
    }
}
