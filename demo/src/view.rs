//! What the demo shows of an experiment, read from the controller's JSON. What is missing there is shown as missing.

use serde_json::Value;

/// One look at the experiment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct View {
    /// In the experiment's order.
    pub(crate) versions: Vec<VersionView>,
    /// The last decision's action, as `shift`.
    pub(crate) action: Option<String>,
    /// Why, in sentences.
    pub(crate) reasons: Vec<String>,
    /// Why nothing moves just now, if something has moved before.
    pub(crate) holds: Vec<String>,
    /// The outcome, once it has concluded: how, and which version has the traffic.
    pub(crate) outcome: Option<(String, String)>,
    /// What people should know before they trust the numbers.
    pub(crate) warnings: Vec<String>,
}

/// One version's line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct VersionView {
    pub(crate) name: String,
    pub(crate) baseline: bool,
    pub(crate) out: bool,
    /// Share of traffic, 0 to 1.
    pub(crate) weight: f64,
    /// Exposures, the unsettled included.
    pub(crate) live: u64,
    /// Exposures in settled bins.
    pub(crate) settled: u64,
    pub(crate) reward: Option<Rate>,
    pub(crate) errors: Option<Rate>,
    /// Median, milliseconds.
    pub(crate) latency: Option<f64>,
    pub(crate) best: Option<f64>,
    /// Objective or guardrail, and verdict.
    pub(crate) verdicts: Vec<(String, String)>,
}

/// A rate and its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) observed: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl View {
    /// Reads the answer of `GET /v1/experiments/{name}`.
    pub(crate) fn read(experiment: &Value) -> Self {
        let weights = list(&experiment["weights"]);
        let whole: f64 = weights.iter().filter_map(|entry| entry["weight"].as_f64()).sum();
        let weight = |name: &str| {
            let entry = weights.iter().find(|entry| entry["version"] == name);
            entry.and_then(|entry| entry["weight"].as_f64()).map_or(0.0, |weight| weight / whole.max(1.0))
        };
        let assessed = list(at(experiment, "/assessment/versions"));
        let versions: Vec<VersionView> = if assessed.is_empty() {
            // Nothing was assessed yet: the names and weights are there from the start.
            let unassessed = |entry: &Value| {
                let name = text(&entry["version"]);
                VersionView { weight: weight(&name), name, ..VersionView::default() }
            };
            weights.iter().map(unassessed).collect()
        } else {
            assessed.iter().map(|version| VersionView::read(version, weight(&text(&version["name"])))).collect()
        };
        let phase = at(experiment, "/state/phase");
        let outcome = (phase["phase"] == "concluded").then(|| {
            let index = phase["version"].as_u64().and_then(|index| usize::try_from(index).ok());
            let version =
                index.and_then(|index| versions.get(index)).map_or_else(String::new, |found| found.name.clone());
            (text(&phase["outcome"]), version)
        });
        // What moved traffic, once something has; until then why nothing does.
        let change = &experiment["lastChange"];
        let decision = if change.is_object() { change } else { &experiment["decision"] };
        let holds = if change.is_object() && at(experiment, "/decision/action") == "hold" && outcome.is_none() {
            list(at(experiment, "/decision/reasons")).iter().map(text).collect()
        } else {
            Vec::new()
        };
        Self {
            versions,
            holds,
            action: decision["action"].as_str().map(str::to_owned),
            reasons: list(&decision["reasons"]).iter().map(text).collect(),
            outcome,
            warnings: list(at(experiment, "/assessment/warnings")).iter().map(text).collect(),
        }
    }

    /// Requests counted so far.
    pub(crate) fn counted(&self) -> u64 {
        self.versions.iter().map(|version| version.live).sum()
    }
}

impl VersionView {
    fn read(version: &Value, weight: f64) -> Self {
        Self {
            name: text(&version["name"]),
            baseline: version["baseline"] == true,
            out: version["out"] == true,
            weight,
            live: at(version, "/live/assigned").as_u64().unwrap_or(0),
            settled: at(version, "/settled/assigned").as_u64().unwrap_or(0),
            reward: Rate::read(metric(version, "rewardRate")),
            errors: Rate::read(metric(version, "errorRate")),
            latency: metric(version, "latencyP50")["observed"].as_f64(),
            best: version["probabilityBestAndFeasible"].as_f64(),
            verdicts: list(&version["gates"])
                .iter()
                .map(|gate| (text(&gate["name"]), text(&gate["verdict"])))
                .collect(),
        }
    }
}

impl Rate {
    fn read(metric: &Value) -> Option<Self> {
        let end = |name: &str| metric.get("belief")?.get(name)?.as_f64();
        Some(Self { observed: metric["observed"].as_f64()?, low: end("low")?, high: end("high")? })
    }
}

/// One of a version's metrics by name; null when it was not measured.
fn metric<'a>(version: &'a Value, name: &str) -> &'a Value {
    list(&version["metrics"]).iter().find(|metric| metric["name"] == name).unwrap_or(&Value::Null)
}

/// What a JSON pointer finds; null when there is nothing.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_experiment_is_read_before_and_after_its_first_assessment() {
        let mut experiment = json!({
            "weights": [{"version": "v1", "weight": 7500}, {"version": "v2", "weight": 2500}],
            "state": {"phase": {"phase": "running"}},
            "assessment": null,
            "decision": null,
        });
        let view = View::read(&experiment);
        assert_eq!(view.versions[1].weight, 0.25);
        assert_eq!((view.outcome, view.action), (None, None));

        experiment["assessment"] = json!({"warnings": [], "versions": [
            {"name": "v1", "baseline": true, "live": {"assigned": 12}, "settled": {"assigned": 10}},
            {"name": "v2", "live": {"assigned": 9}, "settled": {"assigned": 8}, "probabilityBestAndFeasible": 0.75,
             "metrics": [{"name": "errorRate", "observed": 0.1, "belief": {"low": 0.05, "high": 0.2}},
                         {"name": "latencyP50", "observed": 12.5}],
             "gates": [{"name": "errors", "verdict": "violated"}]},
        ]});
        experiment["lastChange"] = json!({"action": "shift", "reasons": ["Belief."]});
        experiment["decision"] = json!({"action": "hold", "reasons": ["Too early."]});
        let view = View::read(&experiment);
        assert_eq!((view.action.as_deref(), view.holds.as_slice()), (Some("shift"), &["Too early.".to_owned()][..]));

        experiment["state"]["phase"] = json!({"phase": "concluded", "outcome": "promoted", "version": 1, "at": 5});
        experiment["lastChange"] = json!({"action": "promote", "reasons": ["Because."]});
        let view = View::read(&experiment);
        assert_eq!(view.counted(), 21);
        assert_eq!(view.outcome, Some(("promoted".to_owned(), "v2".to_owned())));
        assert_eq!(view.versions[1].verdicts, [("errors".to_owned(), "violated".to_owned())]);
        assert_eq!((view.versions[1].best, view.versions[1].latency), (Some(0.75), Some(12.5)));
        assert_eq!((view.action.as_deref(), view.reasons.as_slice()), (Some("promote"), &["Because.".to_owned()][..]));
    }
}
