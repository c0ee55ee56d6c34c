//! A document as a tree that knows where each of its parts stands in the file.

use std::ops::Range;

use gristmill_core::{Pointer, Segment};
use serde_json::{Map, Number};

/// A value and the bytes of the file it stands in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// A value that a mistake already reported leaves open; it passes every check.
    Unknown,
}

/// A scalar: its text and what the text means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: Kind,
    /// Without quotes, so that its text decides what it means.
    pub(crate) plain: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    /// Infinity or not a number, which JSON does not have.
    NotFinite,
    String,
}

/// A key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

impl Scalar {
    /// A scalar without quotes, by the core schema of YAML 1.2 (§10.3.2): `yes` is a text, `0x1F`
    /// a number.
    pub(crate) fn plain(text: String) -> Self {
        let kind = core_schema(&text);
        Self { text, kind, plain: true }
    }

    pub(crate) fn quoted(text: String) -> Self {
        Self { text, kind: Kind::String, plain: false }
    }
}

impl Node {
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// Whether a part of it is left open by a mistake.
    pub(crate) fn has_unknown(&self) -> bool {
        match &self.value {
            Value::Unknown => true,
            Value::Scalar(_) => false,
            Value::Sequence(items) => items.iter().any(Node::has_unknown),
            Value::Mapping(entries) => entries.iter().any(|entry| entry.value.has_unknown()),
        }
    }

    /// Number of values in it, itself included.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) | Value::Unknown => 0,
            Value::Sequence(items) => items.iter().map(Node::count).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Unknown => serde_json::Value::Null,
            Value::Scalar(scalar) => match &scalar.kind {
                Kind::Null | Kind::NotFinite => serde_json::Value::Null,
                Kind::Bool(value) => (*value).into(),
                Kind::Number(number) => number.clone().into(),
                Kind::String => scalar.text.clone().into(),
            },
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => {
                let entries = entries.iter().map(|e| (e.key.clone(), e.value.to_json()));
                serde_json::Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// Follows a path as far as it leads.
    pub(crate) fn locate(&self, path: &Pointer) -> Located<'_> {
        let mut found = Located { node: self, key: None };
        for segment in &path.0 {
            let next = match segment {
                Segment::Key(key) => found.node.get(key).map(|entry| (&entry.value, Some(entry))),
                Segment::Index(index) => {
                    found.node.items().and_then(|items| items.get(*index)).map(|node| (node, None))
                }
            };
            let Some((node, entry)) = next else { break };
            found = Located { node, key: entry.map(|entry| &entry.key_span) };
        }
        found
    }
}

/// A value found by its path, with the key that leads to it.
#[derive(Clone, Copy)]
pub(crate) struct Located<'a> {
    pub(crate) node: &'a Node,
    pub(crate) key: Option<&'a Range<usize>>,
}

impl Located<'_> {
    /// The part of the file to point at: the scalar, or the key or beginning of anything larger.
    pub(crate) fn span(&self) -> Range<usize> {
        match &self.node.value {
            Value::Scalar(_) | Value::Unknown if !self.node.span.is_empty() => {
                self.node.span.clone()
            }
            _ => self.key_span(),
        }
    }

    /// The key, or the beginning of a value that has none.
    pub(crate) fn key_span(&self) -> Range<usize> {
        match (self.key, &self.node.value) {
            (Some(key), _) => key.clone(),
            (None, Value::Mapping(entries)) if !entries.is_empty() => entries[0].key_span.clone(),
            (None, Value::Sequence(_) | Value::Mapping(_)) => {
                self.node.span.start..(self.node.span.start + 1).min(self.node.span.end)
            }
            (None, _) => self.node.span.clone(),
        }
    }

    /// The part of the file that holds these bytes of the scalar, where it can be told.
    pub(crate) fn part(&self, source: &str, part: &Range<usize>) -> Option<Range<usize>> {
        let Value::Scalar(scalar) = &self.node.value else { return None };
        let offset = self.node.span.start;
        let places = align(&scalar.text, source.get(self.node.span.clone())?)?;
        let place = |at: usize| places.partition_point(|(value, _)| *value < at);
        let last = places.get(place(part.end).max(1) - 1)?;
        let first = places.get(place(part.start)).unwrap_or(last);
        let end = last.1 + source[offset + last.1..].chars().next().map_or(0, char::len_utf8);
        Some(offset + first.1..(offset + end).max(offset + first.1))
    }
}

/// For each character of a scalar's value, its byte in the value and in the source. What the
/// source has besides (quotes, escapes, indentation, the head of a block) is skipped; `None` when
/// more than that differs, as it does where a parameter was put in.
fn align(value: &str, source: &str) -> Option<Vec<(usize, usize)>> {
    let mut places = Vec::new();
    let body = if source.starts_with(['|', '>']) { source.find('\n')? + 1 } else { 0 };
    let mut rest = source[body..].char_indices().map(|(at, ch)| (at + body, ch)).peekable();
    if source.starts_with(['"', '\'']) {
        rest.next();
    }
    for (at, ch) in value.char_indices() {
        loop {
            let Some((place, found)) = rest.next() else {
                // Line ends at the end of a block are not part of its span.
                return value[at..].trim().is_empty().then_some(places);
            };
            if found == ch || (ch == ' ' && found == '\n') {
                places.push((at, place));
                if ch == '\'' && source.starts_with('\'') {
                    rest.next(); // a quote in single quotes is written twice
                }
                break;
            }
            if !(found.is_whitespace() || found == '\\') {
                return None;
            }
        }
    }
    Some(places)
}

fn core_schema(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::NotFinite,
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Kind::NotFinite;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.starts_with('+')
            && let Ok(number) = u64::from_str_radix(digits, radix)
        {
            return Kind::Number(number.into());
        }
    }
    if !unsigned.starts_with(|ch: char| ch.is_ascii_digit() || ch == '.')
        || !unsigned.contains(|ch: char| ch.is_ascii_digit())
        || !unsigned
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return Kind::String;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = text.parse::<u64>() {
            return Kind::Number(number.into());
        }
        if let Ok(number) = text.parse::<i64>() {
            return Kind::Number(number.into());
        }
    }
    match text.parse::<f64>() {
        Ok(number) => Number::from_f64(number).map_or(Kind::NotFinite, Kind::Number),
        Err(_) => Kind::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let number = |text: &str| match core_schema(text) {
            Kind::Number(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        for (text, expected) in [
            ("12", "12"),
            ("-3", "-3"),
            ("+7", "7"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1e3", "1000.0"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        for text in ["yes", "on", "2024-01-31", "1.2.3", "e5", "-", ".", "1_000", "12:30", "0x+1"] {
            assert_eq!(core_schema(text), Kind::String, "{text}");
        }
        for text in [".inf", "-.inf", ".nan", "1e999"] {
            assert_eq!(core_schema(text), Kind::NotFinite, "{text}");
        }
        assert_eq!(core_schema("~"), Kind::Null);
        assert_eq!(core_schema("True"), Kind::Bool(true));
    }

    #[test]
    fn parts_of_scalars_are_found_in_the_source() {
        let part = |source: &str, value: &str, part: Range<usize>| {
            let scalar = Value::Scalar(Scalar::quoted(value.to_owned()));
            let node = Node { value: scalar, span: 0..source.len() };
            let found = Located { node: &node, key: None }.part(source, &part);
            found.map(|range| source[range].to_owned())
        };
        assert_eq!(part("a + b", "a + b", 4..5).as_deref(), Some("b"));
        assert_eq!(part("'it''s b'", "it's b", 5..6).as_deref(), Some("b"));
        assert_eq!(part(r#""a\\ b""#, r"a\ b", 3..4).as_deref(), Some("b"));
        assert_eq!(part("|\n  a\n  + bc\n", "a\n+ bc\n", 4..6).as_deref(), Some("bc"));
        assert_eq!(part(">\n  a\n  + bc", "a + bc\n", 4..6).as_deref(), Some("bc"));
        assert_eq!(part("${X} b", "value b", 6..7), None);
        assert_eq!(part("ab", "ab", 2..2).as_deref(), Some("b"));
    }
}
