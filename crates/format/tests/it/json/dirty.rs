//! Every kind of dirt is a reject with its line and reason, and reading goes on.

use gristmill_core::ErrorKind;
use gristmill_core::origin::Locator;
use gristmill_format::json::Layout;
use serde_json::json;

use super::How;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../fixtures/json/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

#[test]
fn dirty_lines() {
    let mut how = How::of(Layout::Lines);
    let all = how.read(&fixture("dirty.ndjson")).unwrap();
    assert_eq!(
        all.rejected(),
        [
            "3 parse json: expected `,` or `}` but found `\"` at column 25 of the record",
            "4 parse json: a string is not closed; it opens at column 19 of the record",
            "5 parse object: the record is a number, not an object",
            "6 parse object: the record is an array, not an object",
            "7 parse duplicate_key: the key `name` again at column 24 of the record",
            "8 parse encoding: the byte 0xE9 is not UTF-8 at column 23 of the record",
            "9 parse nul: a string has the character U+0000 at column 21 of the record",
            "10 parse json: half a surrogate pair at column 20 of the record",
            "12 parse json: a string has the control character U+0009, which must be escaped at column 24 of the record",
            "13 parse json: expected the end of the record but found `{` at column 11 of the record",
            "14 parse depth: more than 128 levels of objects and arrays at column 147 of the record",
            "15 parse json: expected a value but found `N` at column 20 of the record",
            "18 parse json: expected a key in quotes but found `'` at column 2 of the record",
            "19 parse json: expected `,` or `}` but found `1` at column 9 of the record",
            "20 parse json: expected a value but found `\\0` at column 1 of the record",
            "21 parse duplicate_key: `address` has the key `city` twice",
        ]
    );
    assert_eq!(
        all.rows,
        [
            json!({"id": 1, "name": "Ada", "tags": ["x", "y"], "address": {"city": "Paris", "zip": "75001"}}),
            json!({"id": 9, "name": "pair 😀", "tags": null, "address": null}),
            json!({"id": 15, "name": null, "tags": null, "address": {"city": null, "zip": "0007"}}),
            json!({"id": 19, "name": "last", "tags": null, "address": null}),
        ]
    );

    // The same in pieces, and with records that are longer than allowed.
    let whole = all.rejected();
    how.sizes.chunk = 30;
    how.sizes.batch = 10;
    how.step = 3;
    let pieces = how.read(&fixture("dirty.ndjson")).unwrap();
    assert_eq!(pieces.rejected(), whole);
    assert_eq!(pieces.rows, all.rows);
    how.sizes.max_record = 70;
    let pieces = how.read(&fixture("dirty.ndjson")).unwrap();
    let too_long = "the record is longer than 70 B";
    let rejected = pieces.rejected();
    let too_long: Vec<_> = rejected.iter().filter(|reason| reason.ends_with(too_long)).collect();
    assert_eq!(too_long.len(), 2, "{rejected:?}"); // the first and the deep one
    assert_eq!(pieces.rows.len(), 3);
}

#[test]
fn dirty_elements() {
    let mut how = How::of(Layout::Document);
    for (chunk, step) in [(1 << 20, 1 << 20), (40, 7), (1, 1)] {
        how.sizes.chunk = chunk;
        how.sizes.batch = chunk;
        how.step = step;
        let all = how.read(&fixture("dirty.json")).unwrap();
        assert_eq!(
            all.rejected(),
            [
                "3 parse json: expected `,` or `}` but found `\"` at column 10 of the record",
                "4 parse json: expected a value but found `t` at line 3, column 13 of the record",
                "8 parse object: the record is a number, not an object",
                "9 parse json: expected a value but found its end at column 1 of the record",
                "10 parse encoding: the byte 0xE9 is not UTF-8 at column 23 of the record",
                "11 parse json: expected the end of the record but found `{` at column 47 of the record",
                "13 parse json: expected a value but found its end at column 1 of the record",
            ]
        );
        assert_eq!(all.rows, [json!({"id": 1, "name": "Ada"}), json!({"id": 7, "name": "last"})]);
    }
}

#[test]
fn records_inside_a_document() {
    let mut how = How::of(Layout::Document);
    how.options.records = Some("data.items".into());
    let expected = [
        json!({"user_id": 1, "user_email": "ada@example.org"}),
        json!({"user_id": 2, "user_email": null}),
    ];
    assert_eq!(how.read(&fixture("page.json")).unwrap().rows, expected);
    // Several pages in a row, one of them without records, one with a single object.
    let page = String::from_utf8(fixture("page.json")).unwrap();
    let pages =
        format!(r#"{page}{{"data": {{"items": null}}}} {{"data": {{"items": {{"user_id": 3}}}}}}"#);
    let all = how.read(pages.as_bytes()).unwrap();
    assert_eq!(all.rows.len(), 3);
    assert_eq!(all.rows[2], json!({"user_id": 3, "user_email": null}));

    for (path, message) in [
        ("data.rows", "`x` has no `data.rows` in the object that ends on line 10"),
        ("data.count", "`x` has a `data.count` on line 4 that is not an array or an object"),
        ("meta.page.items", "`x` has a `meta.page` on line 2 that is not an object"),
    ] {
        how.options.records = Some(path.into());
        let error = how.discover(&fixture("page.json")).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Schema, message));
    }
}

#[test]
fn broken_documents_are_errors_that_name_the_line() {
    let how = How::of(Layout::Document);
    for (text, kind, message) in [
        (
            "[\n{\"a\": 1},\n{\"a\": ",
            ErrorKind::Truncated,
            "`x` ends in the middle of the record that starts on line 3",
        ),
        ("[\n{\"a\": 1}\n", ErrorKind::Truncated, "`x` ends on line 3 before its array is closed"),
        (
            "[{\"a\": [1}]",
            ErrorKind::Corrupt,
            "`x` is not valid JSON on line 1: `}` closes what it does not open, in the record that starts on line 1",
        ),
        (
            "<html>",
            ErrorKind::Corrupt,
            "`x` is not valid JSON on line 1: expected a JSON value but found `<`",
        ),
        ("\u{feff}[]", ErrorKind::Internal, ""), // a byte order mark is no error
        (
            "[]\n]",
            ErrorKind::Corrupt,
            "`x` is not valid JSON on line 2: expected a JSON value but found `]`",
        ),
    ] {
        match how.discover(text.as_bytes()) {
            Ok(_) => assert_eq!(message, "", "{text}"),
            Err(error) => {
                assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
                let cut_off = error.hint_text().unwrap().contains("get it again");
                assert_eq!(cut_off, kind == ErrorKind::Truncated);
            }
        }
    }
    let error = how.discover(b"\xff\xfe[\0]\0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("UTF-16"));
}

#[test]
fn top_level_values_are_records() {
    let how = How::of(Layout::Document);
    let all = how.read(b"{\"a\": 1}\n{\"a\": 2}[{\"a\": 3}] 4 \"5\" true").unwrap();
    assert_eq!(all.rows, [json!({"a": 1}), json!({"a": 2}), json!({"a": 3})]);
    assert_eq!(all.rejected().len(), 3);
}

#[test]
fn nothing_is_no_record() {
    for layout in [Layout::Document, Layout::Lines] {
        for text in ["", "\u{feff}", " \n\n", "[]"] {
            if (layout, text) == (Layout::Lines, "[]") {
                continue;
            }
            let all = How::of(layout).read(text.as_bytes()).unwrap();
            assert_eq!((all.read, all.rows.len()), (0, 0), "{text:?}");
        }
    }
    let all = How::of(Layout::Lines).read(b"{}\n{}").unwrap();
    assert_eq!(all.rows, [json!({}), json!({})]);
}

#[test]
fn a_record_that_is_too_long_is_cut_and_lines_stay_right() {
    let long = format!("{{\"a\": [\n{}1]}}", "1,\n".repeat(5_000_000));
    let text = format!("[{{\"a\": [1]}},\n{long},\n{{\"a\": 2 3}},\n{{\"a\": [4]}}]");
    let mut how = How::of(Layout::Document);
    how.sizes.max_record = 3 << 20;
    let all = how.read(text.as_bytes()).unwrap();
    assert_eq!(
        all.rejected(),
        [
            "2 parse record_size: the record is longer than 3 MiB",
            "5000004 parse json: expected `,` or `}` but found `3` at column 9 of the record",
        ]
    );
    assert_eq!(all.rows, [json!({"a": [1]}), json!({"a": [4]})]);
    let line = all.findings.rejects()[0].to_line("run", "pipeline", &mut Locator::default());
    assert_eq!((line.length, line.truncated), (Some(long.len() as u64), true));
    assert!(long.starts_with(&line.raw) && line.raw.len() == 1 << 20);

    let text = format!("{{\"a\": 1}}\n{{\"a\": \"{}\"}}\n{{\"a\": 3}}", "x".repeat(20 << 20));
    let all = How::of(Layout::Lines).read(text.as_bytes()).unwrap();
    assert_eq!(all.rejected(), ["2 parse record_size: the record is longer than 16 MiB"]);
    assert_eq!(all.rows, [json!({"a": 1}), json!({"a": 3})]);
    let line = all.findings.rejects()[0].to_line("run", "pipeline", &mut Locator::default());
    assert_eq!((line.length, line.truncated), (Some(9 + (20 << 20)), true));
}

#[test]
fn a_key_that_no_other_record_has_may_not_come_twice_either() {
    let text = "{\"b\":1,\"b\":2}\n{\"a\":1}\n{\"c\":1,\"d\":2,\"\\u0063\":3}\n{\"a\":2}\n";
    let all = How::of(Layout::Lines).read(text.as_bytes()).unwrap();
    assert_eq!(all.rows.len(), 2);
    let rejected = all.rejected();
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    assert!(rejected.iter().all(|reason| reason.contains("duplicate_key")), "{rejected:?}");
}
