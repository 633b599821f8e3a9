//! Units: a cookie of one's own, and one that the filter gives.

use super::{one, problems, told, with};
use weir_core::cookie::GeneratedCookie;
use weir_core::plan::Unit;

const GUARDRAIL: &str = "guardrails: [{name: more, errorRate: {ratio: 2}}]";

fn unit(text: &str) -> Unit {
    one(&with(&format!("unit: {text}\n{GUARDRAIL}"))).unit
}

#[test]
fn a_cookie_is_the_users_own_or_one_that_the_filter_gives_with_what_browsers_want_to_know() {
    assert_eq!(unit("{cookie: uid}"), Unit::Cookie("uid".to_owned()));
    assert_eq!(unit("{cookie: {name: uid}}"), Unit::Cookie("uid".to_owned()));
    let usual = GeneratedCookie::named("weir-uid");
    assert_eq!(unit("{cookie: {name: weir-uid, generate: {}}}"), Unit::GeneratedCookie(usual.clone()));
    let full = "{lifetime: 90d, path: /shop, sameSite: None, secure: true, httpOnly: false}";
    let attributes = "Max-Age=7776000; Path=/shop; SameSite=None; Secure".to_owned();
    let expected = GeneratedCookie { attributes, ..usual };
    assert_eq!(unit(&format!("{{cookie: {{name: weir-uid, generate: {full}}}}}")), Unit::GeneratedCookie(expected));
}

#[test]
fn what_no_browser_would_keep_is_refused_where_it_stands() {
    for (generate, message) in [
        ("{lifetime: 401d}", "14:56: spec.unit.cookie.generate.lifetime: `401d` is not within 1s to 400d"),
        ("{lifetime: 1500ms}", "14:56: spec.unit.cookie.generate.lifetime: cookies live for whole seconds"),
        (
            "{path: shop}",
            "14:52: spec.unit.cookie.generate.path: `shop` is not a cookie's path: begin with `/`, and use no `;` and no blank",
        ),
        (
            "{sameSite: lax}",
            "14:56: spec.unit.cookie.generate.sameSite: expected `Strict`, `Lax` or `None`, found `lax`",
        ),
        (
            "{sameSite: None, secure: false}",
            "14:70: spec.unit.cookie.generate.secure: browsers refuse a cookie with SameSite=None that is not secure",
        ),
        (
            "{live: 1d}",
            "14:46: spec.unit.cookie.generate: unknown field `live`; known here: `lifetime`, `path`, `sameSite`, `secure`, `httpOnly`",
        ),
        (
            "true",
            "14:45: spec.unit.cookie.generate: expected `{}`, or what to say of the cookie as in `{lifetime: 30d}`, found `true`",
        ),
    ] {
        let text = with(&format!("unit: {{cookie: {{name: weir-uid, generate: {generate}}}}}\n{GUARDRAIL}"));
        assert_eq!(told(&problems(&text)).trim_end(), message, "{text}");
    }
}
