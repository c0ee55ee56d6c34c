//! The binary on a PostgreSQL server: killed and cut off.

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use gristmill_scratch::Postgres;
use gristmill_tests::Sandbox;

const PIPELINE: &str = r"pipeline: people
extract:
  - file: in.csv
    columns: {id: int, age: int}
steps:
  - validate: {rules: {age: {min: 0}}}
load:
  - {table: people, database: '${DATABASE}', mode: '${MODE}', keys: [id]}
rejects: rejects.ndjson
report: report.json
retry: {attempts: 2, backoff: 10ms}
";

const RECORDS: u64 = 60_000;

fn input(age: u32) -> String {
    let mut text = "id,name,age\n".to_owned();
    for id in 0..RECORDS {
        let _ = writeln!(text, "{id},name {id},{age}");
    }
    text + "x,nobody,1\n"
}

fn arguments(database: &Postgres, mode: &str) -> Vec<String> {
    let given = [format!("DATABASE={}", database.url()), format!("MODE={mode}")];
    let parameters = given.into_iter().flat_map(|given| ["--param".to_owned(), given]);
    ["run".to_owned(), "people.yaml".to_owned()].into_iter().chain(parameters).collect()
}

fn run(sandbox: &Sandbox, database: &Postgres, mode: &str) -> gristmill_tests::Ran {
    let arguments = arguments(database, mode);
    sandbox.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Current rows by age, and all rows.
fn state(database: &Postgres) -> String {
    let sql = "SELECT string_agg(DISTINCT age::text, '+'), count(*), count(DISTINCT id) FROM people \
               WHERE to_jsonb(people) ->> 'is_current' IS DISTINCT FROM 'false'";
    let row = database.texts(sql).remove(0);
    row.into_iter().map(|value| value.unwrap_or_default()).collect::<Vec<_>>().join(" ")
}

/// Runs that end at once, from outside, after longer and longer times.
fn ended(mode: &str, end: impl Fn(&Postgres, &mut std::process::Child)) {
    let Some(database) = gristmill_scratch::postgres() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("people.yaml", PIPELINE);
    sandbox.write("in.csv", input(1));
    let ran = run(&sandbox, &database, mode);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (old, new) = (format!("1 {RECORDS} {RECORDS}"), format!("2 {RECORDS} {RECORDS}"));
    assert_eq!(state(&database), old);
    sandbox.write("in.csv", input(2));
    let arguments = arguments(&database, mode);
    let mut now = old.clone();
    for wait in [5, 40, 80, 120, 180, 260, 400, 700] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = sandbox.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        end(&database, &mut child);
        child.wait().unwrap();
        let seen = state(&database);
        assert!(seen == new || (seen == old && now == old), "after {wait} ms: {seen}");
        now = seen;
    }
    let ran = run(&sandbox, &database, mode);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(state(&database), new);
}

fn kill(_: &Postgres, child: &mut std::process::Child) {
    let _ = child.kill();
}

fn cut_off(database: &Postgres, _: &mut std::process::Child) {
    database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid()",
    );
}

#[test]
fn a_killed_upsert_is_all_or_nothing() {
    ended("upsert", kill);
}

#[test]
fn a_killed_load_of_versions_is_all_or_nothing() {
    ended("scd2", kill);
}

#[test]
fn an_upsert_whose_connection_ends_is_all_or_nothing() {
    ended("upsert", cut_off);
}
