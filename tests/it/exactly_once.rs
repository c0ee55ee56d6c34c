//! A run with a cursor that dies while it publishes, and the run after it: each record once.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
/// happened; the run never hears of it, nor of anything else from then on.
fn proxy(url: &str, end: End, ended: Sender<()>) -> String {
    let (start, rest) = url.split_once('@').unwrap();
    let (place, database) = rest.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let place = place.to_owned();
    let is_over = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&place).unwrap());
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            let (is_over, ended) = (Arc::clone(&is_over), ended.clone());
            thread::spawn(move || pass_on(client, server, end, &is_over, &ended));
        }
    });
    format!("{start}@{here}/{database}?sslmode=disable")
}

fn pass_on(
    mut client: TcpStream,
    mut server: TcpStream,
    end: End,
    is_over: &AtomicBool,
    ended: &Sender<()>,
) {
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut buffer = vec![0; 64 << 10];
    while let Some(n) = client.read(&mut buffer).ok().filter(|n| *n > 0) {
        if buffer[..n].windows(7).any(|bytes| bytes == b"COMMIT\0") {
            is_over.store(true, Ordering::SeqCst);
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
    let _ = server.shutdown(Shutdown::Both); // it is the end of the run's connection
}

/// Starts a run and kills it when its server is to commit, or has committed.
fn kill(sandbox: &Sandbox, database: &str, end: End) {
    let (sender, ended) = channel();
    let arguments = to(&proxy(database, end, sender));
    let mut child = sandbox
        .command(&arguments.each_ref().map(String::as_str))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    ended.recv_timeout(Duration::from_secs(60)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_at_its_commit_is_continued() {
    let Some(database) = gristmill_scratch::postgres() else { return };
    for end in [End::AfterCommit, End::BeforeCommit] {
        database.run("DROP TABLE IF EXISTS orders, gristmill_loads");
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", PIPELINE);
        shop(&sandbox, 1..10);
        kill(&sandbox, database.url(), end);
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
             UPDATE runs SET status = 'running', ended = NULL, process = 'gone', publishing = 1
             WHERE id IN last;",
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

const FILES: &str = "  - {file: 'in/*.csv', read: new_or_changed, columns: {id: int}}";
const TABLE: &str = "  - {table: orders, database: 'sqlite://shop.db', cursor: {column: id}}";
const SERVER: &str = "  - {table: orders, database: '${DATABASE}'}";
const EMBEDDED: &str = "  - {table: orders, database: 'sqlite://warehouse.db'}";

/// New records at the source.
fn add(sandbox: &Sandbox, source: &str, ids: std::ops::Range<i64>) {
    if source == TABLE {
        return shop(sandbox, ids);
    }
    let lines: String = ids.clone().map(|id| format!("{id}\n")).collect();
    sandbox.write(&format!("in/{:03}.csv", ids.start), format!("id\n{lines}"));
}

fn ids(sandbox: &Sandbox, database: &str) -> Vec<i64> {
    let database = Connection::open(sandbox.path().join(database)).unwrap();
    let mut statement = database.prepare("SELECT id FROM orders ORDER BY id").unwrap();
    let ids = statement.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

/// A run that dies between the commits of two databases, which both append: each has each record
/// once, whatever died while it made up for it, and whatever came since.
#[test]
fn a_run_that_is_killed_between_two_commits_is_completed() {
    let Some(server) = gristmill_scratch::postgres() else { return };
    for source in [TABLE, FILES] {
        for (load, deaths) in [
            // SQLite has it, the server not; then what makes up for it dies as well.
            ([EMBEDDED, SERVER], &[End::BeforeCommit, End::BeforeCommit][..]),
            // The server has it, SQLite not.
            ([SERVER, EMBEDDED], &[End::AfterCommit]),
        ] {
            server.run("DROP TABLE IF EXISTS orders, gristmill_loads");
            let sandbox = Sandbox::new();
            let pipeline = PIPELINE.replace(TABLE, source).replace(SERVER, &load.join("\n"));
            sandbox.write("pipeline.yaml", pipeline);
            let mut next = 1..10;
            for end in deaths {
                add(&sandbox, source, next.clone());
                kill(&sandbox, server.url(), *end);
                next = next.end..next.end + 3;
            }
            add(&sandbox, source, next.clone());
            let ran = run(&sandbox, server.url());
            assert_eq!(ran.code, Some(0), "{source} {load:?} {deaths:?}: {}", ran.stderr);
            let all: Vec<i64> = (1..next.end).collect();
            assert_eq!(ids(&sandbox, "warehouse.db"), all, "{source} {load:?} {deaths:?}");
            let there = server.texts("SELECT id FROM orders ORDER BY id").into_iter().flatten();
            let there: Vec<i64> = there.map(|id| id.unwrap().parse().unwrap()).collect();
            assert_eq!(there, all, "{source} {load:?} {deaths:?}");
            let ran = run(&sandbox, server.url());
            let read = sandbox.json("report.json")["read"].as_u64();
            assert_eq!((ran.code, read), (Some(0), Some(0)), "{}", ran.stderr);
            let runs = sandbox.run(&["runs"]).stdout;
            assert_eq!(runs.matches("published").count(), 3, "{runs}");
        }
    }
}

/// As if a run had died between the commits of `warehouse.db` and `other.db`; answers that run.
fn half_published(sandbox: &Sandbox, source: &str) -> String {
    half_published_to(sandbox, source, "sqlite://other.db", || {
        let other = Connection::open(sandbox.path().join("other.db")).unwrap();
        other.execute_batch("DELETE FROM orders; DELETE FROM gristmill_loads").unwrap();
    })
}

/// The same with another database, and what takes a run back in it.
fn half_published_to(sandbox: &Sandbox, source: &str, url: &str, undo: impl Fn()) -> String {
    let other = format!("  - {{table: orders, database: '{url}'}}");
    let pipeline = PIPELINE.replace(TABLE, source).replace(SERVER, &[EMBEDDED, &other].join("\n"));
    sandbox.write("pipeline.yaml", pipeline);
    add(sandbox, source, 1..4);
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    undo();
    as_if_it_died(sandbox)
}

/// Two processes find a run that died between two commits, at the same time: one of them completes
/// it, or each in turn, and the other may be refused.
#[test]
fn a_dead_run_is_completed_once_by_two_at_once() {
    let server = gristmill_scratch::postgres();
    for (round, source) in [TABLE, FILES, TABLE, FILES].into_iter().enumerate() {
        for own_ledger in [false, true] {
            let sandbox = Sandbox::new();
            let server = server.as_ref().filter(|_| round < 2);
            let dead = match server {
                None => half_published(&sandbox, source),
                Some(server) => {
                    server.run("DROP TABLE IF EXISTS orders, gristmill_loads");
                    half_published_to(&sandbox, source, server.url(), || {
                        server.run("DELETE FROM orders; DELETE FROM gristmill_loads");
                    })
                }
            };
            let mut last = 3;
            let mut states = ["here", "here"];
            let ledger = sandbox.bytes(".gristmill/ledger.db");
            sandbox.write("here/ledger.db", &ledger);
            if own_ledger {
                // As of a pipeline that runs from two folders: what is new would be read by both.
                sandbox.write("there/ledger.db", ledger);
                states[1] = "there";
            } else {
                add(&sandbox, source, 4..6);
                last = 5;
            }
            let runs = states.map(|state| {
                let arguments = ["run", "pipeline.yaml", "--state", state];
                let mut command = sandbox.command(&arguments);
                command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            });
            let ended = runs.map(|run| run.wait_with_output().unwrap());
            let said =
                ended.each_ref().map(|run| String::from_utf8_lossy(&run.stderr).into_owned());
            let codes = ended.each_ref().map(|run| run.status.code());
            assert!(codes.contains(&Some(0)), "{codes:?} {said:?}");
            assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?} {said:?}");
            for state in states {
                let ran = sandbox.run(&["run", "pipeline.yaml", "--state", state]);
                assert_eq!(ran.code, Some(0), "{} after {said:?}", ran.stderr);
            }
            let all: Vec<i64> = (1..=last).collect();
            assert_eq!(ids(&sandbox, "warehouse.db"), all, "{said:?}");
            let accounts = "SELECT count(*) FROM gristmill_loads WHERE run = ";
            let (there, account) = match server {
                None => {
                    let other = Connection::open(sandbox.path().join("other.db")).unwrap();
                    let sql = format!("{accounts}'{dead}'");
                    (
                        ids(&sandbox, "other.db"),
                        other.query_row(&sql, [], |row| row.get(0)).unwrap(),
                    )
                }
                Some(server) => {
                    let number = |text: Option<String>| text.unwrap().parse::<i64>().unwrap();
                    let rows = server.texts("SELECT id FROM orders ORDER BY id").into_iter();
                    let account = server.texts(&format!("{accounts}'{dead}'")).remove(0).remove(0);
                    (rows.flatten().map(number).collect(), number(account))
                }
            };
            assert_eq!((there, account), (all, 1), "{said:?}");
        }
    }
}

fn notes(sandbox: &Sandbox) -> Vec<String> {
    let report = sandbox.json("report.json");
    let notes = report["notes"].as_array().cloned().unwrap_or_default();
    notes.iter().map(|note| note.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_completed_is_said_and_planned() {
    let sandbox = Sandbox::new();
    let dead = half_published(&sandbox, TABLE);
    shop(&sandbox, 4..6);
    let ended =
        format!("run {dead} ended when destination 1 had its records and destination 2 had not");
    let plan = sandbox.run(&["plan", "pipeline.yaml"]);
    let shown = plan.stdout + &plan.stderr;
    assert!(shown.contains(&format!("{ended}: the next run completes it first")), "{shown}");
    assert!(shown.contains("would load                 2"), "{shown}");
    // So does the plan of a range, which asks nobody, and one beside another ledger.
    let plan = sandbox.run(&["plan", "pipeline.yaml", "--from", "2", "--to", "4"]);
    assert!(plan.stderr.contains("would load                 2"), "{plan:?}");
    let nothing = sandbox.run(&["plan", "pipeline.yaml", "--from", "10", "--to", "9"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    let plan = sandbox.run(&["plan", "pipeline.yaml", "--state", "elsewhere"]);
    assert!(plan.stderr.contains("would load                 5"), "{plan:?}");
    assert_eq!(sandbox.run(&["run", "pipeline.yaml"]).code, Some(0));
    let said = format!("{ended}: 3 records were read again, and it has them now");
    assert_eq!(notes(&sandbox), [said]);
    for database in ["warehouse.db", "other.db"] {
        assert_eq!(ids(&sandbox, database), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn what_is_not_there_any_more_is_not_made_up_for() {
    let sandbox = Sandbox::new();
    add(&sandbox, FILES, 7..9);
    let dead = half_published(&sandbox, FILES);
    // One file is another by now, and is read as such.
    sandbox.write("in/001.csv", "id\n1\n2\n3\n4\n");
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ids(&sandbox, "warehouse.db"), [1, 1, 2, 2, 3, 3, 4, 7, 8]);
    assert_eq!(ids(&sandbox, "other.db"), [1, 2, 3, 4, 7, 8]);
    let said = format!(
        "run {dead}: what was read of `in/001.csv` is not there any more: changed since, or gone"
    );
    assert!(notes(&sandbox).contains(&said), "{:?}", notes(&sandbox));
}

#[test]
fn a_replay_leaves_it_to_a_run_to_complete_another() {
    let sandbox = Sandbox::new();
    add(&sandbox, FILES, 1..4);
    sandbox.write("in/000.csv", "id\nx\n");
    half_published(&sandbox, FILES);
    let rejects = std::fs::read_dir(sandbox.path().join(".gristmill/rejects")).unwrap().next();
    let rejects = std::fs::read_to_string(rejects.unwrap().unwrap().path()).unwrap();
    sandbox.write("mended.ndjson", rejects.replace("\"raw\":\"x\"", "\"raw\":\"9\""));
    let replay =
        ["rejects", "replay", "mended.ndjson", "--pipeline", "pipeline.yaml", "--into", "out.csv"];
    let ran = sandbox.run(&replay);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(sandbox.text("out.csv"), "id\n9\n");
    let bookmarks = sandbox.run(&["bookmarks", "list"]).stdout;
    assert_eq!(bookmarks, "no bookmarks yet\n"); // nor does it leave one of its own
    assert_eq!(sandbox.run(&["run", "pipeline.yaml"]).code, Some(0));
    for database in ["warehouse.db", "other.db"] {
        assert_eq!(ids(&sandbox, database), [1, 2, 3]);
    }
}

#[test]
fn what_cannot_be_completed_stays_open_until_it_is_given_up() {
    let sandbox = Sandbox::new();
    let dead = half_published(&sandbox, TABLE);
    let other = Connection::open(sandbox.path().join("other.db")).unwrap();
    other
        .execute_batch("ALTER TABLE orders RENAME TO o; CREATE VIEW orders AS SELECT 1 AS id")
        .unwrap();
    for _ in 0..2 {
        let ran = sandbox.run(&["run", "pipeline.yaml"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("and could not be completed: "), "{}", ran.stderr);
        assert!(ran.stderr.contains("`gristmill bookmarks rewind` with its id"), "{}", ran.stderr);
    }
    other.execute_batch("DROP VIEW orders; ALTER TABLE o RENAME TO orders").unwrap();
    assert_eq!(sandbox.run(&["bookmarks", "rewind", &dead]).code, Some(0));
    assert_eq!(sandbox.run(&["run", "pipeline.yaml"]).code, Some(0));
    assert_eq!(ids(&sandbox, "warehouse.db"), [1, 1, 2, 2, 3, 3]);
    assert_eq!(ids(&sandbox, "other.db"), [1, 2, 3]);
}

#[test]
fn where_sources_have_no_bookmarks_doubles_are_said() {
    let sandbox = Sandbox::new();
    let source = FILES.replace("read: new_or_changed, ", "");
    let dead = half_published(&sandbox, &source);
    assert_eq!(sandbox.run(&["run", "pipeline.yaml"]).code, Some(0));
    let said = notes(&sandbox);
    assert!(said[0].starts_with(&format!("run {dead} ended when destination 1 had")), "{said:?}");
    assert!(said[0].contains("what is read again is there twice"), "{said:?}");
    assert_eq!(ids(&sandbox, "warehouse.db"), [1, 1, 2, 2, 3, 3]);
    assert_eq!(ids(&sandbox, "other.db"), [1, 2, 3]);
    assert_eq!(sandbox.run(&["run", "pipeline.yaml"]).code, Some(0));
    assert_eq!(notes(&sandbox), [] as [&str; 0]);
}
