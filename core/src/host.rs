//! What the filter needs from Envoy: one trait, so that everything else is pure and testable.
//!
//! Owns no behaviour. The filter implements it over host calls, `testing` in memory.

use std::time::Duration;

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something happened that an operator may want to know, once.
    Info,
    /// Something is wrong that the filter lives with.
    Warn,
}

/// A request to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// Envoy's name of the cluster.
    pub cluster: &'a str,
    /// Pseudo-headers and headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body; empty: none.
    pub body: &'a [u8],
    /// After which Envoy gives up.
    pub timeout: Duration,
}

/// How a request ended, in Envoy's words. No one of them is enough: see `outcome`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ending {
    /// Envoy's response flags, as the bits that `outcome` names.
    pub flags: u64,
    /// The status that Envoy sent, if it sent one.
    pub code: Option<u32>,
    /// The gRPC status from trailers or headers; also there, derived from the code, for what is not gRPC.
    pub grpc: Option<u32>,
}

/// Envoy, as one VM sees it. Header values are bytes: a client may send any.
pub trait Host {
    /// First value of a request header of the current request. Costs half a microsecond if it is there.
    fn request_header(&mut self, name: &str) -> Option<Vec<u8>>;
    /// Sets a request header of the current request to one value, whatever it had; the route is chosen anew.
    fn set_request_header(&mut self, name: &str, value: &str);
    /// Removes every value of a request header of the current request; the route is chosen anew.
    fn remove_request_header(&mut self, name: &str);
    /// First value of a response header of the current request; only once it has one.
    fn response_header(&mut self, name: &str) -> Option<Vec<u8>>;
    /// Every value of a response header, with commas between them; only once there is a response.
    fn response_headers(&mut self, name: &str) -> Option<Vec<u8>>;
    /// Adds a value to a response header, beside those it has.
    fn add_response_header(&mut self, name: &str, value: &str);
    /// Removes every value of a response header.
    fn remove_response_header(&mut self, name: &str);
    /// Whether all of the response's body has passed, without trailers, and was so small that nobody has to wait for its client to
    /// take it. Only at the request's end; free.
    fn has_whole_body(&mut self) -> bool;
    /// Whether the request ended as nearly all do: no response flag, a status below 500 and, if it is `grpc`, the gRPC
    /// status 0. `false` says nothing: it did not, or this host cannot tell cheaply. Only at the request's end. Costs more
    /// than a header, and no more than [`Host::ending`], which says the rest (docs/performance.md).
    fn ended_plainly(&mut self, grpc: bool) -> bool;
    /// How the request ended, in Envoy's words; the gRPC status only if wanted. Only at the request's end.
    fn ending(&mut self, want_grpc: bool) -> Ending;

    /// Nanoseconds of a clock that never goes back and that all VMs of an Envoy share.
    fn now_nanos(&mut self) -> u64;
    /// Sixty-four random bits.
    fn random_u64(&mut self) -> u64;

    /// An entry of the data that all VMs of an Envoy share, with its version.
    fn shared(&mut self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Sets such an entry, when `expected` is given only if it still has that version. Whether it was set.
    fn set_shared(&mut self, key: &str, value: &[u8], expected: Option<u32>) -> bool;
    /// Wakes the VM that owns a queue.
    fn wake(&mut self, queue: u32);
    /// Begins a request to the controller; the answer comes later with this token. `None`: it could not begin.
    fn call(&mut self, call: &Call<'_>) -> Option<u32>;
    /// Writes to Envoy's log.
    fn log(&mut self, level: Level, message: &str);
}
