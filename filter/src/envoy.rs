//! Envoy's host calls behind `weir_core::host::Host`.
//!
//! Only calls that hand over bytes: those that make a `String` panic on what a client may send. The SDK panics on a status
//! it does not expect, so every call here is made only where Envoy cannot answer one.

use crate::wasi;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;
use weir_core::fetcher::MAX_PLAN_BYTES;
use weir_core::host::{Call, Host, Level};

/// The running Envoy, in the context that it has entered.
pub(crate) struct Envoy;

thread_local! {
    /// Seeded once per VM.
    static RANDOM: RefCell<SmallRng> = RefCell::new(SmallRng::from_seed(entropy()));
}

/// Entropy from the host; should it have none, at least something that differs between VMs.
fn entropy() -> [u8; 32] {
    let mut seed = [0_u8; 32];
    if !wasi::fill_random(&mut seed) {
        SmallRng::seed_from_u64(wasi::monotonic_nanos()).fill_bytes(&mut seed);
    }
    seed
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    hostcalls::get_current_time()
        .ok()
        .and_then(|now| now.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// A property's bytes; none when Envoy has no such property here.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// The plugin configuration's bytes.
pub(crate) fn plugin_configuration() -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten().unwrap_or_default()
}

/// The answer to a call: its status, 0 if there is none, and its body.
pub(crate) fn answer(headers: usize, body: usize) -> (u32, Vec<u8>) {
    // Without headers the call failed, and Envoy has no map to read from.
    if headers == 0 {
        return (0, Vec::new());
    }
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status")
        .ok()
        .flatten()
        .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok())
        .unwrap_or(0);
    // A VM never gives memory back: of an answer that no plan can be, only so much is taken that this is seen.
    let most = body.min(MAX_PLAN_BYTES + 1);
    let body =
        if body == 0 { None } else { hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, most).ok().flatten() };
    (status, body.unwrap_or_default())
}

/// Empties a queue: only that it was filled matters.
pub(crate) fn drain_queue(queue: u32) {
    while let Ok(Some(_)) = hostcalls::dequeue_shared_queue(queue) {}
}

/// A number that Envoy gives as eight little-endian bytes.
fn number(path: &[&str]) -> Option<u64> {
    Some(u64::from_le_bytes(property(path)?.try_into().ok()?))
}

impl Host for Envoy {
    fn request_header(&mut self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
    }

    fn set_request_header(&mut self, name: &str, value: &str) {
        let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value.as_bytes()));
    }

    fn remove_request_header(&mut self, name: &str) {
        let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
    }

    fn response_header(&mut self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name).ok().flatten()
    }

    fn response_code(&mut self) -> Option<u32> {
        number(&["response", "code"]).and_then(|code| u32::try_from(code).ok()).filter(|code| *code != 0)
    }

    fn response_flags(&mut self) -> u64 {
        number(&["response", "flags"]).unwrap_or(0)
    }

    fn grpc_status(&mut self) -> Option<u32> {
        number(&["response", "grpc_status"]).and_then(|status| u32::try_from(status).ok())
    }

    fn now_nanos(&mut self) -> u64 {
        wasi::monotonic_nanos()
    }

    fn random_u64(&mut self) -> u64 {
        RANDOM.with(|random| random.try_borrow_mut().map_or(0, |mut random| random.next_u64()))
    }

    fn shared(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        match hostcalls::get_shared_data(key) {
            Ok((Some(value), Some(version))) => Some((value, version)),
            _ => None,
        }
    }

    fn set_shared(&mut self, key: &str, value: &[u8], expected: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), expected).is_ok()
    }

    fn wake(&mut self, queue: u32) {
        let _ = hostcalls::enqueue_shared_queue(queue, Some(b"."));
    }

    fn call(&mut self, call: &Call<'_>) -> Option<u32> {
        let body = (!call.body.is_empty()).then_some(call.body);
        hostcalls::dispatch_http_call(call.cluster, call.headers.to_vec(), body, Vec::new(), call.timeout).ok()
    }

    fn log(&mut self, level: Level, message: &str) {
        match level {
            Level::Info => log::info!("{message}"),
            Level::Warn => log::warn!("{message}"),
        }
    }
}
