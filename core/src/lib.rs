//! The pure heart of the filter, shared with the controller.
//!
//! Wire types (`plan`, `report`, `config`), assignment (`matching`, `unit`, `cookie`, `assign`), recording (`histogram`, `outcome`,
//! `recorder`, `settling`), one request's life over a [`host::Host`] (`request`), Envoy's own stats (`tally`, `stats`), and the exchange
//! with the controller (`exchange`, `sender`, `fetcher`) as state machines that are told the time. Nothing here does I/O, reads a clock, or owns a random
//! generator, and nothing panics: this code runs inside Envoy, in the path of every request.

pub mod assign;
mod bytes;
pub mod config;
mod conversions;
pub mod cookie;
pub mod duration;
pub mod earning;
pub mod exchange;
pub mod fetcher;
pub mod histogram;
pub mod host;
mod json;
pub mod matching;
pub mod outcome;
pub mod plan;
pub mod recorder;
pub mod report;
pub mod request;
pub mod reward;
mod rules;
pub mod sender;
pub mod settling;
pub mod stats;
pub mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod token;
pub mod unit;
