//! A running mesh: control plane, versions, and the caller's Envoy; resources put in and what became of them.

use super::{Istiod, Site};
use crate::wait::{PATIENCE, eventually, holds};
use crate::{Client, Envoy, Upstream};
use serde_json::Value;
use std::net::SocketAddr;
use weir_core::plan::{HeaderMatch, Match, Plan, PlannedExperiment};

/// Requests with this header show which plan a worker uses: there is no host for that here, as in [`crate::plans::plan`].
const ASKS: &str = "x-asks-for-plan";
/// Envoy hands connections of a mesh's listeners to its workers by chance: so many reach all but for bad luck.
const CONNECTIONS: usize = 8;

/// Ends when dropped.
#[derive(Debug)]
pub struct Mesh {
    /// The caller's Envoy.
    pub envoy: Envoy,
    /// The control plane.
    pub istiod: Istiod,
    /// What it was made from.
    pub site: Site,
    markers: u32,
}

impl Mesh {
    /// Starts one with resources that the proxy must accept.
    ///
    /// # Panics
    /// When it does not, with its words.
    pub async fn start(site: Site, versions: &[Upstream], controller: SocketAddr, resources: &[Value]) -> Self {
        let services = site.services(versions, controller);
        let istiod = Istiod::start(&[("services", &services), ("rendered", resources)], &site.istiod).await;
        let bootstrap = site.bootstrap(istiod.address()).to_string();
        let envoy = Envoy::builder().text(&bootstrap).listens_at(site.entry()).start().await;
        let mesh = Self { envoy, istiod, site, markers: 0 };
        assert_eq!(mesh.istiod.refusals(0), Vec::<String>::new(), "the proxy refuses resources");
        mesh
    }

    /// Puts other resources in place of those it has, and waits until the proxy uses them.
    ///
    /// # Errors
    /// What the control plane could not read or the proxy refused, in their words.
    pub async fn put(&mut self, resources: &[Value]) -> Result<(), String> {
        self.markers += 1;
        let marker = format!("marker-{}.test", self.markers);
        let from = self.istiod.log().len();
        self.istiod.put("rendered", &[resources, &self.site.marker(&marker)].concat());
        eventually(PATIENCE, "the proxy has taken or refused the resources", async || {
            let refusals = self.istiod.refusals(from);
            if !refusals.is_empty() {
                return Some(Err(refusals.join("\n")));
            }
            let routes = self.envoy.admin_get("/config_dump?resource=dynamic_route_configs").await?;
            let listeners = self.envoy.admin_get("/config_dump?resource=dynamic_listeners").await?;
            (routes.contains(&marker) && !listeners.contains("warming_state")).then_some(Ok(()))
        })
        .await
    }

    /// Connections to all workers.
    pub async fn connect(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(self.envoy.connect().await);
        }
        clients
    }

    /// Connects to all workers and waits until each uses a plan that [`plan`] made.
    pub async fn workers_with_plan(&self, revision: &str) -> Vec<Client> {
        let mut clients = self.connect().await;
        let marker = format!("{}: {revision}", crate::plans::MARKER_HEADER);
        for client in &mut clients {
            eventually(PATIENCE, &format!("every worker uses plan {revision}"), async || {
                let reply = client.get("/echo", &[("host", self.site.host()), (ASKS, "yes")]).await;
                holds(reply.text().lines().any(|line| line == marker))
            })
            .await;
        }
        clients
    }
}

/// As [`crate::plans::plan`], for a mesh.
#[must_use]
pub fn plan(revision: &str, experiments: Vec<PlannedExperiment>) -> Plan {
    let mut plan = crate::plans::plan(revision, experiments);
    if let Some(marker) = plan.experiments.first_mut() {
        let asks = HeaderMatch { name: ASKS.to_owned(), exact: None };
        marker.matching = Match { headers: vec![asks], ..Match::default() };
    }
    plan
}
