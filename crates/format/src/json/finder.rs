//! What the records of a piece add to the columns that are known.

use super::Nested;
use super::discover::{BOOL, Columns, DOUBLE, INT, INTS, LONG_INT, NESTED, STRING};
use super::keys::{Keys, UNKNOWN};
use super::lanes;
use super::token::{self, Inner, Kind, Token, short_number};

/// Finds the columns of a piece. What a record does not add to what is known is passed over.
pub(super) struct Finder {
    pub(super) columns: Columns,
    keys: Keys,
    known: Vec<Known>,
    members: Vec<(usize, Token)>,
    inner: Inner,
    /// Records that were looked into.
    records: u64,
    doubt: Doubt,
}

/// Whether a glance at a record is worth it: not where it has taught nothing of late.
#[derive(Default)]
struct Doubt {
    /// Records at which there is no glance.
    pause: u32,
    /// How many there are after the next glance that teaches nothing.
    next: u32,
}

/// Records at which there is no glance, at most, until there is one again.
const LONGEST_PAUSE: u32 = 64;

/// What is known of a key.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Its column, if it has one.
    column: Option<usize>,
    /// The kinds of scalars that the column has seen.
    scalars: u8,
    /// The last record that was looked into and has it.
    record: u64,
}

impl Finder {
    pub(super) fn new(nested: Nested) -> Self {
        Self {
            columns: Columns { nested, ..Columns::default() },
            keys: Keys::new(usize::MAX),
            known: Vec::new(),
            members: Vec::new(),
            inner: Inner::default(),
            records: 0,
            doubt: Doubt::default(),
        }
    }

    /// A finder that knows these columns.
    pub(super) fn knowing(columns: &Columns) -> Self {
        let mut finder = Self::new(columns.nested);
        for (column, (name, shape)) in columns.fields.iter().enumerate() {
            finder.keys.add(name.as_bytes());
            let scalars = shape.scalars;
            finder.known.push(Known { column: Some(column), scalars, record: 0 });
        }
        finder.columns = columns.clone();
        finder
    }

    /// How many records were looked into since.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Passes over the line at `at`: where the next one starts, if it is plain that this one adds
    /// nothing to what is known. It need not be a record that can be parsed; none such counts.
    #[inline(always)]
    pub(super) fn glance(&mut self, text: &[u8], at: usize) -> Option<usize> {
        if self.doubt.pause > 0 {
            self.doubt.pause -= 1;
            return None;
        }
        let next = self.pass_over(text, at);
        if next.is_some() {
            self.doubt.next = 0;
        } else {
            self.doubt.pause = self.doubt.next;
            self.doubt.next = (2 * self.doubt.next + 1).min(LONGEST_PAUSE);
        }
        next
    }

    /// No byte is passed over that could end the line: all of them are compared with others, or
    /// stand in a string that has no control character.
    #[inline(always)]
    fn pass_over(&self, text: &[u8], mut at: usize) -> Option<usize> {
        let mut last = UNKNOWN;
        let mut expected = b'{';
        loop {
            if *text.get(at)? != expected {
                break;
            }
            at += 1;
            at += usize::from(text.get(at) == Some(&b' '));
            (last, at) = self.keys.guess(text, at, last)?;
            at += usize::from(text.get(at) == Some(&b' '));
            let Known { column: Some(_), scalars, .. } = *self.known.get(last)? else {
                return None;
            };
            let (kind, len) = scalar(&text[at..])?;
            at += len;
            if kind_of_short(kind) & !scalars != 0 {
                return None;
            }
            expected = b',';
        }
        if expected != b',' || text[at] != b'}' {
            return None;
        }
        match &text[at + 1..] {
            [] => Some(at + 1),
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        }
    }

    pub(super) fn observe(&mut self, record: &[u8]) {
        let Self { columns, keys, known, members, inner, records, .. } = self;
        members.clear();
        inner.clear();
        let mut news = false;
        let checked = token::record(record, keys, inner, |position, value| {
            members.push((position, value));
            news |= match known.get(position) {
                Some(known) => known.column.is_none() || kind(record, value) & !known.scalars != 0,
                None => true,
            };
            true
        });
        if !news || checked.is_err() {
            return;
        }
        let Ok(record) = str::from_utf8(record) else {
            return;
        };
        known.resize(keys.len(), Known::default());
        *records += 1;
        for (position, _) in members.iter() {
            if std::mem::replace(&mut known[*position].record, *records) == *records {
                return; // a key twice
            }
        }
        for (position, value) in members {
            let Known { column, scalars, .. } = &mut known[*position];
            let column = *column.get_or_insert_with(|| {
                let name = str::from_utf8(keys.key(*position)).unwrap_or_default(); // it is UTF-8
                columns.fields.entry(name.into()).or_default();
                columns.fields.len() - 1
            });
            let shape = &mut columns.fields[column];
            shape.observe(record, inner, *value);
            *scalars = shape.scalars;
        }
    }
}

/// The kind of the scalar that a text starts with, and its length, if it is plain: a string, a number
/// of up to 15 bytes, a truth value or null. What is in a string's escapes is not checked. A string
/// has no control character, so that no line ends in it.
#[inline(always)]
fn scalar(text: &[u8]) -> Option<(Kind, usize)> {
    match text.first()? {
        b'"' => {
            let mut at = 1 + lanes::ordinary(&text[1..]);
            loop {
                match text.get(at)? {
                    b'"' => return Some((Kind::Plain, at + 1)),
                    b'\\' if *text.get(at + 1)? >= b' ' => at += 2,
                    _ => return None,
                }
                at += lanes::ordinary(&text[at..]);
            }
        }
        b'-' | b'0'..=b'9' => short_number(lanes::at(text, 0)?),
        b't' if text.starts_with(b"true") => Some((Kind::Bool, 4)),
        b'f' if text.starts_with(b"false") => Some((Kind::Bool, 5)),
        b'n' if text.starts_with(b"null") => Some((Kind::Null, 4)),
        _ => None,
    }
}

/// What a value is for a shape. A double makes a column `double` whatever numbers there are besides.
#[inline(always)]
pub(super) fn kind(record: &[u8], value: Token) -> u8 {
    match value.kind {
        Kind::Int if value.len() > 18 => long_int(record, value),
        kind => kind_of_short(kind),
    }
}

/// As [`kind`], for a value that is no integer of more than 18 bytes.
#[inline(always)]
fn kind_of_short(kind: Kind) -> u8 {
    match kind {
        Kind::Null => 0,
        Kind::Bool => BOOL,
        Kind::Int => INT,
        Kind::Number => INTS | DOUBLE,
        Kind::Plain | Kind::Escaped => STRING,
        Kind::Array | Kind::Object => NESTED,
    }
}

fn long_int(record: &[u8], value: Token) -> u8 {
    let (start, end) = value.range();
    let text = &record[start..end];
    if gristmill_core::text::parse::int(text).is_some() {
        return INT;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text).len();
    if digits <= 38 { LONG_INT } else { INTS | DOUBLE }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::discover::discover;
    use super::super::{Layout, ReadOptions};
    use super::*;
    use crate::Sizes;

    /// Lines of which most are like the one before, some with a flaw.
    fn lines() -> impl Strategy<Value = String> {
        let value = prop::sample::select(vec![
            "1",
            "-20",
            "1.5",
            "true",
            "false",
            "null",
            "\"plain\"",
            r#""\"quoted\" \\""#,
            "01",
            "1e3",
            "nul",
            r#""\u0000""#,
            r#""\x""#,
            "\"open",
            "{\"x\": 1}",
            "[1, \"\"]",
            "1234567890123456789",
            "\"a longer string, of more than one lane \\t\"",
            "\"bad\\",
        ]);
        let field = (0usize..3, value)
            .prop_map(|(key, value)| format!("\"{}\":{value}", ["a", "b", "c"][key]));
        let usual = prop::sample::select(vec![
            r#"{"a":1,"b":"x"}"#,
            r#"{"a": 12, "b": "yy"}"#,
            r#"{"a":null,"b":"z"}"#,
            "",
            " ",
            "{}",
            "{",
            "x",
            "{\"a\":1,\"b\":\"x\"} ",
            "{\"a\":1,\"b\":\"x\"}\r",
        ]);
        let record = prop_oneof![
            3 => usual.prop_map(str::to_owned),
            1 => prop::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ];
        prop::collection::vec(record, 0..60).prop_map(|records| records.join("\n"))
    }

    proptest! {
        #[test]
        fn what_is_passed_over_adds_nothing(text in lines(), chunk in 1usize..400) {
            let mut looked_into = Finder::new(Nested::Struct);
            for line in text.split('\n') {
                looked_into.observe(line.as_bytes());
            }
            let sizes = Sizes { chunk, ..Sizes::default() };
            let input = Box::new(std::io::Cursor::new(text.into_bytes()));
            let (mut found, options) = (Columns::default(), ReadOptions::default());
            discover("x".into(), input, Layout::Lines, &options, sizes, &mut found).unwrap();
            prop_assert_eq!(found, looked_into.columns);
        }
    }
}
