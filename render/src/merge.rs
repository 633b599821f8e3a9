//! Extending routes that are there already: the user's own `VirtualService`, `DestinationRule` and `Sidecar` keep what
//! they have, and get what the experiment needs.
//!
//! What is ours in them is known again by its name ([`names::route_prefix`]) or by an annotation, so extending what was
//! extended changes nothing, and what is ours can be taken out. Fields that this code does not know stay.

mod route;
mod rule;
mod sidecar;

use crate::istio::{Mesh, routes};
use crate::resource::{Printed, Rendered};
use crate::yaml::Yaml;
use crate::{Refused, names};

/// What the API server writes into resources; nothing of Git's.
const OF_THE_SERVER: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
/// What `kubectl apply` writes.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Extends the resources of a text with an experiment, or with its outcome. The subsets of the mesh become those that
/// are there, where these are the versions'. `delivered`: what is ours alone.
///
/// # Errors
/// When the text cannot be read, has no route to the service, or has a subset of the same name that is another.
pub(crate) fn extend(
    text: &str,
    mesh: &mut Mesh<'_>,
    outcome: Option<usize>,
    delivered: &[Printed],
    rendered: &mut Rendered,
) -> Result<(), Refused> {
    let mut documents = read(text)?;
    // What is printed anyway, or is to be deleted.
    documents.retain(|document| {
        let identity = |path: &[&str]| document.text_at(path).unwrap_or_default();
        let (kind, name) = (identity(&["kind"]), identity(&["metadata", "name"]));
        let namespace = identity(&["metadata", "namespace"]);
        delivered.iter().filter_map(Printed::identity).all(|ours| ours != (kind, namespace, name))
    });
    if text.lines().any(|line| line.trim_start().starts_with('#')) {
        rendered.notes.push("comments of the file that is extended are not kept".to_owned());
    }
    let mut known = false;
    for document in documents.iter().filter(|document| is(document, "DestinationRule")) {
        if rule::is_about(document, mesh) {
            rule::adopt(document, mesh)?;
            known = true;
        }
    }
    let mut routed = 0;
    for document in documents.iter_mut().filter(|document| is(document, "VirtualService")) {
        routed += route::extend(document, mesh, outcome, &mut rendered.notes)?;
    }
    if routed == 0 {
        return Err(Refused::merge(format!(
            "no HTTP route of a VirtualService there leads to {}: give the file that has its routes, or the right --host and --namespace, or leave \
             out --merge",
            mesh.host
        )));
    }
    let used = used_subsets(&documents, mesh);
    for document in documents.iter_mut().filter(|document| is(document, "DestinationRule")) {
        if rule::is_about(document, mesh) {
            rule::extend(document, mesh, outcome, &used);
        }
    }
    // The controller stays in a `Sidecar` when an experiment concludes: others may need it, and it does no harm.
    if outcome.is_none() && !delivered.is_empty() {
        for document in documents.iter_mut().filter(|document| is(document, "Sidecar")) {
            if !sidecar::extend(document, mesh.options) {
                rendered.notes.push(format!(
                    "{} has no listener without a port, so the controller is not added: its proxies need to know {}, port {}",
                    called(document),
                    mesh.options.controller_host,
                    mesh.options.controller_port
                ));
            }
        }
    }
    let mut rules: Vec<Printed> = Vec::new();
    if !known {
        rules.push(Printed::DestinationRule(routes::subsets(mesh, outcome)));
    }
    let (theirs, others): (Vec<Yaml>, Vec<Yaml>) =
        documents.into_iter().partition(|document| is(document, "DestinationRule"));
    rules.splice(0..0, theirs.into_iter().map(Printed::Kept));
    let others: Vec<Printed> = others.into_iter().map(Printed::Kept).collect();
    // Subsets before the routes that name them; and the routes that name them no longer before subsets go.
    let (first, second) = if outcome.is_none() { (rules, others) } else { (others, rules) };
    rendered.resources.extend(first);
    rendered.resources.extend(second);
    Ok(())
}

/// The resources of a text, those of lists one by one, without what the API server adds.
fn read(text: &str) -> Result<Vec<Yaml>, Refused> {
    let documents: Vec<Yaml> = crate::yaml::read_all(text)
        .map_err(|error| Refused::merge(format!("what is to be extended is no YAML that can be read: {error}")))?;
    let mut resources = Vec::new();
    for document in documents {
        match document {
            Yaml::Null => {}
            document if is(&document, "List") => resources.extend(document.items_at(&["items"]).iter().cloned()),
            document => resources.push(document),
        }
    }
    for resource in &mut resources {
        if resource.text_at(&["kind"]).is_none() {
            return Err(Refused::merge("what is to be extended has something without a `kind`: give resources"));
        }
        resource.remove("status");
        if let Some(metadata) = resource.get_mut("metadata") {
            for field in OF_THE_SERVER {
                metadata.remove(field);
            }
            if let Some(annotations) = metadata.get_mut("annotations")
                && annotations.remove(LAST_APPLIED).is_some()
                && *annotations == Yaml::Map(Vec::new())
            {
                metadata.remove("annotations");
            }
        }
    }
    Ok(resources)
}

fn is(document: &Yaml, kind: &str) -> bool {
    document.text_at(&["kind"]) == Some(kind)
}

/// What people call a resource.
fn called(document: &Yaml) -> String {
    let kind = document.text_at(&["kind"]).unwrap_or("?");
    format!("{kind} {}", document.text_at(&["metadata", "name"]).unwrap_or("without a name"))
}

/// The namespace by which a resource's short names are read.
fn namespace<'a>(document: &'a Yaml, mesh: &'a Mesh<'_>) -> &'a str {
    document.text_at(&["metadata", "namespace"]).unwrap_or(&mesh.options.namespace)
}

/// Whether a route is an experiment's, ours or another's.
fn is_ours(name: &str, experiment: Option<&str>) -> bool {
    match experiment {
        Some(experiment) => name.starts_with(&names::route_prefix(experiment)),
        None => name.strip_prefix("weir-").is_some_and(|rest| rest.contains('.')),
    }
}

/// The subsets of the service that some route names.
fn used_subsets(documents: &[Yaml], mesh: &Mesh<'_>) -> Vec<String> {
    let mut used = Vec::new();
    for document in documents.iter().filter(|document| is(document, "VirtualService")) {
        let namespace = namespace(document, mesh);
        for protocol in ["http", "tcp", "tls"] {
            for route in document.items_at(&["spec", protocol]) {
                let mirrors = route.items_at(&["mirrors"]).iter().filter_map(|mirror| mirror.get("destination"));
                let targets = route.items_at(&["route"]).iter().filter_map(|to| to.get("destination"));
                for target in targets.chain(mirrors).chain(route.get("mirror")) {
                    if let Some(subset) = target.text_at(&["subset"])
                        && route::leads_to(target, namespace, mesh)
                    {
                        used.push(subset.to_owned());
                    }
                }
            }
        }
    }
    used
}
