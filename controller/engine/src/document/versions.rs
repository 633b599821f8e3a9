//! The versions under comparison: `spec.versions`, their names, the baseline and the headers that route to each.

use super::Problem;
use super::place::{Fields, Place, checked_header_name, not_a_header_name, shown};
use super::strategy::Versions;
use crate::spec::Version;
use weir_core::plan::{Header, MAX_ROUTING_HEADERS, MAX_VERSIONS};

/// The header that routes, where a version names none.
const ROUTING_HEADER: &str = "x-weir-version";

/// The versions, as far as they could be read.
pub(super) struct ReadVersions {
    pub(super) count: usize,
    versions: Vec<Option<Version>>,
    names: Vec<String>,
    baseline: Option<usize>,
}

impl ReadVersions {
    /// Reads `spec.versions`.
    pub(super) fn read(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut read = Self { count: 0, versions: Vec::new(), names: Vec::new(), baseline: None };
        let asked = "two or more versions, as `versions: [{name: v1, baseline: true}, {name: v2}]`";
        let Some(place) = fields.require("versions", asked, problems) else { return read };
        let Some(items) = place.items(2..=MAX_VERSIONS, "a list of versions", problems) else { return read };
        read.count = items.len();
        let mut undecided = false;
        for (index, item) in items.iter().enumerate() {
            read.version(index, item, &mut undecided, problems);
        }
        if read.baseline.is_none() && !undecided && !items.is_empty() {
            let message = "no version is the baseline: add `baseline: true` to the one that serves today";
            place.problem(problems, message);
        }
        read.refuse_same_routes(&items, problems);
        read
    }

    /// One version. `undecided` becomes true when its `baseline` cannot be read.
    fn version(&mut self, index: usize, item: &Place<'_>, undecided: &mut bool, problems: &mut Vec<Problem>) {
        let Some(fields) = item.fields(&["name", "baseline", "headers"], "a version such as `{name: v2}`", problems)
        else {
            *undecided = true;
            self.versions.push(None);
            return;
        };
        let name_place = fields.require("name", "the version's name, as `name: v2`", problems);
        let name = name_place.as_ref().and_then(|place| place.name(problems));
        if let (Some(place), Some(name)) = (&name_place, &name) {
            if self.names.contains(name) {
                place.problem(problems, format!("a version named {} is already above", shown(name)));
            }
            self.names.push(name.clone());
        }
        let mut baseline = false;
        *undecided |= fields.get("baseline").is_none() && fields.mentions("baseline");
        if let Some(place) = fields.get("baseline") {
            match (place.truth(problems), self.baseline) {
                (Some(true), Some(first)) => {
                    place.problem(problems, format!("`spec.versions[{first}]` is the baseline already: keep one"));
                }
                (Some(true), None) => {
                    self.baseline = Some(index);
                    baseline = true;
                }
                (Some(false), _) => {}
                (None, _) => *undecided = true,
            }
        }
        let headers = match fields.get("headers") {
            Some(place) => headers(&place, baseline, problems),
            None => name.clone().map(|value| vec![Header { name: ROUTING_HEADER.to_owned(), value }]),
        };
        self.versions.push(name.zip(headers).map(|(name, headers)| Version { name, headers }));
    }

    /// Two versions with the same headers would be one to Envoy.
    fn refuse_same_routes(&self, items: &[Place<'_>], problems: &mut Vec<Problem>) {
        let sorted = |version: &Version| {
            let mut headers = version.headers.clone();
            headers.sort();
            headers
        };
        for (index, version) in self.versions.iter().enumerate() {
            let Some(version) = version else { continue };
            let same = self
                .versions
                .iter()
                .take(index)
                .flatten()
                .find(|other| other.name != version.name && sorted(other) == sorted(version));
            if let (Some(other), Some(item)) = (same, items.get(index)) {
                let place = item.quiet("headers").unwrap_or_else(|| item.clone());
                let message = format!(
                    "these routing headers are also those of {}: requests could not be told apart",
                    shown(&other.name)
                );
                place.problem(problems, message);
            }
        }
        let names: std::collections::BTreeSet<&str> = self
            .versions
            .iter()
            .flatten()
            .flat_map(|version| &version.headers)
            .map(|header| header.name.as_str())
            .collect();
        if let Some(first) = items.first()
            && names.len() > MAX_ROUTING_HEADERS
        {
            let message = format!(
                "the versions use {} different routing headers; at most {MAX_ROUTING_HEADERS}: each costs every request time",
                names.len()
            );
            first.problem(problems, message);
        }
    }

    /// What a strategy needs to know of them.
    pub(super) fn known(&self) -> Versions<'_> {
        Versions { names: &self.names, count: self.count, baseline: self.baseline.unwrap_or(0) }
    }

    /// Whether a header of this name routes to one of them.
    pub(super) fn routes_by(&self, name: &str) -> bool {
        self.versions.iter().flatten().flat_map(|version| &version.headers).any(|header| header.name == name)
    }

    /// All of them and the baseline's index, if all could be read.
    pub(super) fn whole(self) -> Option<(Vec<Version>, usize)> {
        let versions: Option<Vec<Version>> = self.versions.into_iter().collect();
        versions.zip(self.baseline)
    }
}

fn headers(place: &Place<'_>, baseline: bool, problems: &mut Vec<Problem>) -> Option<Vec<Header>> {
    let entries = place.entries("headers and their values, as `{x-weir-version: v2}`", problems)?;
    if entries.is_empty() && !baseline {
        let message = "only the baseline may go without a routing header: leave `headers` out for the usual one";
        place.problem(problems, message);
        return None;
    }
    if entries.len() > MAX_ROUTING_HEADERS {
        place.problem(problems, format!("{} headers; at most {MAX_ROUTING_HEADERS}", entries.len()));
        return None;
    }
    let mut headers: Vec<Header> = Vec::with_capacity(entries.len());
    let mut whole = true;
    for entry in entries {
        let value_place = place.entry(entry);
        let name = checked_header_name(&entry.key);
        match &name {
            None => value_place.problem(problems, not_a_header_name(&entry.key)),
            Some(name) if headers.iter().any(|header| header.name == *name) => {
                value_place.problem(problems, format!("the header {} is already there in another case", shown(name)));
                whole = false;
            }
            Some(_) => {}
        }
        let value = value_place.value("a header's value", problems);
        match name.zip(value) {
            Some((name, value)) => headers.push(Header { name, value: value.to_owned() }),
            None => whole = false,
        }
    }
    whole.then_some(headers)
}
