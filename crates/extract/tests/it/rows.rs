//! Records that stand in the pipeline file.

use gristmill_extract::KINDS;
use serde_json::{Value, json};

use crate::support::Folder;

fn mistakes(item: Value) -> Vec<String> {
    let kind = KINDS.iter().find(|kind| kind.name == "rows").unwrap();
    (kind.check)(&item).iter().map(ToString::to_string).collect()
}

#[test]
fn columns_have_the_types_of_their_values_unless_declared() {
    let read = Folder::new(&[])
        .read(json!({
            "rows": [
                {"n": 1, "x": 1, "mixed": true, "on": "2024-02-29", "fee": 0.5},
                {"x": 2.5, "mixed": "yes", "list": [1, "a"], "n": null, "fee": "1.50"},
            ],
            "columns": {"on": "date", "fee": "decimal(6, 2)", "later": "int"},
        }))
        .unwrap();
    assert_eq!(read.names(), ["n", "x", "mixed", "on", "fee", "list", "later"]);
    assert_eq!(read.types(), ["int", "double", "string", "date", "decimal(6, 2)", "json", "int"]);
    assert_eq!(read.column("mixed"), ["true", "yes"]);
    assert_eq!(read.column("on"), ["2024-02-29", "-"]);
    assert_eq!(read.column("fee"), ["0.50", "1.50"]);
    assert_eq!(read.column("list"), ["-", "[1,\"a\"]"]);
}

#[test]
fn values_that_do_not_fit_are_mistakes_of_the_pipeline() {
    assert_eq!(
        mistakes(json!({"rows": [{"n": 1}, {"n": "x"}], "columns": {"n": "int"}})),
        ["rows[1].n: `x` is not an int"]
    );
    assert_eq!(mistakes(json!({"rows": []})), ["rows: there are no records, and no columns"]);
    let read = Folder::new(&[]).read(json!({"rows": [], "columns": {"n": "int"}})).unwrap();
    assert_eq!((read.names(), read.columns.num_rows()), (vec!["n"], 0));
}
