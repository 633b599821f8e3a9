//! Reading JSON so that an error names its field: `experiments[0].versions[1].weight`.
//!
//! The path is found from where the reader stopped, by a second look at the text, and only for an error: a wrapper round the
//! reader that notes every step would be a fifth of the filter's code.

mod reader;

use reader::{Json, Problem};
use serde::de::DeserializeOwned;

/// Why a text could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Of the value that is wrong; `.` for the whole.
    pub(crate) path: String,
    /// What is wrong, and in which line and column.
    pub(crate) problem: String,
}

/// Reads a text that is one JSON value of a type without floats.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Unreadable> {
    let mut json = Json::new(text);
    T::deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|problem| unreadable(&json, text, problem))
}

fn unreadable(json: &Json<'_>, text: &[u8], Problem(problem): Problem) -> Unreadable {
    let read = text.get(..json.at).unwrap_or(text);
    let line = read.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = read.iter().rev().take_while(|byte| **byte != b'\n').count();
    Unreadable {
        // What ends too soon is wrong as a whole.
        path: path(if problem.starts_with("EOF") { &[] } else { read }),
        problem: format!("{problem} at line {line} column {column}"),
    }
}

/// Reads a text that is one JSON value, floats to the last bit where serde_json is told to.
pub(crate) fn read_exactly<T: DeserializeOwned>(text: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(text).map_err(|error| Unreadable {
        path: path(if error.is_eof() { &[] } else { consumed(text, error.line(), error.column()) }),
        problem: error.to_string(),
    })
}

/// A number as JSON writes them, with spaces around it or not. Finite.
pub(crate) fn number(text: &[u8]) -> Option<f64> {
    let mut json = Json::new(text);
    let number = json.number().ok()?.to_f64();
    json.end().ok()?;
    number.is_finite().then_some(number)
}

/// The text before a place as serde_json counts: lines from 1, columns in bytes, the last one consumed.
fn consumed(text: &[u8], line: usize, column: usize) -> &[u8] {
    let lines = text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    let end = lines.map(<[u8]>::len).sum::<usize>().saturating_add(column);
    text.get(..end).unwrap_or(text)
}

/// An object or array that is open, and what of it is being read.
enum Open<'a> {
    Object(Option<&'a [u8]>),
    Array(usize),
}

/// The path of the value in which this beginning of a text ends, or that ends with it.
fn path(text: &[u8]) -> String {
    let mut open = Vec::<Open<'_>>::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' => open.push(Open::Object(None)),
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::Object(key)) => *key = None,
                Some(Open::Array(index)) => *index = index.saturating_add(1),
                None => {}
            },
            b'"' => {
                let begin = at.saturating_add(1);
                at = string_end(text, begin);
                if let Some(Open::Object(key @ None)) = open.last_mut() {
                    *key = text.get(begin..at);
                }
            }
            _ => {}
        }
        at = at.saturating_add(1);
    }
    let mut path = String::new();
    for open in open {
        match open {
            Open::Object(Some(key)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(key));
            }
            Open::Object(None) => {}
            Open::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    if path.is_empty() { ".".to_owned() } else { path }
}

/// Where the string that begins here has its closing quote; the end of the text if it has none.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at = at.saturating_add(2),
            _ => at = at.saturating_add(1),
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Outer {
        name: String,
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[allow(dead_code, reason = "only read")]
    struct Inner {
        count: u8,
        #[serde(default)]
        choice: Option<Choice>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only read")]
    enum Choice {
        One(u8),
        Two(Vec<u8>),
    }

    #[test]
    fn an_error_names_the_value_that_is_wrong() {
        for (text, path, word) in [
            (r#"{"name":"a","list":[{"count":1},{"count":300}]}"#, "list[1].count", "300"),
            (r#"{"name":"a,\"]","list":[{"count":1},{"count":"x"}]}"#, "list[1].count", "string"),
            (r#"{"name":7,"list":[]}"#, "name", "integer"),
            (r#"{"name":"a","list":{}}"#, "list", "map"),
            (r#"{"name":"a","list":[{}]}"#, "list[0]", "missing field `count`"),
            (r#"{"name":"a"}"#, ".", "missing field `list`"),
            (r#"{"name":"a","list":[{"count":1,"cuont":2}]}"#, "list[0].cuont", "unknown field"),
            (r#"{"name":"a","list":[{"count":1,"choice":{"two":[1,2,"3"]}}]}"#, "list[0].choice.two[2]", "string"),
            (r#"{"name":"a","list":[{"count":1,"choice":{"three":1}}]}"#, "list[0].choice.three", "variant"),
            ("{\n  \"name\": \"a\",\n  \"list\": [\n    {\"count\": -1}\n  ]\n}", "list[0].count", "line 4"),
            (r#"{"name":"a","list":[{"count":1}"#, ".", "EOF"),
            (r#"{"name":"a","list":[]} x"#, ".", "trailing"),
            ("nonsense", ".", "expected"),
            ("", ".", "EOF"),
        ] {
            for error in
                [read::<Outer>(text.as_bytes()).unwrap_err(), read_exactly::<Outer>(text.as_bytes()).unwrap_err()]
            {
                assert_eq!(error.path, path, "{text}: {}", error.problem);
                assert!(error.problem.contains(word), "{text}: {}", error.problem);
            }
        }
        assert!(read::<Outer>(br#"{"name":"a","list":[{"count":1,"choice":{"one":2}}]}"#).is_ok());
    }

    fn everything() -> crate::plan::Plan {
        use crate::plan::{HeaderMatch, PathMatch, RewardSource, Unit};
        let mut plan = crate::testing::plan(&[1, 2]);
        let planned = &mut plan.experiments[0];
        planned.name = "a \"name\"\n\u{1f600}".to_owned();
        planned.unit = Unit::GeneratedCookie(crate::cookie::GeneratedCookie::named("u"));
        planned.matching.paths = vec![PathMatch::Exact("/a".to_owned()), PathMatch::Prefix("/b".to_owned())];
        planned.matching.headers = vec![HeaderMatch { name: "x".to_owned(), exact: Some("1".to_owned()) }];
        planned.matching.share_ppm = 7;
        planned.reward = Some(RewardSource::Api("x-token".to_owned()));
        planned.failure.codes = vec![(400, 499), (500, 599)];
        planned.versions[1].slow_us = Some(9);
        plan
    }

    #[test]
    fn plain_and_escaped_texts_are_read_as_they_are_by_serde_json() {
        for text in [
            r#""a""#,
            r#""\u00e4\ud83d\ude00\/\b\f\n\r\t\\\"""#,
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\udc00""#,
            "\"\u{7}\"",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\"#,
            r#"""#,
            "\"\u{e4}\"",
        ] {
            let (ours, theirs) = (read::<String>(text.as_bytes()), serde_json::from_str::<String>(text));
            assert_eq!(ours.ok(), theirs.ok(), "{text}");
        }
        assert!(read::<String>(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_structure_is_an_object() {
        assert!(read::<Inner>(br#"{"count":1}"#).is_ok() && read::<Inner>(b"[1,null]").is_err());
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_serde_json(
            text in "-?[0-9]{1,22}(\\.[0-9]{0,22})?([eE][+-]?[0-9]{0,3})?", value in any::<f64>(), whole: u64,
        ) {
            for text in [text, value.to_string(), format!("{value:e}"), whole.to_string(), format!("{whole}0")] {
                let (ours, theirs) = (number(text.as_bytes()), serde_json::from_str::<f64>(&text).ok());
                match (ours, theirs) {
                    (Some(ours), Some(theirs)) => {
                        prop_assert!((ours - theirs).abs() <= theirs.abs() * 1e-13 + 1e-300, "{text}: {ours} {theirs}");
                    }
                    (ours, theirs) => {
                        let edge = ours.or(theirs).is_none_or(|value| value.abs() > 1e308);
                        prop_assert!(edge, "{text}: {ours:?} {theirs:?}");
                    }
                }
                prop_assert_eq!(read::<u64>(text.as_bytes()).ok(), serde_json::from_str::<u64>(&text).ok(), "{}", text);
            }
        }

        #[test]
        fn a_plan_with_a_byte_changed_is_read_as_by_serde_json(
            at in any::<proptest::sample::Index>(), pretty: bool, removed: bool,
            byte in prop_oneof![any::<u8>(), proptest::sample::select(&b"{}[],:\"\\ 0-.entu"[..])],
        ) {
            let plan = everything();
            let mut text = if pretty { serde_json::to_vec_pretty(&plan) } else { serde_json::to_vec(&plan) }.unwrap();
            prop_assert_eq!(read(&text), Ok(plan));
            let at = at.index(text.len());
            if removed {
                text.remove(at);
            } else {
                text[at] = byte;
            }
            let (ours, theirs) = (read::<crate::plan::Plan>(&text), read_exactly::<crate::plan::Plan>(&text));
            match (ours, theirs) {
                (Err(ours), Err(theirs)) => prop_assert!(!ours.path.is_empty() && !theirs.path.is_empty()),
                (ours, theirs) => prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&text)),
            }
        }

        #[test]
        fn no_text_does_harm(text in proptest::collection::vec(prop_oneof![
            any::<u8>(), proptest::sample::select(&b"{}[],:\"\\\n"[..])
        ], 0..200), line in 0_usize..300, column in 0_usize..300) {
            let _ = (read::<Outer>(&text), number(&text));
            prop_assert!(text.starts_with(consumed(&text, line, column)));
            path(&text);
        }
    }
}
