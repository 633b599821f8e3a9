//! A host in memory, and builders, for tests.

use crate::host::{Call, Ending, Host, Level};
use crate::plan::{
    FORMAT, FailureRules, Header, Match, Measure, Plan, PlannedExperiment, PlannedVersion, Status, Unit,
};
use std::collections::BTreeMap;

/// One VM's host. What several VMs share is moved between them by the test.
#[derive(Debug, Default)]
pub struct FakeHost {
    /// Request headers, in order.
    pub request: Vec<(String, Vec<u8>)>,
    /// Response headers, in order.
    pub response: Vec<(String, Vec<u8>)>,
    /// `response.code`.
    pub code: Option<u32>,
    /// `response.flags`.
    pub flags: u64,
    /// `response.grpc_status`.
    pub grpc: Option<u32>,
    /// Whether this host can tell cheaply that a request ended plainly.
    pub plainly: bool,
    /// Whether all of the response's body has passed.
    pub whole_body: bool,
    /// The monotonic clock.
    pub now: u64,
    /// Feeds `random_u64`.
    pub seed: u64,
    /// Shared data.
    pub shared: BTreeMap<String, (Vec<u8>, u32)>,
    /// Queues woken.
    pub woken: Vec<u32>,
    /// Calls begun: token, path, body.
    pub calls: Vec<(u32, String, Vec<u8>)>,
    /// Whether calls cannot begin.
    pub unreachable: bool,
    /// Names of the request headers read.
    pub reads: Vec<String>,
    /// What was asked of the response's headers: `read`, `add` or `remove`, and the name.
    pub answers: Vec<String>,
    /// Lines logged.
    pub lines: Vec<String>,
    /// Calls begun so far.
    pub tokens: u32,
    /// Entries written so far.
    pub versions: u32,
}

impl FakeHost {
    /// A host whose current request has these headers.
    #[must_use]
    pub fn with_request(headers: &[(&str, &[u8])]) -> Self {
        let request = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        Self { request, ..Self::default() }
    }

    /// The first value of a header of the current request, as text.
    #[must_use]
    pub fn sent(&self, name: &str) -> Option<String> {
        let (_, value) = self.request.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Every value of a response header of the current request, as text.
    #[must_use]
    pub fn answered(&self, name: &str) -> Vec<String> {
        let values = self.response.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }
}

impl Host for FakeHost {
    fn request_header(&mut self, name: &str) -> Option<Vec<u8>> {
        self.reads.push(name.to_owned());
        self.request.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn set_request_header(&mut self, name: &str, value: &str) {
        self.remove_request_header(name);
        self.request.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn remove_request_header(&mut self, name: &str) {
        self.request.retain(|(known, _)| known != name);
    }

    fn response_header(&mut self, name: &str) -> Option<Vec<u8>> {
        self.answers.push(format!("read {name}"));
        self.response.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn response_headers(&mut self, name: &str) -> Option<Vec<u8>> {
        self.answers.push(format!("read {name}"));
        let values = self.response.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice());
        let values: Vec<&[u8]> = values.collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    fn add_response_header(&mut self, name: &str, value: &str) {
        self.answers.push(format!("add {name}"));
        self.response.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn remove_response_header(&mut self, name: &str) {
        self.answers.push(format!("remove {name}"));
        self.response.retain(|(known, _)| known != name);
    }

    fn has_whole_body(&mut self) -> bool {
        self.whole_body
    }

    fn ended_plainly(&mut self, grpc: bool) -> bool {
        let ending = self.ending(grpc);
        self.plainly
            && ending.flags == 0
            && ending.code.is_some_and(|code| code < 500)
            && (!grpc || ending.grpc == Some(0))
    }

    fn ending(&mut self, want_grpc: bool) -> Ending {
        Ending { flags: self.flags, code: self.code, grpc: self.grpc.filter(|_| want_grpc) }
    }

    fn now_nanos(&mut self) -> u64 {
        self.now
    }

    /// SplitMix64 (Steele, Lea & Flood 2014).
    fn random_u64(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn shared(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.shared.get(key).cloned()
    }

    fn set_shared(&mut self, key: &str, value: &[u8], expected: Option<u32>) -> bool {
        // As Envoy does: an entry that is not there is made, whatever version was expected.
        let current = self.shared.get(key).map(|(_, version)| *version);
        if current.is_some() && expected.is_some() && current != expected {
            return false;
        }
        self.versions += 1;
        self.shared.insert(key.to_owned(), (value.to_vec(), self.versions));
        true
    }

    fn wake(&mut self, queue: u32) {
        self.woken.push(queue);
    }

    fn call(&mut self, call: &Call<'_>) -> Option<u32> {
        if self.unreachable {
            return None;
        }
        self.tokens += 1;
        let path = call.headers.iter().find(|(name, _)| *name == ":path").map_or("", |(_, path)| *path);
        self.calls.push((self.tokens, path.to_owned(), call.body.to_vec()));
        Some(self.tokens)
    }

    fn log(&mut self, _level: Level, message: &str) {
        self.lines.push(message.to_owned());
    }
}

/// A plan of one running experiment `e1` over `v0`, `v1`, … of these weights, routed by `x-weir-version`; the baseline is
/// `v0`, the deadline 2 s, the bin 1 s.
#[must_use]
pub fn plan(weights: &[u32]) -> Plan {
    let versions = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| PlannedVersion {
            name: format!("v{index}"),
            weight: *weight,
            headers: vec![Header { name: "x-weir-version".to_owned(), value: format!("v{index}") }],
            slow_us: None,
        })
        .collect();
    let experiment = PlannedExperiment {
        id: "e1".to_owned(),
        name: "checkout".to_owned(),
        status: Status::Running,
        epoch: 1,
        matching: Match::default(),
        unit: Unit::Request,
        salt: "salt".to_owned(),
        deadline_ms: 2_000,
        bin_ms: 1_000,
        measure: Measure::End,
        failure: FailureRules::default(),
        reward: None,
        secret: None,
        override_header: None,
        baseline: 0,
        versions,
    };
    Plan { format: FORMAT, revision: "r1".to_owned(), experiments: vec![experiment] }
}
