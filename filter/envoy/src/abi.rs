//! Proxy-Wasm's host calls (ABI 0.2.1) and the two of WASI that are needed, as safe functions.
//!
//! The only unsafe code of the project, with the allocator and the exports of `weir-filter`. Written out rather than taken from the SDK, which costs
//! every request a callback for each of its exports and a context in a map, and panics on answers that it does not expect
//! (docs/performance.md has the figures). Values are bytes: a client may send any. Nothing here panics; what Envoy refuses is
//! absent or did not happen.
#![allow(unsafe_code, reason = "host calls")]

use std::alloc::Layout;
use std::ptr::null_mut;

/// A map of the current stream or call.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Map {
    /// The request's headers.
    Request = 0,
    /// The response's headers, once there are some.
    Response = 2,
    /// Headers of the answer to a call.
    Answer = 6,
}

/// Where a longer text comes from.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Buffer {
    /// The body of the answer to a call.
    Answer = 4,
    /// The plugin's configuration.
    Configuration = 7,
}

/// What a metric is.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Metric {
    /// Only grows.
    Counter = 0,
    /// Is set.
    Gauge = 1,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Severity {
    /// As it should be.
    Info = 2,
    /// Worth a look.
    Warn = 3,
    /// Something is refused.
    Error = 4,
    /// The VM ends.
    Critical = 5,
}

/// What Envoy answers when all is well.
const OK: i32 = 0;
/// WASI's monotonic clock.
const MONOTONIC: u32 = 1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(severity: i32, text: *const u8, length: usize) -> i32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
    fn proxy_get_property(path: *const u8, length: usize, value: *mut *mut u8, value_length: *mut usize) -> i32;
    fn proxy_get_buffer_bytes(
        buffer: i32,
        start: usize,
        most: usize,
        value: *mut *mut u8,
        value_length: *mut usize,
    ) -> i32;
    fn proxy_get_header_map_value(
        map: i32,
        name: *const u8,
        length: usize,
        value: *mut *mut u8,
        value_length: *mut usize,
    ) -> i32;
    fn proxy_replace_header_map_value(
        map: i32,
        name: *const u8,
        length: usize,
        value: *const u8,
        value_length: usize,
    ) -> i32;
    fn proxy_add_header_map_value(
        map: i32,
        name: *const u8,
        length: usize,
        value: *const u8,
        value_length: usize,
    ) -> i32;
    fn proxy_remove_header_map_value(map: i32, name: *const u8, length: usize) -> i32;
    fn proxy_get_shared_data(
        key: *const u8,
        length: usize,
        value: *mut *mut u8,
        value_length: *mut usize,
        version: *mut u32,
    ) -> i32;
    fn proxy_set_shared_data(key: *const u8, length: usize, value: *const u8, value_length: usize, version: u32)
    -> i32;
    fn proxy_register_shared_queue(name: *const u8, length: usize, queue: *mut u32) -> i32;
    fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, length: usize) -> i32;
    fn proxy_dequeue_shared_queue(queue: u32, value: *mut *mut u8, length: *mut usize) -> i32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_length: usize,
        headers: *const u8,
        headers_length: usize,
        body: *const u8,
        body_length: usize,
        trailers: *const u8,
        trailers_length: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> i32;
    fn proxy_define_metric(kind: i32, name: *const u8, length: usize, metric: *mut u32) -> i32;
    fn proxy_increment_metric(metric: u32, by: i64) -> i32;
    fn proxy_record_metric(metric: u32, value: u64) -> i32;
    fn proxy_call_foreign_function(
        name: *const u8,
        length: usize,
        argument: *const u8,
        argument_length: usize,
        result: *mut *mut u8,
        result_length: *mut usize,
    ) -> i32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, length: usize) -> u32;
}

/// Memory for bytes that Envoy hands over, in the middle of the host call that asked for them: it must touch nothing else.
/// Null, which Envoy takes as a call that failed, when there is no room.
#[cfg_attr(target_arch = "wasm32", unsafe(export_name = "malloc"))]
pub extern "C" fn allocate(length: usize) -> *mut u8 {
    match Layout::array::<u8>(length.max(1)) {
        // SAFETY: the layout is not empty.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => null_mut(),
    }
}

/// What a call hands over into [`allocate`]d memory; `None` unless it says that all is well. An empty value has no memory.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Option<Vec<u8>> {
    let (mut value, mut length) = (null_mut(), 0_usize);
    if call(&raw mut value, &raw mut length) != OK {
        return None;
    }
    if value.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: Envoy wrote `length` bytes to what `allocate` gave it for just so many, by the global allocator and with the
    // layout of a vector of this capacity, and keeps no pointer to it.
    Some(unsafe { Vec::from_raw_parts(value, length, length.max(1)) })
}

/// Writes a line to Envoy's log.
pub fn log(severity: Severity, text: &str) {
    // SAFETY: Envoy reads the text and keeps nothing. So in every call below that only hands something over.
    unsafe { proxy_log(severity as i32, text.as_ptr(), text.len()) };
}

/// Has the root context ticked from now on.
pub fn tick_every(milliseconds: u32) {
    // SAFETY: only numbers.
    unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// Unix time in nanoseconds; 0 when the host has none.
pub fn unix_nanos() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes to a `u64` that outlives the call.
    if unsafe { proxy_get_current_time_nanoseconds(&raw mut time) } == OK { time } else { 0 }
}

/// Nanoseconds of a clock that never goes back and that all VMs of an Envoy share; 0 when the host has none.
pub fn monotonic_nanos() -> u64 {
    let mut time = 0;
    // SAFETY: as for `unix_nanos`.
    if unsafe { clock_time_get(MONOTONIC, 0, &raw mut time) } == 0 { time } else { 0 }
}

/// Fills a seed with the host's entropy. Whether it did.
pub fn fill_random(seed: &mut [u8; 32]) -> bool {
    // SAFETY: the buffer is as long as said, and the host writes nowhere else.
    unsafe { random_get(seed.as_mut_ptr(), seed.len()) == 0 }
}

/// A property by its path, whose elements are separated by NUL; `None` when Envoy has no such property here.
pub fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: Envoy reads the path and writes where `bytes` has room for it. So in every call below that returns bytes.
    bytes(|value, length| unsafe { proxy_get_property(path.as_ptr(), path.len(), value, length) })
}

/// At most so many bytes of a buffer.
pub fn buffer(buffer: Buffer, most: usize) -> Option<Vec<u8>> {
    // SAFETY: see `property`.
    bytes(|value, length| unsafe { proxy_get_buffer_bytes(buffer as i32, 0, most, value, length) })
}

/// First value of a header.
pub fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    // SAFETY: see `property`.
    bytes(|value, length| unsafe { proxy_get_header_map_value(map as i32, name.as_ptr(), name.len(), value, length) })
}

/// Sets a header to one value in place of all that it has.
pub fn set_header(map: Map, name: &str, value: &str) {
    // SAFETY: see `log`.
    unsafe { proxy_replace_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Adds a value to a header, beside those it has.
pub fn add_header(map: Map, name: &str, value: &str) {
    // SAFETY: see `log`.
    unsafe { proxy_add_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Removes every value of a header.
pub fn remove_header(map: Map, name: &str) {
    // SAFETY: see `log`.
    unsafe { proxy_remove_header_map_value(map as i32, name.as_ptr(), name.len()) };
}

/// An entry of the data that all VMs share, with its version.
pub fn shared(key: &str) -> Option<(Vec<u8>, u32)> {
    let mut version = 0;
    // SAFETY: see `property`; the version is a `u32` that outlives the call.
    let value = bytes(|value, length| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), value, length, &raw mut version)
    })?;
    Some((value, version))
}

/// Sets such an entry; version 0: whatever it has. Whether it was set.
pub fn set_shared(key: &str, value: &[u8], version: u32) -> bool {
    // SAFETY: see `log`.
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) == OK }
}

/// Makes a queue, or takes it over; the root context is told when it is filled.
pub fn register_queue(name: &str) -> Option<u32> {
    let mut queue = 0;
    // SAFETY: see `log`; the queue is a `u32` that outlives the call.
    (unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) } == OK).then_some(queue)
}

/// Puts something into a queue: only that it was filled matters.
pub fn enqueue(queue: u32) {
    let value = b".";
    // SAFETY: see `log`.
    unsafe { proxy_enqueue_shared_queue(queue, value.as_ptr(), value.len()) };
}

/// Takes the oldest out of a queue. Whether there was one.
pub fn dequeue(queue: u32) -> bool {
    // SAFETY: see `property`.
    bytes(|value, length| unsafe { proxy_dequeue_shared_queue(queue, value, length) }).is_some()
}

/// Begins an HTTP call; the answer comes with this token.
pub fn http_call(cluster: &str, headers: &[(&str, &str)], body: &[u8], timeout_ms: u32) -> Option<u32> {
    let headers = pairs(headers);
    let trailers = pairs(&[]);
    let mut token = 0;
    // SAFETY: see `log`; the token is a `u32` that outlives the call.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &raw mut token,
        )
    };
    (status == OK).then_some(token)
}

/// Defines a metric; adds an id to the VM for ever. `None`: Envoy refuses.
pub fn define_metric(kind: Metric, name: &str) -> Option<u32> {
    let mut metric = 0;
    // SAFETY: see `log`; the metric is a `u32` that outlives the call.
    (unsafe { proxy_define_metric(kind as i32, name.as_ptr(), name.len(), &raw mut metric) } == OK).then_some(metric)
}

/// Adds to a counter.
pub fn increment_metric(metric: u32, by: i64) {
    // SAFETY: only numbers.
    unsafe { proxy_increment_metric(metric, by) };
}

/// Sets a gauge.
pub fn record_metric(metric: u32, value: u64) {
    // SAFETY: only numbers.
    unsafe { proxy_record_metric(metric, value) };
}

/// Calls a function that this host has beyond Proxy-Wasm, for what it returns.
pub fn foreign(name: &str, argument: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: see `property`.
    bytes(|value, length| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), argument.as_ptr(), argument.len(), value, length)
    })
}

/// The same for whether it succeeds: without a place for the result the host does not enter the VM to allocate one.
pub fn foreign_succeeds(name: &str, argument: &[u8]) -> bool {
    // SAFETY: see `log`; null says that no result is wanted.
    unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument.as_ptr(),
            argument.len(),
            null_mut(),
            null_mut(),
        ) == OK
    }
}

/// Names and values as Proxy-Wasm sends them: how many, the lengths of each pair, then each followed by a NUL.
fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in pairs {
        bytes.extend(length(name));
        bytes.extend(length(value));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}
