//! How often the promises of the error contract hold: simulated traffic, the engine's own evidence and decisions, exact
//! bounds. Owns the catalogue of cases; decides nothing itself.
//!
//! A run draws *counts* (binomials per version and look), not requests, wherever that has the same distribution; cases in which
//! order or delay matter drive the filter's recorder request by request.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod builders;
mod case;
pub mod cases;
mod course;
mod fleet;
mod report;
mod runner;
mod traffic;
mod users;

pub use case::{Case, Outcome, Question, Run};
pub use report::table;
pub use runner::{RARITY, Result, refuted, run, run_all};
pub use weir_simulator::bounds::{most_allowed, upper_bound};
