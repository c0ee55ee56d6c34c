//! DQDL over data without a pipeline: every rule type, with the examples of AWS's reference, and
//! values computed by hand or by Python's `statistics`.

use std::fs;
use std::path::Path;

use gristmill_core::CheckResult;
use gristmill_pipeline::definition::LoadError;
use gristmill_pipeline::execute::{RunOptions, State, registry, run_definition};
use gristmill_pipeline::params::Params;
use gristmill_pipeline::quality::{Judgement, judge, table};
use gristmill_pipeline::{Report, Status};
use insta::assert_snapshot;

const CUSTOMERS: &str = "\
Customer_ID,First_Name,Country,Age,Star_Rating,Order_Total,weightinkgs,gender,Postal_Code,Load_Date,note
1,Ann,US,21,5,100.5,9,F,12345,2020-01-01,42
2,Bob,CA,35,4,200.25,20,M,1234,2020-01-02,43
3,Cid,UK,,3,300,5,F,12345,2020-01-03,x
4,Dan,FR,50,2,400,30,M,54321,2020-01-04,
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("customers.csv"), CUSTOMERS).unwrap();
    fs::write(folder.path().join("regions.csv"), "code,zone,stars\nUS,1,5\nCA,1,9\nUK,2,14\n")
        .unwrap();
    fs::write(
        folder.path().join("copy.csv"),
        CUSTOMERS.replace("2,Bob", "2,Rob").replace("4,Dan", "5,Dan"),
    )
    .unwrap();
    folder
}

fn judged_in(folder: &Path, rules: &str, state: State) -> Result<Report, LoadError> {
    let path = folder.join("rules.dqdl");
    fs::write(&path, rules).unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let judgement = Judgement {
        rules: path,
        data: file("customers.csv"),
        references: vec![
            ("reference".to_owned(), file("regions.csv")),
            ("copy".to_owned(), file("copy.csv")),
        ],
        infer: true,
        rows: None,
    };
    let options = RunOptions { state, ..RunOptions::default() };
    let outcome = judge(&judgement, &options)?;
    assert!(table("customers", &outcome).contains("rules passed"));
    Ok(outcome.report)
}

fn judged(rules: &str) -> Result<Report, LoadError> {
    judged_in(folder().path(), rules, State::None)
}

/// Rules, whether each passes, and what it measures.
const RULES: &[(&str, bool, &[f64])] = &[
    // RowCount, ColumnCount, ColumnExists, ColumnNamesMatchPattern
    ("RowCount > 3", true, &[4.0]),
    ("RowCount between 4 and 10", false, &[4.0]),
    ("RowCount between 3 and 5", true, &[4.0]),
    ("RowCount not between 3 and 5", false, &[4.0]),
    ("RowCount in [3, 4]", true, &[4.0]),
    ("RowCount not in [3, 5]", true, &[4.0]),
    ("RowCount > 1 where \"Country in ('US', 'CA')\"", true, &[2.0]),
    ("ColumnCount = 11", true, &[11.0]),
    ("ColumnExists \"First_Name\"", true, &[1.0]),
    ("ColumnExists \"first\"", false, &[0.0]),
    ("ColumnNamesMatchPattern \"[A-Za-z_]+\"", true, &[1.0]),
    ("ColumnNamesMatchPattern \"[A-Z].*\"", false, &[8.0 / 11.0]),
    // Completeness, IsComplete
    ("Completeness \"Age\" > 0.95", false, &[0.75]),
    ("Completeness \"Age\" > 0.7 where \"weightinkgs > 10\"", true, &[1.0]),
    ("IsComplete \"First_Name\"", true, &[1.0]),
    ("IsComplete \"Age\"", false, &[0.75]),
    ("IsComplete \"Age\" where \"weightinkgs > 10\"", true, &[1.0]),
    // Uniqueness, UniqueValueRatio, IsUnique, IsPrimaryKey, DistinctValuesCount
    ("IsUnique \"Customer_ID\"", true, &[1.0]),
    ("IsUnique \"Postal_Code\"", false, &[0.5]),
    ("IsPrimaryKey \"Customer_ID\"", true, &[1.0]),
    ("IsPrimaryKey \"gender\" \"Age\"", false, &[0.75]),
    ("Uniqueness \"gender\" >= 0.5", false, &[0.0]),
    ("Uniqueness \"Age\" = 1.0", true, &[1.0]),
    ("UniqueValueRatio \"Postal_Code\" > 0.6", true, &[2.0 / 3.0]),
    ("DistinctValuesCount \"Country\" = 4", true, &[4.0]),
    // Entropy, Mean, Sum, StandardDeviation, ColumnCorrelation
    ("Entropy \"Star_Rating\" > 1", true, &[1.386_294_361_119_890_6]),
    ("Mean \"Star_Rating\" > 3", true, &[3.5]),
    ("Mean \"Age\" < 36", true, &[106.0 / 3.0]),
    ("Sum \"Order_Total\" = 1000.75", true, &[1_000.75]),
    ("StandardDeviation \"Star_Rating\" < 1.5", true, &[1.118_033_988_749_895]),
    ("ColumnCorrelation \"Star_Rating\" \"Order_Total\" < -0.9", true, &[-0.999_999_811_842_076_4]),
    // ColumnValues
    (
        "ColumnValues \"Country\" in [ \"US\", \"CA\", \"UK\", NULL, EMPTY, WHITESPACES_ONLY ]",
        false,
        &[0.75],
    ),
    ("ColumnValues \"Country\" in [\"US\", \"CA\", \"UK\"] with threshold > 0.7", true, &[0.75]),
    ("ColumnValues \"Country\" not in [\"DE\"]", true, &[1.0]),
    ("ColumnValues \"gender\" in [\"F\", \"M\"] where \"weightinkgs < 10\"", true, &[1.0]),
    ("ColumnValues \"First_Name\" matches \"[a-zA-Z]*\"", true, &[1.0]),
    ("ColumnValues \"First_Name\" matches \"[a-z]*\"", false, &[0.0]),
    ("ColumnValues \"First_Name\" not matches \"[a-z]*\"", true, &[1.0]),
    ("ColumnValues \"Load_Date\" > (now() - 3 days)", false, &[0.0]),
    ("ColumnValues \"Load_Date\" < (now() - 3 days)", true, &[1.0]),
    ("ColumnValues \"Load_Date\" between \"2020-01-01\" and \"2020-01-05\"", false, &[0.75]),
    ("ColumnValues \"Customer_ID\" between 1 and 2000", false, &[0.75]),
    ("ColumnValues \"Customer_ID\" between 0 and 2000", true, &[1.0]),
    ("ColumnValues \"Customer_ID\" >= 1", true, &[1.0]),
    ("ColumnValues \"Age\" > 20", false, &[0.75]),
    ("(ColumnValues \"Age\" > 20) OR (ColumnValues \"Age\" = NULL)", false, &[0.75, 0.25]),
    ("ColumnValues \"Age\" != 21", false, &[0.75]),
    ("ColumnValues \"Age\" != 22", true, &[1.0]),
    ("ColumnValues \"Age\" not in [22, 23]", true, &[1.0]),
    ("ColumnValues \"Age\" not in [22, 23, NULL]", false, &[0.75]),
    ("ColumnValues \"Age\" != NULL with threshold >= 0.75", true, &[0.75]),
    ("ColumnValues \"note\" != EMPTY", true, &[1.0]),
    ("ColumnValues \"note\" > 41 with threshold >= 0.5", true, &[0.5]),
    // ColumnLength, ColumnDataType
    ("ColumnLength \"Country\" = 2", true, &[1.0]),
    ("ColumnLength \"Postal_Code\" = 5", false, &[0.75]),
    ("ColumnLength \"Postal_Code\" = 5 where \"weightinkgs > 25\"", true, &[1.0]),
    ("ColumnLength \"note\" < 3", true, &[1.0]),
    ("ColumnLength \"note\" > 0", false, &[0.75]),
    ("ColumnDataType \"note\" = \"INTEGER\" with threshold > 0.6", true, &[2.0 / 3.0]),
    ("ColumnDataType \"Load_Date\" = \"Date\"", true, &[1.0]),
    // DataFreshness
    ("DataFreshness \"Load_Date\" <= 24 hours", false, &[0.0]),
    ("DataFreshness \"Load_Date\" > 5 days", true, &[1.0]),
    ("DataFreshness \"Load_Date\" between 2 days and 5 days", false, &[0.0]),
    // Other data
    ("RowCountMatch \"reference\" >= 0.9", true, &[4.0 / 3.0]),
    ("ReferentialIntegrity \"Country\" \"reference.code\" >= 0.7", true, &[0.75]),
    (
        "ReferentialIntegrity \"Country,Star_Rating\" \"reference.{code,stars}\" = 1.0",
        false,
        &[0.25],
    ),
    ("SchemaMatch \"copy\" = 1.0", true, &[1.0]),
    ("SchemaMatch \"reference\" = 1.0", false, &[0.0]),
    ("AggregateMatch \"sum(Star_Rating)\" \"sum(reference.stars)\" = 0.5", true, &[0.5]),
    ("AggregateMatch \"avg(Star_Rating)\" \"avg(Customer_ID)\" >= 0.9", true, &[1.4]),
    ("DatasetMatch \"copy\" \"Customer_ID\" >= 0.9", false, &[0.5]),
    (
        "DatasetMatch \"copy\" \"Customer_ID->Customer_ID\" \"Country->Country\" >= 0.7",
        true,
        &[0.75],
    ),
    ("DatasetMatch \"reference\" \"Country->code\" \"Country->code\" >= 0.7", true, &[0.75]),
    // CustomSql
    ("CustomSql \"select count(*) from primary\" between 3 and 20", true, &[4.0]),
    (
        "CustomSql \"select sum(Order_Total) from primary where Star_Rating > 3\" = 300.75",
        true,
        &[300.75],
    ),
    ("CustomSql \"select First_Name from primary where Age > 18\"", false, &[0.75]),
    (
        "CustomSql \"select First_Name from primary where Age > 18\" with threshold > 0.5",
        true,
        &[0.75],
    ),
    (
        "CustomSql \"select First_Name from primary where Age > 18\" with threshold > 2",
        true,
        &[3.0],
    ),
    (
        "CustomSql \"select count(*) from primary p join reference r on p.Country = r.code\" = 3",
        true,
        &[3.0],
    ),
    (
        "CustomSql \"select sum(primary.Order_Total) / max(r.stars) from primary join reference r on primary.Country = r.code\" > 0",
        true,
        &[600.75 / 14.0],
    ),
    (
        "CustomSql \"select max(n) from (select Country, count(*) as n from primary group by Country)\" between 0 and 5",
        true,
        &[1.0],
    ),
    (
        "CustomSql \"select Customer_ID from primary where Country in (select code from reference)\" with threshold > 0.7",
        true,
        &[0.75],
    ),
    (
        "CustomSql \"select Customer_ID from primary where Country in (select code from reference)\" with threshold > 2",
        true,
        &[3.0],
    ),
    // Composite rules
    ("(IsComplete \"Customer_ID\") and (IsUnique \"Customer_ID\")", true, &[1.0, 1.0]),
    ("(RowCount \"id\" > 100) or (IsPrimaryKey \"Customer_ID\")", true, &[4.0, 1.0]),
    (
        "(Mean \"Star_Rating\" > 3) and ((Mean \"Order_Total\" > 500) or (IsComplete \"Age\"))",
        false,
        &[3.5, 250.1875, 0.75],
    ),
    ("(RowCount > 0) or ((IsComplete \"Age\") and (IsUnique \"Age\"))", true, &[4.0, 0.75, 1.0]),
    // Without a past, rules about it pass.
    ("RowCount > avg(last(10)) * 0.8", true, &[4.0]),
    ("DetectAnomalies \"RowCount\"", true, &[4.0]),
    ("DetectAnomalies \"ColumnLength\" \"First_Name\"", true, &[3.0, 3.0]),
];

#[test]
fn every_rule_type_says_what_the_reference_says() {
    let rules: Vec<&str> = RULES.iter().map(|(rule, ..)| *rule).collect();
    let report = judged(&format!("Rules = [\n{}\n]", rules.join(",\n"))).unwrap();
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(report.checks.len(), RULES.len());
    for ((rule, passes, expected), result) in RULES.iter().zip(&report.checks) {
        let values: Vec<f64> = result.observed.iter().map(|seen| seen.value.unwrap()).collect();
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs();
        assert_eq!(values.len(), expected.len(), "{rule}");
        assert!(values.iter().zip(*expected).all(near), "{rule}: {values:?}");
        assert_eq!(result.passed, *passes, "{rule}: {:?}", result.message);
        assert_eq!(result.name, *rule);
    }
}

#[test]
fn files_are_judged_by_size_time_and_content() {
    let folder = folder();
    let path = folder.path();
    let customers = path.join("customers.csv").display().to_string();
    fs::create_dir(path.join("drop")).unwrap();
    for (name, text) in [("a", "same"), ("b", "same"), ("c", "other!")] {
        fs::write(path.join("drop").join(name), text).unwrap();
    }
    let drop = path.join("drop").display().to_string();
    let archive = path.join("archive").display().to_string();
    fs::create_dir(&archive).unwrap();
    for (name, text) in [("a", "same"), ("b", "same"), ("c", "others"), ("d", "more")] {
        fs::write(path.join("archive").join(name), text).unwrap();
    }
    let rules = [
        ("FileSize > 5 B".to_owned(), true),
        ("FileSize < 10 MB".to_owned(), true),
        (format!("FileSize \"{customers}\" > 2 MB"), false),
        (format!("FileSize \"{drop}\" > 5 B with threshold > 0.3"), true),
        (format!("FileSize \"{drop}\" between 3 B and 5 B with threshold > 0.7"), false),
        (format!("FileFreshness \"{drop}\" > (now() - 24 hours)"), true),
        ("FileFreshness > \"2020-01-01\"".to_owned(), true),
        (format!("FileFreshness \"{customers}\" < (now() - 10 days)"), false),
        (format!("FileUniqueness \"{drop}\" > 0.5"), false),
        (format!("FileUniqueness \"{drop}\" > 0.3"), true),
        // Checksums by md5sum, sha1sum and sha256sum.
        (
            format!(
                "FileMatch \"{drop}/a\" in [\"51037a4a37730f52c8732586d3aaa316\"] with hashAlgorithm = \"MD5\""
            ),
            true,
        ),
        (
            format!(
                "FileMatch \"{drop}/a\" in [\"51037A4A37730F52C8732586D3AAA316\"] with hashAlgorithm = \"SHA-1\""
            ),
            false,
        ),
        (
            format!(
                "FileMatch \"{drop}/a\" in [\"0\", \"ff3390557335ba88d37755e41514beb03bc499ec\"] with hashAlgorithm = \"SHA-1\""
            ),
            true,
        ),
        (
            format!(
                "FileMatch \"{drop}\" in [\"0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5\"] with threshold > 0.6"
            ),
            true,
        ),
        (format!("FileMatch \"{drop}/a\" \"{drop}/b\""), true),
        (format!("FileMatch \"{drop}/a\" \"{drop}/c\""), false),
        (format!("FileMatch \"{drop}\" \"{drop}\""), true),
        (format!("FileMatch \"{drop}\" \"{archive}\""), false),
        (format!("FileMatch \"{drop}\" \"{archive}\" with threshold >= 0.5"), true),
        (format!("FileMatch \"{drop}\" \"{archive}\" with uriRegex = \"/[ab]$\""), true),
        (format!("FileSize \"{drop}\" = 6 B with uriRegex = \"c$\""), true),
        (format!("FileUniqueness \"{drop}\" = 1 with recentFiles = 1"), true),
        (format!("FileFreshness \"{drop}\" between now() and (now() - 45 minutes)"), true),
        (format!("FileFreshness \"{drop}\" between \"2020-01-01\" and \"2021-01-01\""), false),
        (format!("FileFreshness \"{drop}\" >= \"12:00 AM\" with threshold >= 0"), true),
    ];
    let text: Vec<&str> = rules.iter().map(|(rule, _)| rule.as_str()).collect();
    let report = judged_in(path, &format!("Rules = [{}]", text.join(",")), State::None).unwrap();
    for ((rule, passes), result) in rules.iter().zip(&report.checks) {
        assert_eq!(result.passed, *passes, "{rule}: {result:?}");
    }
}

#[test]
fn dynamic_rules_ask_the_ledger() {
    let folder = folder();
    let state = || State::Folder(folder.path().join("state"));
    let rules = "Rules = [
        RowCount between min(last(3)) - 1 and max(last(3)) + 1,
        Sum \"Order_Total\" >= avg(last(10)) * 0.5,
        DetectAnomalies \"Mean\" \"Star_Rating\"
    ]
    Analyzers = [ AllStatistics \"Age\", Entropy \"Country\" ]";
    for _ in 0..3 {
        let report = judged_in(folder.path(), rules, state()).unwrap();
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        assert_eq!(report.checks.len(), 5);
    }
    let first_lines: Vec<&str> = CUSTOMERS.lines().take(2).collect();
    fs::write(folder.path().join("customers.csv"), first_lines.join("\n")).unwrap();
    let report = judged_in(folder.path(), rules, state()).unwrap();
    let messages: Vec<_> = report.checks.iter().filter_map(|check| check.message.clone()).collect();
    assert_eq!(
        messages,
        [
            "row count is 1, expected between min(last(3)) - 1 and max(last(3)) + 1 (min(last(3)) - 1 = 3, max(last(3)) + 1 = 5)",
            "sum of `Order_Total` is 100.5, expected >= avg(last(10)) * 0.5 (avg(last(10)) * 0.5 = 500.375)",
            "mean of `Star_Rating` is 5, expected 3.465 to 3.535, as in the last 3 runs",
        ]
    );
}

#[test]
fn mistakes_are_shown_in_their_lines() {
    let message = |rules: &str| {
        let text = judged(rules).unwrap_err().to_string();
        let place = |line: &str| match line.split_once("--> ") {
            Some((margin, place)) => {
                let file = place.find("rules.dqdl").map_or(place, |at| &place[at..]);
                format!("{margin}--> {file}")
            }
            None => line.to_owned(),
        };
        text.lines().map(place).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(
        [
            "Rules = [\n  IsComplete \"id\",\n  IsUniqe \"id\"\n]",
            "Rules = [\n  RowCount > 1,\n  Mean \"Ag\" > 3\n]",
            "Rules = [\n  RowCount > 1,\n  ReferentialIntegrity \"Country\" \"regions.code\" = 1\n]",
            "Rules = [ FileSize \"x\" > 1 with recentFile = 3 ]",
            "Rules = [ FileMatch \"a\" ]",
            "Rules = [ FileMatch \"a\" in [\"b\"] with hashAlgorithm = \"CRC\" ]",
            "Rules = [ FileSize \"s3://bucket/a\" > 1 ]",
            "Rules = [ IsComplete \"Age\" with recentFiles = 3 ]",
            "Rules = [ IsComplete \"nothing_like_it\" ]",
            "Rules = [ CustomSql \"select count(*) from primary p join regions r on p.Country = r.code\" > 0 ]",
        ]
        .map(message)
        .join("\n\n")
    );
    for (rules, said) in [
        ("", "there is no ruleset"),
        ("Rules = [ ]", "there is no rule"),
        ("Rules = [ RowCount > 1", "`,` or `]` was expected, not the end"),
        ("Rules = [ RowCount > ]", "a value was expected, not `]`"),
        ("Rules = [ RowCount ]", "RowCount needs a condition"),
        ("Rules = [ IsComplete ]", "IsComplete needs a column, in double quotes"),
        ("Rules = [ IsComplete id ]", "`,` or `]` was expected, not `id`"),
        ("Rules = [ IsComplete \"id\" > 3 ]", "IsComplete has no condition"),
        ("Rules = [ IsComplete \"id ]", "a text without an end"),
        (
            "Rules = [ (RowCount > 1) and (RowCount > 2) or (RowCount > 3) ]",
            "`and` and `or` are mixed",
        ),
        (
            "Rules = [ ColumnValues \"Age\" > avg(last(3)) ]",
            "this cannot be compared with each value",
        ),
        ("Rules = [ ColumnValues \"Age\" matches \"[\" ]", "the pattern cannot be read"),
        ("Rules = [ CustomSql \"select x from nowhere\" > 0 ]", "no table `nowhere`"),
        ("Rules = [ CustomSql \"delete from primary\" > 0 ]", "`delete` starts no query"),
        (
            "Rules = [ CustomSql \"select max(First_Name) from primary p\" > 0 ]",
            "the statement gives no single number to compare",
        ),
        ("Rules = [ CustomSql \"select Ag from primary p\" ]", "no column `Ag`"),
        (
            "Rules = [ CustomSql \"select Age from primary p\" where \"Age > 3\" ]",
            "`where` cannot stand behind this statement",
        ),
        ("IsComplete \"id\"", "the rule `IsComplete` stands outside of a ruleset"),
        ("Rules = [ Completeness \"Age\" 0.9 ]", "`,` or `]` was expected, not `0.9`"),
        ("Rules = [ ColumnValues \"Age\" in (1, 2) ]", "`[` was expected, not `(`"),
        ("Rule = [ RowCount > 1 ]", "unknown section `Rule`"),
        (
            "Rules = [ Mean \"First_Name\" > 1 ]",
            "column `First_Name` is string; this needs numbers",
        ),
    ] {
        let found = message(rules);
        assert!(found.starts_with(&format!("error: {said}")), "{rules}: {found}");
    }
}

#[test]
fn records_are_written_with_the_rules_that_they_passed_and_failed() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let rules = "Rules = [ RowCount > 100, IsComplete \"Age\", IsUnique \"Postal_Code\", \
        ColumnValues \"Star_Rating\" > 2 where \"weightinkgs > 6\", \
        (IsComplete \"Age\") or (ColumnLength \"Country\" = 2) ]";
    fs::write(path("rules.dqdl"), rules).unwrap();
    let judgement = Judgement {
        rules: path("rules.dqdl"),
        data: path("customers.csv").display().to_string(),
        references: Vec::new(),
        infer: true,
        rows: Some(path("rows.ndjson").display().to_string()),
    };
    let options = RunOptions { state: State::None, ..RunOptions::default() };
    let report = judge(&judgement, &options).unwrap().report;
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let passed: Vec<bool> = report.checks.iter().map(|check| check.passed).collect();
    assert_eq!(passed, [false, false, false, false, true]);
    let text = fs::read_to_string(path("rows.ndjson")).unwrap();
    let names: Vec<String> = report.checks.iter().map(|check| check.name.clone()).collect();
    let found: Vec<_> = text
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let numbers = |column: &str| -> Vec<usize> {
                let rules = row[column].as_array().unwrap().iter();
                rules.map(|rule| names.iter().position(|name| rule == name).unwrap()).collect()
            };
            let lists =
                ["Pass", "Fail", "Skip"].map(|end| numbers(&format!("DataQualityRules{end}")));
            (lists, row["DataQualityEvaluationResult"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ([vec![1, 3, 4], vec![2], vec![0]], "Failed"),
        ([vec![1, 2, 3, 4], vec![], vec![0]], "Passed"),
        ([vec![4], vec![1, 2], vec![0, 3]], "Failed"),
        ([vec![1, 2, 4], vec![3], vec![0]], "Failed"),
    ];
    assert_eq!(found, expected.map(|(lists, result)| (lists, result.to_owned())));
}

#[test]
fn records_pass_a_query_that_gives_their_values() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows = |rules: &str| {
        fs::write(path("rules.dqdl"), rules).unwrap();
        let judgement = Judgement {
            rules: path("rules.dqdl").into(),
            data: path("customers.csv"),
            references: vec![
                ("regions".to_owned(), path("regions.csv")),
                ("copy".to_owned(), path("copy.csv")),
            ],
            infer: true,
            rows: Some(path("rows.ndjson")),
        };
        let options = RunOptions { state: State::None, ..RunOptions::default() };
        judge(&judgement, &options).map(|outcome| outcome.report)
    };
    // Which records pass: by a join, by two columns, by a null, by a count, by a set; and one that tells of the whole.
    let rules = [
        ("select p.Customer_ID from primary p join regions r on p.Country = r.code", "", [1, 2, 3]),
        (
            "select Age, gender from primary group by Age, gender having min(Customer_ID) > 1",
            "",
            [2, 3, 4],
        ),
        ("select Age from primary where Customer_ID in (select 3)", "", [3, 0, 0]),
        ("select First_Name from primary where Age > 18", " with threshold > 2", [1, 2, 4]),
        (
            "select p.* from primary p where Country in (select code from regions)",
            " with threshold > 2",
            [1, 2, 3],
        ),
        ("select count(*) from primary p join regions r on p.Country = r.code", " = 3", [0; 3]),
    ];
    let texts = rules.map(|(query, end, _)| format!("CustomSql \"{query}\"{end}"));
    let report = rows(&format!("Rules = [ {} ]", texts.join(", "))).unwrap();
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let passed: Vec<bool> = report.checks.iter().map(|check| check.passed).collect();
    assert_eq!(passed, [false, false, false, true, true, true]);
    let text = fs::read_to_string(path("rows.ndjson")).unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, (query, _, expected)) in texts.iter().zip(rules) {
        let with = |list: &str| -> Vec<i64> {
            let has = |it: &&serde_json::Value| {
                it[list].as_array().unwrap().contains(&name.as_str().into())
            };
            records.iter().filter(has).map(|it| it["Customer_ID"].as_i64().unwrap()).collect()
        };
        let expected: Vec<i64> = expected.into_iter().filter(|id| *id > 0).collect();
        assert_eq!(with("DataQualityRulesPass"), expected, "{query}");
        let skipped = with("DataQualityRulesSkip").len();
        assert_eq!(skipped, if expected.is_empty() { 4 } else { 0 }, "{query}");
    }

    // Records that refer to something, and those that are the same elsewhere.
    let rules = [
        ("ReferentialIntegrity \"Country\" \"regions.code\" = 1", vec!["1", "2", "3"]),
        ("DatasetMatch \"copy\" \"Customer_ID\" >= 0.1", vec!["1", "3"]),
    ];
    let report = rows(&format!("Rules = [ {}, {} ]", rules[0].0, rules[1].0)).unwrap();
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let text = fs::read_to_string(path("rows.ndjson")).unwrap();
    for (rule, expected) in &rules {
        let passes = |line: &&str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["DataQualityRulesPass"].as_array().unwrap().contains(&(*rule).into())
        };
        let passed = text.lines().filter(passes).map(|line| &line[15..16]);
        assert_eq!(passed.collect::<Vec<_>>(), *expected, "{rule}");
    }
    let without = "Rules = [ CustomSql \"select r.zone from primary p join regions r on p.Country = r.code\" ]";
    let found = rows(without).unwrap_err().to_string();
    assert!(found.contains("the statement gives no column of the records"), "{found}");
}

#[test]
fn rules_in_files_of_their_own_keep_their_lines() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("rules")).unwrap();
    let run = |rules: &str| {
        fs::write(path("rules/of.dqdl"), rules).unwrap();
        let text = "pipeline: p\nextract: [{file: customers.csv, infer: true}]\nsteps:\n  - check:\n      dqdl_file: rules/of.dqdl\n      references: {regions: {file: regions.csv}}\nload: [{file: out.csv}]\n";
        let parsed =
            registry().parse(text, Path::new("p.yaml"), folder.path(), &Params::default()).unwrap();
        let options = RunOptions { state: State::None, ..RunOptions::default() };
        let outcome = run_definition(&parsed, &options).unwrap();
        match outcome.diagnostics {
            Some(found) => found.to_string().replace(&folder.path().display().to_string(), ""),
            None => format!("{:?} {}", outcome.report.status, outcome.report.checks.len()),
        }
    };
    let good =
        "Rules = [\n  RowCount = 4,\n  ReferentialIntegrity \"Country\" \"regions.code\" > 0.5\n]";
    assert_eq!(run(good), "Published 2");
    let wrong = [
        "Rules = [\n  RowCount = 4,\n  IsComplet \"Age\"\n]",
        "Rules = [\n  RowCount = 4,\n  IsComplete \"Agee\"\n]",
        "Rules = [\n  RowCount = 4,\n  RowCountMatch \"region\" > 0\n]",
    ];
    let mut all: Vec<String> = wrong.into_iter().map(run).collect();
    fs::remove_file(path("rules/of.dqdl")).unwrap();
    let text = "pipeline: p\nextract: [{file: customers.csv}]\nsteps: [{check: {dqdl_file: rules/of.dqdl}}]\nload: [{file: out.csv}]\n";
    let parsed =
        registry().parse(text, Path::new("p.yaml"), folder.path(), &Params::default()).unwrap();
    let missing = parsed.plans(registry().expressions.as_ref()).err().unwrap().to_string();
    all.push(missing.replace(&folder.path().display().to_string(), ""));

    // The same for checks in YAML.
    for rules in [
        "checks:\n  - {measure: row_count, min: 1}\n  - {measure: completeness, column: Agee}\n",
        "checks:\n  - {measure: row_count, min: 1}\n  - {measure: row_count_match, reference: regions}\n",
        "checks:\n  - {measure: row_cout, min: 1}\n",
    ] {
        fs::write(path("rules.yaml"), rules).unwrap();
        let judgement = Judgement {
            rules: path("rules.yaml"),
            data: path("customers.csv").display().to_string(),
            references: Vec::new(),
            infer: true,
            rows: None,
        };
        let found = judge(&judgement, &RunOptions { state: State::None, ..RunOptions::default() });
        let found = found.unwrap_err().to_string();
        all.push(found.replace(&folder.path().display().to_string(), ""));
    }
    assert_snapshot!(all.join("\n\n"));
}

#[test]
fn rules_carry_their_labels() {
    let report = judged(
        "DefaultLabels = [\"team\" = \"risk\", \"tier\" = \"2\"]
        Rules = [ RowCount > 0, IsComplete \"Customer_ID\" labels = [\"tier\" = \"1\"] ]",
    )
    .unwrap();
    let labels: Vec<String> =
        report.checks.iter().map(|check| format!("{:?}", check.labels)).collect();
    assert_eq!(labels, [r#"{"team": "risk", "tier": "2"}"#, r#"{"team": "risk", "tier": "1"}"#]);
}

#[test]
fn queries_that_do_not_fit_the_rule_stop_the_run() {
    for (rule, said) in [
        (
            "CustomSql \"select Age from primary p\" > 3",
            "the statement gives 4 numbers, and one is compared: select Age from primary p",
        ),
        (
            "CustomSql \"select p.Age from primary p join reference r on r.stars > 0\" with threshold > 0.5",
            "the statement gives 12 of 4 records: select p.Age from primary p join reference r on r.stars > 0",
        ),
    ] {
        let report = judged(&format!("Rules = [ {rule} ]")).unwrap();
        assert_eq!(report.status, Status::Stopped);
        assert_eq!(report.error.unwrap().message, said);
    }
}

#[test]
fn queries_see_all_records_in_order_whatever_the_workers_and_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::from("id,region,amount\n");
    for id in 0..30_000 {
        rows += &format!("{id},r{},{}.25\n", id * 7 % 1000, id % 97);
    }
    fs::write(folder.path().join("rows.csv"), rows).unwrap();
    let regions: String = (0..900).map(|n| format!("r{n},{}\n", n % 3)).collect();
    fs::write(folder.path().join("regions.csv"), format!("code,zone\n{regions}")).unwrap();
    let rules = r#"Rules = [
        CustomSql "select count(*) from primary p join regions r on p.region = r.code" = 27000,
        CustomSql "select max(total) from (select zone, sum(amount) as total from primary p join regions r on p.region = r.code group by zone)" > 0,
        CustomSql "select id from primary p where exists (select 1 from regions r where r.code = p.region)" with threshold >= 0.9,
        CustomSql "select count(*) from primary a join primary b on a.id = b.id + 1" = 29999,
        IsUnique "id"
    ]"#;
    let text = |marks: bool| {
        format!(
            "pipeline: p\nextract: [{{file: rows.csv, columns: {{id: int, amount: 'decimal(12, 2)'}}}}]\nsteps:\n  - check:\n      references: {{regions: {{file: regions.csv}}}}\n      row_results: {marks}\n      dqdl: |\n        {}\nload: [{{file: out.ndjson}}]\nlimits: {{memory: 128MiB}}\n",
            rules.replace('\n', "\n        ")
        )
    };
    let run = |marks: bool, workers: usize| {
        let path = folder.path().join("p.yaml");
        let parsed = registry().parse(&text(marks), &path, folder.path(), &Params::default());
        let options =
            RunOptions { workers: Some(workers), state: State::None, ..RunOptions::default() };
        let report = run_definition(&parsed.unwrap(), &options).unwrap().report;
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        let observed = |check: &CheckResult| check.observed[0].value.unwrap();
        let observed: Vec<f64> = report.checks.iter().map(observed).collect();
        (observed, fs::read_to_string(folder.path().join("out.ndjson")).unwrap())
    };
    let (observed, out) = run(false, 1);
    assert_eq!(
        (observed[0], observed[2], observed[3], observed[4]),
        (27_000.0, 0.9, 29_999.0, 1.0)
    );
    // By hand: each zone has 300 regions, each region 30 records.
    let zone = |zone: u64| -> u64 {
        let records = (0..30_000_u64).filter(|id| id * 7 % 1000 < 900 && id * 7 % 1000 % 3 == zone);
        records.map(|id| (id % 97) * 100 + 25).sum()
    };
    let most = (0..3).map(zone).max().unwrap() as f64 / 100.0;
    assert_eq!(observed[1], most);
    assert_eq!(run(false, 3), (observed.clone(), out.clone()));
    let (marked, records) = run(true, 2);
    assert_eq!(marked, observed);
    assert_eq!(records.lines().count(), out.lines().count());
    assert!(records.lines().nth(1).unwrap().contains("\"Passed\""), "{:?}", records.lines().nth(1));
}

#[test]
fn an_input_of_a_query_that_is_not_there_is_told_before_anything_is_read() {
    let folder = folder();
    let rules =
        "Rules = [ CustomSql \"select count(*) from primary join r on Country = code\" > 0 ]";
    fs::write(folder.path().join("rules.dqdl"), rules).unwrap();
    let judgement = Judgement {
        rules: folder.path().join("rules.dqdl"),
        data: folder.path().join("customers.csv").display().to_string(),
        references: vec![("r".to_owned(), folder.path().join("region.csv").display().to_string())],
        infer: true,
        rows: None,
    };
    let options = RunOptions { state: State::None, ..RunOptions::default() };
    let outcome = judge(&judgement, &options).unwrap();
    assert!(outcome.diagnostics.is_none(), "{}", outcome.diagnostics.unwrap());
    let error = outcome.report.error.unwrap();
    assert!(
        error.message.starts_with("cannot read `") && error.message.ends_with("region.csv`"),
        "{error:?}"
    );
    assert_eq!(error.hint.as_deref().map(|hint| hint.contains("regions.csv")), Some(true));
    let text = "pipeline: p\nextract: [{file: customers.csv}]\nsteps:\n  - check: {references: {r: {file: region.csv}}, dqdl_file: rules.dqdl}\nload: [{file: out.csv}]\n";
    let parsed = registry().parse(text, Path::new("p.yaml"), folder.path(), &Params::default());
    let outcome = run_definition(&parsed.unwrap(), &options).unwrap();
    let told = outcome.diagnostics.unwrap().to_string();
    assert!(told.contains("region.csv") && told.contains("p.yaml:4:36"), "{told}");
}

#[test]
fn offenders_were_judged_and_what_cannot_be_read_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("data.csv"), "id\n1\n2\n2\n3,4\n2\n").unwrap();
    let rules = "checks: [{measure: uniqueness, columns: [id], offenders: reject}]";
    fs::write(path("rules.yaml"), rules).unwrap();
    let judgement = Judgement {
        rules: path("rules.yaml"),
        data: path("data.csv").display().to_string(),
        references: Vec::new(),
        infer: false,
        rows: None,
    };
    let outcome =
        judge(&judgement, &RunOptions { state: State::None, ..RunOptions::default() }).unwrap();
    let shown = table("data", &outcome);
    assert!(shown.contains("\n1 records could not be read and were not judged\n"), "{shown}");
    assert!(shown.contains("\n2 records offend against a check with"), "{shown}");
}
