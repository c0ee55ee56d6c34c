//! What becomes of a record that fails.

use gristmill_core::ErrorKind;
use serde_json::json;

use crate::given::{batch, run, step};

const COLUMNS: &[(&str, &str)] = &[("id", "string"), ("aum", "int")];

#[test]
fn warnings_keep_the_record_and_count() {
    let step = step(json!({
        "rules": {"aum": [{"min": 0, "severity": "warn"}, {"max": 100, "name": "cap"}]},
    }));
    let outcome = run(&step, vec![batch(COLUMNS, &["a|-5", "b|7", "c|-6", "d|101"], 1)]).unwrap();
    assert_eq!(outcome.records_kept(), 3);
    assert_eq!(outcome.reasons(), ["3 aum.cap: `101` is above 100"]);
    let warnings = outcome.findings.warnings();
    let warning = &warnings[&("aum".to_owned(), "min".to_owned())];
    assert_eq!((warning.records, warning.message.as_str()), (2, "`-5` is below 0"));
    assert_eq!(
        outcome.report["rules"],
        json!([
            {"field": "aum", "rule": "min", "failed": 2},
            {"field": "aum", "rule": "cap", "failed": 1},
        ])
    );
}

#[test]
fn the_step_s_severity_is_the_default() {
    let definition = json!({
        "rules": {"aum": {"min": 0}, "id": {"length": 1, "severity": "reject"}},
        "record_rules": [{"name": "big", "expr": "aum < 100"}],
        "unique": "id",
        "on_failure": "warn",
    });
    let rows = ["a|-1", "a|1", "bb|2", "c|200"];
    let outcome = run(&step(definition), vec![batch(COLUMNS, &rows, 1)]).unwrap();
    assert_eq!(outcome.reasons(), ["2 id.length: `bb` has 2 characters, not 1"]);
    let warned: Vec<_> =
        outcome.findings.warnings().keys().map(|(f, r)| format!("{f}.{r}")).collect();
    assert_eq!(warned, [".big", "aum.min", "id.unique"]);
}

#[test]
fn abort_names_the_first_record_in_source_order() {
    let step = step(json!({
        "rules": {"aum": {"min": 0, "severity": "abort"}, "id": "required"},
    }));
    let batches =
        vec![batch(COLUMNS, &["a|1", "~|2"], 1), batch(COLUMNS, &["c|3", "d|-4", "e|-5"], 3)];
    let error = run(&step, batches).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(
        error.to_string(),
        "record 4 (line 5) of `in.csv`: field `aum`, rule `min`: `-4` is below 0"
    );
    assert!(error.hint_text().unwrap().contains("abort"));
}

#[test]
fn abort_waits_for_its_turn_when_workers_are_faster() {
    let step = step(json!({"rules": {"aum": {"min": 0}}, "on_failure": "abort"}));
    let [first, second] = [batch(COLUMNS, &["a|-1"], 1), batch(COLUMNS, &["b|-2"], 2)];
    let bound = crate::given::bind(&step, &first).unwrap();
    let (local, mut ordered) = (bound.local.unwrap(), bound.ordered.unwrap());
    let mut findings = Default::default();
    let second = local.apply(second, &mut findings).unwrap();
    let first = local.apply(first, &mut findings).unwrap();
    let error = ordered.apply(first, &mut findings).unwrap_err();
    assert!(error.to_string().starts_with("record 1 (line 2)"), "{error}");
    let error = ordered.apply(second, &mut findings).unwrap_err();
    assert!(error.to_string().starts_with("record 2 (line 3)"), "{error}");
}

#[test]
fn unique_and_record_rules_abort_too() {
    let definition = json!({"unique": "id", "on_failure": "abort"});
    let rows = batch(COLUMNS, &["a|1", "a|2"], 1);
    let error = run(&step(definition), vec![rows.clone()]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "record 2 (line 3) of `in.csv`: field `id`, rule `unique`: `a` was seen before, in record 1"
    );
    let definition =
        json!({"record_rules": [{"name": "small", "expr": "aum < 2", "severity": "abort"}]});
    let error = run(&step(definition), vec![rows]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "record 2 (line 3) of `in.csv`: rule `small`: fails `aum < 2` with aum = `2`"
    );
}
