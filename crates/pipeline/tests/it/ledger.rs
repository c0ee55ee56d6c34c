//! The ledger: what is written down is read again, and damage is said clearly.

use std::fs;
use std::process::{Command, Stdio};

use chrono::{TimeZone, Utc};
use gristmill_core::{Account, ErrorKind};
use gristmill_pipeline::ledger::{FILE, Ledger, NewRun, Outcome, Status, run_id};

fn run(pipeline: &str, minute: u32) -> NewRun {
    let started = Utc.with_ymd_and_hms(2024, 1, 31, 23, minute, 0).unwrap();
    NewRun { id: run_id(started), pipeline: pipeline.into(), path: None, started }
}

#[test]
fn ids_sort_by_time_and_are_file_names() {
    let ids: Vec<_> = (0..60).map(|minute| run("p", minute).id).collect();
    assert!(ids.is_sorted());
    assert!(ids[0].starts_with("20240131T230000-"));
    assert_eq!(ids[0].len(), "20240131T230000-".len() + 6);
    assert!(ids[0].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    assert_ne!(run("p", 0).id, run("p", 0).id);
}

#[test]
fn a_run_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let account = Account { read: 3, inserted: 2, rejected: 1, ..Account::default() };
    let first = NewRun { path: Some("a/p.yaml".into()), ..run("p", 1) };
    {
        let ledger = Ledger::open(folder.path()).unwrap();
        ledger.start(&first).unwrap();
        assert_eq!(ledger.run(&first.id).unwrap().status, Status::Running); // this process lives
        let outcome = Outcome {
            account: Some(account),
            report: Some(serde_json::json!({"took": 1.5})),
            error: Some("no".into()),
            ..Outcome::new(Status::Stopped, 3)
        };
        ledger.finish(&first.id, &outcome).unwrap();
    }
    let ledger = Ledger::open(folder.path()).unwrap();
    let read = ledger.run(&first.id).unwrap();
    assert_eq!((read.status, read.exit_code), (Status::Stopped, Some(3)));
    assert_eq!((read.started, read.path), (first.started, first.path));
    assert_eq!(read.account, Some(account));
    assert_eq!(read.report, Some(serde_json::json!({"took": 1.5})));
    assert_eq!(read.error.as_deref(), Some("no"));
    assert!(read.ended.is_some());
}

#[test]
fn runs_are_listed_latest_first() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    for (pipeline, minute) in [("a", 1), ("b", 3), ("a", 2)] {
        ledger.start(&run(pipeline, minute)).unwrap();
    }
    let names = |runs: Vec<gristmill_pipeline::ledger::Run>| -> String {
        runs.into_iter().map(|run| run.pipeline).collect()
    };
    assert_eq!(names(ledger.runs(None, 10).unwrap()), "baa");
    assert_eq!(names(ledger.runs(None, 1).unwrap()), "b");
    assert_eq!(names(ledger.runs(Some("a"), 10).unwrap()), "aa");
    assert_eq!(names(ledger.runs(Some("c"), 10).unwrap()), "");
}

#[test]
fn part_of_an_id_is_enough_where_it_is_clear() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    let empty = ledger.run("x").unwrap_err();
    assert_eq!(empty.hint_text(), Some("no pipeline has run here yet"));
    let (a, b) = (run("a", 1), run("b", 2));
    ledger.start(&a).unwrap();
    ledger.start(&b).unwrap();
    assert_eq!(ledger.run("20240131T2301").unwrap().pipeline, "a");
    assert_eq!(ledger.run(&b.id[16..]).unwrap().pipeline, "b");
    let several = ledger.run("2024").unwrap_err();
    assert_eq!(several.to_string(), "2 runs fit `2024`");
    assert!(several.hint_text().unwrap().contains(&a.id));
    let typo = a.id.replace("T2301", "T2310");
    let unknown = ledger.run(&typo).unwrap_err();
    assert_eq!(unknown.hint_text(), Some(format!("did you mean `{}`?", a.id).as_str()));
}

/// Run by `a_run_whose_process_is_gone_has_died` in a process of its own: starts a run and waits.
#[test]
#[ignore = "started by another test"]
fn start_a_run_and_wait() {
    let Some(folder) = std::env::var_os("GRISTMILL_TEST_LEDGER") else { return };
    let ledger = Ledger::open(folder.as_ref()).unwrap();
    ledger.start(&run("killed", 5)).unwrap();
    println!("started");
    std::thread::park();
}

#[test]
fn a_run_whose_process_is_gone_has_died() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::start_a_run_and_wait", "--ignored", "--nocapture"])
        .env("GRISTMILL_TEST_LEDGER", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("started")));
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.runs(None, 1).unwrap()[0].status, Status::Running);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ledger.runs(None, 1).unwrap()[0].status, Status::Died);
}

#[test]
fn looking_for_a_ledger_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join(".gristmill");
    assert!(Ledger::open_existing(&inside).unwrap().is_none());
    assert!(!inside.exists());
    drop(Ledger::open(&inside).unwrap());
    assert!(Ledger::open_existing(&inside).unwrap().is_some());
}

#[test]
fn a_damaged_ledger_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), "this is no database, as anyone can see".repeat(100))
        .unwrap();
    let error = Ledger::open(folder.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.hint_text().unwrap().contains("move it away"));
}

#[test]
fn a_ledger_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Ledger::open(folder.path()).unwrap());
    let connection = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = Ledger::open(folder.path()).err().unwrap();
    assert!(error.to_string().contains("version 99"));
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file").unwrap();
    let error = Ledger::open(&taken.join("inside")).err().unwrap();
    assert!(error.hint_text().unwrap().contains("--state DIR"));
    // The file itself cannot be opened: it is a folder.
    fs::create_dir(folder.path().join(FILE)).unwrap();
    let error = Ledger::open(folder.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.hint_text().unwrap().contains("--state DIR"));
}

#[test]
fn many_processes_may_make_the_ledger_at_once() {
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    together.wait();
                    Ledger::open(folder.path()).unwrap();
                });
            }
        });
    }
}

#[test]
fn many_processes_may_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let ledger = Ledger::open(folder.path()).unwrap();
                for _ in 0..10 {
                    let run = NewRun::of("p");
                    ledger.start(&run).unwrap();
                    ledger.finish(&run.id, &Outcome::new(Status::Published, 0)).unwrap();
                }
            });
        }
    });
    let runs = Ledger::open(folder.path()).unwrap().runs(None, 1000).unwrap();
    assert_eq!(runs.len(), 80);
    assert!(runs.iter().all(|run| run.status == Status::Published));
}
