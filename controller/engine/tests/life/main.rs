//! The life of an experiment, on simulated traffic in virtual time: strategies, people, the breaker, lost telemetry, properties.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, also in its helpers"
)]

mod breaker;
mod edits;
mod journal;
mod people;
#[cfg(not(target_arch = "wasm32"))]
mod properties;
mod strategies;
mod telemetry;
mod world;
