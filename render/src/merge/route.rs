//! The HTTP routes of a `VirtualService`: copies for the versions in front of each that leads to the service.

use super::{called, is_ours, namespace};
use crate::istio::Mesh;
use crate::options::Place;
use crate::yaml::Yaml;
use crate::{Refused, host, names};
use weir_core::plan::Header;

/// Extends the routes of a `VirtualService`. How many of them lead to the service.
pub(super) fn extend(
    document: &mut Yaml,
    mesh: &Mesh<'_>,
    outcome: Option<usize>,
    notes: &mut Vec<String>,
) -> Result<usize, Refused> {
    let called = called(document);
    let namespace = namespace(document, mesh).to_owned();
    check_gateways(document, mesh, &called, notes);
    let Some(spec) = document.get_mut("spec") else {
        return Err(Refused::merge(format!("{called} has no `spec`")));
    };
    let Some(Yaml::List(old)) = spec.get("http").cloned() else { return Ok(0) };
    let experiment = mesh.experiment;
    let prefix = names::route_prefix(&experiment.name);
    let own = |route: &Yaml| route.text_at(&["name"]).is_some_and(|name| is_ours(name, Some(&experiment.name)));
    let mut routed = 0;
    let mut new = Vec::with_capacity(old.len());
    for (number, mut route) in old.into_iter().filter(|route| !own(route)).enumerate() {
        let name = route.text_at(&["name"]).map(str::to_owned);
        let others = name.as_deref().is_some_and(|name| is_ours(name, None));
        let leads = route
            .items_at(&["route"])
            .iter()
            .any(|to| to.get("destination").is_some_and(|to| leads_to(to, &namespace, mesh)));
        if route.get("delegate").is_some() {
            notes.push(format!("{called} delegates routes to another VirtualService: those are not looked at"));
        }
        if others || !leads {
            new.push(route);
            continue;
        }
        routed += 1;
        let label = name.unwrap_or_else(|| (number + 1).to_string());
        if outcome.is_none() {
            for version in names::by_headers(experiment) {
                let headers = experiment.versions.get(version).map_or(&[][..], |version| &version.headers);
                let mut copy = route.clone();
                if !add_headers(&mut copy, headers) {
                    continue;
                }
                point(&mut copy, &namespace, mesh, version);
                copy.set_first("name", Yaml::Text(format!("{prefix}{}.{label}", mesh.subset(version))));
                new.push(copy);
            }
        }
        if point(&mut route, &namespace, mesh, outcome.unwrap_or(experiment.baseline)) {
            notes.push(format!(
                "{called}: route {label} divided traffic among subsets of {}; it leads to {} alone now, and {}",
                mesh.host,
                mesh.subset(outcome.unwrap_or(experiment.baseline)),
                if outcome.is_none() { "the experiment divides it" } else { "the experiment is over" }
            ));
        }
        new.push(route);
    }
    if routed > 0 {
        spec.set("http", Yaml::List(new));
    }
    Ok(routed)
}

/// Whether a destination is the service.
pub(super) fn leads_to(target: &Yaml, namespace: &str, mesh: &Mesh<'_>) -> bool {
    target.text_at(&["host"]).is_some_and(|host| host::same(host, namespace, &mesh.host))
}

/// Routes that the filter's proxies never see would split nothing.
fn check_gateways(document: &Yaml, mesh: &Mesh<'_>, called: &str, notes: &mut Vec<String>) {
    let gateways = document.items_at(&["spec", "gateways"]);
    let has_mesh = gateways.is_empty() || gateways.contains(&Yaml::text("mesh"));
    let only_mesh = gateways.iter().all(|gateway| *gateway == Yaml::text("mesh"));
    match mesh.options.place {
        Place::Sidecar | Place::Waypoint if !has_mesh => {
            notes.push(format!("{called} is for gateways alone: sidecars do not heed it (say --at gateway?)"));
        }
        Place::Gateway if only_mesh => {
            notes.push(format!("{called} is for sidecars alone: no gateway heeds it (say --at sidecar?)"));
        }
        _ => {}
    }
}

/// Asks a route for headers too. Whether a request can still match it: not where it asks for another value of one of
/// them.
fn add_headers(route: &mut Yaml, headers: &[Header]) -> bool {
    let Some(matches) = route.list_mut("match") else { return false };
    if matches.is_empty() {
        matches.push(Yaml::Map(Vec::new()));
    }
    matches.retain_mut(|item| {
        if headers.iter().any(|header| names_of(item.get("withoutHeaders")).contains(&header.name)) {
            return false;
        }
        if !matches!(item.get("headers"), Some(Yaml::Map(_))) {
            item.set("headers", Yaml::Map(Vec::new()));
        }
        let Some(Yaml::Map(known)) = item.get_mut("headers") else { return false };
        headers.iter().all(|header| {
            let exact = Yaml::map([("exact", Yaml::text(&header.value))]);
            match known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&header.name)) {
                Some((_, value)) => *value == exact,
                None => {
                    known.push((header.name.clone(), exact));
                    true
                }
            }
        })
    });
    !matches.is_empty()
}

fn names_of(headers: Option<&Yaml>) -> Vec<String> {
    match headers {
        Some(Yaml::Map(fields)) => fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect(),
        _ => Vec::new(),
    }
}

/// Has a route lead to one version wherever it leads to the service: to one destination per port, with the weight of
/// all of them. Whether it led to several subsets.
fn point(route: &mut Yaml, namespace: &str, mesh: &Mesh<'_>, version: usize) -> bool {
    let Some(Yaml::List(targets)) = route.get_mut("route") else { return false };
    let subset = Yaml::text(mesh.subset(version));
    let mut kept: Vec<Yaml> = Vec::with_capacity(targets.len());
    let mut divided = false;
    for mut target in std::mem::take(targets) {
        let Some(to) = target.get_mut("destination").filter(|to| leads_to(to, namespace, mesh)) else {
            kept.push(target);
            continue;
        };
        to.set("subset", subset.clone());
        let to = to.clone();
        match kept.iter_mut().find(|known| known.get("destination").is_some_and(|known| *known == to)) {
            Some(known) => {
                divided = true;
                let weight = |target: &Yaml| target.get("weight").and_then(Yaml::whole).unwrap_or(0);
                let sum = weight(known).saturating_add(weight(&target));
                known.set("weight", Yaml::Integer(sum));
            }
            None => kept.push(target),
        }
    }
    *targets = kept;
    divided
}
