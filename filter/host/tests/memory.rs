//! A VM's memory does not grow with plan changes, with requests, or with requests that never properly begin.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::path::PathBuf;
use weir_core::plan::{Plan, PlannedExperiment};
use weir_core::testing;
use weir_filter_host::{Ending, Host};

fn start() -> Host {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/weir-filter.wasm");
    let module = std::env::var_os("WEIR_FILTER").map_or(default, Into::into);
    Host::start(&module, r#"{"controller":{"cluster":"weir"}}"#, true).unwrap()
}

/// A plan of so many experiments, none like the one before.
fn plan(revision: u32, experiments: u32) -> String {
    let template = testing::plan(&[1, revision]);
    let experiment = |number: u32| PlannedExperiment {
        id: format!("e{number}"),
        epoch: revision,
        salt: format!("salt {number}"),
        ..template.experiments[0].clone()
    };
    let experiments = (0..experiments).map(experiment).collect();
    serde_json::to_string(&Plan { revision: format!("r{revision}"), experiments, ..template.clone() }).unwrap()
}

fn serve(host: &mut Host) {
    let request = vec![(":authority".to_owned(), b"shop.example".to_vec())];
    let response = vec![(":status".to_owned(), b"200".to_vec())];
    host.request(&request, &response, Ending { pieces: 1, flags: 0, code: Some(200), grpc: None }, 1_000_000).unwrap();
    host.malformed().unwrap();
}

#[test]
fn memory_is_flat_over_a_thousand_plan_changes() {
    let mut host = start();
    let mut after_a_hundred = 0;
    for revision in 1..=1_100 {
        host.publish(&plan(revision, 20)).unwrap();
        for _ in 0..5 {
            serve(&mut host);
        }
        if revision == 100 {
            after_a_hundred = host.memory();
        }
    }
    assert_eq!(host.memory(), after_a_hundred);
    assert!(after_a_hundred < 4 << 20, "{after_a_hundred} bytes");
}

#[test]
fn memory_is_flat_over_many_requests() {
    let mut host = start();
    host.publish(&plan(1, 1)).unwrap();
    let mut early = 0;
    for thousand in 0..60 {
        for _ in 0..1_000 {
            serve(&mut host);
        }
        host.publish(&plan(1, 1)).unwrap();
        if thousand == 5 {
            early = host.memory();
        }
    }
    assert_eq!(host.memory(), early);
}
