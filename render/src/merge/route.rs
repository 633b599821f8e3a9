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
    let (mut routed, mut number) = (0_usize, 0_usize);
    let mut new = Vec::with_capacity(old.len());
    for mut route in old.into_iter().filter(|route| !own(route)) {
        let name = route.text_at(&["name"]).map(str::to_owned);
        let others = name.as_deref().is_some_and(|name| is_ours(name, None));
        let leads = route
            .items_at(&["route"])
            .iter()
            .any(|to| to.get("destination").is_some_and(|to| leads_to(to, &namespace, mesh)));
        if route.get("delegate").is_some() {
            notes.push(format!("{called} delegates routes to another VirtualService: those are not looked at"));
        }
        // Routes are counted as they are without any experiment, so that one does not change another's names.
        number += usize::from(!others);
        if others || !leads {
            new.push(route);
            continue;
        }
        routed += 1;
        let label = name.unwrap_or_else(|| number.to_string());
        if outcome.is_none() {
            let mut copies = Vec::new();
            for version in names::by_headers(experiment) {
                let headers = experiment.versions.get(version).map_or(&[][..], |version| &version.headers);
                let mut copy = route.clone();
                match add_headers(&mut copy, headers) {
                    Some(true) => {}
                    Some(false) => continue,
                    None => {
                        notes.push(format!(
                            "{called}: route {label} asks for {} by a regex: it has no copy for {}, and leads to the baseline",
                            headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>().join(", "),
                            mesh.subset(version)
                        ));
                        continue;
                    }
                }
                point(&mut copy, &namespace, mesh, version);
                copy.set_first("name", Yaml::Text(format!("{prefix}{}.{label}", mesh.subset(version))));
                copies.push(copy);
            }
            // Among those of other experiments by the experiments' names, so that the order of merging changes nothing.
            let later =
                |route: &&Yaml| route.text_at(&["name"]).is_some_and(|name| is_ours(name, None) && *name > *prefix);
            let at = new.len() - new.iter().rev().take_while(later).count();
            new.splice(at..at, copies);
        }
        let pointed = point(&mut route, &namespace, mesh, outcome.unwrap_or(experiment.baseline));
        if pointed.divided {
            notes.push(format!(
                "{called}: route {label} divided traffic among subsets of {}; it leads to {} alone now, and {}{}",
                mesh.host,
                mesh.subset(outcome.unwrap_or(experiment.baseline)),
                if outcome.is_none() { "the experiment divides it" } else { "the experiment is over" },
                if pointed.lost { "; of their different `headers` the first stays" } else { "" }
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
/// them; `None` where nothing matches, and a regex kept that from being known.
fn add_headers(route: &mut Yaml, headers: &[Header]) -> Option<bool> {
    let matches = route.list_mut("match")?;
    if matches.is_empty() {
        matches.push(Yaml::Map(Vec::new()));
    }
    let mut unknown = false;
    matches.retain_mut(|item| {
        let holds = asks(item, headers);
        unknown |= holds.is_none();
        holds == Some(true) && set_headers(item, headers)
    });
    if matches.is_empty() && unknown { None } else { Some(!matches.is_empty()) }
}

/// Whether a request with these headers has what a match says about them.
fn asks(item: &Yaml, headers: &[Header]) -> Option<bool> {
    let mut known = true;
    for (field, wanted) in [("headers", true), ("withoutHeaders", false)] {
        let Some(Yaml::Map(fields)) = item.get(field) else { continue };
        for (name, pattern) in fields {
            let Some(header) = headers.iter().find(|header| name.eq_ignore_ascii_case(&header.name)) else { continue };
            match fits(pattern, &header.value) {
                Some(fits) if fits == wanted => {}
                Some(_) => return Some(false),
                None => known = false,
            }
        }
    }
    known.then_some(true)
}

/// Whether a value is one that a pattern of Istio's is about; nothing in the pattern: any value. `None` of a regex.
fn fits(pattern: &Yaml, value: &str) -> Option<bool> {
    let part = |name| pattern.text_at(&[name]);
    match (part("exact"), part("prefix"), part("regex")) {
        (Some(exact), _, _) => Some(value == exact),
        (_, Some(prefix), _) => Some(value.starts_with(prefix)),
        (_, _, Some(_)) => None,
        _ => Some(true),
    }
}

/// Has a match ask for exactly these headers.
fn set_headers(item: &mut Yaml, headers: &[Header]) -> bool {
    if !matches!(item.get("headers"), Some(Yaml::Map(_))) {
        item.set("headers", Yaml::Map(Vec::new()));
    }
    let Some(Yaml::Map(known)) = item.get_mut("headers") else { return false };
    for header in headers {
        let exact = Yaml::map([("exact", Yaml::text(&header.value))]);
        match known.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(&header.name)) {
            Some((_, value)) => *value = exact,
            None => known.push((header.name.clone(), exact)),
        }
    }
    true
}

/// What became of a route's destinations.
#[derive(Default)]
struct Pointed {
    /// They were several subsets of the service.
    divided: bool,
    /// These had different operations on headers, of which the first ones stay.
    lost: bool,
}

/// Has a route lead to one version wherever it leads to the service: to one destination per port, with the weight of
/// all of them.
fn point(route: &mut Yaml, namespace: &str, mesh: &Mesh<'_>, version: usize) -> Pointed {
    let mut pointed = Pointed::default();
    let Some(Yaml::List(targets)) = route.get_mut("route") else { return pointed };
    let subset = Yaml::text(mesh.subset(version));
    let mut kept: Vec<Yaml> = Vec::with_capacity(targets.len());
    for mut target in std::mem::take(targets) {
        let Some(to) = target.get_mut("destination").filter(|to| leads_to(to, namespace, mesh)) else {
            kept.push(target);
            continue;
        };
        to.set("subset", subset.clone());
        let to = to.clone();
        match kept.iter_mut().find(|known| known.get("destination").is_some_and(|known| *known == to)) {
            Some(known) => {
                pointed.divided = true;
                pointed.lost |= known.get("headers") != target.get("headers");
                let weight = |target: &Yaml| target.get("weight").and_then(Yaml::whole).unwrap_or(0);
                let sum = weight(known).saturating_add(weight(&target));
                known.set("weight", Yaml::Integer(sum));
            }
            None => kept.push(target),
        }
    }
    *targets = kept;
    pointed
}
