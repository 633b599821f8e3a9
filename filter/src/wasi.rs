//! The two WASI calls that Envoy offers and the SDK does not: a monotonic clock and entropy.
//!
//! The only unsafe code of the project.
#![allow(unsafe_code, reason = "host calls that the SDK does not wrap")]

/// WASI's monotonic clock.
const MONOTONIC: u32 = 1;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, length: usize) -> u32;
}

/// Nanoseconds of a clock that never goes back and that all VMs of an Envoy share; 0 when the host has none.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes eight bytes to a `u64` that outlives the call.
    let status = unsafe { clock_time_get(MONOTONIC, 0, &raw mut time) };
    if status == 0 { time } else { 0 }
}

/// Fills a seed with the host's entropy. Whether it did.
pub(crate) fn fill_random(seed: &mut [u8; 32]) -> bool {
    // SAFETY: the buffer is as long as said, and the host writes nowhere else.
    let status = unsafe { random_get(seed.as_mut_ptr(), seed.len()) };
    status == 0
}
