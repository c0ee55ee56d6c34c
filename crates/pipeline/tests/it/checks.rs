//! Checks of the whole input, in pipelines. Expected numbers were computed by Python's `statistics`
//! and `math.fsum`.

use std::fs;
use std::path::Path;

use gristmill_core::{CheckResult, Gravity};
use gristmill_pipeline::Status;
use gristmill_pipeline::execute::{Outcome, RunOptions, State, registry, run_definition};
use gristmill_pipeline::params::Params;

pub(crate) const DATA: &str = "\
id,email,currency,aum,grade,day
1,a@x.org,USD,10.5,3,2024-05-01
2,b@x.org,USD,20.25,5,2024-05-02
3,,EUR,-4,1,2024-05-03
4,a@x.org,EUR,1e9,8,2024-05-04
5,c,GBP,,2,2024-05-05
5,  ,USD,0.1,,
";

const COLUMNS: &str =
    "{id: int, email: string, currency: string, aum: double, grade: int, day: date}";

/// Runs a pipeline over files in a folder, which has `in.csv`.
fn run_in(folder: &Path, step: &str, options: &RunOptions<'_>) -> Outcome {
    let text = format!(
        "pipeline: checked\nextract:\n  - {{file: in.csv, columns: {COLUMNS}}}\nsteps:\n{step}\nload: [{{file: out.csv}}]\n"
    );
    let path = Path::new("p.yaml");
    let parsed = registry().parse(&text, path, folder, &Params::default());
    run_definition(&parsed.unwrap_or_else(|found| panic!("{found}")), options).unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), DATA).unwrap();
    folder
}

fn none() -> RunOptions<'static> {
    RunOptions { state: State::None, ..RunOptions::default() }
}

fn checks(items: &str) -> Vec<CheckResult> {
    run_in(folder().path(), &format!("  - check:\n      checks:\n{items}"), &none()).report.checks
}

#[test]
fn every_measure_is_what_an_independent_computation_says() {
    let measures: &[(&str, f64)] = &[
        ("measure: row_count", 6.0),
        ("measure: column_count", 6.0),
        ("measure: completeness, column: aum", 5.0 / 6.0),
        ("measure: primary_key, column: id", 4.0 / 6.0),
        ("measure: primary_key, columns: [id, aum]", 5.0 / 6.0),
        ("measure: uniqueness, columns: [id, day]", 1.0),
        ("measure: uniqueness, column: id", 4.0 / 6.0),
        ("measure: unique_value_ratio, column: id", 4.0 / 5.0),
        ("measure: distinct_count, column: currency", 3.0),
        ("measure: coverage, column: currency, one_of: [EUR, CHF, USD, USD]", 3.0 / 4.0),
        ("measure: coverage, column: grade, one_of: [1, 5.0, 7, 4]", 2.0 / 4.0),
        ("measure: coverage, column: aum, one_of: [10.50, 0.1, 1000000000, 0]", 3.0 / 4.0),
        ("measure: coverage, column: day, one_of: [2024-05-01, 2024-06-01]", 1.0 / 2.0),
        ("measure: coverage, column: currency, one_of: [EUR, GBP], where: aum > 0", 1.0 / 2.0),
        ("measure: sum, column: aum", 1_000_000_026.85),
        ("measure: sum, column: grade", 19.0),
        ("measure: mean, column: aum", 200_000_005.37),
        ("measure: stddev, column: aum", 399_999_997.315_000_1),
        ("measure: min, column: aum", -4.0),
        ("measure: max, column: grade", 8.0),
        ("measure: max, column: day", 1_714_867_200.0),
        ("measure: quantile, column: aum, at: 0.5", 10.5),
        ("measure: quantile, column: aum, at: 0.9", 1e9),
        ("measure: quantile, column: aum, at: 0", -4.0),
        ("measure: entropy, column: currency", 1.011_404_264_707_351_6),
        ("measure: correlation, columns: [aum, grade]", 0.837_218_369_106_945_4),
        ("measure: max_length, column: email", 7.0),
        ("measure: share, column: currency, one_of: [USD, EUR]", 5.0 / 6.0),
        ("measure: share, expr: 'aum > 0'", 4.0 / 6.0),
        ("measure: sum, column: aum, where: \"currency = 'USD'\"", 30.85),
        ("measure: completeness, column: aum, where: \"currency = 'GBP'\"", 0.0),
        ("measure: completeness, column: aum, where: \"currency = 'CHF'\"", 1.0),
        ("measure: schema, types: {id: int, email: string, day: timestamp, x: int}", 2.0 / 7.0),
    ];
    let items: Vec<String> =
        measures.iter().map(|(item, _)| format!("        - {{{item}, min: -1e18}}")).collect();
    let found = checks(&items.join("\n"));
    assert_eq!(found.len(), measures.len());
    for ((item, expected), result) in measures.iter().zip(found) {
        let value = result.observed[0].value.unwrap_or_else(|| panic!("{item}: {result:?}"));
        assert!((value - expected).abs() <= 1e-12 * expected.abs(), "{item}: {value}");
        assert!(result.passed, "{item}");
    }
}

#[test]
fn a_null_in_a_key_means_what_the_check_says() {
    let folder = folder();
    let pairs = ["1,1", "1,1", "1,", "1,", ",", ",", "2,", ",3"];
    let rows = pairs.map(|pair| {
        let (id, grade) = pair.split_once(',').unwrap();
        format!("{id},e{id},,,{grade},\n")
    });
    let data = format!("id,email,currency,aum,grade,day\n{}", rows.concat());
    fs::write(folder.path().join("in.csv"), data).unwrap();
    let expected: &[(&str, [f64; 3])] = &[
        ("columns: [id, grade]", [2.0 / 6.0, 2.0 / 4.0, 4.0]),
        ("columns: [id, grade], nulls: ignore_if_all", [2.0 / 6.0, 2.0 / 4.0, 4.0]),
        ("columns: [id, grade], nulls: ignore_if_any", [0.0, 0.0, 1.0]),
        ("columns: [id, grade], nulls: equal", [2.0 / 8.0, 2.0 / 5.0, 5.0]),
        ("columns: [id, grade], nulls: distinct", [6.0 / 8.0, 6.0 / 7.0, 7.0]),
        ("columns: [id, grade], nulls: equal, where: grade IS NULL", [1.0 / 5.0, 1.0 / 3.0, 3.0]),
        ("column: id", [1.0 / 5.0, 1.0 / 2.0, 2.0]),
        ("column: id, nulls: ignore_if_any", [1.0 / 5.0, 1.0 / 2.0, 2.0]),
        ("column: id, nulls: equal", [1.0 / 8.0, 1.0 / 3.0, 3.0]),
        ("column: id, nulls: distinct", [4.0 / 8.0, 4.0 / 5.0, 5.0]),
        ("column: id, nulls: distinct, where: grade IS NULL", [3.0 / 5.0, 3.0 / 4.0, 4.0]),
        ("column: currency, nulls: equal", [0.0, 0.0, 1.0]),
        ("column: currency, nulls: distinct", [1.0, 1.0, 8.0]),
    ];
    let measures = ["uniqueness", "unique_value_ratio", "distinct_count"];
    let items = expected.iter().flat_map(|(key, _)| {
        measures.map(|measure| format!("        - {{measure: {measure}, {key}, min: 0}}\n"))
    });
    let step = format!(
        "  - clean: {{nulls: [\"\"]}}\n  - check:\n      checks:\n{}",
        items.collect::<String>()
    );
    let report = run_in(folder.path(), &step, &none()).report;
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    for ((key, numbers), results) in expected.iter().zip(report.checks.chunks(3)) {
        let found: Vec<f64> = results.iter().map(|it| it.observed[0].value.unwrap()).collect();
        assert_eq!(found, numbers, "{key}");
    }
    assert_eq!(report.checks[12].name, "uniqueness of `id`, `grade` with distinct nulls >= 0");
}

#[test]
fn a_coverage_that_fails_names_what_is_missing() {
    let found = checks(
        "        - {measure: coverage, column: currency, one_of: [USD, EUR, CHF, JPY], severity: warn}
        - {measure: coverage, column: currency, one_of: [USD, EUR, CHF, JPY], min: 0.5}
        - {measure: coverage, column: currency, one_of: [GBP, USD], severity: warn}
        - {measure: coverage, column: currency, one_of: [GBP, EUR], where: grade IS NULL, severity: warn}",
    );
    assert_eq!(found.iter().map(|it| it.passed).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!(
        found[0].message.as_deref(),
        Some(
            "coverage of [USD, EUR, CHF, JPY] in `currency` is 0.5, expected = 1; it lacks `CHF`, `JPY`"
        )
    );
    assert_eq!(
        found[3].message.as_deref(),
        Some(
            "coverage of [GBP, EUR] in `currency` where grade IS NULL is 0, expected = 1; it lacks `GBP`, `EUR`"
        )
    );
    let step = "  - check:\n      checks:\n        - {measure: coverage, column: grade, one_of: [1, 2.5, x]}";
    let outcome = run_in(folder().path(), step, &none());
    let found = outcome.diagnostics.unwrap().to_string();
    assert!(found.contains("`2.5` cannot be a value of `grade`, int"), "{found}");
}

#[test]
fn a_failed_check_publishes_nothing_and_says_what_was_found() {
    let folder = folder();
    let step = "  - check:
      checks:
        - {measure: row_count, min: 10}
        - {measure: completeness, column: aum, min: 0.9, name: funds have a size}
        - {measure: distinct_count, column: currency, between: [1, 2], severity: warn}
        - {measure: max, column: day, max: 2024-05-04}";
    let outcome = run_in(folder.path(), step, &RunOptions::default());
    let report = &outcome.report;
    assert_eq!((report.status, report.status.exit_code()), (Status::Stopped, 3));
    assert!(!folder.path().join("out.csv").exists());
    assert_eq!(
        report.error.as_ref().unwrap().message,
        "3 checks failed: row count is 6, expected >= 10; completeness of `aum` is 0.833333, expected >= 0.9; \
         maximum of `day` is 2024-05-05, expected <= 2024-05-04"
    );
    let found: Vec<_> = report.checks.iter().map(|check| (check.passed, check.severity)).collect();
    let (error, warn) = (Gravity::Error, Gravity::Warn);
    assert_eq!(found, [(false, error), (false, error), (false, warn), (false, error)]);
    assert_eq!(report.checks[1].name, "funds have a size");
    let summary = gristmill_pipeline::report::summary(report);
    assert!(summary.contains("0 of 4 checks passed"), "{summary}");
    assert!(summary.contains("distinct count of `currency` is 3, expected from 1 to 2"));
}

#[test]
fn a_warning_publishes_and_rejected_records_are_not_judged() {
    let folder = folder();
    let step = "  - validate: {rules: {aum: {min: 0}}, unique: id}
  - check:
      checks:
        - {measure: row_count, equals: 4}
        - {measure: primary_key, column: id}
        - {measure: min, column: aum, min: 0}
        - {measure: freshness, column: day, max: 1 day, severity: warn}";
    let report = run_in(folder.path(), step, &none()).report;
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    assert_eq!((report.rejected, report.account.loaded()), (2, 4));
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).collect();
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].message.as_ref().unwrap().starts_with("age of the newest `day` in seconds is")
    );
}

#[test]
fn the_ledger_remembers_and_unusual_values_fail() {
    let folder = folder();
    let step = "  - check:\n      checks:\n        - {measure: row_count, deviations: 3}";
    let options = RunOptions::default();
    for _ in 0..3 {
        assert_eq!(run_in(folder.path(), step, &options).report.status, Status::Published);
    }
    fs::write(folder.path().join("in.csv"), DATA.lines().take(3).collect::<Vec<_>>().join("\n"))
        .unwrap();
    let report = run_in(folder.path(), step, &options).report;
    let message = report.error.unwrap().message;
    assert_eq!(
        message,
        "a check failed: row count is 2, expected 5.94 to 6.06, as in the last 3 runs"
    );
}

#[test]
fn changes_are_told_from_the_last_runs() {
    let folder = folder();
    let step = "  - check:
      checks:
        - {measure: row_count, change: 0.5, severity: warn}
        - {measure: completeness, column: aum, change: 0.1, severity: warn}
        - {measure: mean, column: grade, change: 0.05, last: 2, severity: warn}
        - {measure: freshness, column: day, change: 0.5, severity: warn}
        - {measure: min, column: grade, change: 1, severity: warn}";
    let run = |data: &str| {
        fs::write(folder.path().join("in.csv"), data).unwrap();
        let report = run_in(folder.path(), step, &RunOptions::default()).report;
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        report.checks.into_iter().filter_map(|check| check.message).collect::<Vec<_>>()
    };
    assert_eq!(run(DATA), [""; 0]); // there is nothing to compare with
    assert_eq!(run(DATA), [""; 0]);
    // Means of grades: 3.8, 3.8, then (3 + 5) / 2. Of 2 records, aum is there in both.
    let few = DATA.lines().take(3).collect::<Vec<_>>().join("\n");
    let mut found = run(&few.replace("2024-", "1984-"));
    let fresh = found.remove(3);
    assert!(fresh.starts_with("age of the newest `day` in seconds is 1"), "{fresh}");
    assert!(fresh.contains(", as in the last run (a change of "), "{fresh}");
    assert_eq!(
        found,
        [
            "row count is 2, expected 3 to 9, as in the last run (a change of -66.7%)",
            "completeness of `aum` is 1, expected 0.75 to 0.916667, as in the last run (a change of 20%)",
            "mean of `grade` is 4, expected 3.61 to 3.99, as in the last 2 runs (a change of 5.3%)",
            "minimum of `grade` is 3, expected 0 to 2, as in the last run (a change of 200%)",
        ]
    );
    // Last two means: 4 and 3.8.
    let found = run(DATA);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("row count is 6, expected 1 to 3, as in the last run"),
        "{found:?}"
    );
}

#[test]
fn other_inputs_are_compared_with() {
    let folder = folder();
    fs::write(folder.path().join("currencies.csv"), "code,grade\nUSD,10\nEUR,9\n").unwrap();
    fs::write(
        folder.path().join("other.csv"),
        DATA.replace("2,b@x.org", "2,b@y.org").lines().take(5).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    let step = format!(
        "  - check:
      references:
        currencies: {{file: currencies.csv, columns: {{grade: int}}}}
        other: {{file: other.csv, columns: {COLUMNS}}}
      checks:
        - {{measure: referential_integrity, column: currency, reference: currencies, reference_columns: code, min: 0}}
        - {{measure: row_count_match, reference: other, min: 0}}
        - {{measure: sum_match, column: grade, reference: currencies, min: 0}}
        - {{measure: mean_match, column: grade, reference: currencies, min: 0}}
        - {{measure: schema_match, reference: other, min: 0}}
        - {{measure: dataset_match, column: id, where: id < 5, reference: other, min: 0}}"
    );
    let report = run_in(folder.path(), &step, &none()).report;
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let found: Vec<_> =
        report.checks.iter().map(|check| check.observed[0].value.unwrap()).collect();
    assert_eq!(found, [5.0 / 6.0, 1.5, 1.0, 3.8 / 9.5, 1.0, 3.0 / 4.0]);
}

#[test]
fn offenders_are_rejected_where_the_check_says_so() {
    let folder = folder();
    let rows =
        "1,a,USD,,1,\n1,b,USD,,1,\n,c,USD,,2,\n2,d,GBP,,2,\n2,e,EUR,,3,\n2,f,CHF,,3,\n3,g,,,9,\n";
    fs::write(folder.path().join("in.csv"), format!("id,email,currency,aum,grade,day\n{rows}"))
        .unwrap();
    fs::write(folder.path().join("currencies.csv"), "code\nUSD\nEUR\n").unwrap();
    let step = |more: &str| {
        format!(
            "  - clean: {{nulls: [\"\"]}}
  - check:
      references: {{currencies: {{file: currencies.csv}}}}
      checks:
        - {{measure: primary_key, column: id, offenders: reject}}
        - {{measure: referential_integrity, column: currency, reference: currencies, reference_columns: code, offenders: reject, name: known currency{more}}}
        - {{measure: uniqueness, columns: [grade, currency], nulls: equal, where: grade > 1, offenders: reject}}
        - {{measure: row_count, equals: 7}}
  - check: {{checks: [{{measure: primary_key, column: id}}, {{measure: row_count, equals: 3}}]}}
rejects: rejects.ndjson"
        )
    };
    let report = run_in(folder.path(), &step(""), &none()).report;
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    assert_eq!((report.read, report.rejected, report.account.loaded()), (7, 4, 3));
    let observed: Vec<f64> = report.checks.iter().map(|it| it.observed[0].value.unwrap()).collect();
    assert_eq!(observed, [1.0 / 7.0, 4.0 / 6.0, 1.0, 7.0, 1.0, 3.0]);
    assert!(report.checks.iter().all(|check| check.passed));
    let rejects = fs::read_to_string(folder.path().join("rejects.ndjson")).unwrap();
    let found: Vec<String> = rejects
        .lines()
        .flat_map(|line| {
            let reject: serde_json::Value = serde_json::from_str(line).unwrap();
            let errors = reject["errors"].as_array().unwrap().clone();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let line = reject["line"].clone();
            errors
                .into_iter()
                .map(move |it| format!("{line} {}: {}", text(&it["rule"]), text(&it["message"])))
        })
        .collect();
    assert_eq!(
        found,
        [
            "3 primary_key: `1` was seen before, in record 1",
            "4 primary_key: a primary key is not null",
            "5 known currency: `GBP` is in no record of `currencies`",
            "7 primary_key: `2` was seen before, in record 5",
            "7 known currency: `CHF` is in no record of `currencies`",
        ]
    );

    let report = run_in(folder.path(), &step(", min: 0.9"), &none()).report;
    assert_eq!((report.status, report.rejected), (Status::Stopped, 4));
    assert_eq!(
        report.error.unwrap().message,
        "a check failed: share of `currency` in `code` of `currencies` is 0.666667, expected >= 0.9"
    );
}

#[test]
fn offenders_are_the_same_for_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let rows = (0..20_000u64).map(|i| {
        let (id, grade) = (i.wrapping_mul(2_654_435_761) % 17_011, i * 7 % 33_331);
        format!("{id},e,C,1.5,{grade},2024-01-01\n")
    });
    let rows: Vec<String> = rows.collect();
    fs::write(
        folder.path().join("in.csv"),
        format!("id,email,currency,aum,grade,day\n{}", rows.concat()),
    )
    .unwrap();
    let grades: Vec<String> = (0..25_000).map(|i| format!("{i}\n")).collect();
    fs::write(folder.path().join("grades.csv"), format!("grade\n{}", grades.concat())).unwrap();
    let run = |workers| {
        let step = "  - check:
      references: {grades: {file: grades.csv, columns: {grade: int}}}
      checks:
        - {measure: uniqueness, column: id, offenders: reject}
        - {measure: referential_integrity, column: grade, reference: grades, offenders: reject}";
        let options = RunOptions { workers: Some(workers), ..none() };
        let report = run_in(folder.path(), step, &options).report;
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        fs::read_to_string(folder.path().join("out.csv")).unwrap()
    };
    let mut seen = std::collections::HashSet::new();
    let kept = (0..20_000u64)
        .filter(|i| i * 7 % 33_331 < 25_000 && seen.insert(i.wrapping_mul(2_654_435_761) % 17_011));
    let expected: String = kept.map(|i| rows[i as usize].as_str()).collect();
    let found = run(1);
    assert!(found.split_once('\n').unwrap().1 == expected);
    assert!(run(4) == found);
}

#[test]
fn inputs_that_are_compared_with_are_looked_at_before_the_records_are() {
    let folder = folder();
    fs::write(folder.path().join("codes.csv"), "code,grade\nUSD,1\nEUR,x\n").unwrap();
    let run = |reference: &str, check: &str| {
        let step = format!(
            "  - check:\n      references: {{codes: {{{reference}}}}}\n      checks:\n        - {{measure: {check}}}"
        );
        let outcome = run_in(folder.path(), &step, &none());
        assert_eq!(outcome.report.read, 0, "{check}");
        match outcome.diagnostics {
            Some(found) => found.to_string(),
            None => format!("{:?}", outcome.report.error),
        }
    };
    let known = "referential_integrity, column: currency, reference: codes, reference_columns: ";
    let found = run("file: codes.csv", &format!("{known}cod"));
    assert!(
        found.contains("reference `codes`: there is no column `cod`; did you mean `code`?"),
        "{found}"
    );
    assert!(found.contains("p.yaml:8"), "{found}");
    let typo = format!("{known}code}}\n        - {{measure: mean, column: amu, min: 0");
    let found = run("file: code.csv", &typo);
    assert!(found.contains("code.csv"), "{found}");
    assert!(found.contains("no column `amu`; did you mean `aum`?"), "{found}");
    let found = run("file: code.csv", &format!("{known}code"));
    assert!(found.contains("code.csv") && found.contains("p.yaml:6"), "{found}");
    let found =
        run("file: codes.csv", "sum_match, column: aum, reference: codes, reference_columns: code");
    assert!(
        found.contains("reference `codes`: column `code` is string; this needs numbers"),
        "{found}"
    );
    let found = run(
        "file: codes.csv",
        "dataset_match, column: currency, reference: codes, reference_columns: code",
    );
    assert!(
        found.contains(
            "reference `codes`: its columns besides the key are grade, and those of the input"
        ),
        "{found}"
    );
    let found = run("file: codes.csv, columns: {grade: int}", &format!("{known}code"));
    assert!(found.contains("line 3 of `codes.csv` cannot be read"), "{found}");
}

#[test]
fn mistakes_are_found_before_anything_is_read() {
    let mistake = |check: &str| {
        let text = format!(
            "pipeline: p\nextract: [{{file: a.csv}}]\nsteps: [{{check: {check}}}]\nload: [{{file: b.csv}}]\n"
        );
        let parsed = registry().parse(&text, Path::new("p"), Path::new(""), &Params::default());
        parsed.map_or_else(|found| found.items()[0].message.clone(), |_| String::new())
    };
    assert_eq!(mistake("{checks: []}"), "the step has nothing to judge");
    assert_eq!(
        mistake("{checks: [{measure: row_count}]}"),
        "`row_count` needs what is expected of it"
    );
    assert_eq!(
        mistake("{checks: [{measure: mean, min: 1}]}"),
        "`mean` needs `column`: the column that is measured"
    );
    assert_eq!(
        mistake("{checks: [{measure: freshness, column: a, max: soon}]}"),
        "`soon` is no length of time; write `90 minutes` or `2 days`"
    );
    assert_eq!(
        mistake("{checks: [{measure: row_count, min: 1, equals: 2}]}"),
        "`min` and `max`, `between`, `equals`, `deviations` and `change` are one or the other"
    );
    assert_eq!(
        mistake("{checks: [{measure: primary_key, column: a, nulls: equal}]}"),
        "`nulls` says what a null in a key means, and `primary_key` has no use for it"
    );
    assert_eq!(
        mistake("{checks: [{measure: mean, column: a, offenders: reject}]}"),
        "`mean` names no record that offends"
    );
    assert_eq!(
        mistake("{checks: [{measure: coverage, column: a}]}"),
        "`coverage` needs `one_of`: the values that should occur"
    );
    assert_eq!(mistake("{dqdl: 'Rules = [ IsComplet \"id\" ]'}"), "unknown rule type `IsComplet`");
}

#[test]
fn columns_that_do_not_fit_are_named_with_their_check() {
    let folder = folder();
    let step = "  - check:\n      checks:\n        - {measure: mean, column: email, min: 0}\n        - {measure: sum, column: amu, min: 0}";
    let outcome = run_in(folder.path(), step, &none());
    let found = outcome.diagnostics.unwrap().to_string();
    assert!(found.contains("column `email` is string; this needs numbers"), "{found}");
    assert!(found.contains("there is no column `amu`; did you mean `aum`?"), "{found}");
    assert!(found.contains("p.yaml:"), "{found}");
}

#[test]
fn results_are_the_same_for_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = "id,email,currency,aum,grade,day\n".to_owned();
    for i in 0..60_000u64 {
        let x = (i.wrapping_mul(2_654_435_761) % 1_000_003) as f64 / 7.0 - 70_000.0;
        data.push_str(&format!(
            "{},e{},C{},{x},{},2024-01-01\n",
            i % 50_000,
            i % 977,
            i % 7,
            i % 13
        ));
    }
    fs::write(folder.path().join("in.csv"), data.repeat(3)).unwrap();
    let step = "  - filter: aum IS NOT NULL
  - check:
      checks:
        - {measure: sum, column: aum, min: -1e18}
        - {measure: stddev, column: aum, min: 0}
        - {measure: entropy, column: email, min: 0}
        - {measure: uniqueness, columns: [id, email], min: 0}
        - {measure: quantile, column: aum, at: 0.99, min: 0}
        - {measure: correlation, columns: [aum, grade], min: -1}";
    let run = |workers| {
        let options = RunOptions { workers: Some(workers), ..none() };
        let report = run_in(folder.path(), step, &options).report;
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        serde_json::to_string(&report.checks).unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(4));
}

#[test]
fn a_query_gives_the_number_that_is_compared() {
    let folder = folder();
    fs::write(folder.path().join("rates.csv"), "code,rate\nUSD,1\nEUR,2\nGBP,4\n").unwrap();
    let step = "  - check:
      references: {rates: {file: rates.csv, columns: {rate: int}}}
      checks:
        - measure: query
          query: SELECT sum(i.id * r.rate) FROM input i JOIN rates r ON i.currency = r.code
          between: [41, 42]
        - {measure: query, query: \"SELECT count(*) FROM input WHERE currency NOT IN (SELECT code FROM rates)\", equals: 0}
        - {measure: query, query: \"SELECT count(DISTINCT day) - 6 FROM input\", equals: 0, severity: warn}";
    let report = run_in(folder.path(), step, &none()).report;
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let observed = |check: &CheckResult| check.observed[0].value.unwrap();
    // 1 + 2 + 2 * 3 + 2 * 4 + 4 * 5 + 5
    assert_eq!(report.checks.iter().map(observed).collect::<Vec<_>>(), [42.0, 0.0, -1.0]);
    assert_eq!(
        report.checks[2].message.as_deref(),
        Some("result of SELECT count(DISTINCT day) - 6 FROM input is -1, expected = 0")
    );
}
