//! Which requests take part, what counts as a failure: the fields that filters carry out.

use super::Problem;
use super::place::{Place, shown};
use super::quantity::{PART_PER_MILLION, WHOLE};
use weir_core::plan::{FailureRules, HeaderMatch, MAX_LIST, Match, PathMatch};

/// Reads `spec.match`.
pub(super) fn matching(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Match> {
    let fields = place.fields(
        &["hosts", "paths", "headers", "share"],
        "which requests take part, such as `{hosts: [shop.example]}`",
        problems,
    )?;
    let hosts = fields.get("hosts").map_or(Some(Vec::new()), |place| each(&place, "a list of hosts", host, problems));
    let paths = fields
        .get("paths")
        .map_or(Some(Vec::new()), |place| each(&place, "a list of paths such as `[{prefix: /}]`", path, problems));
    let headers = fields.get("headers").map_or(Some(Vec::new()), |place| {
        each(&place, "a list of headers such as `[{name: x-tenant, exact: acme}]`", header, problems)
    });
    let share_ppm = fields.get("share").map_or(Some(Match::default().share_ppm), |place| {
        place.share(PART_PER_MILLION, PART_PER_MILLION..=WHOLE, problems)
    });
    Some(Match { hosts: hosts?, paths: paths?, headers: headers?, share_ppm: share_ppm? })
}

/// Every item of a list, if every one can be read.
pub(super) fn each<'t, T>(
    place: &Place<'t>,
    asked: &str,
    read: impl Fn(&Place<'t>, &mut Vec<Problem>) -> Option<T>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<T>> {
    let items = place.items(0..=MAX_LIST, asked, problems)?;
    let read: Vec<Option<T>> = items.iter().map(|item| read(item, problems)).collect();
    read.into_iter().collect()
}

pub(super) fn host(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let text = place.value("a host", problems)?.to_ascii_lowercase();
    let rest = text.strip_prefix("*.").unwrap_or(&text);
    if text != "*" && (rest.is_empty() || rest.contains(['*', ':', '/', ' '])) {
        let message = format!(
            "{} is not a host: write `shop.example`, `*.shop.example` or `*`, without a port or a scheme",
            shown(&text)
        );
        place.problem(problems, message);
        return None;
    }
    Some(text)
}

pub(super) fn path(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<PathMatch> {
    let asked = "`{prefix: /cart}` or `{exact: /cart}`";
    let fields = place.fields(&["prefix", "exact"], asked, problems)?;
    let (found, kind): (_, fn(String) -> PathMatch) = match (fields.get("prefix"), fields.get("exact")) {
        (Some(prefix), None) => (prefix, PathMatch::Prefix),
        (None, Some(exact)) => (exact, PathMatch::Exact),
        _ => {
            place.problem(problems, format!("write one of {asked}"));
            return None;
        }
    };
    let text = found.value("a path", problems)?;
    if !text.starts_with('/') || text.contains(['?', '#']) {
        found.problem(problems, format!("{} is not a path: begin with `/`, and leave the query out", shown(text)));
        return None;
    }
    Some(kind(text.to_owned()))
}

fn header(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<HeaderMatch> {
    let fields = place.fields(&["name", "exact"], "`{name: x-tenant, exact: acme}`", problems)?;
    let name = fields.require("name", "the name of a request header", problems);
    let name = name.and_then(|place| place.header_name(problems));
    let exact = match fields.get("exact") {
        None => Some(None),
        Some(place) => place.value("a header's value", problems).map(|value| Some(value.to_owned())),
    };
    Some(HeaderMatch { name: name?, exact: exact? })
}

/// Reads `spec.failure`.
pub(super) fn failure(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<FailureRules> {
    let fields = place.fields(&["codes", "grpc"], "`{codes: [500-599], grpc: [2, 14]}`", problems)?;
    let usual = FailureRules::default();
    let codes = fields.get("codes").map_or(Some(usual.codes), |place| {
        each(&place, "a list of status codes such as `[500-599, 429]`", code_range, problems)
    });
    let grpc = fields.get("grpc").map_or(Some(usual.grpc), |place| {
        // 0 is OK, never a failure; 16 the last status that gRPC defines.
        let status = |place: &Place<'_>, problems: &mut Vec<Problem>| place.whole(1..=16, problems);
        each(&place, "a list of gRPC statuses such as `[2, 14]`", status, problems)
            .map(|statuses| statuses.into_iter().filter_map(|status| u32::try_from(status).ok()).collect())
    });
    Some(FailureRules { codes: codes?, grpc: grpc? })
}

/// `429` or `500-599`.
pub(super) fn code_range(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<(u32, u32)> {
    let text = place.text("a status code such as `429`, or a range such as `500-599`", problems)?;
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.trim().parse::<u32>().ok().filter(|code| (100..=599).contains(code));
    match (code(from), code(to)) {
        (Some(from), Some(to)) if from <= to => Some((from, to)),
        _ => {
            let message =
                format!("{} is not a status code or a range within 100 to 599, as `429` or `500-599`", shown(text));
            place.problem(problems, message);
            None
        }
    }
}
