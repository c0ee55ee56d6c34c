//! A run with a cursor that dies while it publishes, and the run after it: each record once.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use gristmill_tests::{Ran, Sandbox};
use rusqlite::Connection;

const PIPELINE: &str = r"pipeline: orders
extract:
  - {table: orders, database: 'sqlite://shop.db', cursor: {column: id}}
load:
  - {table: orders, database: '${DATABASE}'}
report: report.json
";

fn shop(sandbox: &Sandbox, ids: std::ops::Range<i64>) {
    let shop = Connection::open(sandbox.path().join("shop.db")).unwrap();
    shop.execute_batch("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)").unwrap();
    for id in ids {
        shop.execute("INSERT INTO orders VALUES (?1)", [id]).unwrap();
    }
}

fn to(database: &str) -> [String; 4] {
    ["run", "pipeline.yaml", "--param", &format!("DATABASE={database}")].map(str::to_owned)
}

fn run(sandbox: &Sandbox, database: &str) -> Ran {
    let arguments = to(database);
    sandbox.run(&arguments.each_ref().map(String::as_str))
}

/// When the process is to end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    BeforeCommit,
    AfterCommit,
}

/// Stands between a run and its server until it is to commit, and says when that has, or has not,
/// happened; the run never hears of it.
fn proxy(url: &str, end: End, ended: Sender<()>) -> String {
    let (start, rest) = url.split_once('@').unwrap();
    let (place, database) = rest.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let place = place.to_owned();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(&place).unwrap();
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = client.read(&mut buffer).unwrap();
            if buffer[..n].windows(7).any(|bytes| bytes == b"COMMIT\0") {
                client.shutdown(Shutdown::Write).unwrap();
                if end == End::AfterCommit {
                    server.write_all(&buffer[..n]).unwrap();
                }
                // The server is at its end when it has read all that there is.
                server.shutdown(Shutdown::Write).unwrap();
                thread::sleep(Duration::from_millis(300));
                ended.send(()).unwrap();
                thread::sleep(Duration::from_secs(5));
                return;
            }
            server.write_all(&buffer[..n]).unwrap();
        }
    });
    format!("{start}@{here}/{database}?sslmode=disable")
}

#[test]
fn a_run_that_is_killed_at_its_commit_is_continued() {
    let Some(database) = gristmill_scratch::postgres() else { return };
    for end in [End::AfterCommit, End::BeforeCommit] {
        database.run("DROP TABLE IF EXISTS orders, gristmill_loads");
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", PIPELINE);
        shop(&sandbox, 1..10);
        let (sender, ended) = channel();
        let url = proxy(database.url(), end, sender);
        let arguments = to(&url);
        // A run that hears nothing would ask again over a new connection: nothing is there.
        let mut child = sandbox
            .command(&arguments.each_ref().map(String::as_str))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let rows = || database.texts("SELECT count(*), count(DISTINCT id) FROM orders").remove(0);
        shop(&sandbox, 10..12);
        let ran = run(&sandbox, database.url());
        assert_eq!(ran.code, Some(0), "{end:?}: {}", ran.stderr);
        let read = sandbox.json("report.json")["read"].as_u64();
        assert_eq!(read, Some(if end == End::AfterCommit { 2 } else { 11 }), "{end:?}");
        assert_eq!(rows(), [Some("11".to_owned()), Some("11".to_owned())], "{end:?}");
        let ran = run(&sandbox, database.url());
        assert_eq!((ran.code, sandbox.json("report.json")["read"].as_u64()), (Some(0), Some(0)));
    }
}

/// Makes the ledger look as if the process of the last run had died before it said how it ended, and
/// answers that run.
fn as_if_it_died(sandbox: &Sandbox) -> String {
    let ledger = Connection::open(sandbox.path().join(".gristmill/ledger.db")).unwrap();
    ledger
        .execute_batch(
            "CREATE TEMP TABLE last AS SELECT id FROM runs ORDER BY started DESC LIMIT 1;
             INSERT INTO pending SELECT run, name, value FROM bookmarks WHERE run IN last;
             DELETE FROM bookmarks WHERE run IN last;
             UPDATE runs SET status = 'running', ended = NULL, process = 'gone' WHERE id IN last;",
        )
        .unwrap();
    ledger.query_row("SELECT id FROM last", [], |row| row.get(0)).unwrap()
}

#[test]
fn the_destination_says_whether_a_dead_run_published() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    shop(&sandbox, 1..4);
    let good = "sqlite://warehouse.db";
    assert_eq!(run(&sandbox, good).code, Some(0));
    as_if_it_died(&sandbox);
    shop(&sandbox, 4..6);
    // A plan finds out as well, and leaves it to the run to say so.
    for _ in 0..2 {
        let plan =
            sandbox.run(&["plan", "pipeline.yaml", "--param", "DATABASE=sqlite://warehouse.db"]);
        assert_eq!(plan.code, Some(0), "{}", plan.stderr);
        let shown = plan.stdout + &plan.stderr;
        assert!(shown.contains("would load                 2"), "{shown}");
    }
    assert_eq!(run(&sandbox, good).code, Some(0));
    assert_eq!(sandbox.json("report.json")["read"], 2);
    let runs = sandbox.run(&["runs"]).stdout;
    assert_eq!(runs.matches("published").count(), 2, "{runs}");
    // What a run did not commit is read again.
    let dead = as_if_it_died(&sandbox);
    let warehouse = Connection::open(sandbox.path().join("warehouse.db")).unwrap();
    warehouse.execute("DELETE FROM orders WHERE id > 3", []).unwrap();
    warehouse.execute("DELETE FROM gristmill_loads WHERE run = ?1", [&dead]).unwrap();
    assert_eq!(run(&sandbox, good).code, Some(0));
    assert_eq!(sandbox.json("report.json")["read"], 2);
    let rows: i64 =
        warehouse.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 5);
}

#[test]
fn what_one_destination_has_and_another_lacks_is_read_again_and_said() {
    let sandbox = Sandbox::new();
    let two = "  - {table: orders, database: '${DATABASE}', mode: upsert, keys: [id]}
  - {table: orders, database: 'sqlite://other.db', mode: upsert, keys: [id]}";
    let one = "  - {table: orders, database: '${DATABASE}'}";
    sandbox.write("pipeline.yaml", PIPELINE.replace(one, two));
    shop(&sandbox, 1..4);
    let first = "sqlite://warehouse.db";
    assert_eq!(run(&sandbox, first).code, Some(0));
    let dead = as_if_it_died(&sandbox);
    let other = Connection::open(sandbox.path().join("other.db")).unwrap();
    other.execute_batch("DELETE FROM orders; DELETE FROM gristmill_loads").unwrap();
    let ran = run(&sandbox, first);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = sandbox.json("report.json");
    assert_eq!(report["read"], 3);
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.starts_with(&format!("run {dead} ended when destination 1 had")), "{note}");
    for database in ["warehouse.db", "other.db"] {
        let database = Connection::open(sandbox.path().join(database)).unwrap();
        let rows: i64 =
            database.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 3);
    }
}
