//! What to maximise or minimise, and where it comes from: `spec.reward`.

use super::place::{Fields, Place, nearest, shown};
use super::traffic::{code_range, each, host, path};
use super::unit::{cookie_attributes, cookie_name};
use super::versions::ReadVersions;
use super::{Problem, Purpose};
use crate::spec::{Direction, Reward, RewardKind};
use weir_core::cookie::{Attributes, GeneratedCookie};
use weir_core::plan::{Match, RewardSource, Unit};
use weir_core::reward::RequestReward;

/// Carries tokens where the document names no other header.
const DEFAULT_HEADER: &str = "x-weir-assignment";
/// Begins the name of the cookie that keeps them; the experiment's name ends it.
const DEFAULT_COOKIE: &str = "weir-assignment-";
const SOURCES: [&str; 3] = ["responseHeader", "api", "request"];

/// Reads `spec.reward`. What depends on other fields is left to [`complete`].
pub(super) fn reward(place: &Place<'_>, purpose: Purpose, problems: &mut Vec<Problem>) -> Option<Reward> {
    let asked = "a reward such as `{responseHeader: x-weir-reward, direction: maximize}`";
    let fields = place.fields(&["responseHeader", "api", "request", "kind", "direction"], asked, problems)?;
    let source = source(&fields, purpose, problems);
    let kinds = [("binary", RewardKind::Binary), ("real", RewardKind::Real)];
    let kind = fields.get("kind").map_or(Some(RewardKind::Binary), |place| place.word(&kinds, problems));
    let words = [("maximize", Direction::Maximize), ("minimize", Direction::Minimize)];
    let direction = fields.require("direction", "which way is better: `maximize` or `minimize`", problems);
    let direction = direction.and_then(|place| {
        let text = place.as_text();
        if let Some(text) = text
            && !words.iter().any(|(word, _)| *word == text)
        {
            let hint = nearest(text, words.iter().map(|(word, _)| *word));
            place.problem(problems, format!("unknown direction {}{hint}", shown(text)));
            return None;
        }
        place.word(&words, problems)
    });
    Some(Reward { source: source?, kind: kind?, direction: direction? })
}

/// Exactly one of three.
fn source(fields: &Fields<'_>, purpose: Purpose, problems: &mut Vec<Problem>) -> Option<RewardSource> {
    let mentioned = SOURCES.into_iter().filter(|name| fields.mentions(name)).count();
    if mentioned > 1 {
        let message = "a reward comes from one place: write one of `responseHeader`, `api` and `request`";
        fields.place().problem(problems, message);
        return None;
    }
    if let Some(place) = fields.get("api") {
        return api(&place, problems);
    }
    if let Some(place) = fields.get("request") {
        return request(&place, problems);
    }
    let header = match fields.get("responseHeader") {
        // Counts may come from anywhere; this is the header that examples use.
        None if purpose == Purpose::Analyze && mentioned == 0 => Some("x-weir-reward".to_owned()),
        None if mentioned > 0 => None,
        _ => fields
            .require("responseHeader", "the response header that carries it", problems)
            .and_then(|place| place.header_name(problems)),
    };
    header.map(RewardSource::ResponseHeader)
}

/// `{}` or `{header: x-weir-assignment}`.
fn api(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<RewardSource> {
    let fields = place.fields(&["header"], "`{}`, or `{header: x-weir-assignment}`", problems)?;
    let header = fields.get("header").map_or(Some(DEFAULT_HEADER.to_owned()), |place| place.header_name(problems));
    header.map(RewardSource::Api)
}

/// `{method: POST, path: {exact: /order}}`, and more.
fn request(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<RewardSource> {
    let known = ["method", "path", "status", "hosts", "responseHeader", "cookie"];
    let asked = "which request is a conversion, as `{method: POST, path: {exact: /order}}`";
    let fields = place.fields(&known, asked, problems)?;
    let method = fields.require("method", "its method, as `method: POST`", problems).and_then(|place| {
        let text = place.text("a method such as `POST`", problems)?;
        if text.is_empty()
            || text.len() > 32
            || !text.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
        {
            place.problem(problems, format!("{} is not a method: write it in capitals, as `POST`", shown(text)));
            return None;
        }
        Some(text.to_owned())
    });
    let found = fields.require("path", "its path, as `path: {exact: /order}`", problems);
    let path = found.and_then(|place| path(&place, problems));
    let codes = fields.get("status").map_or(Some(vec![(200, 299)]), |place| {
        let codes = each(&place, "a list of status codes such as `[200-299]`", code_range, problems)?;
        if codes.is_empty() {
            place.problem(problems, "without a status nothing is a conversion: leave it out for `[200-299]`");
            return None;
        }
        Some(codes)
    });
    let hosts = fields.get("hosts").map_or(Some(Vec::new()), |place| each(&place, "a list of hosts", host, problems));
    let response_header =
        fields.get("responseHeader").map_or(Some(None), |place| place.header_name(problems).map(Some));
    // Whose name the cookie's ends with, and how long it lives, is known later.
    let unsaid = Attributes { lifetime_s: None, ..Attributes::default() };
    let cookie = fields.get("cookie").map_or(Some((String::new(), unsaid)), |place| {
        let known = ["name", "path", "sameSite", "secure", "httpOnly"];
        let fields = place.fields(&known, "`{name: weir-assignment}`", problems)?;
        let name = fields.get("name").map_or(Some(String::new()), |place| cookie_name(&place, problems));
        let attributes = cookie_attributes(&fields, name.as_deref(), problems)?;
        Some((name?, Attributes { lifetime_s: None, ..attributes }))
    });
    let (name, attributes) = cookie?;
    Some(RewardSource::Request(RequestReward {
        matching: Match { hosts: hosts?, paths: vec![path?], ..Match::default() },
        method: method?,
        codes: codes?,
        response_header: response_header?,
        cookie: GeneratedCookie { name, attributes: attributes.text() },
    }))
}

/// Fills in what other fields say, and checks that they agree. `name` is the experiment's.
pub(super) fn complete(reward: &mut Reward, name: &str, matching: &Match, deadline_ms: u64) {
    let RewardSource::Request(request) = &mut reward.source else { return };
    if request.matching.hosts.is_empty() {
        request.matching.hosts.clone_from(&matching.hosts);
    }
    if request.cookie.name.is_empty() {
        request.cookie.name = format!("{DEFAULT_COOKIE}{name}");
    }
    // As long as its reward can come.
    let lifetime_s = deadline_ms.div_ceil(1_000);
    request.cookie.attributes = format!("Max-Age={lifetime_s}; {}", request.cookie.attributes);
}

/// Refuses a source that the unit or a version's headers do not allow.
pub(super) fn keep_possible(
    fields: &Fields<'_>,
    reward: &Reward,
    unit: Option<&Unit>,
    versions: &ReadVersions,
    problems: &mut Vec<Problem>,
) {
    let place = fields.get("reward").unwrap_or_else(|| fields.place().clone());
    match &reward.source {
        RewardSource::Request(_) if unit == Some(&Unit::Request) => place.problem(
            problems,
            "a later request is a reward where users are the unit: write `unit: {cookie: {name: weir-uid, generate: {}}}`, \
             or let the service report it by `api`",
        ),
        RewardSource::Api(header) if versions.routes_by(header) => {
            let message = format!("{} routes requests to versions: let another header carry tokens", shown(header));
            place.problem(problems, message);
        }
        _ => {}
    }
}
