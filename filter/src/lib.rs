//! The Envoy filter: a thin shell over `weir-core`; with `weir-envoy`, which is compiled for speed, all that speaks Proxy-Wasm.
//!
//! Owns the callbacks that Envoy calls. Decides nothing; must never trap, because a trap is seconds of 503 for every
//! request of that worker. A callback that is not exported costs nothing, so there are only those that do something.
#![allow(unsafe_code, reason = "callbacks are exported by name")]

mod roots;
mod site;
mod stats;
mod streams;
#[cfg(feature = "trap")]
mod trap;

use weir_envoy::envoy::Envoy;
use weir_envoy::{abi, envoy, path};

/// How often a VM looks whether something is due, in milliseconds.
const TICK_MS: u32 = 100;
/// What a callback about headers answers: go on.
const CONTINUE: u32 = 0;

/// Says which version of Proxy-Wasm this is. Never called.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// A root context or a stream begins. Envoy says so right before the stream's first callback, and this is the only time that
/// it names the stream's root.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    if root != 0 {
        roots::began(context, root);
    }
}

/// A plugin configuration is to be taken by a root context. Whether it was.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(root: u32, _length: usize) -> u32 {
    envoy::report_panics();
    match roots::configure(root) {
        Ok(()) => {
            abi::tick_every(TICK_MS);
            1
        }
        Err(error) => {
            abi::log(abi::Severity::Error, &error.to_string());
            0
        }
    }
}

/// A root context's time has come.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(root: u32) {
    roots::on_tick(root);
    streams::sweep();
}

/// Another VM has put something into our queue.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_queue_ready(root: u32, queue: u32) {
    while abi::dequeue(queue) {}
    roots::with(root, |root| root.site.on_wake());
}

/// A call to the controller has been answered, or failed.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(root: u32, token: u32, headers: u32, body: usize, _trailers: u32) {
    let (status, body) = envoy::answer(headers, body);
    roots::with(root, |root| root.site.on_answer(token, status, &body));
}

/// A request's headers are here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(stream: u32, _count: u32, _end: u32) -> u32 {
    #[cfg(feature = "trap")]
    trap::if_asked("request");
    roots::of_stream(stream, |root| {
        let request = root.site.on_request_headers(&mut Envoy::default());
        if request.is_recorded() || request.wants_response_headers() {
            streams::begin(stream, &root.site, root.predicates, request);
        }
    });
    CONTINUE
}

/// A response's headers are here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(stream: u32, _count: u32, _end: u32) -> u32 {
    streams::with(stream, |site, host, request| {
        if request.wants_response_headers() {
            site.with_recorder(|recorder| path::on_response_headers(host, request, recorder));
        }
        request.is_recorded()
    });
    CONTINUE
}

/// Some of a response's body is here; `size`: how much of it waits at this filter, which keeps none. That its end came is all there is
/// to know: it saves asking Envoy whether the response was reset or its client left, which costs more than everything else that the
/// filter does for a request.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(stream: u32, size: u32, end: u32) -> u32 {
    streams::passed(stream, size, end != 0);
    CONTINUE
}

/// A stream has ended; the last that is heard of it.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(stream: u32) {
    #[cfg(feature = "trap")]
    trap::if_asked("log");
    streams::with(stream, |site, host, request| {
        site.with_recorder(|recorder| path::on_log(host, request, recorder));
        false
    });
}
