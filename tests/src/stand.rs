//! What most tests stand on: versions, a controller that says what the test wants, and an Envoy with the filter between them.

use crate::envoy::CONTROLLER;
use crate::{Client, Envoy, EnvoyBuilder, FakeController, Upstream};
use serde_json::{Value, json};
use weir_core::plan::Plan;

/// A stand of so many versions, `v1` and on; the first is the baseline. Ends when dropped.
#[derive(Debug)]
pub struct Stand<const VERSIONS: usize = 2> {
    /// The versions, in order.
    pub versions: [Upstream; VERSIONS],
    /// The controller.
    pub fake: FakeController,
    /// The Envoy.
    pub envoy: Envoy,
    /// A connection to each of Envoy's workers, all of which use the plan.
    pub workers: Vec<Client>,
}

impl Stand {
    /// Two versions and a plan that [`crate::plans::plan`] made, reported on every tenth of a second.
    pub async fn start(plan: Plan) -> Self {
        Self::with(plan, |envoy| envoy).await
    }
}

impl<const VERSIONS: usize> Stand<VERSIONS> {
    /// The same, with what the test wants otherwise of Envoy.
    pub async fn with(plan: Plan, change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Self {
        Self::of(versions().await, plan, change).await
    }

    /// The same between versions that the test has made.
    pub async fn of(
        versions: [Upstream; VERSIONS],
        plan: Plan,
        change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder,
    ) -> Self {
        let revision = plan.revision.clone();
        let fake = FakeController::start(plan).await;
        let builder = between(&versions, fake.address()).plugin(&reporting("100ms"));
        let envoy = change(builder).start().await;
        let workers = envoy.workers_with_plan(&revision).await;
        Self { versions, fake, envoy, workers }
    }

    /// Requests that reached a version, but for those by which the plan was awaited.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.versions.iter().map(arrived).sum()
    }
}

/// Requests that reached a version, but for those by which [`Envoy::wait_for_plan`] sees which plan a worker uses.
#[must_use]
pub fn arrived(version: &Upstream) -> u64 {
    version.requests() - version.requests_for("/echo")
}

/// Starts versions `v1` and on.
pub async fn versions<const VERSIONS: usize>() -> [Upstream; VERSIONS] {
    let mut versions = Vec::new();
    for number in 1..=VERSIONS {
        versions.push(Upstream::start(&format!("v{number}")).await);
    }
    versions.try_into().expect("as many as asked for")
}

/// Begins to describe an Envoy in front of versions, with a controller at that address.
#[must_use]
pub fn between(versions: &[Upstream], controller: std::net::SocketAddr) -> EnvoyBuilder {
    versions.iter().fold(Envoy::builder(), EnvoyBuilder::version).controller(controller)
}

/// The filter's configuration for a controller, with so long between reports.
#[must_use]
pub fn reporting(interval: &str) -> Value {
    json!({"controller": {"cluster": CONTROLLER, "reportInterval": interval}})
}
