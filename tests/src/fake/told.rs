//! What a fake controller was told, and what it holds against the contract.

use super::Answer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;
use weir_core::report::{Counts, Report};

#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) answers: VecDeque<Answer>,
    pub(super) to_polls: VecDeque<Answer>,
    /// Every report that came, in order, as it came.
    pub(super) received: Vec<(Report, Vec<u8>)>,
    /// By (node, incarnation): the last sequence counted.
    pub(super) counted: BTreeMap<(String, String), u64>,
    /// By (experiment, version, incarnation).
    pub(super) totals: BTreeMap<(String, String, String), Counts>,
    /// When the last report of each incarnation that counted came.
    pub(super) heard: BTreeMap<String, Instant>,
    /// Every `Host` of a report.
    pub(super) hosts: BTreeSet<String>,
    pub(super) polls: u64,
    pub(super) held: u64,
    pub(super) most_held: u64,
    pub(super) credentials: BTreeSet<String>,
    pub(super) complaints: Vec<String>,
}

impl Told {
    /// What was counted of an experiment.
    pub(super) fn of(&self, experiment: &str) -> impl Iterator<Item = (&(String, String, String), &Counts)> {
        let from = (experiment.to_owned(), String::new(), String::new());
        let wanted = experiment.to_owned();
        self.totals.range(from..).take_while(move |((id, _, _), _)| *id == wanted)
    }

    pub(super) fn check(&mut self, report: &Report, body: &[u8]) {
        let last = self.received.iter().rev().find(|(earlier, _)| earlier.incarnation == report.incarnation);
        let Some((earlier, earlier_body)) = last else { return };
        if earlier.sequence == report.sequence && earlier_body != body {
            self.complaints.push(format!("sequence {} was sent with two contents", report.sequence));
        }
        if report.sequence != earlier.sequence && report.sequence != earlier.sequence + 1 {
            self.complaints.push(format!("sequence {} came after {}", report.sequence, earlier.sequence));
        }
        for experiment in &report.experiments {
            let Some(before) = earlier.experiments.iter().find(|other| other.id == experiment.id) else { continue };
            if report.sequence == earlier.sequence {
                continue;
            }
            if experiment.watermark < before.watermark {
                self.complaints.push(format!("the watermark of {} went back", experiment.id));
            }
            if experiment.cells.iter().any(|cell| cell.bin < before.watermark) {
                self.complaints.push(format!("{} added to a final bin", experiment.id));
            }
        }
    }

    pub(super) fn count(&mut self, report: &Report) {
        let last = self.counted.entry((report.node.clone(), report.incarnation.clone())).or_default();
        if report.sequence <= *last {
            return;
        }
        *last = report.sequence;
        self.heard.insert(report.incarnation.clone(), Instant::now());
        for experiment in &report.experiments {
            for cell in &experiment.cells {
                let key = (experiment.id.clone(), cell.version.clone(), report.incarnation.clone());
                self.totals.entry(key).or_default().merge(&cell.counts);
            }
        }
    }
}
