//! What iter8, Flagger and Argo Rollouts got wrong, each as a test that our engine does not: named in each doc comment. Small
//! simulations with fixed seeds; the contract's own calibration is elsewhere.
#![cfg(not(target_arch = "wasm32"))] // Long, and it adds nothing to what the golden numbers show under Wasm.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    reason = "a test may panic, also in its helpers; what is cast is positive"
)]

mod iter8;
mod rollouts;
#[path = "../support/mod.rs"]
mod support;

/// One in so many seeds may fail a test whose promise is kept.
const RARITY: f64 = 1e-3;
