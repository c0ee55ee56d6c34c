//! What a user gets wrong, and what they are told.

use gristmill_core::ErrorKind;
use gristmill_extract::KINDS;
use serde_json::{Value, json};

use crate::support::Folder;

fn mistakes(item: Value) -> Vec<String> {
    (KINDS[0].check)(&item).iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_are_found_without_looking_at_files() {
    assert_eq!(mistakes(json!({"file": "funds.csv"})), [""; 0]);
    assert_eq!(mistakes(json!({"file": "data/*"})), [""; 0]);
    assert_eq!(mistakes(json!({"file": "x.dat"})), ["file: cannot tell the format of `x.dat`"]);
    assert_eq!(
        mistakes(json!({"file": "-"})),
        ["file: the standard input has no name to tell its format"]
    );
    assert_eq!(mistakes(json!({"file": "-", "format": "csv"})), [""; 0]);
    assert!(mistakes(json!({"file": "[.csv"}))[0].starts_with("file: `[.csv` is not a pattern"));
    assert_eq!(
        mistakes(json!({"file": "x.parquet", "csv": {}, "columns": {"a": "int"}, "infer": true})),
        [
            "csv: `csv` does not apply to a Parquet file",
            "columns: the columns of a Parquet file have types already",
            "infer: the columns of a Parquet file have types already",
        ]
    );
    assert_eq!(
        mistakes(json!({"file": "x.csv.gz", "csv": {"delimiter": "||"}})),
        ["csv.delimiter: `||` is not one character"]
    );
    assert_eq!(
        mistakes(json!({"file": "x.json", "json": {"records": "a..b"}})),
        ["json.records: `a..b` has an empty key"]
    );
    assert!(
        mistakes(json!({"file": "x.csv", "columns": {"a": "dat"}}))[0]
            .starts_with("columns.a: `dat` is not a type")
    );
    let formats = json!({"a": ["%Q"], "b": ["%d"], "c": ["%Y"]});
    let item =
        json!({"file": "x.csv", "columns": {"a": "date", "b": "int"}, "date_formats": formats});
    assert_eq!(
        mistakes(item),
        [
            "date_formats.a[0]: `%Q` is not a strftime format",
            "date_formats.b: `b` is declared as int",
            "date_formats.c: `c` is not in `columns`",
        ]
    );
}

#[test]
fn a_misspelled_path_is_recognised() {
    let folder = Folder::new(&[("data/funds-2.csv", "id\n"), ("data/regions.csv", "id\n")]);
    let error = folder.error(json!({"file": "data/fund-2.csv"}));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "cannot read `data/fund-2.csv`");
    assert_eq!(error.hint_text(), Some("did you mean `data/funds-2.csv`?"));

    let error = folder.error(json!({"file": "dta/funds-2.csv"}));
    let base = folder.path().display().to_string();
    assert_eq!(
        error.hint_text().unwrap(),
        format!("paths are relative to the pipeline file, here `{base}`")
    );
}

#[test]
fn a_pattern_without_files_says_where_it_looked() {
    let folder = Folder::new(&[("data/funds-2.csv", "id\n"), ("data/regions.csv", "id\n")]);
    let error = folder.error(json!({"file": "data/fund_*.csv"}));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let place = folder.path().join("data");
    assert_eq!(
        error.to_string(),
        format!("no file matches `data/fund_*.csv` in `{}`", place.display())
    );
    assert_eq!(error.hint_text(), Some("there are `funds-2.csv`, `regions.csv`"));

    let error = folder.error(json!({"file": "dat/*.csv"}));
    assert_eq!(error.to_string(), "no file matches `dat/*.csv`");
    assert!(error.hint_text().unwrap().starts_with("there is no folder `dat`"));
}

#[test]
fn a_folder_is_no_file() {
    let folder = Folder::new(&[("data/a.csv", "id\n")]);
    let error = folder.error(json!({"file": "data/", "format": "csv"}));
    assert_eq!(error.to_string(), "`data/` is a folder");
    assert!(error.hint_text().unwrap().contains("`data/*.csv`"));
}
