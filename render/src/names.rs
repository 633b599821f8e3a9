//! Names of what is printed: subsets, routes, resources.

use weir_engine::spec::Experiment;

/// Longest label of a name in Kubernetes.
const LONGEST: usize = 63;

/// A text as a DNS label: Istio takes nothing else for a subset's name, nor Kubernetes for a resource's. What is no
/// lower-case letter, digit or dash becomes a dash.
#[must_use]
pub fn label(text: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = text.chars().map(fine).collect();
    let label = label.trim_matches('-');
    let label: String = label.chars().take(LONGEST).collect();
    let label = label.trim_end_matches('-');
    if label.is_empty() { "version".to_owned() } else { label.to_owned() }
}

/// The subset of each version: its name as a label, with a number where two would be the same.
#[must_use]
pub fn subsets(experiment: &Experiment) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for version in &experiment.versions {
        let base = label(&version.name);
        let numbered = |number: usize| {
            let number = number.to_string();
            let room = LONGEST.saturating_sub(number.len() + 1);
            format!("{}-{number}", base.chars().take(room).collect::<String>())
        };
        let mut name = base.clone();
        let mut number = 2;
        while taken.contains(&name) {
            name = numbered(number);
            number += 1;
        }
        taken.push(name);
    }
    taken
}

/// The versions that have routing headers, those with more of them first: who sends all of a version's headers may also
/// send all of another's that has fewer.
#[must_use]
pub fn by_headers(experiment: &Experiment) -> Vec<usize> {
    let count = |version: usize| experiment.versions.get(version).map_or(0, |version| version.headers.len());
    let mut versions: Vec<usize> = (0..experiment.versions.len()).filter(|version| count(*version) > 0).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(count(*version)));
    versions
}

/// Which request headers no client may bring: the usual one, the experiment's, and others.
#[must_use]
pub fn routing_headers(experiment: &Experiment, others: &[String]) -> Vec<String> {
    let mut headers = vec!["x-weir-version".to_owned()];
    let own = experiment.versions.iter().flat_map(|version| &version.headers).map(|header| &header.name);
    for name in own.chain(others).map(|name| name.to_ascii_lowercase()) {
        if !headers.contains(&name) {
            headers.push(name);
        }
    }
    headers
}

/// What the names of an experiment's routes begin with: none of another experiment's do, for no experiment's name has a
/// dot.
#[must_use]
pub fn route_prefix(experiment: &str) -> String {
    format!("weir-{experiment}.")
}

/// The name of an experiment's resource about its service.
#[must_use]
pub fn resource(experiment: &str) -> String {
    format!("weir-{experiment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_subset_by_a_name_that_istio_takes() {
        assert_eq!(
            ["v2", "1.10", "A_b", "--", &"x".repeat(80)].map(label),
            ["v2".to_owned(), "1-10".to_owned(), "a-b".to_owned(), "version".to_owned(), "x".repeat(63)]
        );
    }

    #[test]
    fn versions_whose_names_are_alike_have_subsets_of_their_own() {
        let text = "apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {name: x}\nspec:\n  service: x\n  \
                    versions: [{name: '1.1', baseline: true}, {name: '1-1'}, {name: '1_1'}]\n  \
                    strategy: {ab: {}}\n  reward: {responseHeader: x-r, direction: maximize}\n";
        let experiment = weir_engine::document::read(text).unwrap().remove(0);
        assert_eq!(subsets(&experiment), ["1-1", "1-1-2", "1-1-3"]);
    }
}
