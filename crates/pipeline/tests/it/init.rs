//! `init` writes pipelines that pass the check, as they stand and with their examples uncommented.

use std::fs;
use std::path::Path;

use gristmill_pipeline::Status;
use gristmill_pipeline::contract::diff::diff;
use gristmill_pipeline::execute::{RunOptions, State, registry, run_definition};
use gristmill_pipeline::init::pipeline_for;
use gristmill_pipeline::params::Params;
use insta::assert_snapshot;

/// The pipeline for a file with this name and content; both it and its uncommented examples parse.
fn pipeline(name: &str, content: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("data")).expect("a new folder");
    let data = folder.path().join("data").join(name);
    fs::write(&data, content).expect("a new file");
    let text = pipeline_for(&data, Some(&folder.path().join("p.yaml")), false).expect("a pipeline");
    for text in [text.clone(), uncommented(&text)] {
        let parsed =
            registry().parse(&text, Path::new("p.yaml"), folder.path(), &Params::default());
        if let Err(found) = parsed {
            panic!("{found}\n\n{text}");
        }
    }
    text.replace(&folder.path().display().to_string(), "/folder")
}

/// The lines that are YAML behind their `#`.
fn uncommented(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let code = rest.strip_prefix("# ").filter(|rest| {
            rest.starts_with("- ") || rest.starts_with("  ") || rest.starts_with("limits:")
        });
        match code {
            Some(code) => out.push_str(&format!("{indent}{code}\n")),
            None => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[test]
fn columns_get_the_types_that_fit_all_of_their_values() {
    let mut rows = String::from("Fund Code,As Of Date,AUM,zip,Active\n");
    for row in 0..20_000 {
        rows.push_str(&format!("F{row},2024-01-31,{row}.50,{:05},true\n", row % 100));
    }
    rows.push_str("007,2024-02-01,1,99999,false\n");
    assert_snapshot!(pipeline("funds.csv", &rows), @r#"
    # A pipeline for /folder/data/funds.csv. Every key is explained in the reference;
    # `gristmill check` finds mistakes, `gristmill run` runs it.

    pipeline: funds

    extract:
      - file: /folder/data/funds.csv
        # The types that fit every value. A value that does not fit its type, in a later file,
        # is rejected with its record.
        columns:
          "Fund Code": string
          "As Of Date": date
          AUM: double
          zip: string
          Active: bool

    steps:
      # Column names in snake case, no blanks around texts.
      - clean: {names: snake_case, trim: all}
      # Records that break a rule are rejected with every rule they break.
      # - validate:
      #     rules:
      #       fund_code: required
      #       aum: [required, {min: 0}]
      #       as_of_date: {after: 1900-01-01}
      #     unique: [fund_code]
      # New columns, by SQL expressions.
      # - derive: {aum_doubled: "aum * 2"}

    load:
      - file: out/funds.parquet
      # A table of a SQLite database as well:
      # - table: funds
      #   database: "sqlite://out/warehouse.db"
      #   mode: upsert
      #   keys: [fund_code]

    # Records that were taken out, each with its reasons and its raw text.
    rejects: out/funds.rejects.ndjson

    # Past a limit nothing is published.
    # limits: {rejected_ratio: 0.05}
    "#);
}

#[test]
fn names_that_yaml_or_sql_would_misread() {
    let text =
        pipeline("über sicht [1] 'x'.csv", "select,on,\"a: b\",1,${X},null,#\n1.5,b,c,d,e,f,g\n");
    for line in ["select: double", "\"on\": string", "\"a: b\": string", "\"$${X}\": string"] {
        assert!(text.contains(&format!("      {line}\n")), "{line} is not in\n{text}");
    }
    assert!(text.contains(r#"\"select\" * 2"#), "{text}");
}

#[test]
fn files_of_every_kind() {
    for (name, content) in [
        ("a.ndjson", "{\"id\": 1, \"tags\": [\"x\"], \"o\": {\"k\": null}}\n"),
        ("a.json", "[{\"id\": \"x\", \"when\": \"2024-01-01T00:00:00Z\"}]"),
        ("only-a-header.csv", "a,b\n"),
        ("a.tsv", "a\tb\n1\t2\n"),
        ("2024.csv", "a\n1\n"),
    ] {
        pipeline(name, content);
    }
}

#[test]
fn paths_lead_from_the_pipeline_to_the_data() {
    let text = pipeline_for(Path::new("tests/it/../it/data.csv"), None, false).unwrap_err();
    assert!(text.to_string().contains("data.csv"), "{text}");
}

#[test]
fn a_file_of_no_known_format_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("notes.docx");
    fs::write(&data, "?").unwrap();
    let error = pipeline_for(&data, None, false).unwrap_err();
    assert!(error.hint_text().is_some(), "{error}");
}

#[test]
fn a_contract_is_written_where_it_is_asked_for_and_the_file_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, path) = (folder.path().join("funds.csv"), folder.path().join("p.yaml"));
    fs::write(&data, "code,aum,day\nA,1.5,2024-01-01\nB,,2024-01-02\n").unwrap();
    let text = pipeline_for(&data, Some(&path), true).unwrap();
    assert!(text.contains("    contract:\n      columns:\n        code: {type: string, nullable: false}\n        aum: {type: double}\n        day: {type: date, nullable: false}\n"), "{text}");
    assert!(!text.contains("\n    columns:"), "{text}");
    fs::write(&path, &text).unwrap();
    let definition = registry().load(&path, &Params::default()).unwrap();
    let options = RunOptions { state: State::None, ..RunOptions::default() };
    let report = run_definition(&definition, &options).unwrap().report;
    assert_eq!((report.status, report.read, report.rejected), (Status::Published, 2, 0));
    // The pipeline can be given in place of the contract.
    let other = folder.path().join("other.csv");
    fs::write(&other, "code,aum,desk\nA,1.5,x\n,abc,y\n").unwrap();
    let (_, found) = diff(&path, None, &other.display().to_string(), &options).unwrap();
    let found: Vec<String> =
        found.unwrap().iter().map(|it| format!("{} {}", it.column, it.breaks)).collect();
    assert_eq!(found, ["day true", "desk false", "code true", "aum true"]);
}
