//! Helpers for tests, benchmarks and the demo on a real Envoy: launchers, doubles and bounds.
//!
//! Owns how a process is started, found out to be ready, and ended. Knows the contracts of `weir-core` and the HTTP API;
//! must not depend on the filter's or the controller's code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails its test by panicking, with a message that says what was awaited"
)]

pub mod admin;
pub mod bounds;
pub mod client;
pub mod clock;
pub mod controller;
pub mod envoy;
pub mod fake;
pub mod gate;
pub mod istio;
pub mod load;
pub mod noise;
pub mod paths;
pub mod plans;
pub mod process;
pub mod stand;
pub mod upstream;
pub mod wait;

pub use client::{Client, Reply};
pub use controller::Controller;
pub use envoy::{Envoy, EnvoyBuilder};
pub use fake::FakeController;
pub use gate::Gate;
pub use load::Load;
pub use stand::Stand;
pub use upstream::Upstream;
pub use wait::eventually;
