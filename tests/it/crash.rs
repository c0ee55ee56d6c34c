//! Killed at any point: outputs are the old ones or the new ones, and a rerun is clean.

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use gristmill_tests::Sandbox;
use rusqlite::Connection;

const PIPELINE: &str = r"pipeline: crash
extract:
  - file: in.csv
    columns: {id: int}
load:
  - file: out/one.parquet
  - file: out/many
    format: csv
    partition_by: [part]
  - {table: t, database: 'sqlite://out/t.db', mode: replace}
rejects: out/rejects.ndjson
";

fn input(version: &str, records: usize) -> String {
    let mut text = String::from("id,part,version\n");
    for id in 0..records {
        let _ = writeln!(text, "{id},p{},{version}", id % 5);
    }
    text + "broken\n"
}

/// The version that each output shows, and how many records it has.
fn state(sandbox: &Sandbox) -> Vec<(String, u64)> {
    let mut seen = Vec::new();
    let batches = crate::examples::parquet(sandbox, "out/one.parquet");
    let mut versions = std::collections::BTreeSet::new();
    let mut count = 0;
    for batch in &batches {
        let version = batch.column_by_name("version").unwrap();
        for row in 0..batch.num_rows() {
            versions.insert(arrow_text(version, row));
            count += 1;
        }
    }
    seen.push((versions.into_iter().collect::<Vec<_>>().join("+"), count));
    let mut versions = std::collections::BTreeSet::new();
    let mut count = 0;
    for file in sandbox.files().iter().filter(|file| file.starts_with("out/many/")) {
        for line in sandbox.text(file).lines().skip(1) {
            versions.insert(line.rsplit(',').next().unwrap().to_owned());
            count += 1;
        }
    }
    seen.push((versions.into_iter().collect::<Vec<_>>().join("+"), count));
    let database = Connection::open(sandbox.path().join("out/t.db")).unwrap();
    let row = database.query_row(
        "select coalesce(group_concat(distinct version), ''), count(*) from t",
        [],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.unsigned_abs())),
    );
    seen.push(row.unwrap());
    seen
}

fn arrow_text(array: &arrow_array::ArrayRef, row: usize) -> String {
    use arrow_array::cast::AsArray;
    match array.data_type().to_string().as_str() {
        "Utf8View" => array.as_string_view().value(row).to_owned(),
        _ => array.as_string::<i32>().value(row).to_owned(),
    }
}

#[test]
fn killed_at_many_points_leaves_old_or_new() {
    let sandbox = Sandbox::new();
    sandbox.write("crash.yaml", PIPELINE);
    sandbox.write("in.csv", input("old", 60_000));
    let ran = sandbox.run(&["run", "crash.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let old = state(&sandbox);
    assert!(old.iter().all(|(version, count)| version == "old" && *count == 60_000), "{old:?}");

    sandbox.write("in.csv", input("new", 60_000));
    let started = Instant::now();
    let copy = Sandbox::new();
    copy.write("crash.yaml", PIPELINE);
    copy.write("in.csv", input("new", 60_000));
    assert_eq!(copy.run(&["run", "crash.yaml"]).code, Some(0));
    let whole = started.elapsed();

    let mut killed = 0;
    for point in 0..14u32 {
        let mut child = sandbox
            .command(&["run", "crash.yaml", "--quiet"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(point) / 12.0).max(Duration::from_millis(1)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        for (version, count) in state(&sandbox) {
            assert!(version == "old" || version == "new", "point {point}: {version}");
            assert_eq!(count, 60_000, "point {point}");
        }
    }
    assert!(killed >= 4, "only {killed} runs were killed before they ended");

    let ran = sandbox.run(&["run", "crash.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(state(&sandbox).iter().all(|(version, _)| version == "new"));
    let left: Vec<_> = std::fs::read_dir(sandbox.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("gristmill") || name.ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let runs = sandbox.run(&["runs", "--limit", "100"]);
    assert_eq!(runs.stdout.matches("died").count(), killed as usize, "{}", runs.stdout);
}

#[test]
fn interrupted_publishes_nothing() {
    for signal in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        sandbox.write("crash.yaml", PIPELINE);
        // Standard input stays open, so the run waits in the middle of its source.
        sandbox.write("crash.yaml", PIPELINE.replace("in.csv", "'-'\n    format: csv"));
        let mut child = sandbox
            .command(&["run", "crash.yaml"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input("new", 1000).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        let status = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let outputs: Vec<_> = sandbox.files();
        assert!(
            !outputs.iter().any(|name| name.contains("one.parquet") || name.contains("many")),
            "{outputs:?}"
        );
    }
}
