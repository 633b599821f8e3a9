//! From text to a tree of nodes that know their line and column. Knows YAML, and no field of an experiment.
//!
//! Bounded in size, depth and number of nodes; anchors, aliases and tags are refused, so nothing can grow on expansion.

use super::Problem;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 32;
/// Most fields of one mapping.
const MAX_FIELDS: usize = 1_000;

/// How much is read.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the text.
    pub bytes: usize,
    /// Nodes in it.
    pub nodes: usize,
}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    fn of(marker: Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }

    /// A problem here.
    pub fn problem(self, path: &str, message: impl Into<String>) -> Problem {
        Problem { line: self.line, column: self.column, path: path.to_owned(), message: message.into() }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// It.
    pub value: Value,
}

/// A value.
#[derive(Debug)]
pub enum Value {
    /// Text, as written.
    Text(String),
    /// Nothing: empty, `~` or `null`.
    Nothing,
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text, keys unique.
    Map(Vec<Entry>),
    /// Something already complained about.
    Broken,
}

/// One field of a mapping.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the name stands.
    pub at: Position,
    /// What it has.
    pub value: Node,
}

/// The documents of a text that are not empty. Notes what is not YAML, or YAML that is refused here.
pub fn parse(text: &str, bounds: Bounds, problems: &mut Vec<Problem>) -> Vec<Node> {
    let start = Position { line: 1, column: 1 };
    if text.len() > bounds.bytes {
        let message = format!("the text has {} bytes; at most {} are read", text.len(), bounds.bytes);
        problems.push(start.problem("", message));
        return Vec::new();
    }
    let mut builder =
        Builder { problems, documents: Vec::new(), open: Vec::new(), nodes: 0, most: bounds.nodes, stopped: false };
    for event in Parser::new_from_str(text) {
        let more = match event {
            Ok((event, span)) => builder.take(event, Position::of(span.start)),
            Err(error) => {
                let at = Position::of(*error.marker());
                // Who begins with a bracket means JSON, and should not have to know that this is YAML too.
                let json = text.trim_start().starts_with(['{', '[']);
                let what = if json { "neither valid YAML nor JSON" } else { "not valid YAML" };
                builder.problems.push(at.problem("", format!("this is {what}: {}", error.info())));
                false
            }
        };
        if !more {
            break;
        }
    }
    builder.documents
}

/// A list or mapping whose end has not been seen yet.
enum Open {
    List { at: Position, items: Vec<Node> },
    Map { at: Position, entries: Vec<Entry>, key: Option<Key> },
}

/// A key that waits for its value.
enum Key {
    Text(String, Position),
    /// Not text, or there already: its value is dropped.
    Refused,
}

struct Builder<'p> {
    problems: &'p mut Vec<Problem>,
    documents: Vec<Node>,
    open: Vec<Open>,
    nodes: usize,
    most: usize,
    /// After a mapping without end nothing more is looked at.
    stopped: bool,
}

impl Builder<'_> {
    /// Takes one event; false when reading must stop.
    fn take(&mut self, event: Event<'_>, at: Position) -> bool {
        self.nodes += 1;
        if self.stopped {
            return false;
        }
        if self.nodes > self.most {
            self.problems.push(at.problem("", format!("this is too much: at most {} values are read", self.most)));
            return false;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let broken = self.refuse_extras(anchor, tag.is_some(), at);
                let nothing = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = match (broken, nothing) {
                    (true, _) => Value::Broken,
                    (_, true) => Value::Nothing,
                    _ => Value::Text(text.into_owned()),
                };
                self.put(Node { at, value });
            }
            Event::Alias(_) => {
                self.refuse_extras(1, false, at);
                self.put(Node { at, value: Value::Broken });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), at);
                return self.enter(Open::List { at, items: Vec::new() }, at);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), at);
                return self.enter(Open::Map { at, entries: Vec::new(), key: None }, at);
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.put(Node { at, value: Value::List(items) }),
                Some(Open::Map { at, entries, .. }) => self.put(Node { at, value: Value::Map(entries) }),
                None => {}
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        true
    }

    fn enter(&mut self, opened: Open, at: Position) -> bool {
        if self.open.len() >= MAX_DEPTH {
            self.problems
                .push(at.problem("", format!("this is nested too deeply: at most {MAX_DEPTH} levels are read")));
            return false;
        }
        self.open.push(opened);
        true
    }

    /// Whether there was an anchor or a tag; notes it.
    fn refuse_extras(&mut self, anchor: usize, tag: bool, at: Position) -> bool {
        if anchor != 0 {
            self.problems
                .push(at.problem("", "anchors (`&name`) and aliases (`*name`) are not read: write the value out"));
        } else if tag {
            self.problems.push(at.problem("", "tags (`!name`) are not read: leave the tag out"));
        }
        anchor != 0 || tag
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => {
                if !matches!(node.value, Value::Nothing) {
                    self.documents.push(node);
                }
            }
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(Key::Text(name, at)) => {
                    // An empty value has no place of its own; the parser names that of whatever comes next.
                    let here = if matches!(node.value, Value::Nothing) { at } else { node.at };
                    entries.push(Entry { key: name, at, value: Node { at: here, ..node } });
                }
                Some(Key::Refused) => {}
                None if entries.len() >= MAX_FIELDS => {
                    let message = format!("this mapping has too many fields: at most {MAX_FIELDS} are read");
                    self.problems.push(node.at.problem("", message));
                    self.stopped = true;
                }
                None => *key = Some(as_key(node, entries, self.problems)),
            },
        }
    }
}

fn as_key(node: Node, entries: &[Entry], problems: &mut Vec<Problem>) -> Key {
    let name = match node.value {
        Value::Text(name) => name,
        Value::Nothing => String::new(),
        Value::Broken => return Key::Refused,
        Value::List(_) | Value::Map(_) => {
            problems.push(node.at.problem("", "the name of a field must be plain text"));
            return Key::Refused;
        }
    };
    match entries.iter().find(|entry| entry.key == name) {
        None => Key::Text(name, node.at),
        Some(first) => {
            let shown = super::place::shown(&name);
            let message = format!("the field {shown} is already there, in line {}: keep one of them", first.at.line);
            problems.push(node.at.problem("", message));
            Key::Refused
        }
    }
}
