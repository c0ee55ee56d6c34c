//! The same bytes, whatever the number of workers.

use std::fmt::Write;

use gristmill_tests::Sandbox;

/// About 20 MB of dirty CSV: three chunks. Long lines make it large with few records.
fn large() -> String {
    let mut text = String::from("id,name,day,amount,currency,note\n");
    let note = "x".repeat(400);
    let mut state = 1u64;
    for id in 0..45_000u64 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let r = state >> 33;
        let day = if r.is_multiple_of(101) {
            "2024-02-31".to_owned()
        } else {
            format!("2024-01-{:02}", r % 28 + 1)
        };
        let name = match r % 50 {
            0 => "\"two\nlines\"".to_owned(),
            1 => "5\" pipe".to_owned(),
            2 => "\"open".to_owned(),
            n => format!("name {n}"),
        };
        let key = if r.is_multiple_of(211) { id / 2 } else { id };
        let extra = if r.is_multiple_of(307) { ",extra" } else { "" };
        let currency = ["EUR", "usd", "XXX"][(r % 3) as usize];
        let (units, cents) = (r % 10_000, r % 100);
        let _ = writeln!(text, "{key},{name},{day},{units}.{cents:02},{currency},{note}{extra}");
    }
    text
}

const PIPELINE: &str = r"pipeline: same
extract:
  - file: in.csv
    columns: {id: int, day: date, amount: 'decimal(12, 2)'}
steps:
  - clean: {trim: all, upper: [currency]}
  - validate:
      rules:
        day: required
        currency: {one_of: [EUR, USD]}
      unique: [[id]]
  - derive: {double_amount: amount * 2}
load:
  - file: out/all.parquet
  - file: out/all.csv.gz
  - file: out/all.ndjson
  - file: out/parts
    format: csv
    partition_by: [currency]
rejects: out/rejects.ndjson
report: out/report.json
";

#[test]
fn one_two_and_seven_workers_write_the_same_bytes() {
    let text = large();
    let mut first: Option<Vec<(String, Vec<u8>)>> = None;
    for workers in ["1", "2", "7"] {
        let sandbox = Sandbox::new();
        sandbox.write("in.csv", &text);
        sandbox.write("same.yaml", PIPELINE);
        let ran = sandbox.run(&["run", "same.yaml", "--workers", workers]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let report = sandbox.json("out/report.json");
        assert!(report["rejected"].as_u64().unwrap() > 1000, "{report}");
        let outputs: Vec<_> = sandbox
            .files()
            .into_iter()
            .filter(|name| name.starts_with("out/") && name != "out/report.json")
            .map(|name| {
                let bytes = if name.ends_with("rejects.ndjson") {
                    let run = report["run"].as_str().unwrap().to_owned();
                    sandbox.text(&name).replace(&run, "").into_bytes()
                } else {
                    sandbox.bytes(&name)
                };
                (name, bytes)
            })
            .collect();
        assert!(outputs.len() >= 6, "{:?}", sandbox.files());
        match &first {
            None => first = Some(outputs),
            Some(first) => {
                for (mine, theirs) in first.iter().zip(&outputs) {
                    assert!(mine == theirs, "{} differs with {workers} workers", mine.0);
                }
                assert_eq!(first.len(), outputs.len());
            }
        }
    }
}
