//! Text of others on a terminal: what would command it, or show a line other than it is, is written as an escape.

use serde_json::Value;

/// Controls (C0, DEL, C1: a terminal obeys them), ends of lines and marks of direction, which make a line look like another.
fn commands(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')
}

/// A text that can be shown on a line of its own.
pub(crate) fn plain(text: &str) -> String {
    if !text.chars().any(commands) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut plain, character| {
        if commands(character) {
            plain.extend(character.escape_default())
        } else {
            plain.push(character)
        }
        plain
    })
}

/// The same of every text in a value. Names of fields stay.
pub(crate) fn made_plain(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(commands) => *text = plain(text),
        Value::Array(items) => items.iter_mut().for_each(made_plain),
        Value::Object(fields) => fields.values_mut().for_each(made_plain),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_written_out_and_all_else_stays() {
        assert_eq!(plain("a \u{1b}[2Jb\r\n\u{9b}1m\u{7f}"), "a \\u{1b}[2Jb\\r\\n\\u{9b}1m\\u{7f}");
        assert_eq!(plain("\u{202e}e\u{61c}vil"), "\\u{202e}e\\u{61c}vil");
        for fine in ["", "p95 ≤ 300 ms → “v2” 👍🏽", "α, é, 中文"] {
            assert_eq!(plain(fine), fine);
        }
        let mut value = serde_json::json!({ "a": ["\u{1b}", 1], "b": { "c": "\t" } });
        made_plain(&mut value);
        assert_eq!(value, serde_json::json!({ "a": ["\\u{1b}", 1], "b": { "c": "\\t" } }));
    }
}
