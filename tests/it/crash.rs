//! Killed at any point: outputs are the old ones or the new ones, and a rerun is clean.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
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
    let mut versions = BTreeSet::new();
    let mut count = 0;
    for batch in &batches {
        let version = batch.column_by_name("version").unwrap();
        for row in 0..batch.num_rows() {
            versions.insert(arrow_text(version, row));
            count += 1;
        }
    }
    seen.push((versions.into_iter().collect::<Vec<_>>().join("+"), count));
    let mut versions = BTreeSet::new();
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

const RECORDS: u64 = 20_000;

/// A folder whose outputs hold the old version, and whose input holds the new one.
fn about_to_change() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("crash.yaml", PIPELINE);
    sandbox.write("in.csv", input("old", RECORDS as usize));
    let ran = sandbox.run(&["run", "crash.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for (version, count) in state(&sandbox) {
        assert_eq!((version.as_str(), count), ("old", RECORDS));
    }
    sandbox.write("in.csv", input("new", RECORDS as usize));
    sandbox
}

fn spawn(sandbox: &Sandbox, pipeline: &str) -> Child {
    let mut command = sandbox.command(&["run", pipeline, "--quiet"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills the run, if it has not ended by itself, and looks at what is there.
fn kill(sandbox: &Sandbox, mut child: Child, point: &str) {
    let _ = child.kill();
    child.wait().unwrap();
    for (version, count) in state(sandbox) {
        assert!(version == "old" || version == "new", "{point}: {version}");
        assert_eq!(count, RECORDS, "{point}");
    }
}

/// Runs once more, to the end, and finds nothing of the dead runs.
fn rerun(sandbox: &Sandbox) {
    let ran = sandbox.run(&["run", "crash.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for (version, count) in state(sandbox) {
        assert_eq!((version.as_str(), count), ("new", RECORDS));
    }
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let mut left = names(&sandbox.path().join("out"));
    left.retain(|name| name.contains("gristmill") || name.ends_with(".tmp"));
    left.extend(names(sandbox.temporary()));
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Waits until something is so, or the run has ended by itself.
fn wait_until(child: &mut Child, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(120), "the run hangs");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Files that runs write their rejects to before they show them. A run that was killed leaves one.
fn hidden_rejects(sandbox: &Sandbox) -> BTreeSet<OsString> {
    let names = fs::read_dir(sandbox.path().join("out")).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".rejects.ndjson.gristmill-")).collect()
}

/// Waits until a run has begun its rejects file.
fn wait_until_begun(sandbox: &Sandbox, child: &mut Child, before: &BTreeSet<OsString>) {
    wait_until(child, || !hidden_rejects(sandbox).is_subset(before));
    assert!(child.try_wait().unwrap().is_none(), "its input is open, so it cannot have ended");
}

#[test]
fn killed_while_it_reads_leaves_the_old_state() {
    let sandbox = about_to_change();
    sandbox.write("pipe.yaml", PIPELINE.replace("in.csv", "'-'\n    format: csv"));
    let text = input("new", RECORDS as usize);
    for share in [0, 1, 2, 3] {
        let before = hidden_rejects(&sandbox);
        let mut child = spawn(&sandbox, "pipe.yaml");
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, &text.as_bytes()[..text.len() / 4 * share]).unwrap();
        wait_until_begun(&sandbox, &mut child, &before);
        kill(&sandbox, child, "reading");
        drop(stdin);
        assert!(state(&sandbox).iter().all(|(version, _)| version == "old"));
    }
    rerun(&sandbox);
    let runs = sandbox.run(&["runs"]);
    assert_eq!(runs.stdout.matches("died").count(), 4, "{}", runs.stdout);
}

#[test]
fn killed_while_it_publishes_leaves_old_or_new() {
    let sandbox = about_to_change();
    let rejects = sandbox.path().join("out/rejects.ndjson");
    let inode = || fs::metadata(&rejects).map(|metadata| metadata.ino()).ok();
    for point in 0..12u32 {
        let before = inode();
        let mut child = spawn(&sandbox, "crash.yaml");
        // The rejects file is renamed into place before the first destination is published.
        wait_until(&mut child, || inode() != before);
        std::thread::sleep(Duration::from_micros(u64::from(point) * 700));
        kill(&sandbox, child, &format!("publishing, point {point}"));
    }
    rerun(&sandbox);
}

#[test]
fn killed_while_it_appends_files_leaves_each_record_once() {
    const PARTS: usize = 60;
    for point in 0..6u32 {
        let sandbox = Sandbox::new();
        sandbox.write(
            "append.yaml",
            "pipeline: append\nextract:\n  - {file: 'in/*.csv', read: new_or_changed}\n\
             load:\n  - {file: out/many, format: csv, partition_by: [part], mode: append}\n",
        );
        let drop_in = |version: usize| {
            let lines: String =
                (0..PARTS).map(|part| format!("{},{part}\n", version * PARTS + part)).collect();
            sandbox.write(&format!("in/{version}.csv"), format!("id,part\n{lines}"));
        };
        let files = || {
            let files = sandbox.files().into_iter();
            files.filter(|file| file.starts_with("out/many/")).collect::<Vec<_>>()
        };
        drop_in(0);
        assert_eq!(sandbox.run(&["run", "append.yaml"]).code, Some(0));
        drop_in(1);
        let mut child = spawn(&sandbox, "append.yaml");
        wait_until(&mut child, || files().len() > PARTS);
        std::thread::sleep(Duration::from_micros(u64::from(point) * 200));
        let _ = child.kill();
        child.wait().unwrap();
        drop_in(2);
        let ran = sandbox.run(&["run", "append.yaml"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let mut ids: Vec<usize> = Vec::new();
        for file in files() {
            ids.extend(sandbox.text(&file).lines().skip(1).map(|id| id.parse::<usize>().unwrap()));
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..3 * PARTS).collect::<Vec<_>>(), "point {point}");
        assert_eq!(fs::read_dir(sandbox.path().join("out")).unwrap().count(), 1);
    }
}

#[test]
fn killed_while_it_stages_leaves_no_file_for_good() {
    let sandbox = about_to_change();
    let named = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for _ in 0..4 {
        let mut child = spawn(&sandbox, "crash.yaml");
        // SQLite opens what was staged by a name, which it has for a moment only.
        wait_until(&mut child, || {
            let scratch = named(sandbox.temporary());
            let inside = scratch.iter().flat_map(|folder| named(folder));
            inside
                .chain(scratch.iter().cloned())
                .any(|path| path.extension().is_some_and(|end| end == "stage"))
        });
        kill(&sandbox, child, "staging");
    }
    rerun(&sandbox);
}

#[test]
fn killed_at_any_time_leaves_old_or_new() {
    let sandbox = about_to_change();
    let started = Instant::now();
    let copy = Sandbox::new();
    copy.write("crash.yaml", PIPELINE);
    copy.write("in.csv", input("new", RECORDS as usize));
    assert_eq!(copy.run(&["run", "crash.yaml"]).code, Some(0));
    let whole = started.elapsed();
    for point in 0..12u32 {
        let child = spawn(&sandbox, "crash.yaml");
        std::thread::sleep(whole.mul_f64(f64::from(point) / 11.0));
        kill(&sandbox, child, &format!("point {point}"));
    }
    rerun(&sandbox);
}

#[test]
fn interrupted_publishes_nothing() {
    for signal in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        sandbox.write("crash.yaml", PIPELINE.replace("in.csv", "'-'\n    format: csv"));
        let mut child = spawn(&sandbox, "crash.yaml");
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input("new", 1000).as_bytes()).unwrap();
        wait_until_begun(&sandbox, &mut child, &BTreeSet::new());
        let pid = child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(status.success());
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let outputs = sandbox.files();
        assert!(
            !outputs.iter().any(|name| name.contains("one.parquet") || name.contains("many")),
            "{outputs:?}"
        );
        let runs = sandbox.run(&["runs"]);
        assert!(runs.stdout.contains("interrupted"), "{}", runs.stdout);
    }
}

#[test]
fn a_run_that_waits_for_its_input_can_be_interrupted() {
    let sandbox = Sandbox::new();
    sandbox.write("crash.yaml", PIPELINE.replace("in.csv", "'-'\n    format: csv"));
    let mut child = spawn(&sandbox, "crash.yaml");
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, input("new", 1000).as_bytes()).unwrap();
    wait_until_begun(&sandbox, &mut child, &BTreeSet::new());
    let status =
        Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(130)); // its input is still open
    drop(stdin);
    let outputs = sandbox.files();
    let shown = outputs.iter().any(|name| name.contains("one.parquet") || name.contains("many/"));
    assert!(!shown, "{outputs:?}");
}
