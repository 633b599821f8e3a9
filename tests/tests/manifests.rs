//! What is printed and shipped for a mesh, against Istio's published schemas: without Go, and without anything that runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod schemas;

use schemas::Schemas;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use weir_tests::istio::{Delivery, Place, Site};
use weir_tests::paths;

/// Every YAML file in a folder and those below.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            into.push(path);
        }
    }
}

#[test]
fn every_resource_of_istio_in_the_repository_is_as_its_schema_says() {
    let schemas = Schemas::read();
    let mut all = Vec::new();
    for folder in ["docs/examples", "envoy-config"] {
        files(&paths::repository().join(folder), &mut all);
    }
    let (mut problems, mut checked) = (Vec::new(), 0);
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains(".istio.io/") {
            continue;
        }
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for found in documents.iter().filter_map(|document| schemas.problems(document)) {
            checked += 1;
            problems.extend(found.iter().map(|problem| format!("{}: {problem}", path.display())));
        }
    }
    assert_eq!(problems, Vec::<String>::new());
    assert!(checked >= 20, "only {checked} resources of Istio were found");
}

#[test]
fn every_resource_that_is_printed_is_as_its_schema_says() {
    let schemas = Schemas::read();
    for place in ["sidecar", "gateway", "waypoint"] {
        // Istio patches no waypoints.
        let filters = if place == "waypoint" { &["wasmplugin"][..] } else { &["envoyfilter", "wasmplugin"] };
        for filter in filters.iter().copied() {
            for outcome in [&[][..], &["--outcome", "v2"]] {
                let site = Site::new(Place::Sidecar, Delivery::EnvoyFilter);
                let document = site.document(&["v1", "v2", "v3"], &json!({}));
                let digest = "5".repeat(64);
                let options = ["--at", place, "--filter", filter, "--gateway", "edge/public", "--port", "8080"];
                let more =
                    ["--module", "oci://registry.example/filter:1", "--sha256", &digest, "--operator", "ops/team"];
                let more = if filter == "wasmplugin" { &more[..] } else { &["--module", "/filter.wasm"] };
                let rendered = site.printed(&document, &[&options, more, outcome].concat());
                let kinds: Vec<&str> = rendered.iter().map(|resource| resource["kind"].as_str().unwrap()).collect();
                assert!(kinds.contains(&"VirtualService") && kinds.contains(&"DestinationRule"), "{kinds:?}");
                for resource in &rendered {
                    assert_eq!(schemas.problems(resource), Some(Vec::new()), "{place}, {filter}: {resource:#}");
                }
            }
        }
    }
}

#[test]
fn a_wrong_field_type_value_or_kind_is_refused() {
    let schemas = Schemas::read();
    let site = Site::new(Place::Gateway, Delivery::WasmPlugin);
    let rendered = site.rendered(&site.document(&["v1", "v2"], &json!({})), &[]);
    for (kind, pointer, value, word) in [
        ("VirtualService", "/spec/http/0/rout", json!([]), "'rout'"),
        ("VirtualService", "/spec/http/0/route/0/destination/subsets", json!("v1"), "'subsets'"),
        ("VirtualService", "/spec/http/0/match/0/headers/x-weir-version/equal", json!("v1"), "'equal'"),
        ("VirtualService", "/spec/hosts", json!("shop.example"), "array"),
        ("DestinationRule", "/spec/subsets/0/label", json!({}), "'label'"),
        ("DestinationRule", "/spec/subsets/0/labels/version", json!(2), "string"),
        ("WasmPlugin", "/spec/failStrategy", json!("FAIL_AGAIN"), "FAIL_AGAIN"),
        ("WasmPlugin", "/spec/match/0/mode", json!("OUTBOUND"), "OUTBOUND"),
        ("WasmPlugin", "/apiVersion", json!("extensions.istio.io/v1"), "no such kind"),
    ] {
        let mut resource = rendered.iter().find(|resource| resource["kind"] == kind).unwrap().clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        resource.pointer_mut(parent).unwrap()[field] = value;
        let problems = schemas.problems(&resource).unwrap().join("\n");
        assert!(problems.contains(word), "{kind}{pointer} should be refused with {word}: {problems:?}");
    }
}
