//! Nothing is lost: the account, recomputed from the outputs of the command over random dirt.

use std::collections::BTreeMap;

use gristmill_tests::Sandbox;
use proptest::prelude::*;

use crate::examples::{parquet, rows};

const PIPELINE: &str = r"pipeline: books
extract:
  - file: in.csv
    columns: {n: int, day: date}
steps:
  - clean: {trim: all, nulls: ['', '-']}
  - validate:
      rules: {key: required, n: {between: [0, 500]}, day: required}
      unique: [[key, n]]
  - filter: n <> 7
load:
  - file: out/good.parquet
rejects: out/rejects.ndjson
report: out/report.json
";

/// One record, or something that is none, as it stands in the file.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![8 => "[a-c]{1,2}", 1 => Just(String::new()), 1 => Just("\"q,\n\"\"x\"".to_owned())];
    let number = prop_oneof![8 => (0..600i32).prop_map(|n| n.to_string()), 1 => Just("7".to_owned()), 1 => "[x-]{0,2}"];
    let day = prop_oneof![8 => Just("2024-02-29".to_owned()), 1 => Just("2023-02-29".to_owned()), 1 => Just(String::new())];
    let good = (key, number, day).prop_map(|(k, n, d)| format!("{k},{n},{d}").into_bytes());
    let dirt = prop_oneof![
        Just(b"a,1".to_vec()),
        Just(b"a,1,2024-01-01,more".to_vec()),
        Just(b"a\xff,1,2024-01-01".to_vec()),
        Just(b"a\0,1,2024-01-01".to_vec()),
        Just(b"\"a\"b,1,2024-01-01".to_vec()),
        Just(b"a\"b,1,2024-01-01".to_vec()),
        Just(b"\"open,1,2024-01-01".to_vec()),
        Just(b"".to_vec()),
    ];
    prop_oneof![9 => good, 2 => dirt]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_loaded_filtered_or_rejected(lines in prop::collection::vec(line(), 0..60)) {
        let mut text = b"key,n,day\n".to_vec();
        for line in &lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        let sandbox = Sandbox::new();
        sandbox.write("in.csv", &text);
        sandbox.write("books.yaml", PIPELINE);
        let ran = sandbox.run(&["run", "books.yaml", "--quiet"]);
        prop_assert_eq!(ran.code, Some(0), "{}", ran.stderr);

        let report = sandbox.json("out/report.json");
        let loaded = rows(&parquet(&sandbox, "out/good.parquet")) as u64;
        let rejects = sandbox.json_lines("out/rejects.ndjson");
        let account = &report["account"];
        let filtered = account["filtered"].as_u64().unwrap();
        prop_assert_eq!(account["inserted"].as_u64().unwrap(), loaded);
        prop_assert_eq!(account["rejected"].as_u64().unwrap(), rejects.len() as u64);
        let read = account["read"].as_u64().unwrap();
        prop_assert_eq!(read, loaded + filtered + rejects.len() as u64);

        // Each reject is there once, with a reason, in order, and with its own text.
        let mut last = 0;
        let mut spans = BTreeMap::new();
        for reject in &rejects {
            let record = reject["record"].as_u64().unwrap();
            prop_assert!(record > last && record <= read, "{reject}");
            last = record;
            prop_assert!(!reject["errors"].as_array().unwrap().is_empty());
            let offset = reject["offset"].as_u64().unwrap() as usize;
            let length = reject["length"].as_u64().unwrap() as usize;
            let raw = String::from_utf8_lossy(&text[offset..offset + length]);
            prop_assert_eq!(reject["raw"].as_str().unwrap(), raw);
            let ends = text[..offset].iter().filter(|byte| **byte == b'\n').count() as u64;
            prop_assert_eq!(reject["line"].as_u64().unwrap(), ends + 1);
            spans.insert(offset, length);
        }
        // Rejects do not overlap.
        for ((start, length), (next, _)) in spans.iter().zip(spans.iter().skip(1)) {
            prop_assert!(start + length <= *next);
        }
    }
}
