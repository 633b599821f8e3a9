//! The plan: what the controller publishes and filters carry out. Wire format 1, JSON.
//!
//! Owns the types, their limits and their validation; compiling a plan for the request path is `assign`'s.

mod check;

pub(crate) use check::Check;

use crate::cookie::GeneratedCookie;
use crate::json::{self, Unreadable};
use crate::reward::RequestReward;
pub use crate::reward::RewardSource;
use crate::token::Secret;
use serde::{Deserialize, Serialize};

/// The wire format of plans and reports that this code speaks.
pub const FORMAT: u32 = 1;
/// Most experiments in one plan.
pub const MAX_EXPERIMENTS: usize = 1_000;
/// Most versions in one experiment.
pub const MAX_VERSIONS: usize = 16;
/// Longest name (experiment, version, header), in bytes.
pub const MAX_NAME: usize = 128;
/// Longest header value, host or path, in bytes.
pub const MAX_VALUE: usize = 1_024;
/// Largest weight. Weights are relative; their sum is at most `MAX_VERSIONS` times this.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The whole, in parts per million.
pub const PARTS: u32 = 1_000_000;
/// Most hosts, paths, headers or rules in one list.
pub const MAX_LIST: usize = 64;
/// Most distinct routing headers over a whole plan: each costs every request one host call.
pub const MAX_ROUTING_HEADERS: usize = 16;
/// Longest deadline, bin or time limit, in milliseconds: one hour.
pub const MAX_DEADLINE_MS: u64 = 3_600_000;
/// Longest latency from which an exposure is slow, in microseconds: one hour.
pub const MAX_SLOW_US: u64 = 1_000 * MAX_DEADLINE_MS;

/// Every running or concluded experiment's rules and weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: u32,
    /// Opaque; changes whenever anything in the plan does. 1 to 64 visible ASCII characters.
    pub revision: String,
    /// The first that matches a request decides it.
    pub experiments: Vec<PlannedExperiment>,
}

/// One experiment, as filters need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedExperiment {
    /// Unique for ever: a re-created experiment of the same name has another.
    pub id: String,
    /// What people call it; in logs and stats.
    pub name: String,
    /// Running: assign and record. Concluded: route to the outcome, record nothing.
    pub status: Status,
    /// Counts up within the experiment whenever weights change; at least 1.
    pub epoch: u32,
    /// Which requests take part.
    #[serde(rename = "match")]
    pub matching: Match,
    /// What is randomised.
    pub unit: Unit,
    /// Seeds the hashes of sticky units. 1 to 64 visible ASCII characters.
    pub salt: String,
    /// A request that has not ended after this many milliseconds is overdue, a bad event. At least 1.
    pub deadline_ms: u64,
    /// Length of a bin of assignment time, in milliseconds. At least 100.
    pub bin_ms: u64,
    /// Until when a request's latency counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub measure: Measure,
    /// What makes a response a failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failure: FailureRules,
    /// Where the reward comes from, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardSource>,
    /// Makes the tokens of rewards that come later: 32 lower-case hexadecimal digits, known to filters and the controller alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// A request header by which testers choose a version; such requests are not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_header: Option<String>,
    /// Index into `versions` of the baseline.
    pub baseline: usize,
    /// 2 to [`MAX_VERSIONS`], in the order of the experiment document.
    pub versions: Vec<PlannedVersion>,
}

/// Whether an experiment is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Assigned by weight and recorded; goes to the baseline when the plan is stale.
    Running,
    /// Routed by weight (all of it on the outcome), never recorded, kept when the plan is stale.
    Concluded,
}

/// One version's weight and how requests are sent to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedVersion {
    /// Unique within the experiment.
    pub name: String,
    /// Relative share, 0 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Request headers that send a request to this version.
    pub headers: Vec<Header>,
    /// The latency, in microseconds, from which an exposure to this version is slow: 1 to [`MAX_SLOW_US`]. Filters then report
    /// the unit buckets of slow exposures. Only for sticky experiments; changes only with the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_us: Option<u64>,
}

/// A header to set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Lower case.
    pub name: String,
    /// Visible ASCII.
    pub value: String,
}

/// Which requests take part: all of `hosts`, `paths` and `headers` must agree; an empty list agrees with everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// `shop.example`, `*.shop.example` (one or more labels in place of the star) or `*`; any of them. Without port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Any of them, on the path without its query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathMatch>,
    /// Every one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Share of the matching traffic that takes part, in parts per million; the rest goes to the baseline, unrecorded.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub share_ppm: u32,
}

impl Default for Match {
    fn default() -> Self {
        Self { hosts: Vec::new(), paths: Vec::new(), headers: Vec::new(), share_ppm: PARTS }
    }
}

const fn whole() -> u32 {
    PARTS
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_whole(share: &u32) -> bool {
    *share == PARTS
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How a path is matched, as in the Gateway API: a prefix matches whole path elements (`/a` matches `/a/b`, not `/ab`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Its first elements.
    Prefix(String),
}

/// How a request header is matched, by its first value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// The whole value; absent: the header only has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
}

/// What is randomised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Unit {
    /// Each request on its own.
    Request,
    /// Whoever sends the same value of this header. Lower case.
    Header(String),
    /// Whoever sends the same value of this cookie.
    Cookie(String),
    /// The same, and whoever has none is given one.
    GeneratedCookie(GeneratedCookie),
}

/// When a request has ended, for its latency and its outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// The whole exchange.
    #[default]
    End,
    /// The response headers, for streams and upgrades. What fails after them is not seen.
    Headers,
}

/// What makes a response a failure, beside Envoy's own word that the upstream failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureRules {
    /// HTTP status codes, as inclusive ranges.
    #[serde(default = "default_codes")]
    pub codes: Vec<(u32, u32)>,
    /// gRPC statuses, looked at when the request is gRPC.
    #[serde(default = "default_grpc")]
    pub grpc: Vec<u32>,
}

impl Default for FailureRules {
    fn default() -> Self {
        Self { codes: default_codes(), grpc: default_grpc() }
    }
}

fn default_codes() -> Vec<(u32, u32)> {
    vec![(500, 599)]
}

/// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's own.
fn default_grpc() -> Vec<u32> {
    vec![2, 4, 12, 13, 14, 15]
}

/// What is wrong with a plan, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidPlan {
    /// As in `experiments[0].versions[1].weight`.
    pub path: String,
    /// What is wrong and what is asked for.
    pub problem: String,
}

impl Plan {
    /// A plan without experiments.
    #[must_use]
    pub fn empty(revision: &str) -> Self {
        Self { format: FORMAT, revision: revision.to_owned(), experiments: Vec::new() }
    }

    /// Reads and validates a plan.
    ///
    /// # Errors
    /// [`InvalidPlan`] for the first thing that is wrong: not JSON, an unknown field, a limit exceeded.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidPlan> {
        let plan: Self = json::read(bytes).map_err(|Unreadable { path, problem }| InvalidPlan { path, problem })?;
        plan.validate()?;
        Ok(plan)
    }

    /// Checks every limit of this module.
    ///
    /// # Errors
    /// [`InvalidPlan`] for the first limit exceeded.
    pub fn validate(&self) -> Result<(), InvalidPlan> {
        let check = Check { path: String::new() };
        check.that(self.format == FORMAT, "format", || {
            format!("this code speaks format {FORMAT}, not {}", self.format)
        })?;
        check.token(&self.revision, "revision", 64)?;
        check.count(self.experiments.len(), 0, MAX_EXPERIMENTS, "experiments")?;
        let mut ids = Vec::new();
        for (index, experiment) in self.experiments.iter().enumerate() {
            let check = check.item("experiments", index);
            experiment.validate(&check)?;
            check.that(add(&mut ids, &experiment.id), "id", || format!("`{}` is there twice", experiment.id))?;
        }
        let mut names = self.routing_headers();
        for (index, experiment) in self.experiments.iter().enumerate() {
            let own = experiment.assignment_header().filter(|name| names.contains(name));
            check.item("experiments", index).that(own.is_none(), "reward", || {
                format!("`{}` routes, and cannot carry tokens too", own.unwrap_or_default())
            })?;
        }
        names.extend(self.assignment_headers());
        check.that(!names.iter().any(|name| CARRIERS.contains(name)), "experiments", || {
            format!("{} cannot be routing headers: filters would take them from every request", CARRIERS.join(", "))
        })?;
        // Filters remove routing headers from every request before anything looks at one, whichever experiment they belong to.
        for (index, experiment) in self.experiments.iter().enumerate() {
            let read = experiment.headers_read().find(|name| names.contains(name));
            check.item("experiments", index).that(read.is_none(), "match", || {
                let read = read.unwrap_or_default();
                format!(
                    "`{}` reads the header `{read}`, which routes (here or in another experiment) and so is removed",
                    experiment.name
                )
            })?;
        }
        check.that(names.len() <= MAX_ROUTING_HEADERS, "experiments", || {
            format!("{} different routing headers; at most {MAX_ROUTING_HEADERS}", names.len())
        })?;
        // One response may be a conversion of them all, and each header is a call of the host.
        let mut names = Vec::new();
        for experiment in &self.experiments {
            if let Some(RewardSource::Request(RequestReward { response_header: Some(name), .. })) = &experiment.reward {
                add(&mut names, name);
            }
        }
        check.that(names.len() <= MAX_LIST, "experiments", || {
            format!("{} different response headers of later requests' rewards; at most {MAX_LIST}", names.len())
        })
    }

    /// The names of all headers that carry assignment tokens, each once.
    #[must_use]
    pub fn assignment_headers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.experiments.iter().filter_map(PlannedExperiment::assignment_header) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The names of all routing headers, sorted, each once.
    #[must_use]
    pub fn routing_headers(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let versions = self.experiments.iter().flat_map(|experiment| &experiment.versions);
        for header in versions.flat_map(|version| &version.headers) {
            add(&mut names, &header.name);
        }
        names
    }
}

impl PlannedExperiment {
    /// The request header that carries its assignment tokens, if any does.
    fn assignment_header(&self) -> Option<&str> {
        match &self.reward {
            Some(RewardSource::Api(header)) => Some(header),
            _ => None,
        }
    }

    /// The request headers that decide whether and how a request takes part.
    fn headers_read(&self) -> impl Iterator<Item = &str> {
        let unit = match &self.unit {
            Unit::Header(name) => Some(name.as_str()),
            Unit::Request | Unit::Cookie(_) | Unit::GeneratedCookie(_) => None,
        };
        let converted = match &self.reward {
            Some(RewardSource::Request(request)) => &request.matching.headers[..],
            _ => &[],
        };
        let matched = self.matching.headers.iter().chain(converted).map(|header| header.name.as_str());
        matched.chain(unit).chain(self.override_header.as_deref())
    }

    fn validate(&self, check: &Check) -> Result<(), InvalidPlan> {
        check.token(&self.id, "id", MAX_NAME)?;
        check.token(&self.name, "name", MAX_NAME)?;
        check.that(self.epoch >= 1, "epoch", || "epochs count from 1".to_owned())?;
        check.token(&self.salt, "salt", 64)?;
        check.that((1..=MAX_DEADLINE_MS).contains(&self.deadline_ms), "deadlineMs", || {
            format!("{} is not within 1 to {MAX_DEADLINE_MS}", self.deadline_ms)
        })?;
        check.that((100..=MAX_DEADLINE_MS).contains(&self.bin_ms), "binMs", || {
            format!("{} is not within 100 to {MAX_DEADLINE_MS}", self.bin_ms)
        })?;
        self.matching.validate(&check.at("match"))?;
        match &self.unit {
            Unit::Request => {}
            Unit::Header(name) => check.header_name(name, "unit.header")?,
            Unit::Cookie(name) => check.token(name, "unit.cookie", MAX_NAME)?,
            Unit::GeneratedCookie(cookie) => check.cookie(cookie, "unit.generatedCookie")?,
        }
        check.count(self.failure.codes.len(), 0, MAX_LIST, "failure.codes")?;
        check.codes(&self.failure.codes, "failure.codes")?;
        check.count(self.failure.grpc.len(), 0, MAX_LIST, "failure.grpc")?;
        let secret = self.secret.as_deref();
        check.that(secret.is_none_or(|secret| Secret::from_hex(secret).is_some()), "secret", || {
            "must be 32 lower-case hexadecimal digits".to_owned()
        })?;
        if let Some(reward) = &self.reward {
            reward.validate(check, &self.unit, secret)?;
        }
        if let Some(name) = &self.override_header {
            check.header_name(name, "overrideHeader")?;
        }
        check.count(self.versions.len(), 2, MAX_VERSIONS, "versions")?;
        check.that(self.baseline < self.versions.len(), "baseline", || {
            format!("{} is not the index of one of {} versions", self.baseline, self.versions.len())
        })?;
        let mut names = Vec::new();
        for (index, version) in self.versions.iter().enumerate() {
            let check = check.item("versions", index);
            check.token(&version.name, "name", MAX_NAME)?;
            check.that(add(&mut names, &version.name), "name", || format!("`{}` is there twice", version.name))?;
            check.that(version.weight <= MAX_WEIGHT, "weight", || {
                format!("{} is more than {MAX_WEIGHT}", version.weight)
            })?;
            check.count(version.headers.len(), 0, MAX_ROUTING_HEADERS, "headers")?;
            check.that(version.slow_us.is_none_or(|slow| (1..=MAX_SLOW_US).contains(&slow)), "slowUs", || {
                format!("{} is not within 1 to {MAX_SLOW_US}", version.slow_us.unwrap_or_default())
            })?;
            for (index, header) in version.headers.iter().enumerate() {
                let check = check.item("headers", index);
                check.header_name(&header.name, "name")?;
                check.value(&header.value, "value")?;
            }
        }
        check.that(self.versions.iter().any(|version| version.weight > 0), "versions", || {
            "every weight is 0; give at least one version some".to_owned()
        })
    }
}

impl Match {
    pub(crate) fn validate(&self, check: &Check) -> Result<(), InvalidPlan> {
        check.count(self.hosts.len(), 0, MAX_LIST, "hosts")?;
        check.count(self.paths.len(), 0, MAX_LIST, "paths")?;
        check.count(self.headers.len(), 0, MAX_LIST, "headers")?;
        for host in &self.hosts {
            check.value(host, "hosts")?;
            let rest = host.strip_prefix("*.").unwrap_or(host);
            check.that(
                host == "*" || (!rest.is_empty() && !rest.contains('*') && !rest.contains(':')),
                "hosts",
                || format!("`{host}` is not a host without port, `*.` and a host, or `*`"),
            )?;
        }
        for path in &self.paths {
            let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = path;
            check.value(path, "paths")?;
            check.that(path.starts_with('/'), "paths", || format!("`{path}` does not begin with a slash"))?;
        }
        for header in &self.headers {
            check.header_name(&header.name, "headers")?;
            if let Some(exact) = &header.exact {
                check.value(exact, "headers")?;
            }
        }
        check.that((1..=PARTS).contains(&self.share_ppm), "sharePpm", || {
            format!("{} is not within 1 to {PARTS}", self.share_ppm)
        })
    }
}

/// Adds a text to a sorted list that has each once. Whether it is new. Where a tree does the same with ten times the code.
fn add<'a>(texts: &mut Vec<&'a str>, text: &'a str) -> bool {
    let place = texts.binary_search(&text);
    if let Err(at) = place {
        texts.insert(at, text);
    }
    place.is_err()
}

/// Headers that carry the request itself: setting them would change more than the route.
const FORBIDDEN_HEADERS: [&str; 6] = ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade"];

/// Headers that carry who a request comes from: they may be looked at, never route.
const CARRIERS: [&str; 2] = ["cookie", "authorization"];

/// Whether a text is a header name that the plan may set or look at: lower-case token characters, no pseudo-header.
#[must_use]
pub fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !FORBIDDEN_HEADERS.contains(&name)
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn what_routes_in_one_experiment_cannot_be_read_by_another() {
        let mut two = plan(&[1, 1]);
        let mut other = two.experiments[0].clone();
        other.id = "other".to_owned();
        other.unit = Unit::Header("x-user".to_owned());
        two.experiments.push(other);
        two.validate().unwrap();
        two.experiments[0].versions[0].headers.push(Header { name: "x-user".to_owned(), value: "b".to_owned() });
        let refused = two.validate().unwrap_err();
        assert_eq!(refused.path, "experiments[1].match");
        assert!(refused.problem.contains("reads the header `x-user`, which routes"), "{refused}");
    }

    #[test]
    fn a_plan_says_from_when_a_version_is_slow_or_not_a_word_of_it() {
        let mut plan = plan(&[1, 1]);
        assert!(!serde_json::to_string(&plan).unwrap().contains("slow"));
        for (slow, valid) in [(0, false), (1, true), (3_600_000_000, true), (3_600_000_001, false)] {
            plan.experiments[0].versions[1].slow_us = Some(slow);
            let read = Plan::from_json(&serde_json::to_vec(&plan).unwrap());
            match read {
                Ok(read) => assert_eq!((read, valid), (plan.clone(), true)),
                Err(refused) => {
                    assert_eq!((refused.path.as_str(), valid), ("experiments[0].versions[1].slowUs", false))
                }
            }
        }
    }

    #[test]
    fn headers_that_say_who_a_request_is_from_never_route() {
        for name in ["cookie", "authorization"] {
            let mut plan = plan(&[1, 1]);
            plan.experiments[0].versions[0].headers.push(Header { name: name.to_owned(), value: "b".to_owned() });
            assert!(plan.validate().unwrap_err().problem.contains("cannot be routing headers"), "{name}");
        }
    }
}
