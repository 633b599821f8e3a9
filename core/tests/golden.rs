//! The wire formats and assignments against golden files (`tests/golden/wire`, assignments with their generator). The same
//! checks run natively and as Wasm under Node: what these files say is a contract between releases and proxies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;
use weir_core::assign::Assigner;
use weir_core::config::Config;
use weir_core::plan::{Plan, PlannedVersion};
use weir_core::report::{Acknowledgement, Report};
use weir_core::token::{Secret, Token};
use weir_core::unit::{Digest, UnitBuckets};

/// Writes it again exactly as it was.
fn check_round_trip<T: Serialize>(golden: &str, value: &T) {
    let written = serde_json::to_string_pretty(value).unwrap();
    assert_eq!(written.trim(), golden.trim());
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn wire_format_1_is_read_and_written_as_in_the_golden_files() {
    let golden = include_str!("../../tests/golden/wire/plan.json");
    check_round_trip(golden, &Plan::from_json(golden.as_bytes()).unwrap());
    let golden = include_str!("../../tests/golden/wire/plan-rewards.json");
    check_round_trip(golden, &Plan::from_json(golden.as_bytes()).unwrap());
    let golden = include_str!("../../tests/golden/wire/report-claims.json");
    check_round_trip(golden, &Report::from_json(golden.as_bytes()).unwrap());
    let golden = include_str!("../../tests/golden/wire/report-repeats.json");
    check_round_trip(golden, &Report::from_json(golden.as_bytes()).unwrap());
    let golden = include_str!("../../tests/golden/wire/report.json");
    check_round_trip(golden, &Report::from_json(golden.as_bytes()).unwrap());
    let golden = include_str!("../../tests/golden/wire/config.json");
    check_round_trip(golden, &Config::from_json(golden.as_bytes()).unwrap());
    let golden = include_str!("../../tests/golden/wire/acknowledgement.json");
    check_round_trip(golden, &serde_json::from_str::<Acknowledgement>(golden).unwrap());
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn defaults_that_are_not_written_are_read() {
    let config = Config::from_json(br#"{"controller":{"cluster":"weir"}}"#).unwrap();
    let controller = config.controller.unwrap();
    assert_eq!((controller.report_interval, controller.staleness_limit), (1_000, 60_000));
    assert_eq!((controller.authority.as_str(), controller.token), ("weir", None));
    assert_eq!((config.routing_headers, config.node), (vec!["x-weir-version".to_owned()], None));
    let plan = Plan::from_json(include_bytes!("../../tests/golden/wire/plan.json")).unwrap();
    let plain = plan.experiments.last().unwrap();
    assert_eq!((plain.matching.share_ppm, plain.failure.codes.as_slice()), (1_000_000, &[(500, 599)][..]));
    assert_eq!(plain.failure.grpc, [2, 4, 12, 13, 14, 15]);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_token_reads_as_it_always_has() {
    let report = Report::from_json(include_bytes!("../../tests/golden/wire/report-claims.json")).unwrap();
    let plan = Plan::from_json(include_bytes!("../../tests/golden/wire/plan-rewards.json")).unwrap();
    let secret = Secret::from_hex(plan.experiments.first().unwrap().secret.as_deref().unwrap()).unwrap();
    let text = &report.claims.first().unwrap().assignment;
    let token = Token::read(text.as_bytes(), &secret).unwrap();
    let expected = Token {
        incarnation: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        epoch: 7,
        version: 2,
        bin: 1_764_000_000_000,
        nonce: 0xfedc_ba98_7654_3210,
        bucket: Some(12_345),
    };
    assert_eq!((token, token.sign(&secret)), (expected, text.clone()));
}

#[derive(Deserialize)]
struct Rejected {
    kind: String,
    document: Option<Value>,
    text: Option<String>,
    message: String,
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn what_is_wrong_is_refused_with_what_and_where() {
    let rejected: Vec<Rejected> = golden(include_str!("../../tests/golden/wire/rejected.json"));
    for Rejected { kind, document, text, message } in &rejected {
        let text = text.clone().unwrap_or_else(|| document.as_ref().unwrap().to_string());
        let refusal = match kind.as_str() {
            "plan" => Plan::from_json(text.as_bytes()).unwrap_err().to_string(),
            "report" => Report::from_json(text.as_bytes()).unwrap_err().to_string(),
            "config" => Config::from_json(text.as_bytes()).unwrap_err().to_string(),
            other => panic!("no such kind: {other}"),
        };
        // Where in the text depends on how it was written.
        let refusal = refusal.split(" at line ").next().unwrap();
        assert_eq!(refusal, message, "{kind}: {text}");
    }
    assert!(rejected.len() > 50);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn limits_that_are_too_long_for_a_golden_file_hold() {
    let large = vec![b' '; weir_core::report::MAX_REPORT_BYTES + 1];
    assert_eq!(Report::from_json(&large).unwrap_err().to_string(), ".: 1048577 bytes; at most 1048576");
    let mut plan = Plan::from_json(include_bytes!("../../tests/golden/wire/plan.json")).unwrap();
    let first = plan.experiments.first().unwrap().clone();
    plan.experiments = (0..1_001)
        .map(|number| {
            let mut experiment = first.clone();
            experiment.id = format!("e{number}");
            experiment
        })
        .collect();
    assert_eq!(plan.validate().unwrap_err().to_string(), "experiments: 1001 entries; 0 to 1000 are allowed");
    plan.experiments.truncate(1_000);
    plan.validate().unwrap();
}

#[derive(Deserialize)]
struct Assignments {
    experiments: Vec<Experiment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Experiment {
    salt: String,
    versions: Vec<Weighted>,
    by_key: Vec<ByKey>,
    by_random: Vec<ByRandom>,
}

#[derive(Deserialize)]
struct Weighted {
    name: String,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByKey {
    key_hex: String,
    version: String,
    takes_part_from: u32,
    bucket: u16,
}

#[derive(Deserialize)]
struct ByRandom {
    random: String,
    version: String,
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_key_gets_the_version_and_the_unit_bucket_that_it_has_always_got() {
    let golden: Assignments = golden(include_str!("../../tests/golden/wire/assignments.json"));
    let mut checked = 0;
    for experiment in &golden.experiments {
        let versions: Vec<PlannedVersion> = experiment
            .versions
            .iter()
            .map(|Weighted { name, weight }| PlannedVersion {
                name: name.clone(),
                weight: *weight,
                headers: vec![],
                slow_us: None,
            })
            .collect();
        let assigner = Assigner::new(&experiment.salt, &versions);
        let name = |index: Option<usize>| versions.get(index.unwrap()).unwrap().name.as_str();
        let buckets = UnitBuckets::new(&experiment.salt);
        for ByKey { key_hex, version, takes_part_from, bucket } in &experiment.by_key {
            let key = Digest::of(&bytes(key_hex));
            assert_eq!(name(assigner.by_key(key)), version, "{} {key_hex}", experiment.salt);
            assert!(assigner.key_takes_part(key, *takes_part_from), "{} {key_hex}", experiment.salt);
            assert!(!assigner.key_takes_part(key, takes_part_from - 1), "{} {key_hex}", experiment.salt);
            assert_eq!(buckets.of(key), *bucket, "{} {key_hex}", experiment.salt);
            checked += 1;
        }
        for ByRandom { random, version } in &experiment.by_random {
            assert_eq!(name(assigner.by_random(random.parse().unwrap())), version, "{random}");
            checked += 1;
        }
    }
    assert!(checked > 250);
}

fn golden<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}
