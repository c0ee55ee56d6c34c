//! The rules of `gristmill_format::csv` as a slow reader that has the whole text before it, one
//! byte after the other; and what comes out of the codec compared with it.

use gristmill_format::csv::{Level, ReadOptions};
use proptest::prelude::*;

use super::{read_as, sizes};

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Row { line: u64, offset: u64, length: u64, values: Vec<Option<String>> },
    Reject { line: u64, offset: u64, length: u64, rules: Vec<String>, raw: String },
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    FieldStart,
    Unquoted,
    Quoted,
    AfterQuote,
}

#[derive(Clone, Copy)]
enum Fault {
    TextAfterQuote,
    Unclosed,
    TooLong,
}

/// The fields of the record at `start` and where the next one starts, or what is wrong with it.
fn record(text: &[u8], start: usize, max: usize) -> Result<(Vec<Vec<u8>>, usize), Fault> {
    let (mut fields, mut field, mut at) = (Vec::new(), Vec::new(), At::FieldStart);
    let mut pos = start;
    loop {
        let byte = text.get(pos).copied();
        let crlf = byte == Some(b'\r') && matches!(text.get(pos + 1), None | Some(b'\n'));
        let ends = byte.is_none() || byte == Some(b'\n') || crlf;
        if pos - start >= max && !(ends && at != At::Quoted) {
            return Err(match (at, byte) {
                (At::Quoted, _) | (At::AfterQuote, Some(b'"')) => Fault::Unclosed,
                (At::AfterQuote, Some(byte)) if byte != b',' => Fault::TextAfterQuote,
                _ => Fault::TooLong,
            });
        }
        match (at, byte) {
            (At::Quoted, None) => return Err(Fault::Unclosed),
            (At::Quoted, Some(b'"')) => at = At::AfterQuote,
            (At::Quoted, Some(byte)) => field.push(byte),
            _ if ends => {
                fields.push(field);
                let next = pos + usize::from(crlf && pos + 1 < text.len()) + 1;
                return Ok((fields, next.min(text.len())));
            }
            (_, Some(b',')) => {
                // Marks quoted fields for the null token.
                fields.push(std::mem::take(&mut field));
                at = At::FieldStart;
            }
            (At::AfterQuote, Some(b'"')) => {
                field.push(b'"');
                at = At::Quoted;
            }
            (At::AfterQuote, _) => return Err(Fault::TextAfterQuote),
            (At::FieldStart, Some(b'"')) => {
                field.push(QUOTED);
                at = At::Quoted;
            }
            (_, Some(byte)) => {
                field.push(byte);
                at = At::Unquoted;
            }
            (_, None) => unreachable!("the end of the text ends a record"),
        }
        pos += 1;
    }
}

/// Put before the content of a quoted field; not in any text that is generated.
const QUOTED: u8 = 0x01;

fn items(text: &[u8], width: usize, max: usize) -> Vec<Item> {
    let mut items = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let line = 1 + text[..start].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let offset = start as u64;
        let line_feed = text[start..].iter().position(|&byte| byte == b'\n');
        let next_line = line_feed.map_or(text.len(), |at| start + at + 1);
        let content = &text[start..line_feed.map_or(text.len(), |at| start + at)];
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        if content.is_empty() {
            start = next_line;
            continue;
        }
        match record(text, start, max) {
            Ok((fields, next)) => {
                let mut raw = &text[start..next];
                raw = raw.strip_suffix(b"\n").unwrap_or(raw);
                raw = raw.strip_suffix(b"\r").unwrap_or(raw);
                let length = raw.len() as u64;
                let mut rules = Vec::new();
                if fields.len() != width {
                    rules.push("fields".to_owned());
                }
                for field in &fields {
                    if str::from_utf8(field).is_err() {
                        rules.push("encoding".to_owned());
                    }
                    if field.contains(&0) {
                        rules.push("nul".to_owned());
                    }
                }
                items.push(if rules.is_empty() {
                    let value = |field: Vec<u8>| match field.strip_prefix(&[QUOTED]) {
                        Some(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                        None if field.is_empty() => None,
                        None => Some(String::from_utf8(field).unwrap()),
                    };
                    Item::Row {
                        line,
                        offset,
                        length,
                        values: fields.into_iter().map(value).collect(),
                    }
                } else {
                    let raw = String::from_utf8_lossy(raw).into_owned();
                    Item::Reject { line, offset, length, rules, raw }
                });
                start = next;
            }
            Err(fault) => {
                let rule = match fault {
                    Fault::TextAfterQuote => "quote",
                    _ if content.len() > max => "record_size",
                    Fault::Unclosed => "quote",
                    Fault::TooLong => "record_size",
                };
                let mut kept = content.len().min(max);
                while kept < content.len() && kept > 1 && content[kept] & 0xC0 == 0x80 {
                    kept -= 1;
                }
                items.push(Item::Reject {
                    line,
                    offset,
                    length: content.len() as u64,
                    rules: vec![rule.to_owned()],
                    raw: String::from_utf8_lossy(&content[..kept]).into_owned(),
                });
                start = next_line;
            }
        }
    }
    items
}

fn compare(text: &[u8], width: usize, max: usize, chunk: usize, batch: usize, level: Level) {
    let options = ReadOptions {
        header: gristmill_format::csv::Header::Absent,
        names: (0..width).map(|i| format!("c{i}")).collect(),
        ..ReadOptions::default()
    };
    let outcome = read_as(text, &options, sizes(chunk, batch, max), level, |_| {}).unwrap();
    let mut found: Vec<(u64, Item)> = Vec::new();
    for row in outcome.rows {
        let (line, offset, length) = (row.line, row.offset, row.length);
        found.push((row.record, Item::Row { line, offset, length, values: row.values }));
    }
    for reject in outcome.rejects {
        found.push((
            reject.record,
            Item::Reject {
                line: reject.line.unwrap(),
                offset: reject.offset.unwrap(),
                length: reject.length.unwrap(),
                rules: reject.errors.iter().map(|reason| reason.rule.to_string()).collect(),
                raw: reject.raw,
            },
        ));
    }
    found.sort_by_key(|(record, _)| *record);
    let numbers: Vec<u64> = found.iter().map(|(record, _)| *record).collect();
    assert_eq!(numbers, (1..=found.len() as u64).collect::<Vec<_>>());
    let found: Vec<Item> = found.into_iter().map(|(_, item)| item).collect();
    assert_eq!(found, items(text, width, max), "{:?}", String::from_utf8_lossy(text));
}

/// Enough to meet most rules in a suite that runs often; `GRISTMILL_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("GRISTMILL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// Texts in which everything that has a meaning is frequent.
fn dirty() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just(&b","[..]),
        8 => Just(&b"\n"[..]),
        6 => Just(&b"\""[..]),
        3 => Just(&b"\"\""[..]),
        3 => Just(&b",\""[..]),
        3 => Just(&b"\",\""[..]),
        3 => Just(&b"\"\n"[..]),
        2 => Just(&b"\r\n"[..]),
        1 => Just(&b"\r"[..]),
        8 => Just(&b"a"[..]),
        3 => Just(&b"b c"[..]),
        2 => Just("é€😀".as_bytes()),
        1 => Just(&b"\xFF"[..]),
        1 => Just(&b"\0"[..]),
        2 => Just(&b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz"[..]),
        2 => Just(&b"0123456789abcdefghijklmnopqrstuv"[..]),
    ];
    // The first line end decides between LF and CR.
    proptest::collection::vec(piece, 0..120).prop_map(|pieces| [b"\n", &*pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..Default::default() })]

    #[test]
    fn dirty_texts_are_read_by_the_rules(
        text in dirty(),
        width in 1usize..4,
        max in 64usize..200,
        chunk in 1usize..200,
        batch in 1usize..200,
    ) {
        for level in Level::supported() {
            compare(&text, width, max, chunk, batch, level);
        }
    }

    #[test]
    fn a_text_with_carriage_returns_alone_is_read_like_one_with_line_feeds(
        text in dirty(),
        chunk in 1usize..200,
    ) {
        let line_feeds: Vec<u8> = text.into_iter().filter(|&byte| byte != b'\r').collect();
        let returns: Vec<u8> =
            line_feeds.iter().map(|&byte| if byte == b'\n' { b'\r' } else { byte }).collect();
        let options: ReadOptions =
            serde_json::from_str(r#"{"names": ["a", "b"], "header": "absent"}"#).unwrap();
        for level in Level::supported() {
            let read = |text: &[u8]| {
                read_as(text, &options, sizes(chunk, 50, 100), level, |_| {}).unwrap()
            };
            let (mut expected, mut outcome) = (read(&line_feeds), read(&returns));
            for value in expected.rows.iter_mut().flat_map(|row| row.values.iter_mut().flatten()) {
                *value = value.replace('\n', "\r");
            }
            for reject in &mut expected.rejects {
                reject.raw = reject.raw.replace('\n', "\r");
                for value in reject.errors.iter_mut().flat_map(|reason| &mut reason.value) {
                    *value = value.replace('\n', "\r");
                }
            }
            outcome.notes.clear(); // says that lines end in CR
            expected.notes.clear();
            prop_assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn what_the_masks_cannot_tell_does_not_depend_on_where_chunks_end(
        text in dirty(),
        escape in prop_oneof![Just("a"), Just("\u{1}"), Just("\"")],
        chunk in 1usize..200,
        batch in 1usize..200,
    ) {
        // Letters as escape and comment characters, so that they are met.
        let options = ReadOptions {
            escape: (escape != "\"").then(|| escape.to_owned()),
            comment: Some("b".to_owned()),
            header: gristmill_format::csv::Header::Absent,
            names: vec!["x".into(), "y".into()],
            ..ReadOptions::default()
        };
        let read = |chunk, batch| {
            read_as(&text, &options, sizes(chunk, batch, 100), Level::Scalar, |_| {}).unwrap()
        };
        prop_assert_eq!(read(chunk, batch), read(1 << 20, 1 << 20));
    }

    #[test]
    fn no_bytes_panic_and_every_line_is_accounted_for(
        text in proptest::collection::vec(any::<u8>(), 0..300),
        chunk in 1usize..100,
        max in 64usize..100,
    ) {
        // Any bytes at all, in all encodings and grammars: an error or records, never a panic.
        for options in [
            r#"{"names": ["a", "b"], "header": "absent"}"#,
            r#"{"quote": null, "delimiter": ";"}"#,
            r##"{"escape": "\\", "comment": "#", "header": "absent"}"##,
            r#"{"encoding": "utf16", "skip_rows": 1}"#,
            r#"{"encoding": "shift_jis", "dialect": "auto"}"#,
        ] {
            let options: ReadOptions = serde_json::from_str(options).unwrap();
            let Ok(outcome) = read_as(&text, &options, sizes(chunk, 50, max), Level::detect(), |_| {})
            else { continue };
            prop_assert_eq!(outcome.spans.len(), outcome.rows.len() + outcome.rejects.len());
            prop_assert!(outcome.spans.windows(2).all(|w| w[0].0 + w[0].1 < w[1].0));
        }
    }
}

#[test]
fn the_corners_are_read_by_the_rules() {
    let long = "x".repeat(70);
    for text in [
        "",
        "\n",
        "\r\n\r\n",
        "a,b",
        "a,b\r",
        "\"a\",\"b\"\r",
        "\"a\"\r,b\n",
        "\"a\n",
        "\"a\nb,c\nd,e\n",
        "a,\"b\nc,\"d\ne,f\n",
        "a,\"b\"c\nd,e\n",
        "5\" pipe,6\" pipe\n\"7\"\" pipe\",x\n",
        "a,b\"\n\"\",\n",
        "\"\"\"\",\"\"\"\"\"\"\n",
        "a,\n,\n\n,b\n",
        &format!("{long},b\nc,d\n"),
        &format!("\"{long}\n{long}\",b\nc,d\n"),
        &format!("\"{long}\",\"b\nc,d\n"),
        &format!("\"a\"b{long}\nc,d\n"),
        &format!("\"a\n{long}"),
        &format!("a,{long}\r\nb,c"),
        &format!("\"{}\n\",\"", &long[..60]),
    ] {
        let text = format!("\n{text}");
        for chunk in [1, 7, 64, 1000] {
            for level in Level::supported() {
                compare(text.as_bytes(), 2, 64, chunk, 10, level);
            }
        }
    }
}
