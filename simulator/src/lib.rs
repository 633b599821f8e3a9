//! Experiments in virtual time: requests, workers, faults and a clock are simulated; assignment, recording, statistics, decisions
//! and plans are those of production. Seeded: the same scenario and seed give the same bits. Does no I/O.
//!
//! `scenario` says what is simulated, `world` runs it request by request, `policy` decides (Weir, or one of our reconstructions of
//! what others do), `run` is what happened in one run, `many` in many, `power` asks how long, `plot` draws.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

pub mod bounds;
pub mod compare;
pub mod document;
pub mod expect;
pub mod many;
pub mod parallel;
pub mod plot;
pub mod policy;
pub mod power;
pub mod random;
pub mod run;
pub mod scenario;
pub mod truth;
mod world;

pub use run::Run;
pub use scenario::Scenario;
pub use world::{Watching, simulate, simulate_while};
