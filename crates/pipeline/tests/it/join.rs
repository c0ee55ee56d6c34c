//! Steps with another source, from the pipeline file to what is published.

use std::path::Path;

use gristmill_pipeline::execute::{RunOptions, State, registry, run_definition};
use gristmill_pipeline::params::Params;
use gristmill_pipeline::{Report, Status};
use insta::assert_snapshot;
use serde_json::json;

const FUNDS: &str = "fund,region,aum\nF1,EU,10\nF2,NA,20\nF3,XX,30\nF4,EU,\n";
const OLD: &str = "fund,region,aum\nF2,NA,20\nF9,AP,5\nF1,EU,11\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn run(folder: &Path, steps: &str, load: &str, workers: usize) -> Report {
    let text = format!(
        "pipeline: p\nextract: [{{file: funds.csv, columns: {{aum: int}}}}]\nsteps:\n{steps}\nload:\n{load}\nrejects: rejects.ndjson\nlimits: {{memory: 128MiB}}\n"
    );
    let definition =
        registry().parse(&text, &folder.join("p.yaml"), folder, &Params::default()).unwrap();
    let options =
        RunOptions { workers: Some(workers), state: State::None, ..RunOptions::default() };
    let outcome = run_definition(&definition, &options).unwrap();
    assert!(outcome.diagnostics.is_none(), "{:?}", outcome.diagnostics);
    outcome.report
}

fn published(files: &[(&str, &str)], steps: &str, load: &str) -> (tempfile::TempDir, Report) {
    let folder = folder(files);
    let report = run(folder.path(), steps, load, 2);
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    (folder, report)
}

fn text(folder: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

const REGIONS: &str = "code,name\nEU,Europe\nEU,European Union\nNA,North America\nAP,Asia\n";

#[test]
fn a_join_begins_an_account_and_its_records_keep_their_lines() {
    let steps = "  - join: {with: {file: regions.csv}, on: {region: code}, how: left}\n  - validate: {rules: {name: required, aum: required}}";
    let files = [("funds.csv", FUNDS), ("regions.csv", REGIONS)];
    let (folder, report) = published(&files, steps, "  - {file: out.csv}");
    assert_eq!(
        text(&folder, "out.csv"),
        "fund,region,aum,name\nF1,EU,10,Europe\nF1,EU,10,European Union\nF2,NA,20,North America\n"
    );
    let rejects = text(&folder, "rejects.ndjson");
    let lines: Vec<(serde_json::Value, serde_json::Value)> = rejects
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["line"].clone(), line["raw"].clone()))
        .collect();
    let line = |line: u32, raw: &str| (line.into(), raw.into());
    assert_eq!(lines, [line(4, "F3,XX,30"), line(5, "F4,EU,"), line(5, "F4,EU,")]);
    let (join, account) = (&report.steps[1], &report.account);
    assert_eq!((join.metrics.records_in, join.metrics.records_out), (4, 6));
    assert_eq!((report.read, account.read, account.inserted, account.rejected), (4, 6, 3, 3));
    assert_eq!(
        join.details,
        Some(json!({"source": "regions.csv", "records": 4, "found": 3, "nothing": 1}))
    );
}

#[test]
fn what_an_anti_join_takes_out_is_filtered() {
    let steps = "  - join: {with: {rows: [{region: EU}, {region: null}]}, on: region, how: anti}";
    let (folder, report) = published(&[("funds.csv", FUNDS)], steps, "  - {file: out.csv}");
    assert_eq!(text(&folder, "out.csv"), "fund,region,aum\nF2,NA,20\nF3,XX,30\n");
    assert_eq!((report.account.read, report.account.filtered), (4, 2));
}

#[test]
fn a_comparison_is_routed_to_destinations() {
    let steps = "  - compare: {with: {file: old.csv, columns: {aum: int}}, on: fund, track: aum, old_prefix: old_}";
    let load = "  - {file: new.csv, where: change = 'new'}\n  - {file: changed.csv, where: change = 'changed'}\n  - {file: missing.csv, where: change = 'missing'}";
    let funds = format!("{FUNDS}F1,EU,12\n");
    let files = [("funds.csv", funds.as_str()), ("old.csv", OLD)];
    let (folder, report) = published(&files, steps, load);
    assert_eq!(
        text(&folder, "new.csv"),
        "fund,region,aum,change,old_aum\nF3,XX,30,new,\nF4,EU,,new,\n"
    );
    assert_eq!(
        text(&folder, "changed.csv"),
        "fund,region,aum,change,old_aum\nF1,EU,10,changed,11\n"
    );
    assert_eq!(text(&folder, "missing.csv"), "fund,region,aum,change,old_aum\nF9,AP,5,missing,5\n");
    assert!(text(&folder, "rejects.ndjson").contains("`F1` came before"));
    let compare = &report.steps[1];
    assert_eq!((compare.metrics.records_in, compare.rejected), (5, 1));
    assert_eq!(
        compare.details,
        Some(json!({"source": "old.csv", "records": 3, "new": 2, "changed": 1, "unchanged": 1,
                    "missing": 1, "columns": {"aum": 1}}))
    );
}

#[test]
fn a_query_reads_other_tables() {
    let query = "SELECT i.fund, r.name, o.aum FROM input i JOIN regions r ON i.region = r.code LEFT JOIN old o ON i.fund = o.fund";
    let steps = format!(
        "  - sql:\n      query: {query}\n      tables:\n        regions: {{file: regions.csv}}\n        old: {{file: old.csv, columns: {{aum: int}}}}"
    );
    let files = [("funds.csv", FUNDS), ("regions.csv", REGIONS), ("old.csv", OLD)];
    let (folder, _) = published(&files, &steps, "  - {file: out.csv}");
    assert_eq!(
        text(&folder, "out.csv"),
        "fund,name,aum\nF1,Europe,11\nF1,European Union,11\nF2,North America,20\nF4,Europe,\nF4,European Union,\n"
    );
}

#[test]
fn columns_become_records_and_records_columns() {
    let steps = "  - unpivot: {columns: [aum], names_to: measure}\n  - pivot: {by: [measure], names_from: region, values: [EU, NA], values_from: value, aggregate: sum}";
    let (folder, report) = published(&[("funds.csv", FUNDS)], steps, "  - {file: out.csv}");
    assert_eq!(text(&folder, "out.csv"), "measure,EU,NA\naum,10,20\n");
    assert!(text(&folder, "rejects.ndjson").contains("there is no column for `XX`"));
    let pivot = &report.steps[2];
    let counts = (pivot.metrics.records_in, pivot.metrics.records_out, pivot.rejected);
    assert_eq!(counts, (4, 1, 1));
}

#[test]
fn the_same_bytes_for_any_number_of_workers() {
    let mut funds = String::from("fund,region,aum\n");
    for id in 0..60_000 {
        funds += &format!("f{},r{},{}\n", id % 50_000, id % 977, id % 13);
    }
    let old: String = (0..30_000).map(|n| format!("f{},r{},{}\n", n * 2, n % 7, n % 11)).collect();
    let old = format!("fund,region,aum\n{old}");
    let folder = folder(&[("funds.csv", &funds), ("old.csv", &old)]);
    let source = "{file: old.csv, columns: {aum: int}}";
    for steps in [
        format!("  - join: {{with: {source}, on: fund, how: full, suffix: _old}}"),
        format!("  - join: {{with: {source}, on: fund, how: semi}}"),
        format!("  - compare: {{with: {source}, on: fund, changed_columns: differs}}"),
        format!(
            "  - sql: {{query: \"SELECT a.fund, b.aum FROM input a JOIN old b ON a.fund = b.fund\", tables: {{old: {source}}}}}"
        ),
        "  - unpivot: {columns: [fund, region], nulls: drop}".to_owned(),
    ] {
        let outputs = [1, 2, 7].map(|workers| {
            let report = run(folder.path(), &steps, "  - {file: out.csv}", workers);
            assert_eq!(report.status, Status::Published, "{:?}", report.error);
            let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
            let rejects = String::from_utf8(bytes("rejects.ndjson")).unwrap();
            (bytes("out.csv"), rejects.replace(&report.run, ""), report.account)
        });
        assert!(outputs[0].0.len() > 100_000, "{steps}");
        assert_eq!(outputs[0], outputs[1], "{steps}");
        assert_eq!(outputs[0], outputs[2], "{steps}");
    }
}

#[test]
fn mistakes_in_sources_are_found_where_they_stand() {
    let text = r"pipeline: p
extract: [{file: a.csv}]
load: [{file: b.csv}, {file: c.csv}]
steps:
  - join: {with: {fil: regions.csv}, on: region}
  - join: {with: {file: b.csv}, on: region, how: outer}
  - compare: {with: {table: t, database: 'sqlite://w.db', cursor: {column: at}}, on: region}
  - sql: {query: SELECT * FROM c, tables: {c: {file: c.csv, colums: {}}}}
  - pivot: {names_from: a, values: [x], values_from: b, agregate: sum}
  - join: {with: regions.csv, on: region}
  - sql: SELECT * FROM input
";
    let path = Path::new("p.yaml");
    let parsed = registry().parse(text, path, Path::new(""), &Params::default());
    assert_snapshot!(parsed.map(|_| String::new()).unwrap_or_else(|found| found.to_string()));
}
