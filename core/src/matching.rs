//! Matching: which experiment decides a request.
//!
//! Owns the plan compiled for the request path and reads from a request only what that needs, each header once: a host
//! call that returns bytes costs more than everything else here.

use crate::assign::Assigner;
use crate::conversions::Conversions;
use crate::cookie::GeneratedCookie;
use crate::earning::Earning;
use crate::host::Host;
use crate::plan::{FailureRules, Header, Measure, Plan, PlannedExperiment, Status, Unit};
use crate::rules::Rules;
use crate::tally::Tally;
use crate::unit::UnitBuckets;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

/// Index of the host in every compiled plan's names.
pub(crate) const AUTHORITY: usize = 0;
/// Index of the path.
pub(crate) const PATH: usize = 1;

/// A plan, compiled.
#[derive(Debug)]
pub struct Compiled {
    /// Of the plan.
    pub revision: String,
    /// Headers that no request may bring.
    routing_headers: Vec<String>,
    /// Names of the headers that matching and units look at; an index into this stands for a name. None where it is a routing
    /// header: whatever a client sends there is as if it had not.
    names: Vec<Option<String>>,
    experiments: Vec<Rc<Experiment>>,
    /// Which requests are conversions, and of which of them.
    conversions: Conversions,
}

/// One experiment, compiled. Requests in flight hold the one they were assigned by.
#[derive(Debug)]
pub struct Experiment {
    /// The plan's id.
    pub id: Rc<str>,
    /// The plan's name, for people.
    pub name: Rc<str>,
    /// The plan's epoch.
    pub epoch: u32,
    /// Whether assignments are recorded, and given up when the plan is stale.
    pub running: bool,
    /// Share of matching traffic that takes part, in parts per million.
    pub share_ppm: u32,
    /// What is randomised.
    pub unit: Key,
    /// Chooses the version.
    pub assigner: Assigner,
    /// Sorts unit keys into buckets; `None` where each request is a unit.
    pub unit_buckets: Option<UnitBuckets>,
    /// Index into [`Compiled`]'s names of the testers' header.
    pub override_header: Option<usize>,
    /// Index into `versions`.
    pub baseline: usize,
    /// Names and headers.
    pub versions: Vec<Version>,
    /// In milliseconds.
    pub deadline_ms: u64,
    /// The same in nanoseconds: in Wasm a multiplication that may not overflow costs sixty instructions.
    pub deadline_nanos: u64,
    /// In milliseconds; at least one.
    pub bin_ms: u64,
    /// Until when latency counts.
    pub measure: Measure,
    /// What is a failure.
    pub failure: FailureRules,
    /// How its exposures are rewarded.
    pub earning: Earning,
    rules: Rules,
    /// Where a recorder last found what it has of this experiment.
    pub(crate) place: Cell<usize>,
}

/// One version, compiled.
#[derive(Debug)]
pub struct Version {
    /// The plan's name.
    pub name: Rc<str>,
    /// What routes to it.
    pub headers: Vec<Header>,
    /// Those, as indices into [`Compiled::routing_headers`].
    pub sets: Vec<usize>,
    /// From which latency an exposure is slow for its unit, in microseconds.
    pub slow_us: Option<u64>,
    /// Where Envoy's stats look; none before they have adopted the plan.
    pub tally: OnceCell<Rc<Tally>>,
}

/// Where a unit key is.
#[derive(Debug)]
pub enum Key {
    /// None: each request on its own.
    Request,
    /// The header of this index.
    Header(usize),
    /// A cookie in the header of this index.
    Cookie(usize, String),
    /// The same, given to whoever has none.
    Generated(usize, GeneratedCookie),
}

impl Compiled {
    /// Compiles a plan; the routing headers of the configuration are removed from requests along with the plan's own.
    #[must_use]
    pub fn new(plan: &Plan, routing_headers: &[String]) -> Self {
        let mut names = vec![":authority".to_owned(), ":path".to_owned()];
        let mut strip: Vec<String> = routing_headers.to_vec();
        for name in plan.routing_headers().into_iter().chain(plan.assignment_headers()) {
            if !strip.iter().any(|known| known == name) {
                strip.push(name.to_owned());
            }
        }
        let compile = |experiment| Rc::new(Experiment::new(experiment, &mut names, &strip));
        let experiments: Vec<Rc<Experiment>> = plan.experiments.iter().map(compile).collect();
        let conversions = Conversions::new(plan, &experiments, &mut names);
        let names = names.into_iter().map(|name| Some(name).filter(|name| !strip.contains(name))).collect();
        Self { revision: plan.revision.clone(), routing_headers: strip, names, experiments, conversions }
    }

    /// The headers that no client may send.
    #[must_use]
    pub fn routing_headers(&self) -> &[String] {
        &self.routing_headers
    }

    /// Every experiment, in the plan's order.
    #[must_use]
    pub fn experiments(&self) -> &[Rc<Experiment>] {
        &self.experiments
    }

    /// Which requests are conversions, and of which experiments.
    pub(crate) const fn conversions(&self) -> &Conversions {
        &self.conversions
    }

    /// The first experiment that matches.
    pub fn find<H: Host>(&self, reader: &mut Reader<'_, H>) -> Option<&Rc<Experiment>> {
        self.experiments.iter().find(|experiment| experiment.rules.match_request(reader))
    }

    /// A reader of one request's headers for this plan.
    pub fn reader<'a, H: Host>(&'a self, host: &'a mut H) -> Reader<'a, H> {
        Reader { host, names: &self.names, values: [const { None }; NEAR], more: Vec::new() }
    }
}

impl Experiment {
    /// The first bin, at a time of the bin clock, whose exposures can still be rewarded later.
    pub(crate) const fn oldest_rewarded(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.deadline_ms.saturating_add(self.bin_ms))
    }

    fn new(planned: &PlannedExperiment, names: &mut Vec<String>, routing: &[String]) -> Self {
        Self {
            id: planned.id.as_str().into(),
            name: planned.name.as_str().into(),
            epoch: planned.epoch,
            running: planned.status == Status::Running,
            share_ppm: planned.matching.share_ppm,
            unit: match &planned.unit {
                Unit::Request => Key::Request,
                Unit::Header(name) => Key::Header(intern(names, name)),
                Unit::Cookie(name) => Key::Cookie(intern(names, "cookie"), name.clone()),
                Unit::GeneratedCookie(cookie) => Key::Generated(intern(names, "cookie"), cookie.clone()),
            },
            assigner: Assigner::new(&planned.salt, &planned.versions),
            unit_buckets: (planned.unit != Unit::Request).then(|| UnitBuckets::new(&planned.salt)),
            override_header: planned.override_header.as_ref().map(|name| intern(names, name)),
            baseline: planned.baseline,
            versions: planned
                .versions
                .iter()
                .map(|version| Version {
                    name: version.name.as_str().into(),
                    headers: version.headers.clone(),
                    sets: version
                        .headers
                        .iter()
                        .filter_map(|header| routing.iter().position(|name| *name == header.name))
                        .collect(),
                    slow_us: version.slow_us,
                    tally: OnceCell::new(),
                })
                .collect(),
            deadline_ms: planned.deadline_ms,
            deadline_nanos: planned.deadline_ms.saturating_mul(1_000_000),
            bin_ms: planned.bin_ms.max(1),
            measure: planned.measure,
            failure: planned.failure.clone(),
            earning: Earning::new(planned, names),
            rules: Rules::new(&planned.matching, names),
            place: Cell::new(0),
        }
    }
}

/// The index of a header's name, added if it is not there yet.
pub(crate) fn intern(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// Headers that a reader remembers without asking for memory: more than nearly any plan looks at.
const NEAR: usize = 4;

/// One request's headers, read when asked for and at most once.
pub struct Reader<'a, H> {
    host: &'a mut H,
    names: &'a [Option<String>],
    values: [Option<(usize, Option<Vec<u8>>)>; NEAR],
    more: Vec<(usize, Option<Vec<u8>>)>,
}

impl<H: Host> Reader<'_, H> {
    /// The first value of the header of this index.
    pub fn get(&mut self, index: usize) -> Option<&[u8]> {
        let name = self.names.get(index)?.as_deref()?;
        for near in &mut self.values {
            let (known, value) = near.get_or_insert_with(|| (index, self.host.request_header(name)));
            if *known == index {
                return value.as_deref();
            }
        }
        let place = self.more.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
            self.more.push((index, self.host.request_header(name)));
            self.more.len().saturating_sub(1)
        });
        self.more.get(place)?.1.as_deref()
    }

    /// The host.
    pub fn host(&mut self) -> &mut H {
        self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{HeaderMatch, Match, PathMatch};
    use crate::rules::{without_port, without_query};
    use crate::testing::{FakeHost, plan};
    use proptest::prelude::*;

    fn matches(matching: &Match, headers: &[(&str, &[u8])]) -> bool {
        let mut plan = plan(&[1, 1]);
        plan.experiments[0].matching = matching.clone();
        plan.validate().unwrap();
        let compiled = Compiled::new(&plan, &[]);
        let mut host = FakeHost::with_request(headers);
        compiled.find(&mut compiled.reader(&mut host)).is_some()
    }

    fn hosts(hosts: &[&str]) -> Match {
        Match { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), ..Match::default() }
    }

    #[test]
    fn hosts_match_exactly_by_suffix_or_all_without_case_or_port() {
        for (rule, host, expected) in [
            ("shop.example", &b"shop.example"[..], true),
            ("shop.example", b"SHOP.Example:8443", true),
            ("Shop.Example", b"shop.example", true),
            ("shop.example", b"shop.example.", false),
            ("shop.example", b"xshop.example", false),
            ("*.shop.example", b"a.shop.example", true),
            ("*.shop.example", b"a.b.shop.example:80", true),
            ("*.shop.example", b"shop.example", false),
            ("*.shop.example", b".shop.example", false),
            ("*.shop.example", b"ashop.example", false),
            ("*", b"anything\xff", true),
            ("shop.example", b"sh\xffp.example", false),
            ("shop.example", b"", false),
        ] {
            assert_eq!(matches(&hosts(&[rule]), &[(":authority", host)]), expected, "{rule} {host:?}");
        }
        assert!(matches(&hosts(&["a", "b"]), &[(":authority", b"b")]));
        assert!(!matches(&hosts(&["*"]), &[]), "a request without a host has none that matches");
        assert!(matches(&hosts(&[]), &[]));
        assert_eq!(without_port(b"[::1]:80"), b"[::1]");
        assert_eq!(without_port(b"[::1]"), b"[::1]");
        assert_eq!(without_port(b"80"), b"80");
    }

    #[test]
    fn paths_match_exactly_or_by_whole_elements_without_query() {
        let exact = |path: &str| PathMatch::Exact(path.to_owned());
        let prefix = |path: &str| PathMatch::Prefix(path.to_owned());
        for (rule, path, expected) in [
            (exact("/a"), &b"/a"[..], true),
            (exact("/a"), b"/a?b=c", true),
            (exact("/a"), b"/a#b", true),
            (exact("/a"), b"/a/", false),
            (prefix("/"), b"/", true),
            (prefix("/"), b"/a", true),
            (prefix("/"), b"*", true),
            (prefix("/"), b"", true),
            (prefix("/a"), b"/a", true),
            (prefix("/a"), b"/a/b?c", true),
            (prefix("/a"), b"/ab", false),
            (prefix("/a/"), b"/a", true),
            (prefix("/a/"), b"/a/b", true),
            (prefix("/a"), b"/a\xff", false),
            (prefix("/a"), b"/a/\xff", true),
        ] {
            let matching = Match { paths: vec![rule.clone()], ..Match::default() };
            assert_eq!(matches(&matching, &[(":path", path)]), expected, "{rule:?} {path:?}");
        }
    }

    #[test]
    fn no_path_is_read_where_every_path_matches() {
        let prefix = |path: &str| PathMatch::Prefix(path.to_owned());
        for (paths, read) in [
            (vec![], false),
            (vec![prefix("/")], false),
            (vec![prefix("/a"), prefix("/")], false),
            (vec![prefix("/a"), prefix("/b")], true),
        ] {
            let mut plan = plan(&[1, 1]);
            plan.experiments[0].matching = Match { paths, ..Match::default() };
            let compiled = Compiled::new(&plan, &[]);
            let mut host = FakeHost::with_request(&[(":path", b"/a")]);
            assert!(compiled.find(&mut compiled.reader(&mut host)).is_some());
            // Whether the request is a mirrored copy, its host says.
            assert_eq!(host.reads, if read { vec![":authority", ":path"] } else { vec![":authority"] });
        }
    }

    #[test]
    fn every_header_has_to_match() {
        let header =
            |name: &str, exact: Option<&str>| HeaderMatch { name: name.to_owned(), exact: exact.map(str::to_owned) };
        let matching = Match { headers: vec![header("x-a", Some("1")), header("x-b", None)], ..Match::default() };
        assert!(matches(&matching, &[("x-a", b"1"), ("x-b", b"\xff")]));
        assert!(!matches(&matching, &[("x-a", b"2"), ("x-b", b"")]));
        assert!(!matches(&matching, &[("x-a", b"1")]));
    }

    #[test]
    fn however_many_headers_a_plan_looks_at_each_is_read_once() {
        let mut plan = plan(&[1, 1]);
        let name = |number: u32| format!("x-{number}");
        let header = |number: u32| HeaderMatch { name: name(number), exact: None };
        plan.experiments[0].matching.headers = (0..12).chain(0..12).map(header).collect();
        let compiled = Compiled::new(&plan, &[]);
        let request = (0..12).map(|number| (name(number), b"1".to_vec())).collect();
        let mut host = FakeHost { request, ..FakeHost::default() };
        assert!(compiled.find(&mut compiled.reader(&mut host)).is_some());
        let names = std::iter::once(":authority".to_owned()).chain((0..12).map(name));
        assert_eq!(host.reads, names.collect::<Vec<_>>());
    }

    #[test]
    fn a_routing_header_of_a_client_is_not_seen() {
        let mut plan = plan(&[1, 1]);
        let header = HeaderMatch { name: "x-weir-version".to_owned(), exact: None };
        plan.experiments[0].matching.headers.push(header);
        let compiled = Compiled::new(&plan, &[]);
        let mut host = FakeHost::with_request(&[("x-weir-version", b"v1")]);
        assert!(compiled.find(&mut compiled.reader(&mut host)).is_none());
    }

    #[test]
    fn the_first_experiment_that_matches_decides_and_each_header_is_read_once() {
        let mut plan = plan(&[1, 1]);
        let mut second = plan.experiments[0].clone();
        second.id = "second".to_owned();
        let mut third = second.clone();
        third.id = "third".to_owned();
        plan.experiments[0].matching = hosts(&["other.example"]);
        second.matching = hosts(&["shop.example"]);
        plan.experiments.extend([second, third]);
        let compiled = Compiled::new(&plan, &[]);
        let mut host = FakeHost::with_request(&[(":authority", b"shop.example"), (":path", b"/")]);
        let found = compiled.find(&mut compiled.reader(&mut host)).unwrap();
        assert_eq!(&*found.id, "second");
        assert_eq!(host.reads, [":authority"]);
    }

    proptest! {
        #[test]
        fn no_bytes_in_host_or_path_do_harm(
            host in proptest::collection::vec(any::<u8>(), 0..80), path in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            prop_assert!(host.starts_with(without_port(&host)));
            prop_assert!(path.starts_with(without_query(&path)));
            let matching = Match { paths: vec![PathMatch::Prefix("/a".to_owned())], ..hosts(&["*.x"]) };
            matches(&matching, &[(":authority", &host), (":path", &path)]);
        }
    }
}
