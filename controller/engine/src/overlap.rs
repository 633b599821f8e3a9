//! Whether two experiments could match the same request. Conservative: where it is not certain that they cannot, they can.

use crate::spec::Experiment;
use weir_core::plan::{HeaderMatch, Match, PathMatch};

/// Two experiments that could match the same request, and nothing says which of them has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{first} and {second} could match the same request, and both have priority {priority}: give one of them a `match` that the \
     other has not, or another `priority` (the higher one has the request)"
)]
pub struct Overlap {
    /// One experiment's name.
    pub first: String,
    /// The other's.
    pub second: String,
    /// What both have.
    pub priority: i32,
}

/// Refuses two experiments that overlap with the same priority.
///
/// # Errors
/// [`Overlap`].
pub fn refuse_overlap(first: &Experiment, second: &Experiment) -> Result<(), Overlap> {
    if first.priority != second.priority || !may_overlap(&first.matching, &second.matching) {
        return Ok(());
    }
    Err(Overlap { first: first.name.clone(), second: second.name.clone(), priority: first.priority })
}

/// The order of experiments in a plan, of which the first that matches a request has it: by priority, the highest first, then by
/// age. To be sorted by; `created_at` in Unix milliseconds.
#[must_use]
pub const fn rank(experiment: &Experiment, created_at: u64) -> (i64, u64) {
    // Negated in a wider type: no priority overflows.
    (-(experiment.priority as i64), created_at)
}

/// Whether some request could match both. A share of traffic below 100% changes nothing: who is not in it goes to the baseline.
#[must_use]
pub fn may_overlap(a: &Match, b: &Match) -> bool {
    any_pair(&a.hosts, &b.hosts, |a, b| hosts_meet(a, b))
        && any_pair(&a.paths, &b.paths, paths_meet)
        && !a.headers.iter().any(|a| b.headers.iter().any(|b| headers_exclude(a, b)))
}

/// Whether some pair meets; an empty list agrees with everything.
fn any_pair<T>(a: &[T], b: &[T], meet: impl Fn(&T, &T) -> bool) -> bool {
    a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| meet(a, b)))
}

/// `*`, `*.rest` (one or more labels in place of the star) or a name.
fn hosts_meet(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    if a == "*" || b == "*" {
        return true;
    }
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        // `.shop.example` and `.example`: what ends with the longer ends with the shorter.
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(suffix), None) => b.len() > suffix.len() && b.ends_with(suffix),
        (None, Some(suffix)) => a.len() > suffix.len() && a.ends_with(suffix),
        (None, None) => a == b,
    }
}

fn paths_meet(a: &PathMatch, b: &PathMatch) -> bool {
    match (a, b) {
        (PathMatch::Exact(a), PathMatch::Exact(b)) => a == b,
        (PathMatch::Exact(path), PathMatch::Prefix(prefix)) | (PathMatch::Prefix(prefix), PathMatch::Exact(path)) => {
            begins(path, prefix)
        }
        (PathMatch::Prefix(a), PathMatch::Prefix(b)) => begins(a, b) || begins(b, a),
    }
}

/// Whether a path begins with the elements of a prefix.
fn begins(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Only two different values of one header exclude each other.
fn headers_exclude(a: &HeaderMatch, b: &HeaderMatch) -> bool {
    a.name.eq_ignore_ascii_case(&b.name) && matches!((&a.exact, &b.exact), (Some(a), Some(b)) if a != b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Match {
        Match { hosts: names.iter().map(|name| (*name).to_owned()).collect(), ..Match::default() }
    }

    fn paths(paths: &[PathMatch]) -> Match {
        Match { paths: paths.to_vec(), ..Match::default() }
    }

    fn header(name: &str, exact: Option<&str>) -> Match {
        let header = HeaderMatch { name: name.to_owned(), exact: exact.map(str::to_owned) };
        Match { headers: vec![header], ..Match::default() }
    }

    fn both_ways(a: &Match, b: &Match, expected: bool) {
        assert_eq!(may_overlap(a, b), expected, "{a:?} {b:?}");
        assert_eq!(may_overlap(b, a), expected, "{b:?} {a:?}");
    }

    #[test]
    fn hosts_with_stars_meet_what_they_stand_for() {
        for (a, b, expected) in [
            ("shop.example", "shop.example", true),
            ("Shop.Example", "shop.example", true),
            ("shop.example", "web.example", false),
            ("*", "web.example", true),
            ("*.example", "shop.example", true),
            ("*.example", "a.shop.example", true),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", "workshop.example", false),
            ("*.example", "*.shop.example", true),
            ("*.shop.example", "*.web.example", false),
        ] {
            both_ways(&hosts(&[a]), &hosts(&[b]), expected);
        }
        both_ways(&hosts(&[]), &hosts(&["shop.example"]), true);
        both_ways(&hosts(&["a.example", "b.example"]), &hosts(&["c.example", "b.example"]), true);
    }

    #[test]
    fn prefixes_are_whole_elements() {
        let (exact, prefix) = (|path: &str| PathMatch::Exact(path.into()), |path: &str| PathMatch::Prefix(path.into()));
        for (a, b, expected) in [
            (exact("/cart"), exact("/cart"), true),
            (exact("/cart"), exact("/cart/1"), false),
            (prefix("/cart"), exact("/cart/1"), true),
            (prefix("/cart"), exact("/cartoon"), false),
            (prefix("/cart/"), exact("/cart"), true),
            (prefix("/"), prefix("/cart"), true),
            (prefix("/cart"), prefix("/cart/1"), true),
            (prefix("/cart"), prefix("/order"), false),
            (prefix("/cart"), prefix("/cartoon"), false),
        ] {
            both_ways(&paths(&[a]), &paths(&[b]), expected);
        }
    }

    #[test]
    fn only_two_values_of_one_header_exclude_each_other() {
        both_ways(&header("x-tenant", Some("acme")), &header("x-tenant", Some("emca")), false);
        both_ways(&header("x-tenant", Some("acme")), &header("x-tenant", Some("acme")), true);
        both_ways(&header("x-tenant", Some("acme")), &header("x-tenant", None), true);
        both_ways(&header("x-tenant", Some("acme")), &header("x-beta", Some("1")), true);
        both_ways(&header("x-tenant", Some("acme")), &Match::default(), true);
    }

    #[test]
    fn one_difference_is_enough() {
        let mut a = hosts(&["shop.example"]);
        let mut b = a.clone();
        a.paths = vec![PathMatch::Prefix("/a".into())];
        b.paths = vec![PathMatch::Prefix("/b".into())];
        both_ways(&a, &b, false);
    }
}
