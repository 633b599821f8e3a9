//! Lists in pages: how much of one is asked for, and where the next begins.

use super::problem::Problem;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Most that one answer holds of a list.
pub(super) const MOST: u32 = 1_000;

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Most in the answer.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<u32>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Whether a page has as many as were asked for, so that there may be more.
pub(super) fn is_full(length: usize, limit: u32) -> bool {
    length >= usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Cuts what is more than was asked for off; the cursor of the next page, if there is one.
pub(super) fn cut<T>(list: &mut Vec<T>, limit: u32, cursor: impl FnOnce(&T) -> String) -> Option<String> {
    let more = list.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    list.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    list.last().filter(|_| more).map(cursor)
}

/// A cursor of a place of several parts.
pub(super) fn write(list: char, place: &impl Serialize) -> String {
    // Numbers and names can always be written.
    cursor(list, &serde_json::to_string(place).unwrap_or_default())
}

/// … and the parts again.
///
/// # Errors
/// 400 when it has not those.
pub(super) fn read<T: DeserializeOwned>(place: &str) -> Result<T, Problem> {
    serde_json::from_str(place).map_err(|_| bad("cursor", "is none that this list gave".to_owned()))
}

/// How many are asked for.
///
/// # Errors
/// 400 unless 1 to [`MOST`].
pub(super) fn limit(asked: Option<u32>, usual: u32) -> Result<u32, Problem> {
    limit_to(asked, usual, MOST)
}

/// The same where fewer may be.
///
/// # Errors
/// 400 unless 1 to `most`.
pub(super) fn limit_to(asked: Option<u32>, usual: u32, most: u32) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) { Ok(limit) } else { Err(bad("limit", format!("must be 1 to {most}"))) }
}

/// Where a page begins, as text that says nothing to anybody: `list` is a letter of its own for each list.
pub(super) fn cursor(list: char, place: &str) -> String {
    crate::access::hexadecimal(format!("{list}{place}").as_bytes())
}

/// The place that a cursor of this list means.
///
/// # Errors
/// 400 when it is none, or that of another list.
pub(super) fn place(list: char, cursor: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let bytes: Option<Vec<u8>> = cursor
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.as_deref().and_then(|text| text.strip_prefix(list));
    let problem = "is none that this list gave: send `next` of the page before, as it is";
    place.map(|place| Some(place.to_owned())).ok_or_else(|| bad("cursor", problem.to_owned()))
}

/// The same where places are numbers.
pub(super) fn number(list: char, cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(place) = place(list, cursor)? else { return Ok(None) };
    place.parse().map(Some).map_err(|_| bad("cursor", "is none that this list gave".to_owned()))
}

fn bad(parameter: &str, problem: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("The query cannot be read: `{parameter}` {problem}."))
        .at(parameter, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_taken_by_the_list_that_gave_it_and_by_no_other() {
        let given = cursor('a', "17");
        assert_eq!(number('a', Some(&given)).unwrap(), Some(17));
        assert_eq!(place('a', None).unwrap(), None);
        for wrong in ["", "x", "6", "61", "6131é", "613", &cursor('b', "17"), &cursor('a', "-1")] {
            assert!(number('a', Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_has_one_to_a_thousand() {
        assert_eq!(limit(None, 50).unwrap(), 50);
        assert_eq!(limit(Some(1_000), 50).unwrap(), 1_000);
        assert!(limit(Some(0), 50).is_err() && limit(Some(1_001), 50).is_err());
    }
}
