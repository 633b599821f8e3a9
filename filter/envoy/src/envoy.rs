//! Envoy's host calls behind `weir_core::host::Host`.

use crate::abi::{self, Buffer, Map, Severity};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cell::{Cell, RefCell};
use weir_core::fetcher::MAX_PLAN_BYTES;
use weir_core::host::{Call, Ending, Host, Level};

/// The running Envoy, in the context that it has entered.
#[derive(Default)]
pub struct Envoy {
    predicates: Predicates,
    /// [`Host::has_whole_body`].
    whole_body: bool,
}

/// Expressions that Envoy evaluates for the streams of one root context. Handles; none where this Envoy cannot.
#[derive(Clone, Copy, Default)]
pub struct Predicates {
    plain: Option<u32>,
    plain_grpc: Option<u32>,
}

/// Whether a request ended as nearly all do. An expression has a value when it holds and none when it does not, so that the
/// answer is whether the call succeeds: handing over even one byte would cost as much again.
const PLAIN: &str = "response.flags == 0 && response.code < 500 ? 1 : null";
/// The same for gRPC.
const PLAIN_GRPC: &str = "response.flags == 0 && response.code < 500 && response.grpc_status == 0 ? 1 : null";

thread_local! {
    /// Seeded once per VM.
    static RANDOM: RefCell<SmallRng> = RefCell::new(SmallRng::from_seed(entropy()));
    static REPORTS_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Has a panic say in Envoy's log where it was, before the VM ends.
pub fn report_panics() {
    if !REPORTS_PANICS.replace(true) {
        std::panic::set_hook(Box::new(|panic| abi::log(Severity::Critical, &panic.to_string())));
    }
}

/// Entropy from the host; should it have none, at least something that differs between VMs.
fn entropy() -> [u8; 32] {
    let mut seed = [0_u8; 32];
    if !abi::fill_random(&mut seed) {
        SmallRng::seed_from_u64(abi::monotonic_nanos()).fill_bytes(&mut seed);
    }
    seed
}

/// Unix time in milliseconds.
pub fn unix_ms() -> u64 {
    abi::unix_nanos() / 1_000_000
}

/// The plugin configuration's bytes.
pub fn plugin_configuration() -> Vec<u8> {
    abi::buffer(Buffer::Configuration, usize::MAX).unwrap_or_default()
}

/// The answer to a call: its status, 0 if there is none, and its body.
pub fn answer(headers: u32, body: usize) -> (u32, Vec<u8>) {
    // Without headers the call failed, and Envoy has no map to read from.
    if headers == 0 {
        return (0, Vec::new());
    }
    let status = abi::header(Map::Answer, ":status")
        .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok())
        .unwrap_or(0);
    // A VM never gives memory back: of an answer that no plan can be, only so much is taken that this is seen.
    let most = body.min(MAX_PLAN_BYTES + 1);
    let body = if body == 0 { None } else { abi::buffer(Buffer::Answer, most) };
    (status, body.unwrap_or_default())
}

/// A number that Envoy gives as eight little-endian bytes.
fn number(path: &str) -> Option<u64> {
    Some(u64::from_le_bytes(abi::property(path)?.try_into().ok()?))
}

fn small_number(path: &str) -> Option<u32> {
    number(path).and_then(|number| u32::try_from(number).ok())
}

impl Predicates {
    /// Made once for each root context, in one of its callbacks: there Envoy keeps them.
    pub fn new() -> Self {
        let create = |expression: &str| {
            let handle = abi::foreign("expr_create", expression.as_bytes())?;
            Some(u32::from_le_bytes(handle.try_into().ok()?))
        };
        Self { plain: create(PLAIN), plain_grpc: create(PLAIN_GRPC) }
    }
}

impl Envoy {
    /// For a stream whose root context has these; `whole_body`: [`Host::has_whole_body`].
    pub const fn of(predicates: Predicates, whole_body: bool) -> Self {
        Self { predicates, whole_body }
    }
}

impl Host for Envoy {
    fn request_header(&mut self, name: &str) -> Option<Vec<u8>> {
        abi::header(Map::Request, name)
    }

    fn set_request_header(&mut self, name: &str, value: &str) {
        abi::set_header(Map::Request, name, value);
    }

    fn remove_request_header(&mut self, name: &str) {
        abi::remove_header(Map::Request, name);
    }

    fn response_header(&mut self, name: &str) -> Option<Vec<u8>> {
        abi::header(Map::Response, name)
    }

    fn response_headers(&mut self, name: &str) -> Option<Vec<u8>> {
        // A header map's own call gives the first value only; this one joins them (`HeaderUtility::getAllOfHeaderAsString`).
        abi::property(&format!("response\0headers\0{name}"))
    }

    fn add_response_header(&mut self, name: &str, value: &str) {
        abi::add_header(Map::Response, name, value);
    }

    fn remove_response_header(&mut self, name: &str) {
        abi::remove_header(Map::Response, name);
    }

    fn has_whole_body(&mut self) -> bool {
        self.whole_body
    }

    fn ended_plainly(&mut self, grpc: bool) -> bool {
        let predicate = if grpc { self.predicates.plain_grpc } else { self.predicates.plain };
        predicate.is_some_and(|handle| abi::foreign_succeeds("expr_evaluate", &handle.to_le_bytes()))
    }

    fn ending(&mut self, want_grpc: bool) -> Ending {
        Ending {
            flags: number("response\0flags").unwrap_or(0),
            code: small_number("response\0code").filter(|code| *code != 0),
            grpc: if want_grpc { small_number("response\0grpc_status") } else { None },
        }
    }

    fn now_nanos(&mut self) -> u64 {
        abi::monotonic_nanos()
    }

    fn random_u64(&mut self) -> u64 {
        RANDOM.with(|random| random.try_borrow_mut().map_or(0, |mut random| random.next_u64()))
    }

    fn shared(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        abi::shared(key)
    }

    fn set_shared(&mut self, key: &str, value: &[u8], expected: Option<u32>) -> bool {
        abi::set_shared(key, value, expected.unwrap_or(0))
    }

    fn wake(&mut self, queue: u32) {
        abi::enqueue(queue);
    }

    fn call(&mut self, call: &Call<'_>) -> Option<u32> {
        let timeout_ms = u32::try_from(call.timeout.as_millis()).unwrap_or(u32::MAX);
        abi::http_call(call.cluster, call.headers, call.body, timeout_ms)
    }

    fn log(&mut self, level: Level, message: &str) {
        let severity = match level {
            Level::Info => Severity::Info,
            Level::Warn => Severity::Warn,
        };
        abi::log(severity, message);
    }
}
