//! Any text: counts are read, or everything that is wrong with them is told; what was read is analysed, and the answer is made of
//! numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_engine::analysis::{Analysis, Answer, analyze};
use weir_engine::document::{MAX_PROBLEMS, read_analysis};
use weir_fuzz::check_assessment;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read_analysis(text) {
        Ok(read) => {
            let epochs = read.epochs.len();
            let analysis = analyze(&read.experiment, read.epochs);
            check_assessment(&analysis.assessment);
            let stored = serde_json::to_string(&analysis).expect("an analysis is JSON");
            let again: Analysis = serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{error}: {stored}"));
            assert_eq!(serde_json::to_string(&again).expect("JSON"), stored);
            assert_eq!(analysis.looks.len(), epochs, "a look after each epoch");
            assert!(analysis.assessment.warnings.iter().all(|warning| !warning.contains("left out")), "{stored}");
            assert_eq!(analysis.winner.is_some(), analysis.answer == Answer::Winner);
            if let Some(winner) = &analysis.winner {
                let version = analysis.assessment.versions.iter().find(|version| version.name == *winner);
                assert!(version.is_some_and(|version| !version.out), "{stored}");
            }
            let spent = &analysis.alpha_spent;
            let claims = spent.roll_back.iter().flat_map(|budget| &budget.claims).chain(&spent.promotion.claims);
            claims.for_each(|claim| assert!((0.0..=1.0).contains(&claim.p), "{stored}"));
        }
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= MAX_PROBLEMS);
            assert!(
                problems.iter().all(|problem| problem.line > 0 && problem.column > 0 && !problem.message.is_empty())
            );
        }
    }
});
