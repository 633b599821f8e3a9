//! The pure heart of the filter, shared with the controller.
//!
//! Wire types (`plan`, `report`, `config`), assignment (`matching`, `unit`, `assign`), recording (`histogram`, `outcome`,
//! `recorder`), one request's life over a [`request::Host`], and the exchange with the controller (`exchange`) as state
//! machines that are told the time. Nothing here does I/O, reads a clock, or owns a random generator, and nothing panics:
//! this code runs inside Envoy, in the path of every request.

pub mod config;
pub mod duration;
pub mod histogram;
pub mod plan;
pub mod report;
