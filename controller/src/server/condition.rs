//! `If-Match` and `If-None-Match` of a write: what must be so of an experiment for it to be done.

use super::problem::Problem;
use crate::keeper::{Precondition, Unmet};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};

/// Most tags in one header.
const MAX_TAGS: usize = 16;

/// What a request's headers ask for.
///
/// # Errors
/// 400 when they cannot be read, or both are there.
pub(super) fn condition(headers: &HeaderMap) -> Result<Option<Precondition>, Problem> {
    let bad = |problem: &str| Problem::new(StatusCode::BAD_REQUEST, format!("The headers cannot be read: {problem}."));
    let mut matched = headers.get_all(IF_MATCH).iter();
    let mut none = headers.get_all(IF_NONE_MATCH).iter();
    match (matched.next(), none.next(), matched.next().or(none.next())) {
        (None, None, _) => Ok(None),
        (Some(value), None, None) => {
            let text = value.to_str().map_err(|_| bad("`If-Match` is not text"))?.trim();
            if text == "*" {
                return Ok(Some(Precondition::Exists));
            }
            let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
            let quoted = |tag: &String| tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
            if tags.len() > MAX_TAGS || !tags.iter().all(quoted) {
                return Err(bad("`If-Match` is the `ETag` of an experiment, with its quotes, a few of them, or `*`"));
            }
            Ok(Some(Precondition::Tagged(tags)))
        }
        (None, Some(value), None) if value.as_bytes().trim_ascii() == b"*" => Ok(Some(Precondition::Absent)),
        (None, Some(_), None) => Err(bad("of a write `If-None-Match` can only be `*`: create, and change nothing")),
        _ => Err(bad("`If-Match` or `If-None-Match` is there more than once, or both are")),
    }
}

/// Whether it asks that there is nothing yet.
pub(super) fn is_absent(wanted: Option<&Precondition>) -> bool {
    matches!(wanted, Some(Precondition::Absent))
}

/// That a precondition does not hold. `absent`: that it was to create, and to change nothing.
pub(super) fn unmet(name: &str, absent: bool, Unmet(there): Unmet) -> Problem {
    let name = name.escape_debug();
    let detail = match there {
        Some(_) if absent => {
            format!("There is an experiment `{name}` already, and this was to be only if there is none.")
        }
        Some(_) => format!("{name} is not as you saw it: look again, and decide again."),
        None => format!("There is no experiment `{name}`, so that it is not as you saw it."),
    };
    Problem::new(StatusCode::PRECONDITION_FAILED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_must_be_so_and_what_says_nothing_is_refused() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            condition(&headers.collect()).map_err(drop)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("if-match", " * ")]), Ok(Some(Precondition::Exists)));
        let tags = ["\"a\"", "\"b\""].map(str::to_owned).to_vec();
        assert_eq!(read(&[("if-match", "\"a\", \"b\"")]), Ok(Some(Precondition::Tagged(tags))));
        assert_eq!(read(&[("if-none-match", "*")]), Ok(Some(Precondition::Absent)));
        for wrong in ["", "a", "W/\"a\"", "\"a\",b", "\""] {
            assert_eq!(read(&[("if-match", wrong)]), Err(()), "{wrong}");
        }
        assert_eq!(read(&[("if-none-match", "\"a\"")]), Err(()));
        assert_eq!(read(&[("if-match", "*"), ("if-none-match", "*")]), Err(()));
    }
}
