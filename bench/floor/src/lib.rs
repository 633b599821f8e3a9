//! What a filter like ours costs at least: it reads the host, sets the routing header to each version in turn, reads the clock at
//! both ends, sees the response's end and reads its status. It decides nothing, keeps nothing and records nothing. Must stay so.
#![allow(unsafe_code, reason = "callbacks are exported by name, and host calls")]

use std::cell::Cell;
use std::ptr::null_mut;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
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
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

const REQUEST: i32 = 0;
const RESPONSE: i32 = 2;
const NAME: &str = "x-weir-version";
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

/// Where Envoy puts bytes: each before the next, as nothing keeps any.
#[repr(align(16))]
struct Room(Cell<[u8; 4_096]>);

// SAFETY: a VM has one thread.
unsafe impl Sync for Room {}

static ROOM: Room = Room(Cell::new([0; 4_096]));

thread_local! {
    static TURN: Cell<usize> = const { Cell::new(0) };
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

fn read(map: i32, name: &str) {
    let (mut value, mut length) = (null_mut(), 0);
    // SAFETY: Envoy reads the name and writes a pointer and a length, both of which outlive the call.
    unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), &raw mut value, &raw mut length) };
    SEEN.set(SEEN.get() ^ length as u64);
}

fn clock() {
    let mut time = 0;
    // SAFETY: Envoy writes eight bytes to a `u64` that outlives the call.
    unsafe { clock_time_get(1, 0, &raw mut time) };
    SEEN.set(SEEN.get() ^ time);
}

/// Says which version of Proxy-Wasm this is.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for bytes that Envoy hands over; null where they are too many.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(length: usize) -> *mut u8 {
    if length <= 4_096 { ROOM.0.as_ptr().cast() } else { null_mut() }
}

/// Takes any configuration.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_root: u32, _length: usize) -> u32 {
    1
}

/// A context begins.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

/// A request's headers are here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_stream: u32, _count: u32, _end: u32) -> u32 {
    read(REQUEST, ":authority");
    clock();
    let turn = TURN.replace((TURN.get() + 1) % VERSIONS.len());
    if let Some(version) = VERSIONS.get(turn) {
        // SAFETY: Envoy reads both texts and keeps neither.
        unsafe { proxy_replace_header_map_value(REQUEST, NAME.as_ptr(), NAME.len(), version.as_ptr(), version.len()) };
    }
    0
}

/// A response's headers are here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(_stream: u32, _count: u32, _end: u32) -> u32 {
    0
}

/// Some of a response's body is here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(_stream: u32, _size: u32, _end: u32) -> u32 {
    0
}

/// A stream has ended.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(_stream: u32) {
    clock();
    read(RESPONSE, ":status");
}
