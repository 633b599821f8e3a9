//! What `weir render envoy` prints is a configuration that Envoy takes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};
use weir_tests::{Controller, paths};

fn render(arguments: &[&str]) -> Output {
    let mut command = Command::new(paths::weir().unwrap());
    command.arg("render").args(arguments).current_dir(paths::repository());
    command.env_remove("WEIR_SERVER").env("WEIR_CONFIG", "/nonexistent/weir.yaml").output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = render(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What Envoy says of a configuration; `None`: it would run.
fn refused_by_envoy(folder: &Path, configuration: &str) -> Option<String> {
    let path = folder.join("envoy.yaml");
    std::fs::write(&path, configuration).unwrap();
    let mut command = Command::new(paths::envoy().unwrap());
    command.args(["--mode", "validate", "--log-level", "warning", "-c"]).arg(&path).current_dir(paths::repository());
    let output = command.output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

const PUBLIC: [&str; 8] = [
    "envoy",
    "docs/examples/istio/public.yaml",
    "--endpoint",
    "1.9=127.0.0.1:8001",
    "--endpoint",
    "1.10=127.0.0.1:8002",
    "--endpoint",
    "2.0=shop.example:8003",
];

#[test]
fn envoy_takes_the_stand_alone_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let filter = paths::filter().unwrap();
    let mut arguments = PUBLIC.to_vec();
    arguments.extend(["--module", filter.to_str().unwrap()]);
    let configuration = printed(&arguments);
    assert_eq!(refused_by_envoy(folder.path(), &configuration), None);

    // What it would not take, so that this test can fail: the filter itself reads its configuration here.
    let wrong = configuration.replace("\"routingHeaders\"", "\"routingHeader\"");
    let said = refused_by_envoy(folder.path(), &wrong).expect("refused");
    assert!(said.contains("unknown field `routingHeader`"), "{said}");
    let wrong = configuration.replace("cluster: shop-2-0", "cluster: shop-2");
    assert!(refused_by_envoy(folder.path(), &wrong).expect("refused").contains("unknown cluster 'shop-2'"));

    arguments.extend(["--outcome", "1.10"]);
    let outcome = printed(&arguments);
    assert!(outcome.contains("shop-1-10") && !outcome.contains("wasm"), "{outcome}");
    assert_eq!(refused_by_envoy(folder.path(), &outcome), None);
}

#[test]
fn the_command_line_prints_what_the_docs_show() {
    let shown =
        |name: &str| std::fs::read_to_string(paths::repository().join("docs/examples/istio").join(name)).unwrap();
    let at = |arguments: &str| printed(&arguments.split_whitespace().collect::<Vec<_>>());
    let sidecars = "istio docs/examples/istio/experiment.yaml -n shop --workload app=frontend --service-account frontend \
                    --operator weir/operator --operator monitoring";
    assert_eq!(at(sidecars), shown("sidecar.yaml"));
    assert_eq!(at(&format!("{sidecars} --merge docs/examples/istio/routes.yaml")), shown("merged.yaml"));
    let outcome = format!("{sidecars} --merge docs/examples/istio/merged.yaml --outcome v2");
    assert_eq!(at(&outcome), shown("merged-outcome.yaml"));
    assert_eq!(
        at(&format!(
            "istio docs/examples/istio/public.yaml -n shop --at gateway --gateway istio-system/public --caller-namespace istio-system \
             --workload istio=ingressgateway --port 8080 --filter wasmplugin --module oci://registry.example/weir-filter:0.1.0 \
             --sha256 {} --labels 2.0=release=two",
            "5".repeat(64)
        )),
        shown("gateway.yaml")
    );
    let list: serde_json::Value = serde_json::from_str(&at(&format!("{sidecars} -o json"))).unwrap();
    let kinds: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(list["kind"], "List");
    let expected = ["DestinationRule", "VirtualService", "EnvoyFilter", "AuthorizationPolicy", "AuthorizationPolicy"];
    assert_eq!(kinds, expected);
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_never_shown() {
    let of_one_s_own = "0123456789abcdef".repeat(4);
    for secret in [format!("weir_{of_one_s_own}"), of_one_s_own, "c2VjcmV0IHNlY3JldA==".to_owned()] {
        let output = render(&["istio", "docs/examples/istio/experiment.yaml", "--token", &secret]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("placeholder"), "{said}");
        assert!(output.stdout.is_empty() && !said.contains(&secret), "{said}");
    }
    for placeholder in ["${PROXY_TOKEN}", "<path:secret/weir#proxy>", "PROXY_TOKEN", "{{ .Values.token }}"] {
        let text = printed(&["istio", "docs/examples/istio/experiment.yaml", "--token", placeholder]);
        assert!(text.contains(&format!("\"token\": \"{placeholder}\"")), "{text}");
    }
}

#[test]
fn what_is_said_twice_is_refused() {
    for (option, values) in [("--workload", ["app=a", "app=b"]), ("--labels", ["v1=version=1", "v1=version=2"])] {
        let output = render(&["istio", "docs/examples/istio/experiment.yaml", option, values[0], option, values[1]]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("is given twice"), "{said}");
    }
}

#[test]
fn an_outcome_that_nobody_knows_is_asked_for() {
    let outcome = ["istio", "docs/examples/istio/experiment.yaml", "--outcome"];
    let said = String::from_utf8_lossy(&render(&outcome).stderr).into_owned();
    assert!(said.contains("--outcome VERSION"), "{said}");
    let other = [outcome.as_slice(), &["v9"]].concat();
    let said = String::from_utf8_lossy(&render(&other).stderr).into_owned();
    assert!(said.contains("no version `v9`"), "{said}");
}

#[tokio::test]
async fn an_experiment_of_the_server_is_rendered_by_its_name_and_so_is_its_outcome() {
    let controller = Controller::start().await;
    let experiment = paths::repository().join("docs/examples/istio/experiment.yaml");
    controller.apply(&std::fs::read_to_string(&experiment).unwrap());
    let by_name = |more: &[&str]| {
        let arguments = [&["render", "istio", "checkout", "-n", "shop"], more].concat();
        let output = controller.weir(&arguments);
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let by_file =
        |more: &[&str]| printed(&[&["istio", "docs/examples/istio/experiment.yaml", "-n", "shop"], more].concat());
    assert_eq!(by_name(&[]).1, by_file(&[]));
    let (done, _, said) = by_name(&["--outcome"]);
    assert!(!done && said.contains("no outcome yet"), "{said}");
    let promoted = controller.weir(&["promote", "checkout", "v2", "--reason", "a test"]);
    assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    let (_, outcome, _) = by_name(&["--outcome"]);
    assert_eq!(outcome, by_file(&["--outcome", "v2"]));
    assert!(outcome.contains("subset: v2") && !outcome.contains("subset: v1"), "{outcome}");
}
