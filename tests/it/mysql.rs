//! The binary on a MariaDB server: killed and cut off.

use std::fmt::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use gristmill_scratch::MySql;
use gristmill_tests::Sandbox;

const PIPELINE: &str = r"pipeline: people
extract:
  - file: in.csv
    columns: {id: int, age: int}
load:
  - {table: people, database: '${DATABASE}', mode: '${MODE}', keys: [id]}
rejects: rejects.ndjson
retry: {attempts: 2, backoff: 10ms}
";

const RECORDS: u64 = 20_000;

fn input(age: u32) -> String {
    let mut text = "id,name,age\n".to_owned();
    for id in 0..RECORDS {
        let _ = writeln!(text, "{id},name {id},{age}");
    }
    text
}

fn arguments(database: &MySql, mode: &str) -> Vec<String> {
    let given = [format!("DATABASE={}", database.url()), format!("MODE={mode}")];
    let parameters = given.into_iter().flat_map(|given| ["--param".to_owned(), given]);
    ["run".to_owned(), "people.yaml".to_owned()].into_iter().chain(parameters).collect()
}

/// Current rows by age, and all of them.
fn state(database: &MySql, mode: &str) -> String {
    let current = if mode == "scd2" { "WHERE is_current" } else { "" };
    let sql = format!(
        "SELECT concat(group_concat(DISTINCT age), ' ', count(*), ' ', count(DISTINCT id)) \
         FROM people {current}"
    );
    database.texts(&sql).remove(0).remove(0).unwrap()
}

/// Runs that end at once, from outside, after longer and longer times.
fn ended(mode: &str, end: impl Fn(&MySql, &mut Child)) {
    let Some(database) = gristmill_scratch::mysql() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("people.yaml", PIPELINE);
    sandbox.write("in.csv", input(1));
    let arguments = arguments(&database, mode);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = sandbox.run(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (old, new) = (format!("1 {RECORDS} {RECORDS}"), format!("2 {RECORDS} {RECORDS}"));
    assert_eq!(state(&database, mode), old);
    sandbox.write("in.csv", input(2));
    let mut now = old.clone();
    for wait in [5, 60, 120, 180, 260, 400, 700] {
        let mut command = sandbox.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        end(&database, &mut child);
        child.wait().unwrap();
        let seen = state(&database, mode);
        assert!(seen == new || (seen == old && now == old), "after {wait} ms: {seen}");
        now = seen;
    }
    let ran = sandbox.run(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(state(&database, mode), new);
    let tables = "SELECT table_name FROM information_schema.tables \
                  WHERE table_schema = database() ORDER BY 1";
    let tables: Vec<String> = database.texts(tables).into_iter().flatten().flatten().collect();
    assert_eq!(tables, ["gristmill_loads", "people"]);
}

#[test]
fn a_killed_upsert_is_all_or_nothing() {
    ended("upsert", |_, child| drop(child.kill()));
}

#[test]
fn a_killed_load_of_versions_is_all_or_nothing() {
    ended("scd2", |_, child| drop(child.kill()));
}

#[test]
fn an_upsert_whose_connection_ends_is_all_or_nothing() {
    ended("upsert", |database, _| database.disconnect());
}
