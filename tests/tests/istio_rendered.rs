//! What `weir render istio` prints, in Istio's own mesh: what is wrong in it shows, routes of the user's keep what they have, and the
//! outcome needs nothing of Weir.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod schemas;

use schemas::Schemas;
use serde_json::{Value, json};
use sha2::Digest as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_core::plan::PathMatch;
use weir_tests::istio::{Delivery, Mesh, Place, Site, change_plugin, plan};
use weir_tests::plans::on_host;
use weir_tests::stand::versions;
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{FakeController, Upstream, eventually};

/// Without routes Istio sends requests to any version: what shows first is chance.
const ANY: &str = "";

const NAMES: [&str; 3] = ["v1", "v2", "v3"];

/// The first leaf of `wanted` that is not in `found`.
fn first_missing(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match wanted {
        Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| first_missing(value, &found[name], &format!("{path}/{name}")))
        }
        leaf => (leaf != found).then(|| format!("{path} is {found} in Envoy, not {leaf}")),
    }
}

/// A mesh in which requests for `/in` are split in three, and others are the baseline's.
struct Scene {
    versions: [Upstream; 3],
    fake: FakeController,
    mesh: Mesh,
    resources: Vec<Value>,
    schemas: Schemas,
}

impl Scene {
    async fn start(place: Place, delivery: Delivery) -> Self {
        Self::of(Site::new(place, delivery)).await
    }

    async fn of(site: Site) -> Self {
        Self::with(site, &[]).await
    }

    async fn with(site: Site, options: &[&str]) -> Self {
        let versions = versions().await;
        let mut thirds = on_host(site.host(), &NAMES.map(|name| (name, 1)));
        thirds.matching.paths = vec![PathMatch::Prefix("/in".to_owned())];
        let fake = FakeController::start(plan("1", vec![thirds])).await;
        let mut resources = site.rendered(&site.document(&NAMES, &json!({})), options);
        change_plugin(&mut resources, |plugin| plugin["controller"]["reportInterval"] = json!("100ms"));
        let mesh = Mesh::start(site, &versions, fake.address(), &resources).await;
        mesh.workers_with_plan("1").await;
        Self { versions, fake, mesh, resources, schemas: Schemas::read() }
    }

    /// The first thing that is wrong with resources, as the schemas, Istio, Envoy or requests say it.
    async fn wrong(&mut self, resources: &[Value]) -> Option<String> {
        let problems: Vec<String> =
            resources.iter().filter_map(|resource| self.schemas.problems(resource)).flatten().collect();
        if !problems.is_empty() {
            return Some(problems.join("\n"));
        }
        let from = self.mesh.istiod.log().len();
        if let Err(refused) = self.mesh.put(resources).await {
            return Some(refused);
        }
        let missing = self.not_delivered(resources).await;
        if missing.is_none()
            && let Err(wrong) = self.requests().await
        {
            return Some(wrong);
        }
        // The proxy's word of a refusal may come a little later than the routes that came with it; and a WasmPlugin comes after
        // all else.
        let until = tokio::time::Instant::now() + Duration::from_secs(3);
        while tokio::time::Instant::now() < until {
            let refusals = self.mesh.istiod.refusals(from);
            if !refusals.is_empty() {
                return Some(refusals.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        missing
    }

    /// A field of an EnvoyFilter's patch that is not in Envoy's configuration: Istio leaves out what it does not know, in silence.
    /// (A patch that no listener has is for the requests to show.)
    async fn not_delivered(&self, resources: &[Value]) -> Option<String> {
        let patch = resources.iter().map(|resource| &resource["spec"]["configPatches"][0]["patch"]["value"]);
        let patch = patch.into_iter().find(|patch| patch.is_object())?;
        let dump = self.mesh.envoy.admin_get("/config_dump?resource=dynamic_listeners").await.expect("the listeners");
        let dump: Value = serde_json::from_str(&dump).expect("JSON");
        let filters = dump["configs"].as_array()?.iter().filter_map(|listener| {
            let chain = &listener["active_state"]["listener"]["filter_chains"][0];
            chain["filters"][0]["typed_config"]["http_filters"].as_array()
        });
        filters
            .flatten()
            .filter(|filter| filter["name"] == patch["name"])
            .find_map(|filter| first_missing(patch, filter, ""))
    }

    /// Sends requests: each version must get a part of those that are split, the baseline all others, and the controller
    /// must count for each version what it saw.
    async fn requests(&mut self) -> Result<(), String> {
        let host = self.mesh.site.host();
        let counted = |scene: &Self| NAMES.map(|name| scene.fake.counts(host, name).completed);
        let seen = |scene: &Self| [0, 1, 2].map(|at: usize| scene.versions[at].requests_for("/in"));
        let (counted_before, seen_before) = (counted(self), seen(self));
        for mut client in self.mesh.connect().await {
            for _ in 0..15 {
                let reply = client.get("/in", &[("host", host)]).await;
                if reply.status != 200 {
                    return Err(format!("a request is answered {}: {}", reply.status, reply.text()));
                }
            }
            let reply = client.get("/", &[("host", host)]).await;
            if reply.version() != "v1" {
                return Err(format!("what is in no experiment goes to `{}` ({})", reply.version(), reply.status));
            }
        }
        let saw = seen(self);
        for at in 0..NAMES.len() {
            if saw[at] == seen_before[at] {
                return Err(format!("{} gets no requests", NAMES[at]));
            }
        }
        let as_seen = |scene: &Self| {
            let counted = counted(scene);
            (0..NAMES.len()).all(|at| counted[at] - counted_before[at] == saw[at] - seen_before[at])
        };
        let until = tokio::time::Instant::now() + Duration::from_secs(3);
        while !as_seen(self) {
            if tokio::time::Instant::now() > until {
                return Err(format!(
                    "{:?} were counted before, {:?} now; seen {seen_before:?}, {saw:?}",
                    counted_before,
                    counted(self)
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Breaks the resources at each place, and sees that it is seen, with the word.
    async fn each_is_seen(&mut self, cases: &[(&str, &str, Value, &str)]) {
        assert_eq!(self.requests().await, Ok(()), "the resources as they are rendered");
        for (kind, pointer, value, word) in cases {
            let mut broken = self.resources.clone();
            let resource = broken.iter_mut().find(|resource| resource["kind"] == *kind).unwrap();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = resource.pointer_mut(parent).unwrap_or_else(|| panic!("{kind} has no {parent}"));
            match (parent, field.parse::<usize>()) {
                (Value::Array(list), Ok(at)) => list[at] = value.clone(),
                (fields, _) => fields[field] = value.clone(),
            }
            assert_ne!(broken, self.resources, "{kind}{pointer}: nothing is broken");
            let wrong = self.wrong(&broken).await;
            let wrong = wrong.unwrap_or_else(|| panic!("{kind}{pointer} = {value} is not seen to be wrong"));
            assert!(wrong.contains(word), "{kind}{pointer} = {value}: expected `{word}`, not\n{wrong}");
            let resources = self.resources.clone();
            self.mesh.put(&resources).await.unwrap();
            self.mesh.workers_with_plan("1").await;
        }
        // Once what could not be reported in between has come.
        eventually(PATIENCE, "the resources work again as they were rendered", async || self.requests().await.ok())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_host_subset_port_or_field_shows_in_a_sidecar() {
    let mut scene = Scene::start(Place::Sidecar, Delivery::EnvoyFilter).await;
    let plugin = "/spec/configPatches/0/patch/value/typed_config/config";
    let elsewhere =
        json!({"controller": {"cluster": format!("outbound|9||{}", Site::CONTROLLER), "reportInterval": "100ms"}});
    let misspelt = json!({"controller": {"cluster": scene.mesh.site.controller_cluster(), "reportIntervall": "100ms"}});
    scene
        .each_is_seen(&[
            ("VirtualService", "/spec/hosts/0", json!("shop.other.svc.cluster.local"), ANY),
            ("VirtualService", "/spec/http/1/route/0/destination/host", json!("shop.other.svc.cluster.local"), "503"),
            ("VirtualService", "/spec/http/1/route/0/destination/subset", json!("v22"), "503"),
            ("VirtualService", "/spec/http/1/route/0/destination/subset", json!("v3"), "v2 gets no requests"),
            ("VirtualService", "/spec/http/1/route/0/destination/port", json!({"number": 9}), "503"),
            (
                "VirtualService",
                "/spec/http/1/match/0/headers",
                json!({"x-version": {"exact": "v2"}}),
                "v2 gets no requests",
            ),
            ("VirtualService", "/spec/http/1/match/0/headers/x-weir-version/exact", json!("V2"), "v2 gets no requests"),
            ("VirtualService", "/spec/http/3/route/0/destination/subset", json!("v2"), "in no experiment goes to `v2`"),
            ("VirtualService", "/spec/gateways/0", json!("shop/gateway"), ANY),
            ("VirtualService", "/spec/http/1/timeouts", json!("1s"), "'timeouts'"),
            ("DestinationRule", "/spec/host", json!("shop.other.svc.cluster.local"), "503"),
            ("DestinationRule", "/spec/subsets/1/labels/version", json!("v22"), "503"),
            ("DestinationRule", "/spec/subsets/1/name", json!("v22"), "503"),
            ("EnvoyFilter", "/spec/workloadSelector/labels/app", json!("front"), "v2 gets no requests"),
            ("EnvoyFilter", "/spec/configPatches/0/match/context", json!("GATEWAY"), "v2 gets no requests"),
            ("EnvoyFilter", "/spec/configPatches/0/match/context", json!("OUTBOUND"), "OUTBOUND"),
            ("EnvoyFilter", &format!("{plugin}/rootid"), json!("weir"), "rootid"),
            (
                "EnvoyFilter",
                &format!("{plugin}/vm_config/code/local/filename"),
                json!("/no/filter.wasm"),
                "/no/filter.wasm",
            ),
            ("EnvoyFilter", &format!("{plugin}/configuration/value"), json!(misspelt.to_string()), "ACK ERROR"),
            ("EnvoyFilter", &format!("{plugin}/configuration/value"), json!(elsewhere.to_string()), "counted"),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_host_gateway_subset_port_or_field_shows_in_a_gateway() {
    let mut scene = Scene::start(Place::Gateway, Delivery::WasmPlugin).await;
    let elsewhere = format!("outbound|{}||weir.other.svc.cluster.local", scene.mesh.site.controller_port);
    scene
        .each_is_seen(&[
            ("VirtualService", "/spec/hosts/0", json!("shop.other"), "404"),
            ("VirtualService", "/spec/gateways/0", json!("mesh"), "404"),
            ("VirtualService", "/spec/http/1/route/0/destination/host", json!("shop.other.svc.cluster.local"), "50"),
            ("VirtualService", "/spec/http/1/route/0/destination/subset", json!("v22"), "503"),
            ("VirtualService", "/spec/http/1/route/0/destination/port", json!({"number": 9}), "50"),
            ("VirtualService", "/spec/http/3/route/0/destination/subset", json!("v2"), "in no experiment goes to `v2`"),
            ("DestinationRule", "/spec/subsets/1/labels/version", json!("v22"), "503"),
            ("WasmPlugin", "/spec/selector/matchLabels/app", json!("gate"), "v2 gets no requests"),
            ("WasmPlugin", "/spec/match/0/mode", json!("SERVER"), "v2 gets no requests"),
            ("WasmPlugin", "/spec/url", json!("file:///no/filter.wasm"), "/no/filter.wasm"),
            ("WasmPlugin", "/spec/failStrategie", json!("FAIL_OPEN"), "'failStrategie'"),
            ("WasmPlugin", "/spec/pluginConfig/controllers", json!({}), "ACK ERROR"),
            ("WasmPlugin", "/spec/pluginConfig/controller/cluster", json!(elsewhere), "counted"),
        ])
        .await;
}

/// The routes of the shop in the proxy's configuration, in order.
async fn routes(mesh: &Mesh) -> Vec<Value> {
    let dump = mesh.envoy.admin_get("/config_dump?resource=dynamic_route_configs").await.expect("the routes");
    let dump: Value = serde_json::from_str(&dump).expect("JSON");
    let configs = dump["configs"].as_array().unwrap().iter();
    let mut hosts = configs.flat_map(|config| config["route_config"]["virtual_hosts"].as_array().unwrap().clone());
    let host = hosts.find(|host| host["name"].as_str().unwrap().starts_with(Site::SERVICE));
    host.expect("a virtual host of the shop")["routes"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_that_are_there_keep_time_outs_retries_and_mirrors_for_every_version() {
    let mut scene = Scene::start(Place::Sidecar, Delivery::EnvoyFilter).await;
    let (site, audit) = (scene.mesh.site.clone(), Upstream::start("audit").await);
    let to = json!([{"destination": {"host": Site::SERVICE}}]);
    let theirs = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": Site::NAMESPACE},
        "spec": {"hosts": [Site::SERVICE], "http": [
            {"name": "in", "match": [{"uri": {"prefix": "/in"}}], "route": to, "timeout": "7s",
                "retries": {"attempts": 4, "perTryTimeout": "1s", "retryOn": "connect-failure"},
                "mirror": {"host": "audit.shop.svc.cluster.local"}, "mirrorPercentage": {"value": 100}},
            {"route": to},
        ]},
    });
    let other = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "audit", "namespace": Site::NAMESPACE},
        "spec": {"hosts": ["audit.shop.svc.cluster.local"], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": site.port, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": audit.address().port()}}]},
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.yaml");
    std::fs::write(&file, theirs.to_string()).unwrap();
    let mut merged = site.rendered(&site.document(&NAMES, &json!({})), &["--merge", file.to_str().unwrap()]);
    change_plugin(&mut merged, |plugin| plugin["controller"]["reportInterval"] = json!("100ms"));
    merged.push(other);
    scene.mesh.put(&merged).await.unwrap();
    scene.mesh.workers_with_plan("1").await;
    assert_eq!(scene.requests().await, Ok(()));

    let routes = routes(&scene.mesh).await;
    let theirs: Vec<&Value> = routes
        .iter()
        .filter(|route| route["match"]["path_separated_prefix"] == "/in" || route["match"]["prefix"] == "/in")
        .collect();
    assert_eq!(theirs.len(), 4, "one for each version and one without header: {routes:#?}");
    for route in theirs {
        let action = &route["route"];
        assert_eq!(
            (&action["timeout"], &action["retry_policy"]["num_retries"]),
            (&json!("7s"), &json!(4)),
            "{route:#}"
        );
        assert_eq!(action["retry_policy"]["per_try_timeout"], "1s");
        let mirror = action["request_mirror_policies"][0]["cluster"].as_str().unwrap();
        assert!(mirror.ends_with("audit.shop.svc.cluster.local"), "{mirror}");
    }
    let split: u64 = scene.versions.iter().map(|version| version.requests_for("/in")).sum();
    eventually(PATIENCE, "copies arrive", async || holds(audit.requests_for("/in") >= split)).await;
    assert_eq!(audit.requests_for("/in"), split, "a copy of each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_remains_of_a_concluded_experiment_needs_nothing_of_weir() {
    for (place, delivery) in [(Place::Sidecar, Delivery::WasmPlugin), (Place::Gateway, Delivery::EnvoyFilter)] {
        let mut scene = Scene::start(place, delivery).await;
        let site = scene.mesh.site.clone();
        let remains = site.rendered(&site.document(&NAMES, &json!({})), &["--outcome", "v2"]);
        scene.mesh.put(&remains).await.unwrap();
        scene.fake.stop().await;
        let listeners = scene.mesh.envoy.admin_get("/config_dump?resource=dynamic_listeners").await.unwrap();
        assert!(!listeners.contains("weir"), "{listeners}");
        for mut client in scene.mesh.connect().await {
            // Nobody routes by header any more.
            for headers in [&[("host", site.host())][..], &[("host", site.host()), ("x-weir-version", "v1")]] {
                assert_eq!(client.get("/in", headers).await.version(), "v2");
                assert_eq!(client.get("/", headers).await.version(), "v2");
            }
        }
    }
}

/// A caller that is to know its own namespace alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_may_not_know_the_controller_knows_it_once_its_scope_is_extended() {
    let mut scene = Scene::start(Place::Sidecar, Delivery::WasmPlugin).await;
    let site = scene.mesh.site.clone();
    let scope = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": "frontend", "namespace": Site::NAMESPACE},
        "spec": {"workloadSelector": {"labels": {"app": "frontend"}}, "egress": [{"hosts": ["./*"]}]},
    });
    let narrow = [&scene.resources[..], std::slice::from_ref(&scope)].concat();
    scene.mesh.put(&narrow).await.unwrap();
    let wrong = scene.requests().await.expect_err("the controller cannot be reached");
    assert!(wrong.contains("counted"), "{wrong}");

    let routes = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": Site::NAMESPACE},
        "spec": {"hosts": [Site::SERVICE], "http": [{"route": [{"destination": {"host": Site::SERVICE}}]}]},
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("theirs.yaml");
    std::fs::write(&file, format!("---\n{routes}\n---\n{scope}\n")).unwrap();
    let mut merged = site.rendered(&site.document(&NAMES, &json!({})), &["--merge", file.to_str().unwrap()]);
    change_plugin(&mut merged, |plugin| plugin["controller"]["reportInterval"] = json!("100ms"));
    assert!(merged.iter().any(|resource| resource["kind"] == "Sidecar" && *resource != scope), "{merged:#?}");
    scene.mesh.put(&merged).await.unwrap();
    eventually(PATIENCE, "the controller is reached", async || scene.requests().await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_has_only_the_clusters_it_routes_to_has_the_controllers() {
    for delivery in [Delivery::EnvoyFilter, Delivery::WasmPlugin] {
        let mut site = Site::new(Place::Gateway, delivery);
        site.istiod.push(("PILOT_FILTER_GATEWAY_CLUSTER_CONFIG", "true"));
        let mut scene = Scene::of(site).await;
        assert_eq!(scene.requests().await, Ok(()), "{delivery:?}");
        let clusters = scene.mesh.envoy.admin_get("/clusters").await.unwrap();
        // Were it not so, the test would say nothing.
        assert!(!clusters.contains("unrouted.shop.svc.cluster.local"), "the option is in force");
    }
}

/// Answers every request on a port with a file.
async fn serve_file(path: std::path::PathBuf) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let content = std::fs::read(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {}
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
            let _ = stream.write_all(&[head.as_bytes(), &content].concat()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_is_fetched_is_taken_by_its_digest_and_another_leaves_the_baseline() {
    let module = weir_tests::paths::filter().unwrap();
    let digest: String =
        sha2::Sha256::digest(std::fs::read(&module).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut site = Site::new(Place::Gateway, Delivery::WasmPlugin);
    let modules = serve_file(module).await;
    site.modules = Some(modules);
    let url = format!("http://{modules}/weir-filter.wasm");
    let mut scene = Scene::with(site.clone(), &["--module", &url, "--sha256", &digest]).await;
    assert_eq!(scene.requests().await, Ok(()));
    let mut other = scene.resources.clone();
    let plugin = other.iter_mut().find(|resource| resource["kind"] == "WasmPlugin").unwrap();
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_OPEN");
    plugin["spec"]["sha256"] = json!("5".repeat(64));
    let wrong = scene.wrong(&other).await.expect("the digest is another");
    assert!(wrong.contains("v2 gets no requests"), "{wrong}");
}
