//! Contracts: the same agreement held against CSV, NDJSON, Parquet and a database gives the same records
//! and the same rejects, and each policy does what it says.

use std::fs;
use std::path::Path;

use gristmill_core::RejectLine;
use gristmill_pipeline::contract::diff::{diff, table};
use gristmill_pipeline::execute::{Checked, Outcome, RunOptions, State, registry, run_definition};
use gristmill_pipeline::params::Params;
use gristmill_pipeline::{Report, Status};
use insta::assert_snapshot;
use proptest::prelude::*;

/// Dirt of every kind: a type failure in line 3, nulls in lines 4 and 5, a value of a new column in 4.
const DATA: &str = "Id,fund_code,price,day,desk\n\
1,FND1,10.50,2024-05-02,\n\
2,FND2,abc,2024-05-02,\n\
3,,1.25,2024-05-02,north\n\
,FND4,7,2024-05-02,\n\
5,FND5,,2024-05-06,\n";

const COLUMNS: &str = "columns: {id: {type: int, nullable: false}, fund_code: {type: string, nullable: false}, price: 'decimal(12, 2)', day: date}";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), DATA).unwrap();
    folder
}

fn options(workers: usize) -> RunOptions<'static> {
    RunOptions { workers: Some(workers), state: State::None, ..RunOptions::default() }
}

fn outcome(folder: &Path, text: &str, workers: usize) -> Outcome {
    let parsed = registry().parse(text, Path::new("p.yaml"), folder, &Params::default());
    run_definition(&parsed.unwrap_or_else(|found| panic!("{found}")), &options(workers)).unwrap()
}

/// Runs records of a source through a contract into `out.csv`.
fn run(folder: &Path, source: &str, contract: &str, steps: &str) -> Report {
    let text = format!(
        "pipeline: p\nextract:\n  - {source}\n    contract: {contract}\n{steps}load: [{{file: out.csv}}]\nrejects: rejects.ndjson\n"
    );
    let outcome = outcome(folder, &text, 2);
    assert!(outcome.diagnostics.is_none(), "{}", outcome.diagnostics.unwrap());
    outcome.report
}

fn csv(folder: &Path, contract: &str) -> Report {
    run(folder, "file: in.csv", contract, "")
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Number, field and rule of every reason in the rejects file.
fn rejects(folder: &Path) -> Vec<(u64, String, String)> {
    let mut found = Vec::new();
    for line in text(folder, "rejects.ndjson").lines() {
        let line: RejectLine = serde_json::from_str(line).unwrap();
        for reason in line.errors {
            found.push((line.record, reason.field.unwrap().into(), reason.rule.into()));
        }
    }
    found
}

fn reasons(expected: &[(u64, &str, &str)]) -> Vec<(u64, String, String)> {
    let owned = |(record, field, rule): &(u64, &str, &str)| {
        (*record, (*field).to_owned(), (*rule).to_owned())
    };
    expected.iter().map(owned).collect()
}

#[test]
fn every_source_is_held_to_the_same_contract() {
    let folder = folder();
    let path = folder.path();
    let raw = |load: &str| format!("pipeline: raw\nextract: [{{file: in.csv}}]\nload: [{load}]\n");
    for load in [
        "{file: in.parquet}",
        "{file: in.ndjson}",
        "{file: in.arrow}",
        "{table: t, database: 'sqlite://in.db'}",
    ] {
        assert_eq!(outcome(path, &raw(load), 1).report.status, Status::Published);
    }
    let contract = format!("{{{COLUMNS}, policy: {{new_column: quarantine_record}}}}");
    let mut first: Option<String> = None;
    for source in [
        "file: in.csv",
        "file: in.ndjson",
        "file: in.parquet",
        "file: in.arrow",
        "{table: t, database: 'sqlite://in.db'",
    ] {
        let report = match source.strip_prefix('{') {
            Some(source) => {
                let (table, database) = source.split_once(", ").unwrap();
                run(path, &format!("{table}\n    {database}"), &contract, "")
            }
            None => run(path, source, &contract, ""),
        };
        assert_eq!(report.status, Status::Published, "{source}: {:?}", report.error);
        assert_eq!((report.read, report.rejected), (5, 3), "{source}");
        let expected = [
            (2, "price", "type"),
            (3, "fund_code", "not_null"),
            (3, "desk", "new_column"),
            (4, "id", "not_null"),
        ];
        let mut found = rejects(path);
        found.iter_mut().for_each(|(_, field, _)| {
            if field == "Id" {
                *field = "id".to_owned();
            }
        });
        assert_eq!(found, reasons(&expected), "{source}");
        let written = text(path, "out.csv");
        assert_eq!(
            written, "Id,fund_code,price,day\n1,FND1,10.50,2024-05-02\n5,FND5,,2024-05-06\n",
            "{source}"
        );
        assert_eq!(first.get_or_insert_with(|| written.clone()), &written);
    }
}

#[test]
fn values_of_another_type_go_by_the_policy() {
    let folder = folder();
    let path = folder.path();
    let contract = |way: &str| format!("{{{COLUMNS}, policy: {{type: {way}, null: evolve}}}}");

    let report = csv(path, &contract("null_value"));
    assert_eq!((report.status, report.rejected), (Status::Published, 0));
    assert_eq!(text(path, "out.csv").lines().nth(2).unwrap(), "2,FND2,,2024-05-02,");
    let warning = &report.warnings[0];
    assert_eq!(
        (warning.field.as_str(), warning.rule.as_str(), warning.records),
        ("price", "type", 1)
    );

    fs::remove_file(path.join("out.csv")).unwrap();
    let report = csv(path, &contract("freeze"));
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(
        report.error.unwrap().message,
        "the contract is broken: `price` `abc` is not a decimal(12, 2) (in.csv:3)"
    );
    assert!(!path.join("out.csv").exists());

    // The column has the type that its values have; what fits the contract has the contract's.
    let report = csv(path, &contract("evolve"));
    assert_eq!((report.status, report.rejected), (Status::Published, 0));
    assert!(text(path, "out.csv").contains("\n2,FND2,abc,2024-05-02,\n"));
    let note = "in.csv: column `price` is of type string, and decimal(12, 2) in the contract";
    assert!(report.notes.iter().any(|found| found == note), "{:?}", report.notes);
}

#[test]
fn nulls_go_by_the_policy() {
    let folder = folder();
    let path = folder.path();
    let contract = |way: &str| format!("{{{COLUMNS}, policy: {{null: {way}}}}}");
    let report = csv(path, &contract("freeze"));
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(
        report.error.unwrap().message,
        "the contract is broken: `fund_code` is null, and the contract says that it is not (in.csv:4)"
    );
    let report = csv(path, &contract("evolve"));
    assert_eq!((report.status, report.rejected), (Status::Published, 1));
}

#[test]
fn new_columns_go_by_the_policy() {
    let folder = folder();
    let path = folder.path();
    let contract =
        |way: &str| format!("{{{COLUMNS}, policy: {{new_column: {way}, null: evolve}}}}");
    csv(path, &contract("evolve"));
    assert!(text(path, "out.csv").starts_with("Id,fund_code,price,day,desk\n"));
    csv(path, &contract("null_value"));
    assert!(text(path, "out.csv").starts_with("Id,fund_code,price,day\n1"));
    assert_eq!(rejects(path), reasons(&[(2, "price", "type")]));
    let report = csv(path, &contract("freeze"));
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(
        report.error.unwrap().message,
        "the contract is broken: `in.csv` has the new column `desk`"
    );
}

#[test]
fn missing_columns_go_by_the_policy_file_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("a.csv"), "id,isin\n1,US1\n").unwrap();
    fs::write(path.join("b.csv"), "id\n2\n3\n").unwrap();
    let columns = "columns: {id: int, isin: {type: string, nullable: false}, qty: int}";
    let held = |way: &str, file: &str| {
        let contract = format!("{{{columns}, policy: {{missing_column: {way}}}}}");
        run(path, &format!("file: '{file}'"), &contract, "")
    };
    let report = held("freeze", "?.csv");
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(
        report.error.unwrap().message,
        "the contract is broken: `?.csv` has no column `qty`; `b.csv` has no column `isin`"
    );
    let report = held("evolve", "?.csv");
    assert_eq!((report.status, report.rejected), (Status::Published, 0), "{:?}", report.error);
    assert_eq!(text(path, "out.csv"), "id,isin\n1,US1\n2,\n3,\n");
    assert_eq!(held("null_value", "?.csv").rejected, 0);
    assert_eq!(text(path, "out.csv"), "id,isin,qty\n1,US1,\n2,,\n3,,\n");
    held("quarantine_record", "?.csv");
    assert_eq!(
        rejects(path),
        reasons(&[
            (1, "qty", "missing_column"),
            (1, "qty", "missing_column"),
            (1, "isin", "missing_column"),
            (2, "qty", "missing_column"),
            (2, "isin", "missing_column"),
        ])
    );
    // A file without a header says nothing about columns.
    fs::write(path.join("empty.csv"), "").unwrap();
    let report = held("freeze", "empty.csv");
    assert_eq!((report.status, report.read), (Status::Published, 0), "{:?}", report.error);
    assert_eq!(text(path, "out.csv"), "id,isin,qty\n");
}

#[test]
fn steps_that_go_into_the_decoder_change_nothing_of_the_judgement() {
    let folder = folder();
    let path = folder.path();
    let contract = format!("{{{COLUMNS}, policy: {{new_column: quarantine_record}}}}");
    // Text is cleaned before it is judged; columns that are left out later are judged all the same.
    fs::write(path.join("in.csv"), DATA.replace("abc", " n/a ")).unwrap();
    let steps = "steps:\n  - clean: {trim: all, nulls: ['n/a'], names: snake_case}\n  - map: {price: desk}\n  - select: [day, desk]\n";
    run(path, "file: in.csv", &contract, steps);
    assert_eq!(text(path, "out.csv"), "day,desk\n2024-05-02,10.50\n2024-05-02,\n2024-05-06,\n");
    assert_eq!(
        rejects(path),
        reasons(&[(3, "fund_code", "not_null"), (3, "desk", "new_column"), (4, "id", "not_null")])
    );
}

#[test]
fn a_contract_stands_in_a_file_of_its_own_or_of_the_open_standard() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("contracts")).unwrap();
    fs::write(
        path.join("contracts/own.yaml"),
        format!(
            "{}\npolicy: {{new_column: null_value}}\n",
            COLUMNS.replace("columns: {", "columns: {\n  ")
        ),
    )
    .unwrap();
    let odcs = "apiVersion: v3.0.2\nkind: DataContract\nid: 1\nversion: 1.0.0\nstatus: active\nschema:\n\
        \x20 - name: positions\n    properties:\n\
        \x20     - {name: id, logicalType: integer, required: true, primaryKey: true}\n\
        \x20     - {name: fund, physicalName: fund_code, logicalType: string, physicalType: VARCHAR(9), required: true}\n\
        \x20     - {name: price, logicalType: number, physicalType: 'DECIMAL(12,2)'}\n\
        \x20     - {name: day, logicalType: date}\n";
    fs::write(path.join("contracts/odcs.yaml"), odcs).unwrap();
    csv(path, "contracts/own.yaml");
    let own = text(path, "out.csv");
    assert_eq!(own, "Id,fund_code,price,day\n1,FND1,10.50,2024-05-02\n5,FND5,,2024-05-06\n");
    csv(path, "{file: contracts/odcs.yaml, schema: positions, policy: {new_column: null_value}}");
    assert_eq!(text(path, "out.csv"), own);

    // One for all sources; that of a source goes before it.
    let pipeline = "pipeline: p\ncontract: contracts/own.yaml\nextract:\n  - {file: in.csv}\n  - {file: in.csv, contract: {file: contracts/odcs.yaml, policy: {new_column: null_value, null: evolve}}}\nload: [{file: out.csv}]\n";
    let report = outcome(path, pipeline, 1).report;
    assert_eq!((report.read, report.rejected), (10, 4), "{:?}", report.error);
}

fn said(contract: &str, files: &[(&str, &str)]) -> String {
    let folder = folder();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let text = format!(
        "pipeline: p\nextract:\n  - file: in.csv\n    contract: {contract}\nload: [{{file: out.csv}}]\n"
    );
    let parsed = registry().parse(&text, Path::new("p.yaml"), folder.path(), &Params::default());
    let found = match parsed {
        Err(found) => found.to_string(),
        Ok(definition) => match gristmill_pipeline::execute::check(&definition) {
            Ok(Checked::Wrong(found)) => found.to_string(),
            Ok(Checked::Fits(columns)) => format!("{columns:?}"),
            Err(error) => error.to_string(),
        },
    };
    found.replace(&folder.path().display().to_string(), "")
}

#[test]
fn mistakes_in_contracts_are_shown_in_their_lines() {
    let wrong = [
        ("{}", vec![]),
        ("{columns: {id: itn}}", vec![]),
        ("{columns: {id: {type: int, nulable: false}}}", vec![]),
        ("{columns: {id: int}, policy: {type: reject}}", vec![]),
        ("{columns: {id: int}, policy: {null: null_value}}", vec![]),
        ("{columns: {id: {type: int, formats: ['%d']}}}", vec![]),
        ("{file: c.yaml, columns: {id: int}}", vec![]),
        ("c.yaml", vec![]),
        ("c.yaml", vec![("c.yaml", "columns:\n  id: int\n  qty: itn\n")]),
        ("c.yaml", vec![("c.yaml", "columns:\n  id: int\npolcy: {}\n")]),
        (
            "c.yaml",
            vec![(
                "c.yaml",
                "kind: DataContract\nschema: [{name: a, properties: [{name: x, logicalType: int}]}]\n",
            )],
        ),
        ("{columns: {id: int}}\n    columns: {id: int}\n    drift: fill", vec![]),
        ("{file: c.yaml, schema: x}", vec![("c.yaml", "columns: {id: int}\n")]),
        ("c.yaml", vec![("c.yaml", "just text\n")]),
    ];
    let all: Vec<String> = wrong.iter().map(|(contract, files)| said(contract, files)).collect();
    assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_difference_is_told_in_a_line_for_each() {
    let folder = folder();
    let path = folder.path();
    let (data, contract) = (path.join("in.csv").display().to_string(), path.join("c.yaml"));
    let compared = |text: &str, data: &str| {
        fs::write(&contract, text).unwrap();
        let (outcome, found) = diff(&contract, None, data, &options(1)).unwrap();
        let found = found.unwrap_or_else(|| panic!("{:?}", outcome.report.error));
        let breaks = found.iter().any(|difference| difference.breaks);
        let text = table(Path::new("c.yaml"), "in.csv", &outcome, &found);
        (breaks, text.replace(data, "in.csv"))
    };
    let columns = COLUMNS.replace("day: date", "day: date, isin: string");
    let (breaks, shown) = compared(&columns, &data);
    assert!(breaks);
    assert_snapshot!(shown);
    let (breaks, shown) = compared(
        &format!(
            "{columns}\npolicy: {{missing_column: null_value, type: null_value, null: evolve}}"
        ),
        &data,
    );
    assert!(!breaks, "{shown}");
    assert!(shown.ends_with("its policy lets all of them pass\n"), "{shown}");
    let (breaks, shown) = compared(
        "columns: {id: int, fund_code: string, price: string, day: date, desk: string}",
        &data,
    );
    assert_eq!((breaks, shown.as_str()), (false, "in.csv keeps the contract c.yaml: 5 records\n"));

    let raw = "pipeline: raw\nextract: [{file: in.csv, columns: {id: int}}]\nload: [{file: in.parquet}]\n";
    outcome(path, raw, 1);
    let parquet = path.join("in.parquet").display().to_string();
    let (breaks, shown) = compared(
        "columns: {id: 'decimal(9, 0)', fund_code: string, price: double, day: date, desk: string}",
        &parquet,
    );
    assert!(breaks, "{shown}");
    assert!(
        shown.contains("is of type int, and decimal(9, 0) in the contract; every value fits"),
        "{shown}"
    );
    assert!(shown.contains("in 1 record, `abc` is not a double"), "{shown}");
}

#[test]
fn of_parquet_only_those_columns_are_read_that_are_kept_or_judged() {
    let folder = folder();
    let path = folder.path();
    let raw = "pipeline: raw\nextract: [{file: in.csv, columns: {Id: int}}]\nload: [{file: in.parquet}]\n";
    outcome(path, raw, 1);
    // `price` may be anything, `desk` is not in it, and `day` is a text here.
    let contract = "{columns: {id: {type: int, nullable: false}, fund_code: {nullable: false}, price: string, day: date}}";
    let judged = |steps: &str| {
        let report = run(path, "file: in.parquet", contract, steps);
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        let raw = text(path, "rejects.ndjson");
        let raw: Vec<String> =
            raw.lines().map(|line| serde_json::from_str::<RejectLine>(line).unwrap().raw).collect();
        (text(path, "out.csv"), rejects(path), raw)
    };
    let (out, found, raw) = judged("steps: [{select: [price, Id]}]\n");
    assert_eq!(
        raw,
        [
            r#"{"price":"1.25","Id":3,"fund_code":null,"day":"2024-05-02"}"#,
            r#"{"price":"7","Id":null,"fund_code":"FND4","day":"2024-05-02"}"#,
        ]
    );
    let (same_out, same, whole) = judged("steps: [{filter: 'true'}, {select: [price, Id]}]\n");
    assert_eq!((out, found), (same_out, same));
    assert!(whole[0].contains("desk"), "{}", whole[0]);
}

#[test]
fn the_first_break_in_the_source_is_told_for_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut text = "id,name\n".to_owned();
    let room = "a name that takes room ".repeat(14);
    for i in 0..60_000 {
        match i {
            40_000 => text.push_str("x40000,late\n"),
            55_000 => text.push_str("x55000,later\n"),
            _ => text.push_str(&format!("{i},{room}{i}\n")),
        }
    }
    fs::write(path.join("in.csv"), text).unwrap();
    let pipeline = "pipeline: p\nextract: [{file: in.csv, contract: {columns: {id: int, name: string}, policy: {type: freeze}}}]\nload: [{file: out.csv}]\n";
    let message = |workers| outcome(path, pipeline, workers).report.error.unwrap().message;
    let expected = "the contract is broken: `id` `x40000` is not an int (in.csv:40002)";
    assert_eq!(message(1), expected);
    assert_eq!(message(5), expected);
}

#[test]
fn a_column_that_comes_late_in_json_is_new_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // More than the first MiB, from which columns are guessed.
    let mut text = String::new();
    for i in 0..40_000 {
        text.push_str(&format!(
            "{{\"id\": {i}, \"name\": \"a name that takes room, number {i}\"}}\n"
        ));
    }
    text.push_str("{\"id\": 1, \"desk\": \"north\"}\n");
    fs::write(path.join("in.ndjson"), text).unwrap();
    let held = |way: &str| {
        let contract =
            format!("{{columns: {{id: int, name: string}}, policy: {{new_column: {way}}}}}");
        run(path, "file: in.ndjson", &contract, "")
    };
    let report = held("freeze");
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(
        report.error.unwrap().message,
        "the contract is broken: `in.ndjson` has the new column `desk`"
    );
    let report = held("quarantine_record");
    assert_eq!((report.status, report.read), (Status::Published, 40_001), "{:?}", report.error);
    assert_eq!(rejects(path), reasons(&[(40_001, "desk", "new_column")]));
    assert_eq!((held("null_value").rejected, held("evolve").rejected), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The judgement of a slow model: record by record, in plain Rust.
    #[test]
    fn records_pass_that_a_model_lets_pass(
        rows in prop::collection::vec(("[0-9]{0,3}|x", "[a-c]{0,2}", "[a-c]{0,1}"), 0..40),
        null_value in any::<bool>(), nullable in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = rows.iter().map(|(n, s, new)| format!("{n},{s},{new}\n")).collect();
        fs::write(folder.path().join("in.csv"), format!("n,s,new\n{lines}")).unwrap();
        let way = if null_value { "null_value" } else { "quarantine_record" };
        let contract = format!(
            "{{columns: {{n: {{type: int, nullable: {nullable}}}, s: string}}, policy: {{type: {way}, new_column: quarantine_record}}}}"
        );
        let report = csv(folder.path(), &contract);
        prop_assert_eq!(report.status, Status::Published);
        let mut expected = String::from("n,s\n");
        for (n, s, new) in &rows {
            let number = n.parse::<i64>().ok();
            let wrong = n == "x" && !null_value;
            let null = number.is_none() && !nullable && !wrong;
            if !wrong && !null && new.is_empty() {
                let number = number.map(|n| n.to_string()).unwrap_or_default();
                expected.push_str(&format!("{number},{s}\n"));
            }
        }
        prop_assert_eq!(text(folder.path(), "out.csv"), expected);
    }
}
