//! Builders of plans, with what a test does not care about filled in.

use weir_core::plan::{
    FailureRules, Header, Match, Measure, Plan, PlannedExperiment, PlannedVersion, RewardSource, Status, Unit,
};

/// The routing header of every plan and route table here.
pub const ROUTING_HEADER: &str = "x-weir-version";

/// A running experiment over all requests, its unit the request; the first version is the baseline.
///
/// Deadline 2 s, bin 200 ms: short, so that tests see settled bins soon.
#[must_use]
pub fn experiment(id: &str, weights: &[(&str, u32)]) -> PlannedExperiment {
    PlannedExperiment {
        id: id.to_owned(),
        name: id.to_owned(),
        status: Status::Running,
        epoch: 1,
        matching: Match::default(),
        unit: Unit::Request,
        salt: "tests".to_owned(),
        deadline_ms: 2_000,
        bin_ms: 200,
        measure: Measure::End,
        failure: FailureRules::default(),
        reward: Some(RewardSource::ResponseHeader("x-weir-reward".to_owned())),
        secret: None,
        override_header: None,
        baseline: 0,
        versions: weights.iter().map(|(name, weight)| version(name, *weight)).collect(),
    }
}

/// The same, for requests to one host alone.
#[must_use]
pub fn on_host(host: &str, weights: &[(&str, u32)]) -> PlannedExperiment {
    let mut experiment = experiment(host, weights);
    experiment.matching.hosts = vec![host.to_owned()];
    experiment
}

/// The same, sticky on the header `x-user`.
#[must_use]
pub fn sticky(id: &str, weights: &[(&str, u32)]) -> PlannedExperiment {
    PlannedExperiment { unit: Unit::Header("x-user".to_owned()), ..experiment(id, weights) }
}

/// A version that is routed to by [`ROUTING_HEADER`].
#[must_use]
pub fn version(name: &str, weight: u32) -> PlannedVersion {
    PlannedVersion {
        name: name.to_owned(),
        weight,
        headers: vec![Header { name: ROUTING_HEADER.to_owned(), value: name.to_owned() }],
        slow_us: None,
    }
}

/// Requests to this host show in [`MARKER_HEADER`] which plan the worker uses.
pub const MARKER_HOST: &str = "marker.test";
/// The revision, as the upstream receives it.
pub const MARKER_HEADER: &str = "x-weir-plan";

/// A plan of experiments, and a concluded one more by which a test sees that a worker uses it.
#[must_use]
pub fn plan(revision: &str, mut experiments: Vec<PlannedExperiment>) -> Plan {
    let mut marker = on_host(MARKER_HOST, &[("marker", 1), ("unused", 0)]);
    marker.status = Status::Concluded;
    for version in &mut marker.versions {
        version.headers = vec![Header { name: MARKER_HEADER.to_owned(), value: revision.to_owned() }];
    }
    experiments.insert(0, marker);
    Plan { experiments, ..Plan::empty(revision) }
}

/// A plan of one experiment, `e`: every request goes to its second version, `v2`.
#[must_use]
pub fn all_to_v2(revision: &str) -> Plan {
    plan(revision, vec![experiment("e", &[("v1", 0), ("v2", 1)])])
}
