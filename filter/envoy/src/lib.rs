//! Envoy as the filter calls it, and the request path on it.
//!
//! A crate of its own because it is compiled for speed and all else for size: whatever of `weir-core` is generic over its host,
//! or small enough to be inlined, is compiled where it is used first for Envoy, which for the request path is here.

pub mod abi;
pub mod envoy;
#[cfg(target_arch = "wasm32")]
mod memory;
pub mod path;
