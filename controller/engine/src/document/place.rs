//! One node of a document and its path: reads it as this or that, and notes what is wrong in words a person can act on.
//!
//! A reader returns `None` only after it has noted why. Knows no field of an experiment.

use super::Problem;
use super::quantity::{self, percentage};
use super::tree::{Entry, Node, Value};
use std::ops::RangeInclusive;
use weir_core::duration::{format_milliseconds, parse_milliseconds};
use weir_core::plan::{MAX_NAME, MAX_VALUE, is_header_name};

/// A node and its path.
#[derive(Debug, Clone)]
pub struct Place<'t> {
    node: &'t Node,
    path: String,
}

/// The fields of a mapping.
#[derive(Debug, Clone)]
pub struct Fields<'t> {
    place: Place<'t>,
    entries: &'t [Entry],
    /// What unknown fields were probably meant to be: said once, they are not missing as well.
    meant: Vec<String>,
}

/// User text in a message: quoted, short, no control character.
pub fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(40).is_some() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// The known name that was probably meant.
fn meant<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name: String = name.chars().take(64).collect::<String>().to_lowercase();
    let far = (name.chars().count() / 3).max(2);
    known
        .map(|known| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= far && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `; did you mean …?` with the nearest of the known names, or the list of them when none is near.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match meant(name, known.clone()) {
        Some(known) => format!("; did you mean `{known}`?"),
        None => format!("; known here: {}", known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

impl<'t> Place<'t> {
    /// The top of a document.
    pub fn root(node: &'t Node) -> Self {
        Self { node, path: String::new() }
    }

    /// Notes a problem here.
    pub fn problem(&self, problems: &mut Vec<Problem>, message: impl Into<String>) {
        problems.push(self.node.at.problem(&self.path, message));
    }

    /// Notes that this is not what is asked for.
    fn unfit(&self, problems: &mut Vec<Problem>, asked: &str) {
        let found = match &self.node.value {
            Value::Text(text) => shown(text),
            Value::Nothing => {
                return self.problem(problems, format!("there is no value: write {asked}, or leave the field out"));
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Broken => return,
        };
        self.problem(problems, format!("expected {asked}, found {found}"));
    }

    /// The text, if it is text; notes nothing.
    pub fn as_text(&self) -> Option<&'t str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Text; `asked` says what should stand here, as in "a name".
    pub fn text(&self, asked: &str, problems: &mut Vec<Problem>) -> Option<&'t str> {
        let text = self.as_text();
        if text.is_none() {
            self.unfit(problems, asked);
        }
        text
    }

    /// The fields of a mapping, of which only those known are allowed.
    pub fn fields(&self, known: &[&str], asked: &str, problems: &mut Vec<Problem>) -> Option<Fields<'t>> {
        let entries = self.entries(asked, problems)?;
        let mut guesses = Vec::new();
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                // What a flow mapping makes of `5,000`.
                let part = entry.key.len() == 3 && entry.key.bytes().all(|byte| byte.is_ascii_digit());
                let hint = if part && matches!(entry.value.value, Value::Nothing) {
                    "; if it is part of a number, write that without separators, as `5000`".to_owned()
                } else {
                    nearest(&entry.key, known.iter().copied())
                };
                guesses.extend(meant(&entry.key, known.iter().copied()).map(str::to_owned));
                problems.push(entry.at.problem(&self.path, format!("unknown field {}{hint}", shown(&entry.key))));
            }
        }
        Some(Fields { place: self.clone(), entries, meant: guesses })
    }

    /// The entries of a mapping with names of the user's own.
    pub fn entries(&self, asked: &str, problems: &mut Vec<Problem>) -> Option<&'t [Entry]> {
        if let Value::Map(entries) = &self.node.value {
            return Some(entries);
        }
        self.unfit(problems, asked);
        None
    }

    /// A field of this mapping, if it is one and has it; notes nothing.
    pub fn quiet(&self, name: &str) -> Option<Self> {
        let Value::Map(entries) = &self.node.value else { return None };
        entries.iter().find(|entry| entry.key == name).map(|entry| self.entry(entry))
    }

    /// Whether this mapping has an unknown field that was probably meant to be this one.
    pub(super) fn means(&self, name: &str, known: &[&str]) -> bool {
        let Value::Map(entries) = &self.node.value else { return false };
        let unknown = entries.iter().map(|entry| entry.key.as_str()).filter(|key| !known.contains(key));
        unknown.filter_map(|key| meant(key, known.iter().copied())).any(|meant| meant == name)
    }

    /// The items of this list, if it is one; notes nothing.
    pub fn quiet_items(&self) -> Vec<Self> {
        let Value::List(items) = &self.node.value else { return Vec::new() };
        items.iter().enumerate().map(|(index, node)| Self { node, path: format!("{}[{index}]", self.path) }).collect()
    }

    /// Whether this is a list.
    pub fn is_list(&self) -> bool {
        matches!(&self.node.value, Value::List(_))
    }

    /// Whether this is a mapping.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(&self.node.value, Value::Map(_))
    }

    /// Whether this is a list without items.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// The place of an entry of this mapping.
    pub fn entry(&self, entry: &'t Entry) -> Self {
        let path = if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.path, entry.key) };
        Self { node: &entry.value, path }
    }

    /// The items of a list.
    pub fn items(&self, count: RangeInclusive<usize>, asked: &str, problems: &mut Vec<Problem>) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            self.unfit(problems, asked);
            return None;
        };
        if !count.contains(&items.len()) {
            let (least, most) = count.into_inner();
            self.problem(problems, format!("a list of {}; {least} to {most} entries are allowed", items.len()));
            // What is in them is still looked at, as far as it is allowed.
        }
        Some(self.quiet_items())
    }

    /// Milliseconds of a duration within bounds.
    pub fn duration(&self, bounds: RangeInclusive<u64>, problems: &mut Vec<Problem>) -> Option<u64> {
        let text = self.text("a duration such as `250ms` or `15s`", problems)?;
        match parse_milliseconds(text) {
            Ok(milliseconds) if bounds.contains(&milliseconds) => Some(milliseconds),
            Ok(_) => {
                let (least, most) = bounds.into_inner();
                let (least, most) = (format_milliseconds(least), format_milliseconds(most));
                self.problem(problems, format!("{} is not within {least} to {most}", shown(text)));
                None
            }
            Err(error) => {
                self.problem(problems, error.to_string());
                None
            }
        }
    }

    /// A share in multiples of `unit` billionths, within bounds (in billionths).
    pub fn share(&self, unit: u64, bounds: RangeInclusive<u64>, problems: &mut Vec<Problem>) -> Option<u32> {
        let value = self.billionths(problems)?;
        let text = self.as_text().unwrap_or_default();
        if !bounds.contains(&value) {
            let (least, most) = bounds.into_inner();
            let message = format!("{} is not within {} to {}", shown(text), percentage(least), percentage(most));
            self.problem(problems, message);
            return None;
        }
        if value % unit != 0 {
            self.problem(problems, format!("{} is finer than the smallest step, {}", shown(text), percentage(unit)));
            return None;
        }
        u32::try_from(value / unit).ok()
    }

    /// A rate within (0, most], or within (0, most) when `open`.
    pub fn rate(&self, most: u64, open: bool, problems: &mut Vec<Problem>) -> Option<f64> {
        let value = self.billionths(problems)?;
        if value == 0 || value > most || (open && value == most) {
            let text = shown(self.as_text().unwrap_or_default());
            let least = if open { "less than" } else { "at most" };
            self.problem(problems, format!("{text} must be more than 0% and {least} {}", percentage(most)));
            return None;
        }
        // Both below 2^53: the quotient is the double nearest to the decimal that was written.
        #[expect(clippy::cast_precision_loss, reason = "at most WHOLE")]
        Some(value as f64 / quantity::WHOLE as f64)
    }

    fn billionths(&self, problems: &mut Vec<Problem>) -> Option<u64> {
        let text = self.text("a percentage such as `2%`, or a fraction below 1 such as `0.02`", problems)?;
        match quantity::billionths(text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(problems, format!("{} {problem}", shown(text)));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn whole(&self, bounds: RangeInclusive<u64>, problems: &mut Vec<Problem>) -> Option<u64> {
        let text = self.text("a whole number", problems)?;
        let (least, most) = bounds.clone().into_inner();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && bounds.contains(&number) => Some(number),
            _ => {
                let plain = text.replace([',', '_', '\'', ' '], "");
                let separated = !digits && !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit());
                self.problem(
                    problems,
                    if separated {
                        format!(
                            "{} is not a whole number: write it without separators, as {}",
                            shown(text),
                            shown(&plain)
                        )
                    } else {
                        format!("{} is not a whole number within {least} to {most}", shown(text))
                    },
                );
                None
            }
        }
    }

    /// A number within bounds, as people write it: digits and at most one point; no sign, no exponent.
    pub fn number(&self, bounds: RangeInclusive<f64>, problems: &mut Vec<Problem>) -> Option<f64> {
        let text = self.text("a number such as `1.5`", problems)?;
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.parse::<f64>() {
            Ok(number) if plain && bounds.contains(&number) => Some(number),
            _ => {
                let (least, most) = bounds.into_inner();
                self.problem(problems, format!("{} is not a number within {least} to {most}", shown(text)));
                None
            }
        }
    }

    /// A whole number, perhaps negative, within bounds.
    pub(super) fn integer(&self, bounds: RangeInclusive<i32>, problems: &mut Vec<Problem>) -> Option<i32> {
        let text = self.text("a whole number", problems)?;
        let (least, most) = bounds.clone().into_inner();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if plain && bounds.contains(&number) => Some(number),
            _ => {
                self.problem(problems, format!("{} is not a whole number within {least} to {most}", shown(text)));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn truth(&self, problems: &mut Vec<Problem>) -> Option<bool> {
        match self.as_text() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                self.unfit(problems, "`true` or `false`");
                None
            }
        }
    }

    /// One of several words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], problems: &mut Vec<Problem>) -> Option<T> {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let asked = match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => names.concat(),
        };
        let text = self.text(&asked, problems)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.unfit(problems, &asked);
        }
        found
    }

    /// A name of 1 to [`MAX_NAME`] visible ASCII characters.
    pub fn name(&self, problems: &mut Vec<Problem>) -> Option<String> {
        let text = self.text("a name", problems)?;
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                format!("{} is not a name of 1 to {MAX_NAME} visible ASCII characters without blanks", shown(text));
            self.problem(problems, message);
            return None;
        }
        Some(text.to_owned())
    }

    /// A header value, path or host: 1 to [`MAX_VALUE`] printable ASCII characters.
    pub(super) fn value(&self, asked: &str, problems: &mut Vec<Problem>) -> Option<&'t str> {
        let text = self.text(asked, problems)?;
        if text.is_empty() || text.len() > MAX_VALUE || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            self.problem(problems, format!("{} must be 1 to {MAX_VALUE} printable ASCII characters", shown(text)));
            return None;
        }
        Some(text)
    }

    /// The name of a header, in lower case: HTTP does not mind the case, people do.
    pub(super) fn header_name(&self, problems: &mut Vec<Problem>) -> Option<String> {
        let text = self.text("the name of a header", problems)?;
        let name = checked_header_name(text);
        if name.is_none() {
            self.problem(problems, not_a_header_name(text));
        }
        name
    }
}

/// The name of a header in lower case, if it is one that may be used.
pub(super) fn checked_header_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    is_header_name(&name).then_some(name)
}

/// What to say of a text that is no such name.
pub(super) fn not_a_header_name(text: &str) -> String {
    format!(
        "{} is not the name of a header that may be used: write letters, digits, `-`, `_` or `.`, \
         and none that carries the request itself (as `host` does)",
        shown(text)
    )
}

impl<'t> Fields<'t> {
    /// The mapping itself.
    pub fn place(&self) -> &Place<'t> {
        &self.place
    }

    /// A field, if it is there.
    pub fn get(&self, name: &str) -> Option<Place<'t>> {
        self.entries.iter().find(|entry| entry.key == name).map(|entry| self.place.entry(entry))
    }

    /// Whether a field is there, or was meant to be: then it is not missing.
    pub fn mentions(&self, name: &str) -> bool {
        self.get(name).is_some() || self.meant.iter().any(|meant| meant == name)
    }

    /// A field that must be there; `write` says what to write.
    pub fn require(&self, name: &str, write: &str, problems: &mut Vec<Problem>) -> Option<Place<'t>> {
        let found = self.get(name);
        if !self.mentions(name) {
            self.place.problem(problems, format!("the field `{name}` is missing: write {write}"));
        }
        found
    }

    /// How many fields there are, known or not.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
