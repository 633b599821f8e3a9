//! The controller's Kustomize base and overlays: least privilege, and probes that the controller serves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use weir_render::yaml::Yaml;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../envoy-config/kubernetes")
}

fn read(path: &Path) -> Yaml {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn base(name: &str) -> Yaml {
    read(&folder().join("base").join(name))
}

fn texts(items: &[Yaml]) -> Vec<&str> {
    items
        .iter()
        .map(|item| match item {
            Yaml::Text(text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_controller_may_do_nothing_that_it_need_not() {
    let pod = base("statefulset.yaml");
    let pod = pod.at(&["spec", "template", "spec"]).unwrap();
    let (yes, no) = (Some(&Yaml::Bool(true)), Some(&Yaml::Bool(false)));
    assert_eq!(pod.at(&["securityContext", "runAsNonRoot"]), yes);
    assert_eq!(pod.at(&["securityContext", "runAsUser"]), Some(&Yaml::Integer(65_532)));
    assert_eq!(pod.text_at(&["securityContext", "seccompProfile", "type"]), Some("RuntimeDefault"));
    assert_eq!(pod.get("automountServiceAccountToken"), no);
    assert_eq!(pod.text_at(&["serviceAccountName"]), Some("weir"));
    assert_eq!(base("serviceaccount.yaml").get("automountServiceAccountToken"), no);
    let containers = pod.items_at(&["containers"]);
    assert_eq!(containers.len(), 1);
    let container = &containers[0];
    assert_eq!(container.at(&["securityContext", "readOnlyRootFilesystem"]), yes);
    assert_eq!(container.at(&["securityContext", "allowPrivilegeEscalation"]), no);
    assert_eq!(texts(container.items_at(&["securityContext", "capabilities", "drop"])), ["ALL"]);
    for probe in ["livenessProbe", "startupProbe"] {
        assert_eq!(container.text_at(&[probe, "httpGet", "path"]), Some("/healthz"));
    }
    assert_eq!(container.text_at(&["readinessProbe", "httpGet", "path"]), Some("/readyz"));
}

#[test]
fn one_controller_keeps_its_ledger_on_a_volume() {
    let set = base("statefulset.yaml");
    assert_eq!(set.at(&["spec", "replicas"]), Some(&Yaml::Integer(1)));
    let container = &set.items_at(&["spec", "template", "spec", "containers"])[0];
    let env = |name: &str| {
        let found = container.items_at(&["env"]).iter().find(|one| one.text_at(&["name"]) == Some(name));
        found.and_then(|one| one.text_at(&["value"])).unwrap().to_owned()
    };
    let mounted = |name: &str| {
        let found = container.items_at(&["volumeMounts"]).iter().find(|one| one.text_at(&["name"]) == Some(name));
        found.and_then(|one| one.text_at(&["mountPath"])).unwrap().to_owned()
    };
    assert!(env("WEIR_LEDGER").starts_with(&format!("{}/", mounted("ledger"))));
    assert!(env("WEIR_TOKEN_FILE").starts_with(&format!("{}/", mounted("tokens"))));
    let claims = set.items_at(&["spec", "volumeClaimTemplates"]);
    assert_eq!(claims[0].text_at(&["metadata", "name"]), Some("ledger"));
    // The port by which everything else knows it.
    let port = Yaml::Integer(8_181);
    assert!(env("WEIR_LISTEN").ends_with(":8181"));
    assert_eq!(container.items_at(&["ports"])[0].get("containerPort"), Some(&port));
    assert_eq!(base("service.yaml").items_at(&["spec", "ports"])[0].get("port"), Some(&port));
    let (host, options) = (weir_render::options::DEFAULT_CONTROLLER, weir_render::Options::default());
    assert_eq!((host, options.controller_port), ("weir.weir.svc.cluster.local", 8_181));
    assert_eq!(base("service.yaml").text_at(&["metadata", "name"]), Some("weir"));
    assert_eq!(base("kustomization.yaml").text_at(&["namespace"]), Some("weir"));
}

#[test]
fn everything_selects_the_controllers_pod() {
    let labels = Yaml::map([("app.kubernetes.io/name", Yaml::text("weir"))]);
    let pod = base("statefulset.yaml");
    assert_eq!(pod.at(&["spec", "template", "metadata", "labels"]), Some(&labels));
    assert_eq!(pod.at(&["spec", "selector", "matchLabels"]), Some(&labels));
    assert_eq!(base("service.yaml").at(&["spec", "selector"]), Some(&labels));
    for (file, path) in [
        ("base/networkpolicy.yaml", ["spec", "podSelector", "matchLabels"]),
        ("base/poddisruptionbudget.yaml", ["spec", "selector", "matchLabels"]),
        ("overlays/istio/peerauthentication.yaml", ["spec", "selector", "matchLabels"]),
        ("overlays/istio/authorizationpolicy.yaml", ["spec", "selector", "matchLabels"]),
        ("overlays/istio/sidecar.yaml", ["spec", "workloadSelector", "labels"]),
    ] {
        assert_eq!(read(&folder().join(file)).at(&path), Some(&labels), "{file}");
    }
    let printed = weir_render::Options::default().controller_labels;
    assert_eq!(serde_json::to_value(printed).unwrap(), serde_json::to_value(labels).unwrap());
}

#[test]
fn the_network_lets_in_proxies_and_lets_out_nothing() {
    let policy = base("networkpolicy.yaml");
    assert_eq!(texts(policy.items_at(&["spec", "policyTypes"])), ["Ingress", "Egress"]);
    assert_eq!(policy.at(&["spec", "egress"]), Some(&Yaml::List(Vec::new())));
    let ingress = policy.items_at(&["spec", "ingress"]);
    assert!(ingress.iter().all(|rule| !rule.items_at(&["from"]).is_empty() && rule.items_at(&["ports"]).len() == 1));
}

#[test]
fn nobody_reaches_a_controller_in_the_mesh_whom_no_policy_names() {
    let policy = read(&folder().join("overlays/istio/authorizationpolicy.yaml"));
    assert_eq!((policy.text_at(&["spec", "action"]), policy.at(&["spec", "rules"])), (Some("ALLOW"), None));
    let mtls = read(&folder().join("overlays/istio/peerauthentication.yaml"));
    assert_eq!(mtls.text_at(&["spec", "mtls", "mode"]), Some("STRICT"));
}

#[test]
fn every_file_is_named_by_its_kustomization_and_every_name_is_a_file() {
    for overlay in ["base", "overlays/istio", "overlays/production"] {
        let at = folder().join(overlay);
        let kustomization = read(&at.join("kustomization.yaml"));
        let mut named = texts(kustomization.items_at(&["resources"]));
        named.extend(kustomization.items_at(&["patches"]).iter().filter_map(|patch| patch.text_at(&["path"])));
        for name in &named {
            assert!(at.join(name).exists(), "{overlay} names {name}");
        }
        for file in std::fs::read_dir(&at).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            assert!(
                file == "kustomization.yaml" || named.contains(&file.as_str()),
                "{overlay} has {file}, and does not name it"
            );
        }
    }
}

#[test]
fn the_pod_runs_the_image_that_is_made() {
    let script = folder().join("../../scripts/images.py");
    let script = std::fs::read_to_string(script).unwrap();
    let set = base("statefulset.yaml");
    let pod = set.at(&["spec", "template", "spec"]).unwrap();
    let container = &pod.items_at(&["containers"])[0];
    let image = container.text_at(&["image"]).unwrap();
    assert!(script.contains(&format!("f\"{image}:{{version}}\"")), "nothing makes {image}");
    let kustomization = base("kustomization.yaml");
    let tagged = &kustomization.items_at(&["images"])[0];
    assert_eq!(tagged.text_at(&["name"]), Some(image));
    assert_eq!(tagged.text_at(&["newTag"]), Some(env!("CARGO_PKG_VERSION")), "of this version");
    // Its binary is the entry point, so that arguments are Weir's, and its user owns the ledger's folder.
    assert!(container.get("command").is_none() && script.contains("\"Entrypoint\": [\"/weir\"]"));
    assert_eq!(texts(container.items_at(&["args"])), ["serve"]);
    let user = pod.at(&["securityContext", "runAsUser"]).and_then(Yaml::whole).unwrap();
    assert!(script.contains(&format!("\nUSER = {user}\n")));
    assert_eq!(pod.at(&["securityContext", "fsGroup"]).and_then(Yaml::whole), Some(user));
}
