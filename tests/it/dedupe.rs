//! `dedupe` over several chunks: the same bytes with any memory and any number of workers, and
//! every record in the account.

use std::collections::HashMap;
use std::fmt::Write;

use gristmill_tests::Sandbox;

/// About 46 MB in several chunks, more than `dedupe` may hold of the smallest limit: of three records, one has the key of a later or earlier one.
fn input() -> (String, Vec<(String, bool)>) {
    let mut text = String::from("key,day,amount,note\n");
    let mut records = Vec::new();
    let note = "x".repeat(1_000);
    for n in 0..45_000u64 {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let key = if n % 3 == 0 { mixed % 5_000 } else { 10_000 + n };
        let key = if n % 1_000 == 7 { String::new() } else { format!("k{key}") };
        // Too large for the rule that is asked after the duplicates are gone.
        let large = n % 4_500 == 3;
        let amount = if large { 1_000_000 + n } else { n };
        let _ = writeln!(text, "{key},2024-02-{:02},{amount},{note}", n % 28 + 1);
        records.push((key, large));
    }
    (text, records)
}

fn pipeline(keep: &str) -> String {
    format!(
        r"pipeline: dedupe
extract:
  - file: in.csv
    columns: {{day: date, amount: int}}
steps:
  - clean: {{nulls: ['']}}
  - dedupe: {{keys: [key], keep: {keep}}}
  - validate:
      rules: {{amount: {{max: 999999}}}}
load:
  - file: out/all.parquet
  - file: out/all.csv
rejects: out/rejects.ndjson
report: out/report.json
limits: {{memory: '${{MEMORY}}'}}
"
    )
}

#[test]
fn workers_and_memory_make_no_difference() {
    let (text, records) = input();
    for keep in ["first", "last"] {
        let mut stays: HashMap<&str, usize> = HashMap::new();
        for (n, (key, _)) in records.iter().enumerate() {
            let entry = stays.entry(key).or_insert(n);
            if keep == "last" {
                *entry = n;
            }
        }
        let mut stays: Vec<usize> = stays.into_values().collect();
        stays.sort_unstable();
        let (rejected, loaded): (Vec<usize>, Vec<usize>) =
            stays.iter().partition(|&&n| records[n].1);
        assert!(!rejected.is_empty());

        let sandbox = Sandbox::new();
        sandbox.write("in.csv", &text);
        sandbox.write("dedupe.yaml", pipeline(keep));
        let mut before = None;
        for (workers, memory) in [("1", "1GiB"), ("7", "128MiB"), ("2", "1GiB")] {
            let memory = format!("MEMORY={memory}");
            let command =
                ["run", "dedupe.yaml", "--quiet", "--workers", workers, "--param", &memory];
            let ran = sandbox.run(&command);
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            let report = sandbox.json("out/report.json");
            let account = &report["account"];
            assert_eq!(account["read"], records.len());
            assert_eq!(account["inserted"], loaded.len());
            assert_eq!(account["rejected"], rejected.len());
            assert_eq!(account["deduplicated"], records.len() - stays.len());

            let written = sandbox.text("out/all.csv");
            let amounts = written.lines().skip(1).map(|line| line.split(',').nth(2).unwrap());
            assert!(amounts.eq(loaded.iter().map(ToString::to_string)));
            let rejects = sandbox.json_lines("out/rejects.ndjson");
            assert_eq!(rejects.len(), rejected.len());
            for (reject, n) in rejects.iter().zip(&rejected) {
                let line = text.lines().nth(n + 1).unwrap();
                assert_eq!(reject["raw"], line);
                assert_eq!(reject["record"], n + 1);
                assert_eq!(reject["line"], n + 2);
            }
            let bytes = (sandbox.bytes("out/all.parquet"), written);
            assert!(*before.get_or_insert_with(|| bytes.clone()) == bytes, "{workers} {memory}");
        }
    }
}
