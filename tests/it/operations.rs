//! Around the run: check, init, rejects, replay, runs, logs, help.

use std::process::Stdio;

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
        ("help_plan", vec!["plan", "--help"]),
        ("help_check", vec!["check", "--help"]),
        ("help_test", vec!["test", "--help"]),
        ("help_init", vec!["init", "--help"]),
        ("help_profile", vec!["profile", "--help"]),
        ("help_convert", vec!["convert", "--help"]),
        ("help_quality", vec!["quality", "check", "--help"]),
        ("help_rejects", vec!["rejects", "--help"]),
        ("help_replay", vec!["rejects", "replay", "--help"]),
        ("help_runs", vec!["runs", "--help"]),
        ("help_bookmarks", vec!["bookmarks", "--help"]),
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
fn a_plan_says_what_would_change_and_changes_nothing() {
    let sandbox = Sandbox::copy("examples/dim_fund");
    let ran = sandbox.run(&["run", "pipeline.yaml", "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let contents = |sandbox: &Sandbox| {
        let files = sandbox.files();
        files.into_iter().map(|name| (sandbox.bytes(&name), name)).collect::<Vec<_>>()
    };
    let before = contents(&sandbox);
    let ran = sandbox.run(&["plan", "pipeline.yaml", "--param", "MONTH=2024-02"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("plan", sandbox, ran);
    assert!(contents(&sandbox) == before, "a plan changed something");

    // What the plan said is what the run does.
    let json = sandbox.run(&["plan", "pipeline.yaml", "--param", "MONTH=2024-02", "--json"]);
    let planned: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let ran = sandbox.run(&["run", "pipeline.yaml", "--param", "MONTH=2024-02", "--json"]);
    let done: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(planned["status"], "planned");
    for key in ["read", "rejected", "rejected_by", "account"] {
        assert_eq!(planned[key], done[key], "{key}");
    }
    let account = |report: &serde_json::Value| report["destinations"][0]["account"].clone();
    assert_eq!(account(&planned), account(&done));

    // A new table and new files leave nothing, either.
    let sandbox = people();
    let before = sandbox.files();
    sandbox
        .write("people.yaml", PIPELINE.replace("rejects:", "  - file: people.parquet\nrejects:"));
    let ran = sandbox.run(&["plan", "people.yaml"]);
    assert_shown!("plan_new", sandbox, ran);
    assert_eq!(sandbox.files(), before);
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
fn what_is_rejected_again_keeps_its_place_and_can_be_replayed_again() {
    let sandbox = people();
    assert_eq!(sandbox.run(&["run", "people.yaml"]).code, Some(0));
    let replay = |file| sandbox.run(&["rejects", "replay", file, "--pipeline", "people.yaml"]);
    let mended = sandbox.text("rejects.ndjson").replace("Eve,old", "Eve,40");
    sandbox.write("mended.ndjson", mended);
    let ran = replay("mended.ndjson");
    assert_shown!("replay", sandbox, ran);
    let first = sandbox.json_lines("rejects.ndjson");
    let again = sandbox.json_lines("mended-replayed.ndjson");
    assert_eq!(again.len(), 3);
    for reject in &again {
        let same = first.iter().find(|first| first["record"] == reject["record"]).unwrap();
        for key in ["source", "line", "offset", "length", "raw", "errors", "stage"] {
            assert_eq!(reject[key], same[key], "{key}");
        }
    }
    // The source is named, so its columns are found once more.
    let mended = sandbox.text("mended-replayed.ndjson").replace("Bob,200", "Bob,20");
    sandbox.write("again.ndjson", mended);
    assert_eq!(replay("again.ndjson").code, Some(0));
    assert_eq!(sandbox.json_lines("again-replayed.ndjson").len(), 2);
}

#[test]
fn json_records_of_many_lines_are_replayed() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "in.json",
        "[\n {\n  \"id\": 1\n },\n {\n  \"id\": \"x\"\n },\n {\n  \"id\": \"y\"\n }\n]\n",
    );
    sandbox.write(
        "p.yaml",
        "pipeline: p\nextract:\n  - file: in.json\n    columns: {id: int}\nload:\n  - file: out.csv\nrejects: bad.ndjson\n",
    );
    assert_eq!(sandbox.run(&["run", "p.yaml"]).code, Some(0));
    let mended = sandbox.text("bad.ndjson").replace(r#"\"x\""#, "2");
    sandbox.write("mended.ndjson", mended);
    let arguments = ["rejects", "replay", "mended.ndjson", "-P", "p.yaml", "--into", "late.csv"];
    let ran = sandbox.run(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(sandbox.text("late.csv"), "id\n2\n");
    let again = &sandbox.json_lines("mended-replayed.ndjson")[0];
    assert_eq!((again["record"].as_u64(), again["line"].as_u64()), (Some(3), Some(8)));
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
fn programs_are_told_what_went_wrong_as_json() {
    let sandbox = people();
    let told = |arguments: &[&str], code| {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "a person is told, too: {}", ran.stderr);
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()
    };
    let missing = told(&["run", "nowhere.yaml", "--json"], 2);
    assert_eq!(missing["status"], "invalid");
    assert_eq!(missing["error"]["causes"][0], "No such file or directory");

    sandbox.write("wrong.yaml", PIPELINE.replace("extract:", "extrakt:"));
    let mistakes = told(&["run", "wrong.yaml", "--json"], 2);
    assert_eq!(mistakes["status"], "invalid");
    let at_key = mistakes["mistakes"].as_array().unwrap().iter().find(|one| one["line"] == 2);
    assert!(at_key.unwrap()["message"].as_str().unwrap().contains("extrakt"), "{mistakes}");

    sandbox.write("gone.yaml", PIPELINE.replace("people.csv", "gone.csv"));
    let failed = told(&["run", "gone.yaml", "--json"], 1);
    assert_eq!((&failed["status"], &failed["read"]), (&"failed".into(), &0.into()));
    assert_eq!(failed["error"]["message"], "cannot read `gone.csv`");
    assert_eq!(told(&["check", "gone.yaml", "--json"], 1)["status"], "failed");

    let both = told(&["convert", "people.csv", "-", "--to", "csv", "--json"], 2);
    assert_eq!(both["status"], "invalid");
}

#[test]
fn a_reader_that_goes_away_is_no_news() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", "a,b\n".to_owned() + &"1,some text\n".repeat(40_000));
    for arguments in [&["convert", "in.csv", "-", "--to=csv"][..], &["schema"]] {
        let mut child = sandbox
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn without_arguments_there_is_help() {
    let ran = Sandbox::new().run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("Usage: gristmill") && ran.stderr.contains("convert"));
    assert_eq!(ran.stdout, "");
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

#[test]
fn a_stopped_run_claims_nothing_that_it_did_not_publish() {
    let sandbox = people();
    let limited = PIPELINE.to_owned() + "report: report.json\nlimits: {rejected_ratio: 0.1}\n";
    sandbox.write("people.yaml", limited.replace("load:", "load:\n  - file: people.parquet"));
    let ran = sandbox.run(&["run", "people.yaml"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(!sandbox.path().join("people.parquet").exists());
    let report = sandbox.json("report.json");
    assert_eq!((&report["read"], &report["rejected"]), (&5.into(), &4.into()));
    assert_eq!(report["account"]["inserted"], 0);
    for destination in report["destinations"].as_array().unwrap() {
        assert_eq!(destination["published"], false);
        assert_eq!(
            (&destination["account"]["inserted"], &destination["bytes"]),
            (&0.into(), &0.into())
        );
        assert!(destination.get("files").is_none(), "{destination}");
    }
}
