//! The same values as `serde_json`, however the text is laid out and cut.

use gristmill_format::Sizes;
use gristmill_format::json::Layout;
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

use super::How;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-100i64..100).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |x| Number::from_f64(x).map(Value::Number)),
        "[a-z \"\\\\/\u{1}\n\r\t,:{}\\[\\]\u{7f}é€😀]{0,12}".prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-d]", 1 => "[\"\\\\é😀 \n]{1,2}", 1 => "a key of 13[ab]|a key of 16 or so[ab]{0,2}"]
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value, 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            object(inner),
        ]
    })
}

/// Writes JSON in ever other ways, as the noise says.
struct Untidy<'a> {
    noise: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    lines: bool,
    out: String,
}

impl Untidy<'_> {
    fn noise(&mut self) -> u8 {
        *self.noise.next().unwrap()
    }

    fn blank(&mut self) {
        let blanks = if self.lines { ["", "", " ", "\t"] } else { ["", "\n", " ", "\r\n\t"] };
        let blank = blanks[usize::from(self.noise() % 4)];
        self.out.push_str(blank);
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for char in text.chars() {
            if self.noise().is_multiple_of(3) {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    self.out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                let quoted = json!(char.to_string()).to_string();
                self.out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.out.push('[');
                self.blank();
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.out.push(',');
                        self.blank();
                    }
                    self.value(item);
                    self.blank();
                }
                self.out.push(']');
            }
            Value::Object(members) => {
                self.out.push('{');
                self.blank();
                let mut members: Vec<_> = members.iter().collect();
                let by = usize::from(self.noise()) % members.len().max(1);
                members.rotate_left(by);
                for (i, (key, item)) in members.into_iter().enumerate() {
                    if i > 0 {
                        self.out.push(',');
                        self.blank();
                    }
                    self.string(key);
                    self.blank();
                    self.out.push(':');
                    self.blank();
                    self.value(item);
                    self.blank();
                }
                self.out.push('}');
            }
            other => self.out.push_str(&other.to_string()),
        }
    }
}

fn lines(records: &[Value], noise: &[u8]) -> String {
    let mut text = Untidy { noise: noise.iter().cycle(), lines: true, out: String::new() };
    for record in records {
        text.blank();
        text.value(record);
        text.blank();
        let end = if text.noise().is_multiple_of(2) { "\n" } else { "\r\n" };
        text.out.push_str(end);
        if text.noise().is_multiple_of(4) {
            text.out.push_str(" \n");
        }
    }
    text.out
}

fn document(records: &[Value], path: &[&str], noise: &[u8]) -> String {
    let mut whole = Value::Array(records.to_vec());
    for key in path.iter().rev() {
        let mut around = Map::new();
        around.insert("before".into(), json!([{"items": [{}, "]"]}, "}{"]));
        around.insert((*key).into(), whole);
        around.insert("behind \" it".into(), json!({"a": [1, -2.5, null]}));
        whole = Value::Object(around);
    }
    let mut text = Untidy { noise: noise.iter().cycle(), lines: false, out: String::new() };
    text.blank();
    text.value(&whole);
    text.blank();
    text.out
}

/// Equal, but that a missing member is a null, and that numbers may have become doubles.
fn same(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let value = |members: &Map<String, Value>, key: &str| {
                members.get(key).cloned().unwrap_or_default()
            };
            let keys = expected.keys().chain(actual.keys());
            keys.into_iter().all(|key| same(&value(expected, key), &value(actual, key)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len() && expected.iter().zip(actual).all(|(a, b)| same(a, b))
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (expected, actual) => expected == actual,
    }
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1usize..300, 1usize..100).prop_map(|(chunk, batch)| Sizes {
        chunk,
        batch,
        max_record: 1 << 20,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_record_has_its_values(
        records in prop::collection::vec(object(value()), 0..12),
        noise in prop::collection::vec(any::<u8>(), 1..40),
        sizes in sizes(),
        step in 1usize..50,
        kind in 0..3,
    ) {
        let (layout, path, text) = match kind {
            0 => (Layout::Lines, None, lines(&records, &noise)),
            1 => (Layout::Document, None, document(&records, &[], &noise)),
            _ => {
                let text = document(&records, &["data é", "items"], &noise);
                (Layout::Document, Some("data é.items".to_owned()), text)
            }
        };
        let mut how = How::of(layout);
        how.options.records = path;
        let whole = how.read(text.as_bytes()).unwrap();
        how.sizes = sizes;
        how.step = step;
        let pieces = how.read(text.as_bytes()).unwrap();
        prop_assert_eq!(&whole.rows, &pieces.rows);
        prop_assert_eq!(&whole.raws, &pieces.raws);
        prop_assert_eq!(whole.rejected(), Vec::<String>::new());
        prop_assert_eq!(records.len(), whole.rows.len());
        for ((expected, actual), raw) in records.iter().zip(&whole.rows).zip(&whole.raws) {
            prop_assert!(same(expected, actual), "{expected}\n{actual}\n{text}");
            prop_assert!(same(expected, &serde_json::from_str(raw).unwrap()));
        }

        // How much a read returns changes nothing, not even where batches end.
        how.step = 1;
        let lens = |all: &super::Everything| -> Vec<usize> {
            all.batches.iter().map(|batch| batch.num_rows()).collect()
        };
        let again = how.read(text.as_bytes()).unwrap();
        prop_assert_eq!(pieces.chunks, again.chunks);
        prop_assert_eq!(lens(&pieces), lens(&again));
    }

    #[test]
    fn lines_are_accepted_as_serde_json_accepts_them(
        records in prop::collection::vec(object(value()), 1..4),
        noise in prop::collection::vec(any::<u8>(), 1..40),
        at: prop::sample::Index,
        byte in prop::sample::select(b"\"\\{}[],:0123456789.eE+-tfnu a\x00\x1f\xc3\xa9\xff".as_slice()),
        insert: bool,
    ) {
        let mut text = lines(&records, &noise).into_bytes();
        let at = at.index(text.len());
        if insert {
            text.insert(at, byte);
        } else {
            text[at] = byte;
        }
        let all = How::of(Layout::Lines).read(&text).unwrap();
        let expected: Vec<Result<Value, _>> = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .map(serde_json::from_slice::<Value>)
            .collect();
        prop_assert_eq!(all.read, expected.len());
        let mut rows = all.numbers.iter().zip(&all.rows).peekable();
        let rejected = all.rejected();
        for (number, expected) in (1..).zip(&expected) {
            match rows.next_if(|(n, _)| **n == number) {
                Some((_, row)) => {
                    let expected = match expected {
                        Err(error) if error.to_string().contains("out of range") => continue,
                        expected => expected.as_ref().unwrap(),
                    };
                    prop_assert!(same(expected, row), "{expected}\n{row}");
                }
                None => {
                    // Ours, beyond the grammar: a key twice, U+0000, a value that is no object.
                    let ours = rejected.iter().any(|reason| {
                        ["duplicate_key", "nul", "object"].iter().any(|rule| reason.contains(rule))
                    });
                    prop_assert!(expected.is_err() || ours, "{rejected:?}\n{expected:?}");
                }
            }
        }
    }

    #[test]
    fn no_text_panics(text in prop::collection::vec(
        prop::sample::select(b"\"\\{}[],:01.e-tfnu a\n\x00\xc3\xa9".as_slice()), 0..60),
        sizes in sizes(),
        max_record in 1usize..40,
        path: bool,
    ) {
        let mut how = How::of(Layout::Document);
        how.sizes = Sizes { max_record, ..sizes };
        how.options.records = path.then(|| "a".to_owned());
        let _ = how.read(&text); // checks the account and where records stand
        let mut how = How::of(Layout::Lines);
        how.sizes = Sizes { max_record, ..sizes };
        prop_assert!(how.read(&text).is_ok());
    }
}
