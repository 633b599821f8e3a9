//! What is randomised: `spec.unit`.

use super::Problem;
use super::place::{Fields, Place, shown};
use weir_core::cookie::{self, Attributes, GeneratedCookie, MAX_LIFETIME_S, SameSite};
use weir_core::plan::Unit;

const SECOND_MS: u64 = 1_000;

/// Reads `spec.unit`.
pub(super) fn unit(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Unit> {
    let asked = "`request`, `{header: x-user}` or `{cookie: uid}`";
    if let Some(word) = place.as_text() {
        if word == "request" {
            return Some(Unit::Request);
        }
        place.problem(problems, format!("{} is not a unit: write {asked}", shown(word)));
        return None;
    }
    let fields = place.fields(&["header", "cookie"], asked, problems)?;
    match (fields.get("header"), fields.get("cookie")) {
        (Some(header), None) => header.header_name(problems).map(Unit::Header),
        (None, Some(cookie)) if cookie.is_mapping() => cookie_with_details(&cookie, problems),
        (None, Some(cookie)) => {
            let name = cookie.name(problems)?;
            if name.contains(['=', ';', ',', '"']) {
                cookie.problem(problems, format!("{} is not the name of a cookie", shown(&name)));
                return None;
            }
            Some(Unit::Cookie(name))
        }
        _ => {
            place.problem(problems, format!("write one of {asked}"));
            None
        }
    }
}

/// `{name: weir-uid, generate: {…}}`.
fn cookie_with_details(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Unit> {
    let fields = place.fields(&["name", "generate"], "`{name: weir-uid, generate: {}}`", problems)?;
    let name = fields.require("name", "the name of the cookie, as `name: weir-uid`", problems);
    let name = name.and_then(|place| cookie_name(&place, problems));
    let Some(place) = fields.get("generate") else { return name.map(Unit::Cookie) };
    let known = ["lifetime", "path", "sameSite", "secure", "httpOnly"];
    let asked = "`{}`, or what to say of the cookie as in `{lifetime: 30d}`";
    let fields = place.fields(&known, asked, problems)?;
    let attributes = cookie_attributes(&fields, name.as_deref(), problems);
    let (name, attributes) = (name?, attributes?.text());
    Some(Unit::GeneratedCookie(GeneratedCookie { name, attributes }))
}

/// The name of a cookie of ours.
pub(super) fn cookie_name(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let name = place.name(problems)?;
    if !cookie::is_name(&name) {
        place.problem(problems, format!("{} is not the name of a cookie", shown(&name)));
        return None;
    }
    Some(name)
}

/// What a cookie of ours, of this name if it has one, says of itself.
pub(super) fn cookie_attributes(
    fields: &Fields<'_>,
    name: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Attributes> {
    let usual = Attributes::default();
    let lifetime_s = fields.get("lifetime").map_or(Some(usual.lifetime_s), |place| {
        let milliseconds = place.duration(SECOND_MS..=MAX_LIFETIME_S * SECOND_MS, problems)?;
        if milliseconds % SECOND_MS != 0 {
            place.problem(problems, "cookies live for whole seconds");
            return None;
        }
        Some(Some(milliseconds / SECOND_MS))
    });
    let path = fields.get("path").map_or(Some(usual.path), |place| {
        let path = place.value("a path", problems)?;
        if !cookie::is_path(path) {
            let message =
                format!("{} is not a cookie's path: begin with `/`, and use no `;` and no blank", shown(path));
            place.problem(problems, message);
            return None;
        }
        Some(path.to_owned())
    });
    let words = [("Strict", SameSite::Strict), ("Lax", SameSite::Lax), ("None", SameSite::None)];
    let same_site = fields.get("sameSite").map_or(Some(usual.same_site), |place| place.word(&words, problems));
    let mut truth = |name: &str| fields.get(name).map_or(Some(true), |place| place.truth(problems));
    let (secure, http_only) = (truth("secure"), truth("httpOnly"));
    let attributes = Attributes {
        lifetime_s: lifetime_s?,
        path: path?,
        same_site: same_site?,
        secure: secure?,
        http_only: http_only?,
    };
    if let Err((field, problem)) = attributes.validate(name.unwrap_or_default()) {
        fields.get(field).unwrap_or_else(|| fields.place().clone()).problem(problems, problem);
        return None;
    }
    Some(attributes)
}
