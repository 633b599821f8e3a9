//! Keeps what is drawn and told of a run: points over time, few enough to draw, and decisions that say something new.

use super::is_quiet;
use crate::run::{Point, VersionPoint};
use weir_engine::assess::{Assessment, VersionAssessment, assess};
use weir_engine::decide::Action;
use weir_engine::metrics::MetricName;
use weir_engine::spec::Experiment;
use weir_engine::state::{Observations, State, Verdict};

/// Most points: twice as many as a picture has columns to tell them apart.
const POINTS: usize = 256;
/// Most decisions told that move nothing.
const NEWS: usize = 40;

/// What is kept of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// How it ended, and what moved traffic.
    Outcome,
    /// Whatever it said as well.
    Words,
    /// Points to draw as well, and whatever it said.
    Everything,
}

#[derive(Debug)]
pub(crate) struct Watcher {
    watching: Watching,
    points: Vec<Point>,
    /// Looks between points; doubles whenever there are too many.
    stride: u64,
    looks: u64,
    said: String,
    news: usize,
}

impl Watcher {
    pub(crate) fn new(watching: Watching) -> Self {
        Self { watching, points: Vec::new(), stride: 1, looks: 0, said: String::new(), news: 0 }
    }

    pub(crate) fn look(
        &mut self,
        experiment: &Experiment,
        state: &State,
        observations: &Observations,
        now: u64,
        requests: u64,
    ) {
        if self.watching != Watching::Everything {
            return;
        }
        if self.looks.is_multiple_of(self.stride) {
            self.points.push(point(&assess(experiment, state, observations), now, requests));
        }
        self.looks += 1;
        if self.points.len() >= POINTS {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// Whether a decision that moves nothing says what was not said before; numbers apart.
    pub(crate) fn is_news(&mut self, action: Action, reasons: &[String]) -> bool {
        if self.watching == Watching::Outcome || is_quiet(action) || self.news >= NEWS {
            return false;
        }
        let words: String = reasons.concat().chars().filter(|c| !c.is_ascii_digit() && !".,".contains(*c)).collect();
        if words == self.said {
            return false;
        }
        self.said = words;
        self.news += 1;
        true
    }

    /// The points, the last one of the end, and what an assessment then warns of.
    pub(crate) fn finish(
        self,
        experiment: &Experiment,
        state: &State,
        observations: &Observations,
        now: u64,
        requests: u64,
    ) -> (Vec<Point>, Vec<String>) {
        let mut points = self.points;
        if self.watching != Watching::Everything {
            return (points, Vec::new());
        }
        let assessment = assess(experiment, state, observations);
        if points.last().is_none_or(|last| last.at_ms < now) {
            points.push(point(&assessment, now, requests));
        }
        (points, assessment.warnings)
    }
}

fn point(assessment: &Assessment, at_ms: u64, requests: u64) -> Point {
    let with_reward = assessment.versions.iter().any(|version| version.probability_best_and_feasible.is_some());
    let versions = assessment.versions.iter().map(|version| VersionPoint {
        weight: version.weight,
        probability: if with_reward { version.probability_best_and_feasible } else { version.probability_feasible },
        errors: version
            .metric(MetricName::ErrorRate)
            .and_then(|metric| metric.belief)
            .and_then(|belief| belief.low.zip(belief.high)),
        violated: version.log_e_roll_back / version.roll_back_at,
        met: met(version),
        beaten: version.log_e_beaten.map(|log_e| log_e / (1.0 / assessment.alpha.promotion).ln()),
    });
    Point { at_ms, requests, versions: versions.collect() }
}

/// The limit that lacks most.
fn met(version: &VersionAssessment) -> Option<f64> {
    let share = |gate: &weir_engine::gates::Gate| match gate.verdict {
        Verdict::Met => 1.0,
        _ => gate.log_e_met / gate.met_at,
    };
    let shares = version.gates.iter().filter(|gate| gate.covered).map(share);
    shares.fold(None, |least, share| Some(least.map_or(share, |least: f64| least.min(share))))
}
