//! What an Envoy says of itself on its admin pages: stats, as Envoy names them and as Prometheus reads them.

use crate::{Envoy, client};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The labels that the shipped configurations take out of the filter's stats.
#[must_use]
pub fn stats_tags() -> Value {
    ["weir_experiment", "weir_version", "le"]
        .iter()
        .map(|label| json!({"tag_name": label, "regex": format!(r"({label}=\.=(.*?);\.;)")}))
        .collect()
}

/// Samples of a Prometheus page: by name and labels, as they stand there.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<(String, BTreeMap<String, String>), u64>);

impl Samples {
    /// Reads a page of whole numbers; others are left out.
    #[must_use]
    pub fn parse(page: &str) -> Self {
        let mut samples = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| {
                let (key, value) = label.split_once("=\"")?;
                Some((key.to_owned(), value.trim_end_matches('"').to_owned()))
            });
            if let Ok(value) = value.parse() {
                assert!(
                    samples.insert((name.to_owned(), labels.collect()), value).is_none(),
                    "the same sample twice: {line}"
                );
            }
        }
        Self(samples)
    }

    /// The value of a name with these labels and no others; 0 when there is none, as nothing has counted then.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.0.get(&(name.to_owned(), labels)).copied().unwrap_or(0)
    }

    /// The same for a version of an experiment.
    #[must_use]
    pub fn of(&self, name: &str, experiment: &str, version: &str) -> u64 {
        self.get(name, &[("weir_experiment", experiment), ("weir_version", version)])
    }

    /// A name's sum over all labels.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        self.0.iter().filter(|((known, _), _)| known == name).map(|(_, value)| value).sum()
    }

    /// Every name, once, and how many samples it has.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&str, usize> {
        let mut names = BTreeMap::new();
        self.0.keys().for_each(|(name, _)| *names.entry(name.as_str()).or_default() += 1);
        names
    }
}

impl Envoy {
    /// A counter or gauge of Envoy's; `None` while it does not exist.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let answer = self.admin_get(&format!("/stats?filter=^{}$", name.replace('.', "\\."))).await?;
        answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.trim().parse().ok())
    }

    /// All stats whose names contain a text, one a line.
    pub async fn stats(&self, part: &str) -> String {
        self.admin_get(&format!("/stats?filter={part}")).await.unwrap_or_default()
    }

    /// The filter's own stats, as Prometheus reads them.
    pub async fn prometheus(&self) -> Samples {
        Samples::parse(&self.admin_get("/stats/prometheus?filter=^wasmcustom").await.unwrap_or_default())
    }

    /// Reads an admin page.
    pub async fn admin_get(&self, path: &str) -> Option<String> {
        let reply = client::call(self.admin_address()?, "GET", path, &[], Vec::new()).await.ok()?;
        reply.status.is_success().then(|| reply.text())
    }

    /// Gives an admin command.
    pub async fn admin_post(&self, path: &str) -> Option<String> {
        let reply = client::call(self.admin_address()?, "POST", path, &[], Vec::new()).await.ok()?;
        reply.status.is_success().then(|| reply.text())
    }
}
