//! Draws one run as SVG: weights, beliefs, error rates and evidence over time, one panel each. No fonts are needed to make it.

use crate::run::{Logged, Point, Run, VersionPoint};
use std::fmt::Write;
use weir_core::duration::format_milliseconds;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 64.0;
const PANEL: f64 = 132.0;
const GAP: f64 = 44.0;
/// Told apart by people who see few colours (Okabe & Ito 2008).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b00", "#000000"];

/// A value of a version at a point.
type Value<'a> = &'a dyn Fn(&VersionPoint) -> Option<f64>;
/// An interval of it.
type Interval<'a> = &'a dyn Fn(&VersionPoint) -> Option<(f64, f64)>;

/// One panel: what is drawn of a version at a point, and between which values.
struct Panel<'a> {
    title: &'a str,
    low: f64,
    high: f64,
    /// Lines across, with a label each.
    ticks: Vec<(f64, String)>,
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    version: usize,
    dashed: bool,
    /// Weights hold until they change: steps, not slopes.
    steps: bool,
    of: Value<'a>,
    band: Option<Interval<'a>>,
}

/// The picture of a run that was watched with all its points.
#[must_use]
pub fn svg(run: &Run) -> String {
    let weight = |point: &VersionPoint| Some(f64::from(point.weight) / 100.0);
    let probability = |point: &VersionPoint| point.probability;
    let middle = |point: &VersionPoint| point.errors.map(|(low, high)| 50.0 * (low + high));
    let errors = |point: &VersionPoint| point.errors.map(|(low, high)| (100.0 * low, 100.0 * high));
    let violated = |point: &VersionPoint| Some(point.violated);
    let met = |point: &VersionPoint| point.met;
    let beaten = |point: &VersionPoint| point.beaten;
    let rewarded = run.points.iter().flat_map(|point| &point.versions).any(|version| version.beaten.is_some());
    let all = || 0..run.versions.len();
    let candidates = || all().filter(|version| run.versions.get(*version).is_some_and(|version| !version.baseline));
    let line = |version, dashed, of| Line { version, dashed, steps: false, of, band: None };
    let evidence = candidates()
        .flat_map(|version| [line(version, false, &violated as Value<'_>), line(version, true, &met)])
        .collect();
    let percent = |values: &[f64]| values.iter().map(|value| (*value, format!("{value:.0}%"))).collect::<Vec<_>>();
    let share = || vec![(0.0, "0".to_owned()), (0.5, "½".to_owned()), (1.0, "acts".to_owned())];
    let highest = highest_error(run);
    let mut panels = vec![
        Panel {
            title: "Traffic: weight of each version",
            low: 0.0,
            high: 100.0,
            ticks: percent(&[0.0, 50.0, 100.0]),
            lines: all().map(|version| Line { version, dashed: false, steps: true, of: &weight, band: None }).collect(),
        },
        Panel {
            title: if rewarded {
                "Belief: probability of being the best that keeps its limits"
            } else {
                "Belief: probability of keeping its limits"
            },
            low: 0.0,
            high: 1.0,
            ticks: vec![(0.0, "0".to_owned()), (0.5, "0.5".to_owned()), (1.0, "1".to_owned())],
            lines: all().map(|version| line(version, false, &probability as Value<'_>)).collect(),
        },
        Panel {
            title: "Belief: share of bad events, with its 95% interval",
            low: 0.0,
            high: highest,
            ticks: vec![(0.0, "0%".to_owned()), (highest, format!("{highest}%"))],
            lines: all()
                .map(|version| Line { version, dashed: false, steps: false, of: &middle, band: Some(&errors) })
                .collect(),
        },
        Panel {
            title: "Evidence (log e-value, as a share of what acts): that a limit is broken —, that all are met - -",
            low: -0.5,
            high: 1.25,
            ticks: share(),
            lines: evidence,
        },
    ];
    if rewarded {
        panels.push(Panel {
            title: "Evidence: that another version is better",
            low: -0.5,
            high: 1.25,
            ticks: share(),
            lines: all().map(|version| line(version, false, &beaten as Value<'_>)).collect(),
        });
    }
    picture(run, &panels)
}

/// The top of the error panel, in percent: a round number above all intervals but those of the first, vague tenth.
fn highest_error(run: &Run) -> f64 {
    let skipped = run.points.len() / 10;
    let late = run.points.iter().skip(skipped).flat_map(|point| &point.versions);
    let most = late.filter_map(|version| version.errors).map(|(_, high)| 100.0 * high).fold(0.1, f64::max);
    let steps = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];
    steps.into_iter().find(|step| *step >= most).unwrap_or(100.0)
}

fn picture(run: &Run, panels: &[Panel<'_>]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let height = TOP + panels.len() as f64 * (PANEL + GAP) + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let until = if run.points.len() < 2 { run.duration_ms } else { run.ended_at_ms };
    let title = format!("{} · {} · seed {} · {}", run.experiment, run.policy, run.seed, conclusion(run));
    let _ =
        writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{}</text>", escaped(&title));
    let mut x = LEFT;
    for (version, colour) in run.versions.iter().zip(COLOURS.iter().cycle()) {
        let name = if version.baseline { format!("{} (baseline)", version.name) } else { version.name.clone() };
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"34\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"44\">{}</text>",
            x + 17.0,
            escaped(&name)
        );
        #[expect(clippy::cast_precision_loss, reason = "a short name")]
        let width = 7.0 * name.chars().count() as f64;
        x += width + 40.0;
    }
    let mut top = TOP;
    for panel in panels {
        draw(&mut svg, run, panel, top, until);
        top += PANEL + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a time lies across.
fn across(at: u64, until: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "virtual time is short")]
    let part = at as f64 / until.max(1) as f64;
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

fn draw(svg: &mut String, run: &Run, panel: &Panel<'_>, top: f64, until: u64) {
    let down = |value: f64| {
        let clamped = value.clamp(panel.low, panel.high);
        top + 16.0 + (PANEL - 16.0) * (panel.high - clamped) / (panel.high - panel.low)
    };
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#444\">{}</text>", top + 6.0, escaped(panel.title));
    for (value, label) in &panel.ticks {
        let y = down(*value);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#666\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            escaped(label)
        );
    }
    for decision in run.decisions.iter().filter(|decision| decision.action.moves_traffic()) {
        mark(svg, decision, top, until);
    }
    for line in &panel.lines {
        let colour = COLOURS.get(line.version % COLOURS.len()).copied().unwrap_or("#000");
        if let Some(band) = line.band {
            area(svg, &run.points, line.version, band, until, &down, colour);
        }
        let mut path = String::new();
        let mut last: Option<f64> = None;
        for point in &run.points {
            let value =
                point.versions.get(line.version).and_then(|version| (line.of)(version)).filter(|v| v.is_finite());
            let Some(value) = value else { continue };
            let (x, y) = (across(point.at_ms, until), down(value));
            match last {
                None => {
                    let _ = write!(path, "M{x:.1} {y:.1}");
                }
                Some(_) if line.steps => {
                    let _ = write!(path, "H{x:.1}V{y:.1}");
                }
                Some(_) => {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                }
            }
            last = Some(y);
        }
        let dash = if line.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dash}/>");
    }
    for part in 0..=4_u64 {
        let at = until * part / 4;
        let anchor = match part {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#666\">{}</text>",
            across(at, until),
            top + PANEL + 15.0,
            clock(at)
        );
    }
}

fn area(
    svg: &mut String,
    points: &[Point],
    version: usize,
    band: Interval<'_>,
    until: u64,
    down: &dyn Fn(f64) -> f64,
    colour: &str,
) {
    let known: Vec<(f64, f64, f64)> = points
        .iter()
        .filter_map(|point| {
            let (low, high) = point.versions.get(version).and_then(band)?;
            Some((across(point.at_ms, until), down(low), down(high)))
        })
        .collect();
    if known.len() < 2 {
        return;
    }
    let forth = known.iter().map(|(x, _, high)| format!("{x:.1} {high:.1}"));
    let back = known.iter().rev().map(|(x, low, _)| format!("{x:.1} {low:.1}"));
    let path: Vec<String> = forth.chain(back).collect();
    let _ = writeln!(svg, "<path d=\"M{}Z\" fill=\"{colour}\" opacity=\"0.15\"/>", path.join("L"));
}

/// A decision: a thin line, which says why to who points at it.
fn mark(svg: &mut String, decision: &Logged, top: f64, until: u64) {
    let x = across(decision.at_ms, until);
    let why = escaped(&format!("{}: {}", exact(decision.at_ms), decision.reasons.join(" ")));
    let _ = writeln!(
        svg,
        "<path d=\"M{x:.1} {:.1}V{:.1}\" stroke=\"#999\" stroke-dasharray=\"2 3\"><title>{why}</title></path>",
        top + 16.0,
        top + PANEL
    );
}

/// How it ended, in a few words.
#[must_use]
pub fn conclusion(run: &Run) -> String {
    use crate::run::Ending;
    let name = run.versions.get(run.version).map_or("", |version| version.name.as_str());
    let at = clock(run.ended_at_ms);
    match run.ending {
        Ending::Promoted => format!("{name} promoted after {at}"),
        Ending::RolledBack => format!("rolled back to {name} after {at}"),
        Ending::Inconclusive => format!("inconclusive after {at}, {name} has the traffic"),
        Ending::Undecided => format!("undecided after {at}"),
    }
}

/// A time of virtual days, hours, minutes and seconds, to the second: when something happened.
#[must_use]
pub fn exact(milliseconds: u64) -> String {
    units(milliseconds, 4)
}

/// A time in its two largest units: how long something took.
#[must_use]
pub fn clock(milliseconds: u64) -> String {
    units(milliseconds, 2)
}

/// In so many units from the largest on, without those that are zero.
fn units(milliseconds: u64, most: usize) -> String {
    let seconds = milliseconds / 1_000;
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0);
    let Some(first) = first else { return format_milliseconds(milliseconds) };
    let shown = parts.iter().skip(first).take(most).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let shown = [0, 59_000, 60_000, 3_660_000, 3_601_000, 90_000_000, 604_800_000].map(clock);
        assert_eq!(shown, ["0ms", "59s", "1m", "1h 1m", "1h", "1d 1h", "7d"]);
        let told = [0, 59_000, 3_601_000, 7_384_000, 432_307_000].map(exact);
        assert_eq!(told, ["0ms", "59s", "1h 1s", "2h 3m 4s", "5d 5m 7s"], "fourteen decisions of a day differ");
    }

    #[test]
    fn text_in_a_picture_is_escaped() {
        assert_eq!(escaped("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
