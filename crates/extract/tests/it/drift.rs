//! Files that do not have the same columns.

use gristmill_core::ErrorKind;
use serde_json::json;

use crate::support::Folder;

fn folder() -> Folder {
    Folder::new(&[
        ("1.csv", "id,name,aum\n1,a,10\n"),
        ("2.csv", "aum,id,name\n20,2,b\n"), // another order is no drift
        ("3.csv", "id,aum,region\n3,30,EU\n"),
        ("4.csv", "id,aum,region\n4,40,US\n"),
    ])
}

#[test]
fn an_error_names_the_files_and_the_columns() {
    let error = folder().error(json!({"file": "*.csv"}));
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert_eq!(
        error.to_string(),
        "the files of `*.csv` do not have the same columns: compared with `1.csv`, there is \
         `3.csv` and `4.csv` without column `name` and with column `region`"
    );
    assert!(error.hint_text().unwrap().contains("drift: fill"));
}

#[test]
fn fill_reads_all_columns() {
    let read = folder().read(json!({"file": "*.csv", "drift": "fill"})).unwrap();
    assert_eq!(read.names(), ["id", "name", "aum", "region"]);
    assert_eq!(read.column("id"), ["1", "2", "3", "4"]);
    assert_eq!(read.column("name"), ["a", "b", "-", "-"]);
    assert_eq!(read.column("region"), ["-", "-", "EU", "US"]);
    assert_eq!(read.rejects, 0);
    assert_eq!(
        read.notes,
        [
            "`3.csv` and `4.csv` without column `name`: null there",
            "`3.csv` and `4.csv` with column `region`, which `1.csv` does not have",
        ]
    );
}

#[test]
fn ignore_reads_the_columns_of_the_first_file_and_declared_ones() {
    let read = folder().read(json!({"file": "*.csv", "drift": "ignore"})).unwrap();
    assert_eq!(read.names(), ["id", "name", "aum"]);
    assert_eq!(read.column("aum"), ["10", "20", "30", "40"]);
    assert_eq!(read.column("name"), ["a", "b", "-", "-"]);
    assert_eq!(
        read.notes[1],
        "`3.csv` and `4.csv` with column `region`, which `1.csv` does not have: left out"
    );
    let item = json!({"file": "*.csv", "drift": "ignore", "columns": {"Region": "string"}});
    let read = folder().read(item).unwrap();
    assert_eq!(read.column("region"), ["-", "-", "EU", "US"]);
}

#[test]
fn files_without_drift_are_no_news() {
    let read = folder().read(json!({"file": "[12].csv"})).unwrap();
    assert_eq!((read.column("aum"), read.notes), (vec!["10".into(), "20".into()], vec![]));
}

#[test]
fn a_declared_column_that_is_nowhere_is_an_error_or_null() {
    let item = |drift: &str| json!({"file": "[12].csv", "drift": drift, "columns": {"naem": "int", "x": "date"}});
    let error = folder().error(item("error"));
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert_eq!(
        error.to_string(),
        "`[12].csv` has no columns `naem`, `x`, which `columns` declares"
    );
    assert_eq!(error.hint_text(), Some("did you mean `name`? the columns are id, name, aum"));
    let read = folder().read(item("fill")).unwrap();
    assert_eq!(read.types(), ["string", "string", "string", "int", "date"]);
    assert_eq!(read.column("x"), ["-", "-"]);
    assert!(read.notes.contains(&"no file has column `x`; it is null".to_owned()));
}
