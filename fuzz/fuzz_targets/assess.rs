//! Any experiment, state and counts: an assessment is numbers, and a decision on it a plan.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use weir_fuzz::{check, experiment, observations, state};

fn run(bytes: &[u8]) -> Result<()> {
    let mut bytes = Unstructured::new(bytes);
    let experiment = experiment(&mut bytes)?;
    let state = state(&mut bytes, &experiment)?;
    let observations = observations(&mut bytes, experiment.versions.len())?;
    check(&experiment, &state, &observations, bytes.int_in_range(0..=1_000_000_000_000)?);
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no input.
    let _ = run(bytes);
});
