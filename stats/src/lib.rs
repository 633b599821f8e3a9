//! Numbers in, beliefs and evidence out. Pure functions of counts: no clock, no I/O, no randomness of its own,
//! and no knowledge of experiments, plans or Envoy.
//!
//! Three layers, kept apart:
//!
//! | layer | modules | may it decide? |
//! |---|---|---|
//! | evidence | [`rate`], [`compare`], [`margin`], [`units`], [`sample_ratio`], [`reward`], [`amount`], [`best`] over [`process`] and [`kernel`] | yes, with error at most α at every look |
//! | belief | [`beta`], [`student`], [`quantile`], [`belief`] | never: it steers traffic and informs people |
//! | policy | [`allocate`] | weights, within the limits that evidence sets |
//!
//! **Evidence** functions take integer counts and return the natural logarithm of an e-value. Under the null hypothesis
//! that each function names, the e-value's expectation is at most one at every stopping time, so that rejecting when
//! `ln E ≥ ln(1/α)` errs with probability at most α however often one looks (Ville's inequality).
//!
//! What α covers is the *randomisation* of requests. It does not cover a candidate that is worse exactly when its weight
//! is high, a cold start of one version only, or a single bad replica.
//!
//! Every function is total: no panic, no NaN and no overflow for counts up to 10¹², empty cells or empty slices.
//! Inputs that mean nothing (a propensity of zero, more events than exposures) never become evidence *for* a claim; each
//! function says what it does with them. All transcendental functions come from `libm`, so that results have the same
//! bits natively and in Wasm.
#![forbid(unsafe_code)]

pub mod allocate;
pub mod amount;
pub mod belief;
pub mod best;
pub mod beta;
pub mod compare;
mod grid;
pub mod kernel;
pub mod margin;
mod odds;
pub mod process;
mod profile;
mod quadrature;
pub mod quantile;
pub mod rate;
pub mod reward;
pub mod sample_ratio;
mod search;
mod special;
pub mod student;
pub mod units;
