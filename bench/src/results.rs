//! What is measured, as JSON and for the terminal. Owns the shape of the results file (format 1) and the spread of numbers.

use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use weir_tests::paths;

/// Everything one run measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    format: u32,
    weir: &'static str,
    envoy: String,
    processor: String,
    processors: usize,
    filter_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<crate::filter::Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host_calls: Option<crate::calls::HostCalls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan_change: Option<crate::plan_change::PlanChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soak: Option<crate::soak::Soak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ingest: Option<crate::ingest::Ingest>,
}

impl Results {
    /// Nothing measured yet; what it is measured on.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let output = Command::new(paths::envoy()?).arg("--version").output().context("cannot run Envoy")?;
        let envoy = String::from_utf8_lossy(&output.stdout);
        // `… version: <commit>/<release>/<state>/<build>/<library>`
        let envoy = envoy.split("version: ").last().and_then(|version| version.split('/').nth(1)).unwrap_or("unknown");
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Ok(Self {
            format: 1,
            weir: env!("CARGO_PKG_VERSION"),
            envoy: envoy.to_owned(),
            processor: processor.unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            filter_bytes: std::fs::metadata(paths::filter()?)?.len(),
            filter: None,
            host_calls: None,
            plan_change: None,
            soak: None,
            ingest: None,
        })
    }

    /// One line about what it is measured on.
    pub(crate) fn machine(&self) -> String {
        let (cores, kib) = (self.processors, self.filter_bytes / 1024);
        format!("Weir {}, filter {kib} KB; Envoy {}; {cores} × {}", self.weir, self.envoy, self.processor)
    }

    /// Writes the file, and its folder if need be.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Median, smallest and largest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of these numbers; zeros when there are none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        Self { median: quantile(&numbers, 0.5), min: quantile(&numbers, 0.0), max: quantile(&numbers, 1.0) }
    }

    /// `1.234 (1.200–1.300)`, with so many decimals.
    pub(crate) fn show(&self, decimals: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    }
}

/// A quantile of sorted numbers, linear between neighbours (definition 7 of Hyndman & Fan 1996); 0 when there are none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a length")]
    let below = place.floor() as usize;
    let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or_default();
    at(below) + (at(below + 1) - at(below)) * (place - place.floor())
}

/// A heading on the terminal.
pub(crate) fn heading(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.chars().count()));
}

/// A table with its columns aligned, the first to the left and the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 10.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 10.0], 1.0), 10.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_spread_knows_its_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).show(1), "2.0 (1.0–3.0)");
    }
}
