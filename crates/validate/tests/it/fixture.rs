//! The fixture that shows the whole step at work.

use std::path::Path;

use serde_json::Value;

use crate::given::{batch, run, step};

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/validate/funds");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_funds_are_judged_as_promised() {
    let definition: Value = serde_json::from_str(&fixture("definition.json")).unwrap();
    let columns = [
        ("fund_code", "string"),
        ("share_class", "string"),
        ("fund_name", "string"),
        ("as_of_date", "date"),
        ("aum", "decimal(18, 2)"),
        ("currency", "string"),
        ("management_fee", "double"),
    ];
    let text = fixture("funds.csv").replace(',', "|");
    let rows: Vec<&str> = text.lines().skip(1).collect();
    let outcome = run(&step(definition), vec![batch(&columns, &rows, 1)]).unwrap();
    assert_eq!(outcome.records_kept(), 5);
    assert_eq!(outcome.reasons().join("\n"), fixture("rejects.txt").trim_end());
    let report: Value = serde_json::from_str(&fixture("report.json")).unwrap();
    assert_eq!(outcome.report, report, "{:#}", outcome.report);
}
