//! JSON lines: what `serde_json` reads as an object is a record with its values, the rest is a
//! reject; and the same result however the text is cut.
#![no_main]

use gristmill_format::Sizes;
use gristmill_format::json::{Layout, Nested, ReadOptions};
use gristmill_fuzz::read_json;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    let [chunk, batch, flags, text @ ..] = input else { return };
    let nested = if flags & 1 == 0 { Nested::Struct } else { Nested::Json };
    let layout = if flags & 2 == 0 { Layout::Lines } else { Layout::Document };
    let options = ReadOptions { nested, ..ReadOptions::default() };
    let read = |chunk: usize, batch: usize| {
        let sizes = Sizes { chunk, batch, max_record: 1 << 20 };
        read_json(text, layout, &options, sizes).map_err(|error| error.to_string())
    };
    let expected = read(1 << 20, 1 << 20);
    let outcome = read(usize::from(*chunk) + 1, usize::from(*batch) + 1);
    assert_eq!(outcome, expected);

    let (Layout::Lines, Ok(outcome)) = (layout, outcome) else { return };
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(serde_json::from_slice::<Map<String, Value>>).collect();
    // Numbers and depths beyond what `serde_json` holds, and text that is none, are ours alone.
    let apart = |line: &Result<_, serde_json::Error>| {
        let error = line.as_ref().err().map(ToString::to_string).unwrap_or_default();
        error.contains("out of range") || error.contains("recursion")
    };
    let odd = |byte: &u8| matches!(byte, 0 | b'\r' | 0x0B | 0x0C | 0xEF..);
    if lines.iter().any(apart) || text.iter().any(odd) || lines.len() != outcome.spans.len() {
        return;
    }
    let parse_rejects = outcome
        .rejects
        .iter()
        .filter(|(_, _, _, reasons)| reasons.iter().any(|(rule, _)| rule == "json"));
    for (record, _, raw, reasons) in parse_rejects {
        let line = &lines[*record as usize - 1];
        assert!(line.is_err(), "`{raw}` was rejected: {reasons:?}");
    }
    for ((record, _, _), object) in outcome.rows.iter().zip(&outcome.objects) {
        let line = lines[*record as usize - 1].as_ref();
        let line = line.unwrap_or_else(|error| panic!("`{object}` was read, but {error}"));
        let object: Map<String, Value> =
            serde_json::from_str(object).expect("a row's JSON is JSON");
        for (key, value) in line {
            // Columns have one type for all lines: numbers and lists may have become text.
            if let (Value::String(text), Some(Value::String(ours))) = (value, object.get(key)) {
                assert_eq!(ours, text, "`{key}`");
            }
        }
    }
});
