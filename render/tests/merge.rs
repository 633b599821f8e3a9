//! What is the user's stays, what is ours comes and goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use weir_engine::document;
use weir_engine::spec::Experiment;
use weir_render::yaml::Yaml;
use weir_render::{Options, Printed, Refused, Rendered, istio};

fn experiment(versions: &str) -> Experiment {
    let text = format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {{name: pay}}\nspec:\n  service: pay\n  match: {{hosts: [pay]}}\n  \
         versions: {versions}\n  strategy: ab\n  reward: {{responseHeader: x-r, direction: maximize}}\n"
    );
    document::read(&text).unwrap().remove(0)
}

fn two() -> Experiment {
    experiment("[{name: v1, baseline: true}, {name: v2}]")
}

fn options() -> Options {
    Options { namespace: "shop".to_owned(), ..Options::default() }
}

fn routes(http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: pay, namespace: shop}}\nspec:\n  hosts: [pay]\n  http:\n{http}"
    )
}

fn merged(text: &str) -> Rendered {
    istio::running(&two(), &options(), Some(text)).unwrap()
}

fn kept<'a>(rendered: &'a Rendered, kind: &str) -> &'a Yaml {
    let found = rendered.resources.iter().find_map(|resource| match resource {
        Printed::Kept(value) if value.text_at(&["kind"]) == Some(kind) => Some(value),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no {kind}"))
}

fn names(rendered: &Rendered) -> Vec<String> {
    let http = kept(rendered, "VirtualService").items_at(&["spec", "http"]);
    http.iter().map(|route| route.text_at(&["name"]).unwrap_or("-").to_owned()).collect()
}

fn refused(text: &str, options: &Options) -> String {
    istio::running(&two(), options, Some(text)).unwrap_err().to_string()
}

const PLAIN: &str = "    - route: [{destination: {host: pay}}]\n";

#[test]
fn extending_what_was_extended_changes_nothing() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/istio/routes.yaml");
    let team = std::fs::read_to_string(path).unwrap();
    let text = std::fs::read_to_string(path.replace("routes.yaml", "experiment.yaml")).unwrap();
    let checkout = document::read(&text).unwrap().remove(0);
    for (experiment, text) in [(&checkout, team), (&two(), routes(PLAIN))] {
        let once = istio::running(experiment, &options(), Some(&text)).unwrap().yaml().unwrap();
        let twice = istio::running(experiment, &options(), Some(&once)).unwrap().yaml().unwrap();
        assert_eq!(once, twice);
        let over = istio::concluded(experiment, &options(), 1, Some(&once)).unwrap().yaml().unwrap();
        let again = istio::concluded(experiment, &options(), 1, Some(&over)).unwrap().yaml().unwrap();
        assert_eq!(over, again);
        assert!(!over.contains("name: weir-checkout.") && !over.contains("x-weir-version"), "{over}");
    }
}

#[test]
fn what_is_printed_without_a_file_can_be_extended_too() {
    let printed = istio::running(&two(), &options(), None).unwrap().yaml().unwrap();
    let once = merged(&printed);
    assert_eq!(names(&once), ["weir-pay.v1.weir-pay", "weir-pay.v2.weir-pay", "weir-pay"]);
    assert_eq!(merged(&once.yaml().unwrap()), once);
    let filters = once.resources.iter().filter(|one| matches!(one, Printed::EnvoyFilter(_))).count();
    let others = once
        .resources
        .iter()
        .filter(|one| matches!(one, Printed::Kept(value) if value.text_at(&["kind"]) == Some("EnvoyFilter")));
    assert_eq!((filters, others.count()), (1, 0), "one filter, not two");
}

#[test]
fn routes_to_others_and_those_of_other_experiments_stay_as_they_are() {
    let text = routes(
        "    - name: weir-other.v2.1\n      match: [{headers: {x-o: {exact: v2}}}]\n      route: [{destination: {host: pay, subset: v2}}]\n    \
         - name: cart\n      route: [{destination: {host: cart}}]\n    - name: same-name-elsewhere\n      \
         route: [{destination: {host: pay.other.svc.cluster.local}}]\n    - name: mine\n      route: [{destination: {host: pay.shop}}]\n",
    );
    let rendered = merged(&text);
    assert_eq!(
        names(&rendered),
        ["weir-other.v2.1", "cart", "same-name-elsewhere", "weir-pay.v1.mine", "weir-pay.v2.mine", "mine"]
    );
    let before: Yaml = serde_saphyr::from_str(&text).unwrap();
    let (before, after) =
        (before.items_at(&["spec", "http"]), kept(&rendered, "VirtualService").items_at(&["spec", "http"]));
    assert_eq!(before[..3], after[..3]);
}

#[test]
fn every_match_of_a_route_asks_for_the_header_too() {
    let rendered = merged(&routes(
        "    - match: [{uri: {prefix: /a}}, {uri: {prefix: /b}, headers: {x-t: {exact: t}}}]\n      route: [{destination: {host: pay}}]\n",
    ));
    let copy = &kept(&rendered, "VirtualService").items_at(&["spec", "http"])[1];
    for item in copy.items_at(&["match"]) {
        assert_eq!(item.text_at(&["headers", "x-weir-version", "exact"]), Some("v2"));
    }
    assert_eq!(copy.items_at(&["match"])[1].text_at(&["headers", "x-t", "exact"]), Some("t"));
    assert_eq!(copy.items_at(&["match"])[1].text_at(&["uri", "prefix"]), Some("/b"));
}

#[test]
fn a_route_that_asks_for_another_value_of_the_header_has_no_copy() {
    let rendered = merged(&routes(
        "    - name: mine\n      match: [{headers: {X-Weir-Version: {exact: v2}}}]\n      route: [{destination: {host: pay}}]\n",
    ));
    assert_eq!(names(&rendered), ["weir-pay.v2.mine", "mine"]);
    let rendered = merged(&routes(
        "    - name: mine\n      match: [{withoutHeaders: {x-weir-version: {}}}]\n      route: [{destination: {host: pay}}]\n",
    ));
    assert_eq!(names(&rendered), ["mine"]);
}

#[test]
fn a_version_with_all_headers_of_another_comes_before_it() {
    let experiment = experiment(
        "[{name: v1, baseline: true, headers: {a: x, b: y, c: z}}, {name: v2, headers: {a: x}}, {name: v3, headers: {a: x, b: y}}]",
    );
    let rendered = istio::running(&experiment, &options(), Some(&routes(PLAIN))).unwrap();
    assert_eq!(names(&rendered), ["weir-pay.v1.1", "weir-pay.v3.1", "weir-pay.v2.1", "-"]);
}

#[test]
fn destinations_elsewhere_keep_their_share() {
    let rendered = merged(&routes(
        "    - route:\n        - {destination: {host: pay, subset: a}, weight: 30}\n        - {destination: {host: legacy}, weight: 50}\n        \
         - {destination: {host: pay, subset: b}, weight: 20}\n",
    ));
    let http = kept(&rendered, "VirtualService").items_at(&["spec", "http"]);
    for (route, subset) in http.iter().zip(["v1", "v2", "v1"]) {
        let to: Vec<_> = route
            .items_at(&["route"])
            .iter()
            .map(|to| {
                (
                    to.text_at(&["destination", "host"]),
                    to.text_at(&["destination", "subset"]),
                    to.get("weight").and_then(Yaml::whole),
                )
            })
            .collect();
        assert_eq!(to, [(Some("pay"), Some(subset), Some(50)), (Some("legacy"), None, Some(50))]);
    }
    let told = |rendered: &Rendered, what: &str| rendered.notes.iter().any(|note| note.contains(what));
    assert!(told(&rendered, "divided traffic") && !told(&rendered, "`headers`"), "{:?}", rendered.notes);
    let rendered = merged(&routes(
        "    - route:\n        - {destination: {host: pay, subset: a}, weight: 90}\n        \
         - {destination: {host: pay, subset: b}, weight: 10, headers: {request: {set: {x-canary: 'yes'}}}}\n",
    ));
    assert!(told(&rendered, "`headers`"), "{:?}", rendered.notes);
}

#[test]
fn what_the_server_wrote_is_nothing_for_git() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  metadata:\n    name: pay\n    \
                namespace: shop\n    uid: x\n    resourceVersion: '7'\n    annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}\n  \
                spec: {hosts: [pay], http: [{route: [{destination: {host: pay}}], later: {unknown: [1, two]}}]}\n  status: {ok: true}\n";
    let rendered = merged(text);
    let kept = kept(&rendered, "VirtualService");
    let metadata = Yaml::map([("name", Yaml::text("pay")), ("namespace", Yaml::text("shop"))]);
    assert_eq!((kept.get("metadata"), kept.get("status")), (Some(&metadata), None));
    for route in kept.items_at(&["spec", "http"]) {
        assert_eq!(
            route.items_at(&["later", "unknown"]),
            [Yaml::Integer(1), Yaml::text("two")],
            "what is not known stays"
        );
    }
}

#[test]
fn a_subset_of_ours_that_others_name_stays() {
    let text = format!(
        "{}    - name: other\n      match: [{{uri: {{prefix: /old}}}}]\n      mirror: {{host: pay, subset: v1}}\n      route: [{{destination: {{host: cart}}}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: pay, namespace: shop}}\nspec: {{host: pay}}\n",
        routes(PLAIN)
    );
    let during = merged(&text);
    assert_eq!(kept(&during, "DestinationRule").items_at(&["spec", "subsets"]).len(), 2);
    let over = istio::concluded(&two(), &options(), 1, Some(&during.yaml().unwrap())).unwrap();
    let subsets = kept(&over, "DestinationRule").items_at(&["spec", "subsets"]);
    let names: Vec<_> = subsets.iter().filter_map(|subset| subset.text_at(&["name"])).collect();
    assert_eq!(names, ["v1", "v2"], "v1 is mirrored to");
    assert_eq!(kept(&over, "DestinationRule").at(&["metadata", "annotations"]), None);
}

#[test]
fn a_file_that_cannot_be_extended_is_refused_with_what_to_do() {
    let cart = routes("    - route: [{destination: {host: cart}}]\n");
    assert!(refused(&cart, &options()).contains("--host"), "{}", refused(&cart, &options()));
    assert!(refused("a: [", &options()).contains("no YAML"));
    assert!(refused("spec: {}", &options()).contains("`kind`"));
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: pay, namespace: shop}\n\
                spec: {host: pay, subsets: [{name: v2, labels: {version: other}}]}\n";
    let text = format!("{}{rule}", routes(PLAIN));
    assert!(refused(&text, &options()).contains("--labels v2="), "{}", refused(&text, &options()));
    let labels = BTreeMap::from([("version".to_owned(), "other".to_owned())]);
    let told = Options { labels: BTreeMap::from([("v2".to_owned(), labels)]), ..options() };
    assert!(istio::running(&two(), &told, Some(&text)).is_ok());
}

#[test]
fn a_document_that_matches_every_host_is_refused() {
    let mut experiment = two();
    for hosts in [vec![], vec!["*".to_owned()]] {
        experiment.matching.hosts = hosts;
        let error = istio::running(&experiment, &options(), None).unwrap_err();
        assert!(matches!(&error, Refused::Options(text) if text.contains("hosts: [pay, pay.shop, ")), "{error}");
    }
}

#[test]
fn what_is_asked_for_and_cannot_be_is_refused() {
    let labels = BTreeMap::from([("v9".to_owned(), BTreeMap::new())]);
    let gateway = weir_render::Place::Gateway;
    let many = (0..16).map(|number| format!("x-{number}")).collect();
    let star = || vec!["*".to_owned()];
    for (options, says) in [
        (Options { namespace: "shop\nkind: Other".to_owned(), ..options() }, "--namespace"),
        (Options { caller_namespace: Some(String::new()), ..options() }, "--caller-namespace"),
        (Options { routing_headers: vec!["x y".to_owned()], ..options() }, "routingHeaders"),
        (Options { routing_headers: many, ..options() }, "routingHeaders"),
        (Options { port: Some(0), ..options() }, "--port"),
        (Options { controller_host: "weir".to_owned(), ..options() }, "--controller"),
        (Options { controller_host: "weir.weir.svc".to_owned(), ..options() }, "--controller"),
        (Options { module: "weir-filter.wasm".to_owned(), ..options() }, "--module"),
        (Options { module: "ftp://example/weir-filter.wasm".to_owned(), ..options() }, "--module"),
        (Options { service_accounts: star(), ..options() }, "--service-account"),
        (Options { operators: star(), ..options() }, "--operator"),
        (Options { gateways: vec!["a/b/".to_owned()], ..options() }, "--gateway"),
        (Options { workload: BTreeMap::from([("app".to_owned(), "a b".to_owned())]), ..options() }, "--workload"),
        (Options { workload: BTreeMap::from([("a/b/c".to_owned(), "a".to_owned())]), ..options() }, "--workload"),
        (Options { subset_label: "-x".to_owned(), ..options() }, "--subset-label"),
        (Options { labels, ..options() }, "no version `v9`"),
        (Options { place: gateway, ..options() }, "--gateway"),
        (Options { place: weir_render::Place::Waypoint, ..options() }, "--filter wasmplugin"),
        (Options { host: Some("a_b".to_owned()), ..options() }, "--host"),
    ] {
        let error = istio::running(&two(), &options, None).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // A header's name has no case; the filter knows small letters.
    let header = Options { routing_headers: vec!["X-Other".to_owned()], ..options() };
    let printed = istio::running(&two(), &header, None).unwrap().yaml().unwrap();
    assert!(printed.contains("\"x-other\"") && !printed.contains("X-Other"), "{printed}");
}

#[test]
fn a_sidecar_that_knows_the_controller_stays_as_it_is() {
    let controller = "weir/weir.weir.svc.cluster.local";
    for (hosts, added) in [
        ("['./*', 'istio-system/*']", true),
        ("['*/*']", false),
        ("['weir/*']", false),
        ("['*/weir.weir.svc.cluster.local']", false),
        ("['weir/*.weir.svc.cluster.local']", false),
        ("['other/weir.weir.svc.cluster.local']", true),
    ] {
        let sidecar = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s, namespace: shop}}\nspec:\n  egress:\n  \
             - {{port: {{number: 9080}}, hosts: ['./cart']}}\n  - hosts: {hosts}\n"
        );
        let rendered = merged(&format!("{}{sidecar}", routes(PLAIN)));
        let egress = kept(&rendered, "Sidecar").items_at(&["spec", "egress"]);
        assert_eq!(egress[0].items_at(&["hosts"]).len(), 1, "a port of its own");
        assert_eq!(egress[1].items_at(&["hosts"]).contains(&Yaml::text(controller)), added, "{hosts}");
    }
    // Those of one port are for services of this port.
    for (port, told) in [(9080, true), (8181, false)] {
        let sidecar = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s, namespace: shop}}\nspec:\n  egress:\n  \
             - {{port: {{number: {port}}}, hosts: ['*/*']}}\n"
        );
        let rendered = merged(&format!("{}{sidecar}", routes(PLAIN)));
        let egress = kept(&rendered, "Sidecar").items_at(&["spec", "egress"]);
        assert_eq!(egress.iter().map(|listener| listener.items_at(&["hosts"]).len()).collect::<Vec<_>>(), [1]);
        assert_eq!(rendered.notes.iter().any(|note| note.contains("Sidecar s has no listener")), told, "{port}");
    }
}

#[test]
fn a_route_that_asks_for_the_header_in_another_way_has_copies_of_the_versions_that_fit() {
    for (asks, has) in [
        ("headers: {x-weir-version: {prefix: v}}", &["weir-pay.v1.mine", "weir-pay.v2.mine", "mine"][..]),
        ("headers: {x-weir-version: {}}", &["weir-pay.v1.mine", "weir-pay.v2.mine", "mine"]),
        ("headers: {x-weir-version: {prefix: v2}}", &["weir-pay.v2.mine", "mine"]),
        ("withoutHeaders: {X-Weir-Version: {exact: v1}}", &["weir-pay.v2.mine", "mine"]),
        ("headers: {x-weir-version: {regex: 'v[12]'}}", &["mine"]),
    ] {
        let rendered = merged(&routes(&format!(
            "    - name: mine\n      match: [{{{asks}}}]\n      route: [{{destination: {{host: pay}}}}]\n"
        )));
        assert_eq!(names(&rendered), has, "{asks}");
        assert_eq!(rendered.notes.iter().any(|note| note.contains("by a regex")), asks.contains("regex"), "{asks}");
        for route in kept(&rendered, "VirtualService").items_at(&["spec", "http"]) {
            let version = route.items_at(&["route"])[0].text_at(&["destination", "subset"]);
            if route.text_at(&["name"]) != Some("mine") {
                let headers = route.items_at(&["match"])[0].get("headers").unwrap();
                assert_eq!(headers.text_at(&["x-weir-version", "exact"]), version, "{asks}");
            }
        }
    }
}

#[test]
fn the_order_in_which_experiments_are_merged_changes_nothing() {
    let pay = two();
    let other = Experiment { name: "zoo".to_owned(), ..two() };
    let then = |experiment: &Experiment, text: &str| {
        istio::running(experiment, &options(), Some(text)).unwrap().yaml().unwrap()
    };
    let text = routes(&format!("    - route: [{{destination: {{host: cart}}}}]\n{PLAIN}{PLAIN}"));
    let one = then(&other, &then(&pay, &text));
    let routes = |text: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("- name: weir-"));
        lines.filter(|name| name.contains('.')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        routes(&one),
        ["pay.v1.2", "pay.v2.2", "zoo.v1.2", "zoo.v2.2", "pay.v1.3", "pay.v2.3", "zoo.v1.3", "zoo.v2.3"]
    );
    assert_eq!(then(&pay, &one), one);
    assert_eq!(routes(&then(&pay, &then(&other, &text))), routes(&one));
}

#[test]
fn numbers_stay_what_kubernetes_reads() {
    let text = format!("{}---\nkind: Other\nmode: 0440\nport: 8080\ntext: '0440'\n", routes(PLAIN));
    let rendered = merged(&text);
    let other = kept(&rendered, "Other");
    assert_eq!(other.get("mode"), Some(&Yaml::Integer(0o440)));
    assert_eq!((other.get("port"), other.text_at(&["text"])), (Some(&Yaml::Integer(8080)), Some("0440")));
}

#[test]
fn a_version_that_kubernetes_or_istio_cannot_tell_is_refused() {
    for (versions, says) in [
        ("[{name: v1, baseline: true}, {name: v2+b}]", "--labels v2+b=LABEL=VALUE"),
        ("[{name: v1, baseline: true}, {name: v2, headers: {method: a}}]", "routing header `method`"),
    ] {
        let error = istio::running(&experiment(versions), &options(), None).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let labels = BTreeMap::from([("version".to_owned(), "v2-b".to_owned())]);
    let told = Options { labels: BTreeMap::from([("v2+b".to_owned(), labels)]), ..options() };
    assert!(istio::running(&experiment("[{name: v1, baseline: true}, {name: v2+b}]"), &told, None).is_ok());
}

#[test]
fn what_belongs_to_other_callers_has_another_name() {
    let of = |namespace: &str, workload: &[(&str, &str)]| {
        let labels = workload.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = Options { namespace: namespace.to_owned(), workload: labels.collect(), ..options() };
        let rendered = istio::running(&two(), &options, None).unwrap();
        let mut names = rendered.resources.iter().filter_map(Printed::identity);
        let mut name =
            |kind: &str| names.by_ref().find(|one| one.0 == kind).map(|one| format!("{} {}", one.1, one.2)).unwrap();
        (name("EnvoyFilter"), name("AuthorizationPolicy"))
    };
    let (filter, policy) = of("shop", &[("app", "web-front")]);
    assert_eq!((filter.as_str(), policy.as_str()), ("shop weir-web-front", "weir weir-proxies-shop.web-front"));
    assert_ne!(of("shop-web", &[("app", "front")]).1, policy);
    let (long, same) = (format!("{}a", "x".repeat(60)), format!("{}b", "x".repeat(60)));
    assert_ne!(of(&long, &[]).1, of(&same, &[]).1);
    let (one, two) = (of("shop", &[("app", "web"), ("tier", "a")]), of("shop", &[("app", "web"), ("tier", "b")]));
    assert!(one.0 != two.0 && one.1 != two.1, "{one:?} {two:?}");
}
