//! Options, headers and what is an error.

use gristmill_core::ErrorKind;
use gristmill_format::Sizes;
use gristmill_format::csv::{Level, ReadOptions};

use super::{read, read_as, some};

fn error(text: &[u8], options: &str) -> gristmill_core::Error {
    let options: ReadOptions = serde_json::from_str(options).unwrap();
    read_as(text, &options, Sizes::default(), Level::detect(), |_| {}).unwrap_err()
}

#[test]
fn a_header_that_cannot_be_read_is_an_error() {
    let cases: [(&[u8], &str); 6] = [
        (b"a,\"b\n1,2\n", "the header of `x.csv` cannot be read: a quote is not closed"),
        (
            b"\"a\"b,c\n",
            "the header of `x.csv` cannot be read: there is text after a closing quote",
        ),
        (b"a,b\xE9\n", "name 2 in the header of `x.csv` is not UTF-8"),
        (b"\0,b\n", "name 1 in the header of `x.csv` holds a NUL byte"),
        (&[b'a'; 20 << 20], "the header of `x.csv` cannot be read: it is too long"),
        (b"P\0K\0", "name 1 in the header of `x.csv` holds a NUL byte"),
    ];
    for (text, message) in cases {
        let error = error(text, "{}");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn names_must_fit_the_header() {
    let error = error(b"a,b\n", r#"{"names": ["x"]}"#);
    assert_eq!(error.to_string(), "`names` has 1 where the header of `x.csv` has 2");
    assert_eq!(error.kind(), ErrorKind::Schema);
}

#[test]
fn mistakes_in_options_do_not_open() {
    let error = error(b"a,b\n", r#"{"delimiter": "::"}"#);
    assert_eq!(error.to_string(), "delimiter: `::` is not one character");
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn without_header_and_names_the_first_record_says_how_many_columns_there_are() {
    let options: ReadOptions = serde_json::from_str(r#"{"header": "absent"}"#).unwrap();
    let outcome = read(b"\n1,2\n3\n4,5\n", &options);
    assert_eq!(outcome.names, ["column_1", "column_2"]);
    assert_eq!(outcome.values(), some(&[&["1", "2"], &["4", "5"]]));
    assert_eq!(outcome.reasons(), [(3, "fields", "1 field where the first record has 2", "3")]);
}

#[test]
fn without_quotes_a_quote_is_text() {
    let options: ReadOptions = serde_json::from_str(r#"{"quote": null}"#).unwrap();
    let outcome = read(b"a,b\n\"1,2\"\n\"\"\"x\",\n", &options);
    assert_eq!(outcome.values(), [[Some("\"1"), Some("2\"")], [Some("\"\"\"x\""), None]]);
}

#[test]
fn a_carriage_return_alone_is_text_in_a_file_with_line_feeds() {
    let outcome = read(b"a,b\n1\r2,3\r\n", &ReadOptions::default());
    assert_eq!(outcome.values(), some(&[&["1\r2", "3"]]));
}

#[test]
fn one_column_needs_no_delimiter() {
    let outcome = read(b"name\nAda\n\n\"\"\n\"a,b\"\nc,d\n", &ReadOptions::default());
    assert_eq!(outcome.values(), some(&[&["Ada"], &[""], &["a,b"]]));
    assert_eq!(outcome.reasons(), [(6, "fields", "2 fields where the header has 1", "c,d")]);
}

#[test]
fn the_schema_says_what_can_be_said() {
    let schema = serde_json::to_value(schemars::schema_for!(ReadOptions)).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(serde_json::from_str::<ReadOptions>(r#"{"seperator": ";"}"#).is_err());
    for key in [
        "delimiter",
        "quote",
        "escape",
        "header",
        "names",
        "comment",
        "skip_rows",
        "nulls",
        "encoding",
        "dialect",
        "max_record_size",
    ] {
        assert!(schema["properties"][key]["description"].is_string(), "{key} is described");
    }
}
