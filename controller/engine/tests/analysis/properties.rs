//! Any counts and any text: no number that JSON cannot say, and no panic.

use super::{CANARY, TWO, analysed, document};
use proptest::prelude::*;
use weir_engine::document::read_analysis;

/// A count of any size, mostly small, up to 10¹².
fn any_count() -> impl Strategy<Value = u64> {
    (0..41_u32).prop_flat_map(|bits| 0..=(1_u64 << bits.min(39)).min(1_000_000_000_000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_counts_make_a_number_that_json_cannot_say(
        cells in proptest::collection::vec((any_count(), any_count(), any_count(), any_count()), 6),
        weights in proptest::collection::vec(1..1_000_u32, 6),
    ) {
        let spec = &format!(
            "{TWO}objectives: [{{name: errors, errorRate: {{max: 1%}}}}, {{name: p99, latency: {{quantile: 99%, max: 100ms}}}}]\n\
             guardrails: [{{name: ratio, errorRate: {{ratio: 2}}}}, {{name: margin, errorRate: {{margin: 1%}}}}, \
             {{name: slower, latency: {{ratio: 2}}}}]\nreward: {{responseHeader: x, direction: maximize}}"
        );
        let cell = |(exposures, failed, rewarded, fast): &(u64, u64, u64, u64)| {
            let (failed, rewarded) = (*failed.min(exposures), *rewarded.min(exposures));
            let fast = (*fast).min(exposures - failed);
            format!(
                "{{exposures: {exposures}, failed: {failed}, rewarded: {rewarded}, latency: {{buckets: [{{le: 50ms, count: {fast}}}]}}}}"
            )
        };
        let epochs: String = cells
            .chunks(2)
            .zip(weights.chunks(2))
            .map(|(cells, weights)| {
                format!(
                    "  - {{weights: {{v1: {}, v2: {}}}, counts: {{v1: {}, v2: {}}}}}\n",
                    weights[0], weights[1], cell(&cells[0]), cell(&cells[1])
                )
            })
            .collect();
        let json = serde_json::to_value(analysed(spec, &epochs)).unwrap();
        // serde_json writes what is not finite as null: these are always numbers.
        let versions = json["assessment"]["versions"].as_array().unwrap();
        for version in versions {
            prop_assert!(version["logERollBack"].is_f64(), "{version}");
            // Nobody is left who could be better: no number, and not the least there is.
            let another = versions.iter().any(|other| other["name"] != version["name"] && other["out"] == false);
            prop_assert_eq!(version["logEBeaten"].is_f64(), another, "{}", version);
            for gate in version["gates"].as_array().unwrap() {
                for name in ["logEViolated", "logEMet", "pViolated", "pMet"] {
                    prop_assert!(gate[name].is_f64(), "{gate}");
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|\n|  |- |: |\\{|\\}|\\[|\\]|epochs|counts|v1|exposures|latency|ms|le){0,60}") {
        let _ = read_analysis(&text);
        let wrapped = format!("{}epochs:\n  - weights: {{v1: 1, v2: 1}}\n    counts: {text}\n", document(CANARY));
        let _ = read_analysis(&wrapped);
    }
}
