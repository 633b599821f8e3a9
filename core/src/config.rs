//! The filter's plugin configuration: JSON in Envoy's own configuration.
//!
//! Owns the type and its validation; an invalid one is refused with what is wrong and where.

use crate::duration;
use crate::json::{self, Unreadable};
use crate::plan::{InvalidPlan, MAX_ROUTING_HEADERS, Plan, is_header_name};
use serde::{Deserialize, Serialize};

/// The filter's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// How to reach the controller; absent: the static `plan` is all there is, and nothing is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// Names this Envoy in reports; absent: the node id of Envoy's bootstrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Request headers that route: removed from every request that a client sends, whatever the plan says.
    #[serde(default = "default_routing_headers")]
    pub routing_headers: Vec<String>,
    /// The plan until the controller gives another; without a controller, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// How to reach the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Controller {
    /// Envoy's name of the cluster.
    pub cluster: String,
    /// `Host` of requests to the controller.
    #[serde(default = "default_authority")]
    pub authority: String,
    /// Bearer token with the role *proxy*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Milliseconds between reports, unless the controller stretches it. 100 ms to 1 min.
    #[serde(default = "default_interval", with = "duration::text")]
    pub report_interval: u64,
    /// Milliseconds without a valid answer after which running experiments go to the baseline. 1 s to 1 h.
    #[serde(default = "default_staleness", with = "duration::text")]
    pub staleness_limit: u64,
}

fn default_authority() -> String {
    "weir".to_owned()
}

fn default_routing_headers() -> Vec<String> {
    vec!["x-weir-version".to_owned()]
}

const fn default_interval() -> u64 {
    1_000
}

const fn default_staleness() -> u64 {
    60_000
}

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin configuration, {path}: {problem}")]
pub struct InvalidConfig {
    /// As in `controller.reportInterval`.
    pub path: String,
    /// What is wrong and what is asked for.
    pub problem: String,
}

impl Config {
    /// Reads and validates a configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`] for the first thing that is wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(invalid(".", "is empty; name a `controller`, a static `plan`, or both"));
        }
        if bytes.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) {
            // What Envoy 1.40 hands over of a `google.protobuf.Struct`.
            return Err(invalid(".", "is not JSON but binary; give Envoy the JSON as a `google.protobuf.StringValue`"));
        }
        let config: Self = json::read(bytes).map_err(|Unreadable { path, problem }| InvalidConfig { path, problem })?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        let check = |holds: bool, path: &str, problem: &str| if holds { Ok(()) } else { Err(invalid(path, problem)) };
        let token =
            |text: &str| !text.is_empty() && text.len() <= 1_024 && text.bytes().all(|byte| byte.is_ascii_graphic());
        check(
            self.controller.is_some() || self.plan.is_some(),
            ".",
            "neither a `controller` nor a static `plan`: the filter would do nothing",
        )?;
        if let Some(controller) = &self.controller {
            check(token(&controller.cluster), "controller.cluster", "must be the name of an Envoy cluster")?;
            check(token(&controller.authority), "controller.authority", "must be a host name")?;
            check(controller.token.as_deref().is_none_or(token), "controller.token", "must be visible ASCII")?;
            check(
                (100..=60_000).contains(&controller.report_interval),
                "controller.reportInterval",
                "must be 100ms to 1m",
            )?;
            check(
                (1_000..=3_600_000).contains(&controller.staleness_limit),
                "controller.stalenessLimit",
                "must be 1s to 1h",
            )?;
        }
        check(
            self.node.as_deref().is_none_or(|node| token(node) && node.len() <= 256),
            "node",
            "must be 1 to 256 visible ASCII characters",
        )?;
        check(self.routing_headers.len() <= MAX_ROUTING_HEADERS, "routingHeaders", "has more than 16 entries")?;
        check(
            self.routing_headers.iter().all(|name| is_header_name(name)),
            "routingHeaders",
            "must be lower-case header names, none of which carries the request (as `host` does)",
        )?;
        if let Some(plan) = &self.plan {
            plan.validate().map_err(|InvalidPlan { path, problem }| invalid(&format!("plan.{path}"), &problem))?;
        }
        Ok(())
    }
}

fn invalid(path: &str, problem: &str) -> InvalidConfig {
    InvalidConfig { path: path.to_owned(), problem: problem.to_owned() }
}
