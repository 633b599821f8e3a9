//! The subsets of a `DestinationRule`.

use super::{called, namespace};
use crate::istio::Mesh;
use crate::yaml::Yaml;
use crate::{Refused, host};
use std::collections::BTreeMap;

/// Which of its subsets are ours: `EXPERIMENT.SUBSET`, with commas between them.
const OURS: &str = "weir.dev/subsets";

/// Whether a rule is about the service.
pub(super) fn is_about(document: &Yaml, mesh: &Mesh<'_>) -> bool {
    let namespace = namespace(document, mesh);
    document.text_at(&["spec", "host"]).is_some_and(|host| host::same(host, namespace, &mesh.host))
}

/// Takes the names of the subsets that are the versions' already.
///
/// # Errors
/// When a subset has the name of a version's, and other labels.
pub(super) fn adopt(document: &Yaml, mesh: &mut Mesh<'_>) -> Result<(), Refused> {
    let subsets = document.items_at(&["spec", "subsets"]);
    for (version, name) in mesh.experiment.versions.iter().map(|version| &version.name).enumerate() {
        let labels = mesh.options.labels_of(name);
        let named = |subset: &Yaml| subset.text_at(&["name"]).map(str::to_owned);
        if let Some(known) = subsets.iter().find(|subset| has_labels(subset, &labels)).and_then(named) {
            if let Some(subset) = mesh.subsets.get_mut(version) {
                *subset = known;
            }
        } else if subsets.iter().any(|subset| subset.text_at(&["name"]) == Some(mesh.subset(version))) {
            return Err(Refused::merge(format!(
                "{} has a subset `{}` with other labels than version {name} has: say which workloads are {name}'s with --labels {name}=LABEL=VALUE, \
                 or --subset-label LABEL",
                called(document),
                mesh.subset(version),
            )));
        }
    }
    Ok(())
}

fn has_labels(subset: &Yaml, labels: &BTreeMap<String, String>) -> bool {
    let Some(Yaml::Map(known)) = subset.get("labels") else { return false };
    known.len() == labels.len()
        && known.iter().all(|(name, value)| match value {
            Yaml::Text(value) => labels.get(name) == Some(value),
            _ => false,
        })
}

/// Adds the subsets that are missing; of an outcome that one, and takes out those of ours that no route names.
pub(super) fn extend(document: &mut Yaml, mesh: &Mesh<'_>, outcome: Option<usize>, used: &[String]) {
    let experiment = &mesh.experiment.name;
    let mut ours: Vec<String> = document
        .text_at(&["metadata", "annotations", OURS])
        .map_or_else(Vec::new, |text| text.split(',').map(|name| name.trim().to_owned()).collect());
    let wanted: Vec<usize> =
        (0..mesh.subsets.len()).filter(|version| outcome.is_none_or(|outcome| outcome == *version)).collect();
    let Some(subsets) = document.get_mut("spec").and_then(|spec| spec.list_mut("subsets")) else { return };
    for version in wanted {
        let name = mesh.subset(version);
        if subsets.iter().any(|subset| subset.text_at(&["name"]) == Some(name)) {
            continue;
        }
        let version = mesh.experiment.version_name(version);
        let labels = mesh.options.labels_of(version).into_iter().map(|(name, value)| (name, Yaml::Text(value)));
        subsets.push(Yaml::map([("name", Yaml::text(name)), ("labels", Yaml::Map(labels.collect()))]));
        ours.push(format!("{experiment}.{name}"));
    }
    if outcome.is_some() {
        let prefix = format!("{experiment}.");
        let gone =
            |mark: &String| mark.strip_prefix(&prefix).is_some_and(|subset| !used.iter().any(|used| used == subset));
        subsets.retain(|subset| {
            subset
                .text_at(&["name"])
                .is_none_or(|name| !ours.iter().any(|mark| gone(mark) && *mark == format!("{prefix}{name}")))
        });
        // What stays is the user's from now on.
        ours.retain(|mark| !mark.starts_with(&prefix));
    }
    mark(document, &ours);
}

/// Notes which subsets are ours.
fn mark(document: &mut Yaml, ours: &[String]) {
    if document.get("metadata").is_none() {
        document.set("metadata", Yaml::Map(Vec::new()));
    }
    let Some(metadata) = document.get_mut("metadata") else { return };
    if ours.is_empty() {
        if let Some(annotations) = metadata.get_mut("annotations")
            && annotations.remove(OURS).is_some()
            && *annotations == Yaml::Map(Vec::new())
        {
            metadata.remove("annotations");
        }
        return;
    }
    if !matches!(metadata.get("annotations"), Some(Yaml::Map(_))) {
        metadata.set("annotations", Yaml::Map(Vec::new()));
    }
    if let Some(annotations) = metadata.get_mut("annotations") {
        annotations.set(OURS, Yaml::Text(ours.join(",")));
    }
}
