//! The engine: from (experiment, state, observations, now) to an assessment and a decision.
//!
//! Pure: it reads no clock, does no I/O and draws no random number, so that production, `replay` and the simulator run the
//! same code and agree bit for bit. `document` reads what a user wrote, `spec` is what remains of it once it is valid,
//! `state` is where an experiment stands, `assess` says what is believed and what is evident, `decide` says what to do,
//! `planning` what the filters are told.

pub mod assess;
pub mod decide;
pub mod document;
mod evidence;
pub mod planning;
pub mod policy;
pub mod spec;
pub mod state;
