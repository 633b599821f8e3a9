//! A filter that does nothing as cheaply as can be: no SDK, and only the callbacks that our filter has. What the Wasm sandbox
//! itself costs at least, in the benchmarks. Must stay empty.
#![allow(unsafe_code, reason = "callbacks are exported by name")]

/// Says which version of Proxy-Wasm this is.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for bytes that Envoy hands over: it is never asked for any.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(_length: usize) -> *mut u8 {
    std::ptr::null_mut()
}

/// Takes any configuration.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_root: u32, _length: usize) -> u32 {
    1
}

/// A context begins.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

/// A request's headers are here: go on.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_stream: u32, _count: u32, _end: u32) -> u32 {
    0
}

/// A response's headers are here: go on.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(_stream: u32, _count: u32, _end: u32) -> u32 {
    0
}

/// A stream has ended.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(_stream: u32) {}
