//! Every SIMD level finds the same records and fields in a text, cut anywhere; and those that the
//! `csv` crate finds, where both define them.
#![no_main]

use gristmill_format::Sizes;
use gristmill_format::csv::{Encoding, Header, Level, ReadOptions};
use gristmill_fuzz::read_csv;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [chunk, batch, max, text @ ..] = input else { return };
    let options = ReadOptions {
        header: Header::Absent,
        names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        nulls: Vec::new(),
        encoding: Encoding::Utf8,
        ..ReadOptions::default()
    };
    let max_record = 100 + 8 * usize::from(*max);
    let read = |chunk: usize, batch: usize, level| {
        read_csv(text, &options, Sizes { chunk, batch, max_record }, level, |_| ())
            .expect("a text without header and with the usual options can be read")
    };
    let expected = read(1 << 20, 1 << 20, Level::Scalar);
    for level in Level::supported() {
        let outcome = read(usize::from(*chunk) + 1, usize::from(*batch) + 1, level);
        assert_eq!(outcome, expected, "{level:?}");
    }

    // Rejects for anything but the number of fields are ours alone, as is a lone CR as text.
    let fields_only = |(_, _, _, reasons): &(_, _, _, Vec<(String, String)>)| {
        reasons.iter().all(|(rule, _)| rule == "fields")
    };
    let lone_cr = (0..text.len()).any(|i| text[i] == b'\r' && text.get(i + 1) != Some(&b'\n'));
    if lone_cr || text.starts_with(b"\xEF\xBB\xBF") || !expected.rejects.iter().all(fields_only) {
        return;
    }
    let mut theirs = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let theirs: Vec<Vec<String>> = theirs
        .records()
        .map(|record| record.expect("UTF-8 text of any width is a record"))
        .filter(|record| record.len() == 3)
        .map(|record| record.iter().map(str::to_owned).collect())
        .collect();
    let ours: Vec<Vec<String>> = expected
        .rows
        .iter()
        .map(|(_, _, values)| values.iter().map(|v| v.clone().unwrap_or_default()).collect())
        .collect();
    assert_eq!(ours, theirs);
});
