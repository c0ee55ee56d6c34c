//! Records that are too long, and how much of a text is held.

use std::io::{self, Read};

use gristmill_core::{Findings, RejectLine};
use gristmill_format::csv::{Level, ReadOptions, Reader};
use gristmill_format::{Reader as _, Sizes};

use super::{read, read_as, sizes};

#[test]
fn a_field_of_100_mb_is_one_reject() {
    let mut text = b"id,name\n1,Ada\n2,".to_vec();
    text.resize(text.len() + 100_000_000, b'x');
    text.extend_from_slice(b"\r\n3,Alan\n");
    let outcome = read(&text, &ReadOptions::default());
    let ids: Vec<_> = outcome.values().iter().map(|row| row[0]).collect();
    assert_eq!(ids, [Some("1"), Some("3")]);
    let [RejectLine { record: 2, line: Some(3), offset: Some(14), raw, truncated: true, .. }] =
        &outcome.rejects[..]
    else {
        panic!("{} rejects", outcome.rejects.len())
    };
    assert!(raw.starts_with("2,xxx"));
    assert_eq!(outcome.rejects[0].length, Some(100_000_002));
    assert_eq!(outcome.rejects[0].errors[0].rule, "record_size");
    assert_eq!(outcome.rejects[0].errors[0].message, "the record is longer than 16 MiB");
    let last = outcome.rows.last().unwrap();
    assert_eq!((last.record, last.line, last.offset), (3, 4, 100_000_018));
}

#[test]
fn the_limit_can_be_said_and_quotes_do_not_lift_it() {
    let options: ReadOptions = serde_json::from_str(r#"{"max_record_size": "64B"}"#).unwrap();
    let long = "y".repeat(62);
    let text = format!("a,b\n1,{long}\n2,{long}y\n3,\"{long}\"\n4,\"y\n{long}\"\n5,z\n");
    let outcome = read(text.as_bytes(), &options);
    assert_eq!(outcome.values(), super::some(&[&["1", &long], &["5", "z"]]));
    let reasons = outcome.reasons();
    let rules: Vec<_> = reasons.iter().map(|(line, rule, ..)| (*line, *rule)).collect();
    assert_eq!(rules, [(3, "record_size"), (4, "record_size"), (5, "quote"), (6, "fields")]);
    assert!(outcome.rejects[0].truncated);
    assert_eq!(outcome.rejects[0].raw.len(), 64);
    assert_eq!(outcome.rejects[0].length, Some(65));
    assert_eq!(reasons[2].2, "a quote opened on line 5 is not closed within 64 B");
}

#[test]
fn a_comment_that_is_too_long_is_no_record() {
    let options: ReadOptions =
        serde_json::from_str(r##"{"max_record_size": 64, "comment": "#"}"##).unwrap();
    let text = format!("a\n1\n#{}\n2\n", "c".repeat(500));
    for chunk in [1, 10, 1000] {
        let outcome =
            read_as(text.as_bytes(), &options, sizes(chunk, 5, 99), Level::detect(), |_| {});
        let outcome = outcome.unwrap();
        assert_eq!(outcome.values(), super::some(&[&["1"], &["2"]]));
        assert_eq!((outcome.rejects, outcome.rows[1].line), (vec![], 4));
    }
}

/// An input that is made while it is read and counts how far it was read.
struct Endless {
    line: &'static [u8],
    at: usize,
    left: usize,
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(self.left).min(4096);
        for byte in &mut out[..n] {
            *byte = self.line[self.at % self.line.len()];
            self.at += 1;
        }
        self.left -= n;
        Ok(n)
    }
}

#[test]
fn a_chunk_holds_a_chunk_or_the_longest_record() {
    let sizes = Sizes { chunk: 100_000, batch: 10_000, max_record: 300_000 };
    for line in [&b"a,b\n"[..], b"\"a,b\n", b"a\"\"\"\",b\n", b"\"", b"x", b"\"a\"\"\n"] {
        let input = Endless { line, at: 0, left: 3_000_000 };
        let options: ReadOptions =
            serde_json::from_str(r#"{"header": "absent", "names": ["a", "b"]}"#).unwrap();
        let mut reader = Reader::open("x".into(), Box::new(input), &options, sizes).unwrap();
        reader.begin(None).unwrap();
        let mut findings = Findings::default();
        let mut bytes = 0;
        while let Some(mut chunk) = reader.next_chunk().unwrap() {
            assert!(chunk.size() <= 300_000 + 100, "{} bytes of {line:?}", chunk.size());
            while let Some(batch) = chunk.next_batch(&mut findings).unwrap() {
                bytes += batch.origin().byte_size();
            }
        }
        assert!(bytes > 0);
    }
}

#[test]
fn an_input_that_fails_is_an_error_and_then_the_end() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "half a file"));
            }
            let n = out.len().min(self.0);
            out[..n].fill(b'\n');
            out[0] = b'a';
            self.0 -= n;
            Ok(n)
        }
    }
    let options = ReadOptions::default();
    let input = Box::new(Failing(200_000));
    let mut reader = Reader::open("x.csv".into(), input, &options, sizes(1000, 100, 100)).unwrap();
    reader.begin(None).unwrap();
    let error = loop {
        match reader.next_chunk() {
            Ok(chunk) => assert!(chunk.is_some(), "the end is not reached"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), gristmill_core::ErrorKind::Truncated);
    assert_eq!(error.to_string(), "cannot read `x.csv`");
    assert!(reader.next_chunk().unwrap().is_none());
}
