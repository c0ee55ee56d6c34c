//! Every kind of dirt in `fixtures/csv`, and what is promised for it.

use std::path::{Path, PathBuf};

use gristmill_core::FieldType;
use gristmill_format::csv::{Level, ReadOptions};

use super::{Outcome, read, read_as, sizes, some};

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/csv");
    std::fs::read(folder.join(name)).unwrap()
}

fn read_fixture(name: &str) -> Outcome {
    read(&fixture(name), &ReadOptions::default().for_path(Path::new(name)))
}

fn with(name: &str, options: &str) -> Outcome {
    read(&fixture(name), &serde_json::from_str(options).unwrap())
}

const CLEAN: [&[&str]; 3] =
    [&["1", "Ada", "London"], &["2", "Grace", "New York"], &["3", "Café \"Łódź\", 日本", "€"]];

#[test]
fn the_same_records_come_out_of_every_dialect() {
    for (name, options) in [
        ("lf.csv", "{}"),
        ("crlf.csv", "{}"),
        ("cr.csv", "{}"),
        ("bom.csv", "{}"),
        ("no_final_newline.csv", "{}"),
        ("blank_lines.csv", "{}"),
        ("utf16le.csv", "{}"),
        ("utf16be.csv", "{}"),
        ("utf16le.csv", r#"{"encoding": "utf16"}"#),
        ("semicolon.csv", r#"{"delimiter": ";"}"#),
        ("semicolon.csv", r#"{"dialect": "auto"}"#),
        ("tab.tsv", r#"{"delimiter": "tab"}"#),
        ("tab.tsv", r#"{"dialect": "auto"}"#),
        ("single_quotes.csv", r#"{"quote": "'"}"#),
        ("single_quotes.csv", r#"{"dialect": "auto"}"#),
        ("escapes.csv", r#"{"escape": "\\"}"#),
        ("preamble.csv", r##"{"skip_rows": 2, "comment": "#"}"##),
        ("no_header.csv", r#"{"header": "absent", "names": ["id", "name", "city"]}"#),
        ("lf.csv", r#"{"names": ["id", "name", "city"]}"#),
    ] {
        let outcome = with(name, options);
        assert_eq!(outcome.names, ["id", "name", "city"], "{name} {options}");
        assert_eq!(outcome.rejects, [], "{name} {options}");
        assert_eq!(outcome.values(), some(&CLEAN), "{name} {options}");
    }
    assert_eq!(read_fixture("tab.tsv").values(), some(&CLEAN));
}

#[test]
fn what_was_guessed_is_said() {
    assert_eq!(with("cr.csv", "{}").notes, ["lines of `x.csv` end in CR alone"]);
    assert_eq!(with("bom.csv", "{}").notes, ["`x.csv` begins with a byte order mark"]);
    assert_eq!(with("utf16le.csv", "{}").notes, ["`x.csv` is in UTF-16, little-endian"]);
    assert_eq!(
        with("tab.tsv", r#"{"dialect": "auto"}"#).notes,
        ["`x.csv` was taken to have the delimiter `\\t` and quote `\"`"]
    );
    assert_eq!(with("lf.csv", "{}").notes, [""; 0]);
}

#[test]
fn extra_and_missing_fields() {
    let outcome = read_fixture("ragged.csv");
    assert_eq!(outcome.values(), some(&[&["1", "Ada", "London"], &["4", "Alan", "Wilmslow"]]));
    assert_eq!(
        outcome.reasons(),
        [
            (3, "fields", "2 fields where the header has 3", "2,Grace"),
            (4, "fields", "4 fields where the header has 3", "3,Edsger,Nuenen,"),
            (6, "fields", "1 field where the header has 3", "5"),
        ]
    );
    assert_eq!(outcome.rejects[0].record, 2);
    assert_eq!(outcome.rejects[0].errors[0].value, None);
}

#[test]
fn stray_quotes() {
    let outcome = read_fixture("stray_quotes.csv");
    assert_eq!(
        outcome.values(),
        some(&[
            &["1", "5\" pipe", "a"],
            &["2", "a\"\"b", "c\""],
            &["4", "say \"hi\"", "two\nlines"],
            &["6", "x", "y"],
        ])
    );
    let text_follows =
        |line| format!("text follows the closing quote of a field that starts on line {line}");
    assert_eq!(
        outcome.reasons(),
        [
            (4, "quote", &*text_follows(4), "3,\"abc\"def,b"),
            (7, "quote", &*text_follows(7), "5,\"multi"),
            (8, "fields", "1 field where the header has 3", "line\" \"b\""),
        ]
    );
    assert_eq!(outcome.rejects[0].errors[0].field.as_deref(), Some("name"));
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    let outcome = read_fixture("unclosed_quote.csv");
    assert_eq!(outcome.values(), some(&[&["1", "Ada", "London"], &["3", "Alan", "Wilmslow"]]));
    assert_eq!(
        outcome.reasons(),
        [(
            3,
            "quote",
            "a quote opened on line 3 is not closed before the end of the input",
            "2,\"Grace,New York"
        )]
    );
}

#[test]
fn nul_bytes() {
    let outcome = read_fixture("nul.csv");
    assert_eq!(outcome.values(), some(&[&["1", "Ada"], &["3", "Alan"]]));
    assert_eq!(outcome.reasons(), [(3, "nul", "byte 5 of the record is a NUL byte", "2,Gr\0ace")]);
    assert_eq!(outcome.rejects[0].errors[0].field.as_deref(), Some("name"));
}

#[test]
fn invalid_utf_8() {
    let outcome = read_fixture("invalid_utf8.csv");
    assert_eq!(outcome.values(), some(&[&["1", "Ada"], &["3", "Ren\u{FFFD}e"]]));
    assert_eq!(
        outcome.reasons(),
        [(3, "encoding", "byte 6 of the record (0xE9) is not UTF-8", "2,Ren\u{FFFD}")]
    );
    assert_eq!(outcome.rejects[0].errors[0].field.as_deref(), Some("name"));
    assert_eq!(
        outcome.rejects[0].errors[0].value.as_deref(),
        Some("Ren\u{FFFD}"),
        "the value is shown as far as it can be"
    );
}

#[test]
fn malformed_utf_16() {
    // The second record has half a surrogate pair; the third a genuine U+FFFD.
    let outcome = read_fixture("malformed_utf16le.csv");
    assert_eq!(outcome.values(), some(&[&["1", "Ada"], &["3", "\u{FFFD}"]]));
    assert_eq!(outcome.rejects.len(), 1);
    let reason = &outcome.rejects[0].errors[0];
    assert_eq!(reason.rule, "encoding");
    assert_eq!(reason.message, "character 3 of the record is not valid in its encoding");
}

#[test]
fn latin_1() {
    let outcome = with("latin1.csv", r#"{"encoding": "latin1"}"#);
    assert_eq!(outcome.values(), some(&[&["1", "Renée"], &["2", "Ångström"]]));
    assert_eq!(with("latin1.csv", r#"{"encoding": "windows1252"}"#).values(), outcome.values());
    // Read as UTF-8, both records are rejected and none is garbled.
    let outcome = with("latin1.csv", "{}");
    assert_eq!(outcome.rows, []);
    assert!(outcome.rejects.iter().all(|reject| reject.errors[0].rule == "encoding"));
    assert_eq!(outcome.rejects.len(), 2);
}

#[test]
fn nothing_or_a_header_only() {
    let outcome = read_fixture("empty.csv");
    assert_eq!((outcome.names.len(), outcome.spans.len()), (0, 0));
    assert_eq!(outcome.notes, ["`x.csv` is empty"]);
    let outcome = with("empty.csv", r#"{"names": ["a"], "header": "absent"}"#);
    assert_eq!((outcome.names, outcome.spans), (vec!["a".to_owned()], vec![]));
    let outcome = read_fixture("header_only.csv");
    assert_eq!(outcome.names, ["id", "name"]);
    assert_eq!(outcome.spans, []);
    assert_eq!(
        read(b"\n\r\n", &ReadOptions::default()).notes,
        ["`x.csv` has no header and no record"]
    );
}

#[test]
fn a_header_of_one_name_with_another_delimiter_is_noted() {
    let notes = |text: &[u8], options| read(text, &options).notes;
    let usual = ReadOptions::default;
    assert_eq!(
        notes(b"a;b\n1;2\n", usual()),
        ["`x.csv` has one column; if its delimiter is `;`, say `csv: {delimiter: \";\"}`"]
    );
    assert_eq!(
        notes(b"a\tb\n", usual()),
        ["`x.csv` has one column; if its delimiter is `tab`, say `csv: {delimiter: \"tab\"}`"]
    );
    for one_column_or_more in [&b"a\n1;2\n"[..], b"a;b,c\n"] {
        assert_eq!(notes(one_column_or_more, usual()), [""; 0]);
    }
    let semicolon = serde_json::from_str(r#"{"delimiter": ";"}"#).unwrap();
    assert_eq!(notes(b"a;b\n1;2\n", semicolon), [""; 0]);
}

#[test]
fn duplicate_and_empty_names() {
    let outcome = read_fixture("names.csv");
    assert_eq!(outcome.names, ["id", "name", "name_2", "column_4"]);
    assert_eq!(outcome.values(), some(&[&["1", "Ada", "Lovelace", "x"]]));
    assert_eq!(
        outcome.notes,
        [
            "the header of `x.csv` has `name` twice; column 3 is called `name_2`",
            "column 4 of `x.csv` has no name in the header; it is called `column_4`",
        ]
    );
}

#[test]
fn nulls_are_unquoted() {
    let outcome = with("nulls.csv", r#"{"nulls": ["", "NA"]}"#);
    assert_eq!(
        outcome.values(),
        [
            [Some("1"), None, Some("")],
            [Some("2"), Some("NA"), None],
            [Some("3"), Some(" "), Some("na")]
        ]
    );
}

#[test]
fn dirt_does_not_depend_on_where_chunks_end() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/csv");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        files += 1;
        let text = std::fs::read(&path).unwrap();
        let options = ReadOptions::default().for_path(&path);
        let expected = read(&text, &options);
        for chunk in [1, 2, 13, 40] {
            for level in Level::supported() {
                let outcome = read_as(&text, &options, sizes(chunk, 7, 1000), level, |_| {});
                assert_eq!(outcome.unwrap(), expected, "{} in chunks of {chunk}", path.display());
            }
        }
    }
    assert!(files > 20);
}

#[test]
fn columns_that_do_not_parse_are_rejected_with_their_raw_value() {
    let text = b"id,day,aum\n1,2024-02-30,\" 12,5 \"\n2,2024-02-29, 7.5 \n3,,\"\"\n";
    let options = ReadOptions::default();
    let outcome = read_as(text, &options, sizes(1000, 1000, 1000), Level::Scalar, |plan| {
        plan.column_mut("day").unwrap().field_type = FieldType::Date;
        let aum = plan.column_mut("aum").unwrap();
        aum.field_type = FieldType::Decimal { precision: 5, scale: 2 };
        aum.clean.trim = true;
        aum.name = "amount".into();
    })
    .unwrap();
    assert_eq!(outcome.names, ["id", "day", "amount"]);
    assert_eq!(
        outcome.values(),
        [[Some("2"), Some("2024-02-29"), Some("7.50")], [Some("3"), None, None]]
    );
    let errors = &outcome.rejects[0].errors;
    assert_eq!(errors.len(), 2, "every reason is given");
    assert_eq!(errors[0].message, "`2024-02-30` is not a date");
    assert_eq!(errors[1].field.as_deref(), Some("amount"));
    assert_eq!(errors[1].rule, "type");
    assert_eq!(errors[1].message, "`12,5` is not a decimal(5, 2)");
    assert_eq!(errors[1].value.as_deref(), Some(" 12,5 "));
}

#[test]
fn a_plan_chooses_and_adds_columns() {
    let text = b"a,b,c\n1,2,3\n4,\"5\"x,6\n7,8,9\n";
    let outcome = read_as(text, &ReadOptions::default(), sizes(9, 9, 99), Level::Scalar, |plan| {
        let mut missing = plan.columns[1].clone();
        missing.source = "d".into();
        missing.name = "d".into();
        let mut filled = missing.clone();
        filled.name = "e".into();
        filled.clean.default = Some("none".into());
        plan.columns.remove(1);
        plan.columns.swap(0, 1);
        plan.columns.extend([missing, filled]);
    })
    .unwrap();
    assert_eq!(outcome.names, ["c", "a", "d", "e"]);
    let row = |c, a| [Some(c), Some(a), None, Some("none")];
    assert_eq!(outcome.values(), [row("3", "1"), row("9", "7")]);
    // A field that is left out is checked all the same, and called by the header's name.
    assert_eq!(outcome.rejects[0].errors[0].field.as_deref(), Some("b"));
}
