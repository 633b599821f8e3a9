//! The engine: from (experiment, state, observations, now) to an assessment and a decision.
//!
//! Pure: it reads no clock, does no I/O and draws no random number, so that production, `replay` and the simulator run the
//! same code and agree bit for bit. `document` reads what a user wrote, `spec` is what remains of it once it is valid,
//! `state` is where an experiment stands, `cells` is what settled counts must tell, `evidence` folds them into e-values,
//! `gates` makes verdicts of these, `beliefs` and `metrics` say what is believed, `assess` puts all of it together, `decide`
//! says what to do, `planning` what the filters are told. `counted` are counts from anywhere, `analysis` the whole engine on
//! them, `budget` what is spent of the error budgets. `distributions` are the curves
//! behind the numbers. `journal` is what was decided on what, to be computed again.

pub mod analysis;
pub mod assess;
mod beliefs;
pub mod breaker;
pub mod budget;
pub mod cells;
pub mod command;
pub mod counted;
pub mod decide;
pub mod distributions;
pub mod document;
mod evidence;
pub mod gates;
pub mod health;
pub mod journal;
mod latencies;
pub mod live;
pub mod metrics;
pub mod outlook;
pub mod overlap;
pub mod planning;
pub mod policy;
pub mod spec;
pub mod state;
mod sticky;
pub mod words;
