//! Around the run: check, init, rejects, replay, runs, logs, help.

use gristmill_tests::Sandbox;

use crate::assert_shown;

const PIPELINE: &str = r"pipeline: people
extract:
  - file: people.csv
    columns: {age: int}
steps:
  - validate: {rules: {age: {between: [0, 150]}, name: required}}
load:
  - {table: people, database: 'sqlite://people.db', mode: append}
rejects: rejects.ndjson
";

fn people() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("people.yaml", PIPELINE);
    sandbox.write("people.csv", "name,age\nAda,36\n,17\nEve,old\nBob,200\nZoe,18,extra\n");
    sandbox
}

#[test]
fn help() {
    let sandbox = Sandbox::new();
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help_run", vec!["run", "--help"]),
        ("help_check", vec!["check", "--help"]),
        ("help_init", vec!["init", "--help"]),
        ("help_convert", vec!["convert", "--help"]),
        ("help_rejects", vec!["rejects", "--help"]),
        ("help_replay", vec!["rejects", "replay", "--help"]),
        ("help_runs", vec!["runs", "--help"]),
    ] {
        let ran = sandbox.run(&arguments);
        assert_eq!(ran.code, Some(0));
        assert_shown!(name, sandbox, ran);
    }
}

#[test]
fn check_shows_what_would_be_loaded_and_changes_nothing() {
    let sandbox = people();
    let before = sandbox.files();
    let ran = sandbox.run(&["check", "people.yaml"]);
    assert_eq!(ran.code, Some(0));
    assert_shown!("check", sandbox, ran);
    assert_eq!(sandbox.files(), before);
    assert!(!sandbox.path().join(".gristmill").exists());

    sandbox.write("people.yaml", PIPELINE.replace("name: required", "nam: required"));
    let ran = sandbox.run(&["check", "people.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("check_mistake", sandbox, ran);
    assert_eq!(sandbox.run(&["check", "--offline", "people.yaml"]).code, Some(0));
}

#[test]
fn rejects_are_summarised_mended_and_replayed() {
    let sandbox = people();
    let ran = sandbox.run(&["run", "people.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = sandbox.run(&["rejects", "rejects.ndjson"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("rejects", sandbox, ran);

    let mended = sandbox.text("rejects.ndjson").replace("Eve,old", "Eve,40").replace(",extra", "");
    sandbox.write("mended.ndjson", mended);
    let ran = sandbox.run(&["rejects", "replay", "mended.ndjson", "--pipeline", "people.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let database = rusqlite::Connection::open(sandbox.path().join("people.db")).unwrap();
    let mut names =
        database.prepare("select name || ' ' || age from people order by name").unwrap();
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(names, ["Ada 36", "Eve 40", "Zoe 18"]);
    assert_eq!(sandbox.json_lines("mended-replayed.ndjson").len(), 2);
    assert_eq!(sandbox.json_lines("rejects.ndjson").len(), 4, "the first rejects are still there");
}

#[test]
fn a_replay_does_not_replace_what_was_loaded() {
    let sandbox = people();
    let to_file = PIPELINE.replace(
        "{table: people, database: 'sqlite://people.db', mode: append}",
        "file: people.parquet",
    );
    sandbox.write("people.yaml", to_file);
    assert_eq!(sandbox.run(&["run", "people.yaml"]).code, Some(0));
    let before = sandbox.bytes("people.parquet");
    let ran = sandbox.run(&["rejects", "replay", "rejects.ndjson", "--pipeline", "people.yaml"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_shown!("replay_refused", sandbox, ran);
    assert_eq!(sandbox.bytes("people.parquet"), before);
    let arguments =
        ["rejects", "replay", "rejects.ndjson", "--pipeline", "people.yaml", "--into", "late.csv"];
    assert_eq!(sandbox.run(&arguments).code, Some(0));
    assert_eq!(sandbox.text("late.csv"), "name,age\n");
}

#[test]
fn runs_are_listed_and_shown() {
    let sandbox = people();
    let none = sandbox.run(&["runs"]);
    assert_eq!(none.code, Some(2));
    assert_shown!("runs_none", sandbox, none);
    assert_eq!(sandbox.run(&["run", "people.yaml", "--quiet"]).code, Some(0));
    sandbox.write("people.yaml", PIPELINE.to_owned() + "limits: {rejected: 1}\n");
    let stopped = sandbox.run(&["run", "people.yaml"]);
    assert_eq!(stopped.code, Some(3));
    assert_shown!("stopped", sandbox, stopped);
    let listed = sandbox.run(&["runs", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["status"], "stopped");
    assert_eq!(listed[1]["status"], "published");
    let id = listed[1]["id"].as_str().unwrap();
    let shown = sandbox.run(&["runs", "show", id]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("published"), "{}", shown.stdout);
    let unknown = sandbox.run(&["runs", "show", "nope"]);
    assert_eq!(unknown.code, Some(2));
    assert_shown!("runs_show_unknown", sandbox, unknown);
}

#[test]
fn json_goes_to_standard_output_and_nothing_else_does() {
    let sandbox = people();
    let ran = sandbox.run(&["run", "people.yaml"]);
    assert_eq!(ran.stdout, "");
    let ran = sandbox.run(&["run", "people.yaml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["account"]["read"], 5);
    assert_eq!(ran.stderr, "");
    let ran = sandbox.run(&["run", "people.yaml", "--quiet"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn logs_are_structured_and_rotate() {
    let sandbox = people();
    for _ in 0..3 {
        let ran = sandbox.run(&[
            "run",
            "people.yaml",
            "--quiet",
            "--log-file",
            "logs/run.log",
            "--log-format",
            "json",
            "--log-file-size",
            "400B",
        ]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let files = sandbox.files();
    assert!(files.contains(&"logs/run.log.1".to_owned()), "{files:?}");
    for line in sandbox.json_lines("logs/run.log") {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[test]
fn init_writes_a_pipeline_that_runs() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "Fund Data.csv",
        "Fund Code,AUM,As Of,Active\nF1,10.50,2024-01-31,true\nF2,-3,2024-02-29,false\n",
    );
    let ran = sandbox.run(&["init", "Fund Data.csv", "--output", "funds.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let text = sandbox.text("funds.yaml");
    assert!(text.contains("date") && text.contains("double") && text.contains("bool"), "{text}");
    let ran = sandbox.run(&["init", "Fund Data.csv", "--output", "funds.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("init_exists", sandbox, ran);
    let ran = sandbox.run(&["run", "funds.yaml"]);
    assert_eq!(ran.code, Some(0), "{text}\n{}", ran.stderr);
}

#[test]
fn schema_and_completions_are_for_programs() {
    let sandbox = Sandbox::new();
    let schema: serde_json::Value = serde_json::from_str(&sandbox.run(&["schema"]).stdout).unwrap();
    assert!(schema["properties"]["extract"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.run(&["completions", shell]).stdout.contains("gristmill"));
    }
}
