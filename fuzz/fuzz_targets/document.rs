//! Any text: a document is read, or everything that is wrong with it is told; what was read can be run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_engine::document::{MAX_PROBLEMS, read};
use weir_engine::state::{Observations, State};
use weir_fuzz::check;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read(text) {
        Ok(experiments) => {
            for experiment in experiments {
                let stored = serde_json::to_string(&experiment).expect("an experiment is JSON");
                assert_eq!(experiment, serde_json::from_str(&stored).expect("what was stored"));
                check(&experiment, &State::begin(&experiment, 0), &Observations::default(), 1_000);
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= MAX_PROBLEMS);
            assert!(
                problems.iter().all(|problem| problem.line > 0 && problem.column > 0 && !problem.message.is_empty())
            );
        }
    }
});
