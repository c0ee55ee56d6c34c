//! Tests that a pipeline file states about itself.

use std::fs;

use gristmill_pipeline::execute::RunOptions;
use gristmill_pipeline::params::Params;
use gristmill_pipeline::testing::{run_tests, table};
use insta::assert_snapshot;

const PIPELINE: &str = "pipeline: people
extract:
  - {file: people.csv.gz, columns: {age: int}}
steps:
  - validate: {rules: {age: {min: 0}, name: required}}
  - filter: age < 100
  - derive: {adult: age >= 18}
load:
  - {table: people, database: 'postgres://nobody@nowhere.invalid/x', mode: append}
report: report.json
";

fn tested(tests: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.yaml");
    fs::write(&path, format!("{PIPELINE}tests:\n{tests}")).unwrap();
    fs::write(folder.path().join("in.csv"), "name,age\nAda,36\n").unwrap();
    fs::write(folder.path().join("out.ndjson"), "{\"adult\":true,\"name\":\"Ada\",\"age\":36.0}\n")
        .unwrap();
    let results = run_tests(&path, &Params::default(), &RunOptions::default()).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["in.csv", "out.ndjson", "people.yaml"]);
    table(&results)
}

#[test]
fn inputs_of_every_form_give_what_is_expected() {
    let shown = tested(
        "
  - name: text
    text: |
      name,age
      Ada,36
      ,17
      Eve,-1
      Old,120
    expect:
      output: [{name: Ada, age: 36, adult: true}]
      rejects:
        - {record: 2, field: name, rule: required}
        - {record: 3, message: below 0}
      account: {read: 4, loaded: 1, rejected: 2, filtered: 1}
  - name: records
    records: [{name: Bob, age: 17}]
    expect: {output: [{name: Bob, age: 17, adult: false}], rejects: []}
  - name: a file
    file: in.csv
    expect: {output_file: out.ndjson, status: published}
",
    );
    assert_eq!(shown, "ok      text\nok      records\nok      a file\n\n3 of 3 tests passed\n");
}

#[test]
fn what_differs_is_shown() {
    assert_snapshot!(tested(
        "
  - name: another record
    text: \"name,age\\nAda,36\\nBob,x\\nEve,-1\\n\"
    expect:
      output: [{name: Ada, age: 37, adult: true}, {name: Zoe}]
      rejects: [{record: 2, rule: type}, {record: 3, rule: max}, {record: 4}]
      account: {read: 4, rejected: 2}
  - name: an error
    records: [{name: Ada, age: 1}]
    expect: {error: a check failed}
  - name: a status
    records: [{name: Ada, age: 1}]
    expect: {status: stopped}
"
    ), @r#"
    FAILED  another record
            read: expected 4, found 3
            output (- expected 2 records, + found 1)
              record 1
              - {"name":"Ada","age":37,"adult":true}
              + {"name":"Ada","age":36,"adult":true}
                differs in `age`
              record 2
              - {"name":"Zoe"}
            rejects (- expected 3, + found 2)
              - {"record":3,"rule":"max"}
              + record 3: Eve,-1
                  age min: `-1` is below 0
              - {"record":4}
    FAILED  an error
            error
              - …a check failed…
              + there was none
    FAILED  a status
            the run should be stopped, and was published

    0 of 3 tests passed
    "#);
}

#[test]
fn a_pipeline_without_tests_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.yaml");
    fs::write(&path, PIPELINE).unwrap();
    let error = run_tests(&path, &Params::default(), &RunOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("people.yaml` has no tests"), "{error}");
}
