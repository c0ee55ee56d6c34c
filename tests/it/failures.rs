//! Servers that die in the middle of a load, disks that are full, runs at the same time: after the
//! next run each record is there once.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use gristmill_scratch::server::{MARIADB, POSTGRES, Server, Setup};
use gristmill_scratch::texts;
use gristmill_tests::{Ran, Sandbox, binary};
use rusqlite::Connection;

const PIPELINE: &str = r"pipeline: orders
extract:
  - {table: orders, database: 'sqlite://shop.db', cursor: {column: id}}
load:
  - {table: orders, database: '${DATABASE}'}
report: report.json
retry: {attempts: 3, backoff: 50ms}
";

/// A shop with these orders, each with a note of so many bytes. Below 2,000 no server compresses it.
fn shop(sandbox: &Sandbox, orders: i64, note: usize) {
    sandbox.write("pipeline.yaml", PIPELINE);
    let shop = Connection::open(sandbox.path().join("shop.db")).unwrap();
    let fill = format!(
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, note TEXT);
         WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {orders})
         INSERT INTO orders (note) SELECT hex(randomblob({})) FROM n;",
        note / 2
    );
    shop.execute_batch(&fill).unwrap();
}

fn run(sandbox: &Sandbox, database: &str) -> Ran {
    sandbox.run(&["run", "pipeline.yaml", "--param", &format!("DATABASE={database}")])
}

/// That a run publishes, that all orders are there once after it, and that another reads none.
fn ends_well(sandbox: &Sandbox, orders: i64, database: &str, count: impl Fn(&str) -> String) {
    let ran = run(sandbox, database);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (all, ids) =
        (count("SELECT count(*) FROM orders"), count("SELECT count(DISTINCT id) FROM orders"));
    assert_eq!((all, ids), (orders.to_string(), orders.to_string()));
    let ran = run(sandbox, database);
    assert_eq!((ran.code, sandbox.json("report.json")["read"].as_u64()), (Some(0), Some(0)));
}

/// The one value of a query.
fn count(url: &str, sql: &str) -> String {
    texts(url, sql).remove(0).remove(0).unwrap()
}

/// When a server dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// As records are sent to it.
    WhileLoading,
    BeforeCommit,
    /// Once it has committed, and before it can say so.
    AfterCommit,
}

impl Death {
    fn is_near(self, sent: &[u8]) -> bool {
        let has = |word: &[u8]| sent.windows(word.len()).any(|bytes| bytes == word);
        match self {
            Death::WhileLoading => has(b"COPY ") || has(b"LOAD DATA"),
            _ => sent.ends_with(b"\x03COMMIT") || has(b"COMMIT\0"),
        }
    }
}

/// Stands before a server, kills it once, and starts it again; answers the URL, and says when the
/// server is there again.
fn proxy(server: &Arc<Mutex<Server>>, death: Death) -> (String, Receiver<()>) {
    let url = server.lock().unwrap().url.clone();
    let (start, rest) = url.split_once('@').unwrap();
    let (place, database) = rest.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let (place, server) = (place.to_owned(), Arc::downgrade(server));
    let due = Arc::new(Mutex::new(Some(death)));
    let (sender, alive) = channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (place, server, due) = (place.clone(), Weak::clone(&server), Arc::clone(&due));
            let sender = sender.clone();
            thread::spawn(move || forward(client.unwrap(), &place, &server, &due, &sender));
        }
    });
    (format!("{start}@{here}/{database}?sslmode=disable"), alive)
}

fn forward(
    mut client: TcpStream,
    place: &str,
    server: &Weak<Mutex<Server>>,
    due: &Mutex<Option<Death>>,
    alive: &Sender<()>,
) {
    // A server that is not there yet cuts the connection.
    let Ok(mut to) = TcpStream::connect(place) else { return };
    let (mut from, mut back) = (to.try_clone().unwrap(), client.try_clone().unwrap());
    let muted = Arc::new(AtomicBool::new(false));
    let is_muted = Arc::clone(&muted);
    let back = thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if !is_muted.load(Ordering::SeqCst) && back.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        if !is_muted.load(Ordering::SeqCst) {
            let _ = back.shutdown(Shutdown::Both);
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        let death = due.lock().unwrap().take_if(|death| death.is_near(&buffer[..n]));
        muted.store(death.is_some(), Ordering::SeqCst);
        if death != Some(Death::BeforeCommit) && to.write_all(&buffer[..n]).is_err() {
            break;
        }
        let Some(death) = death else { continue };
        if death == Death::AfterCommit {
            thread::sleep(Duration::from_millis(300));
        }
        let server = server.upgrade().unwrap();
        let mut server = server.lock().unwrap();
        server.kill();
        // The run hears of it, and finds nobody for a while.
        let _ = client.shutdown(Shutdown::Both);
        thread::sleep(Duration::from_millis(200));
        server.start_again();
        alive.send(()).unwrap();
        break;
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    let _ = back.join();
}

/// Whatever the moment in which the server dies.
fn dies(server: &Arc<Mutex<Server>>) {
    let url = server.lock().unwrap().url.clone();
    for death in [Death::WhileLoading, Death::BeforeCommit, Death::AfterCommit] {
        let sandbox = Sandbox::new();
        shop(&sandbox, 50, 10);
        let (proxied, alive) = proxy(server, death);
        let ran = run(&sandbox, &proxied);
        alive.recv_timeout(Duration::from_secs(60)).unwrap();
        // A run whose server comes back finds out that it had committed.
        let code = if death == Death::AfterCommit { 0 } else { 1 };
        assert_eq!(ran.code, Some(code), "{death:?}: {}", ran.stderr);
        shop(&sandbox, 5, 10);
        ends_well(&sandbox, 55, &url, |sql| count(&url, sql));
        texts(&url, "DROP TABLE orders");
    }
}

/// A load for which the server has no room.
fn has_no_room(url: &str, sandbox: &Sandbox, words: &str) {
    let ran = run(sandbox, url);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}

#[test]
fn postgresql_dies_or_has_no_room() {
    let Some(server) = Server::own(&POSTGRES, Setup::default()) else { return };
    let server = Arc::new(Mutex::new(server));
    dies(&server);
    let mut server = server.lock().unwrap();
    let url = server.url.clone();
    let sandbox = Sandbox::new();
    shop(&sandbox, 10_000, 1900);
    // More than a file of its log.
    server.limit_files(Some(17 << 20));
    has_no_room(&url, &sandbox, "could not extend file");
    let there = "SELECT count(*) FROM pg_class WHERE relname IN ('orders', 'gristmill_loads')";
    assert_eq!(count(&url, there), "1");
    server.limit_files(None);
    ends_well(&sandbox, 10_000, &url, |sql| count(&url, sql));
}

#[test]
fn mariadb_dies_or_has_no_room() {
    // New tables stand in the one file that may not grow.
    let options =
        "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M --skip-innodb-file-per-table";
    let Some(server) = Server::own(&MARIADB, Setup { before: "", options }) else { return };
    let server = Arc::new(Mutex::new(server));
    dies(&server);
    let url = server.lock().unwrap().url.clone();
    let url = url.as_str();
    let sandbox = Sandbox::new();
    shop(&sandbox, 10_000, 1900);
    has_no_room(url, &sandbox, "the server's disk is full");
    texts(url, "SET GLOBAL innodb_file_per_table = 1");
    ends_well(&sandbox, 10_000, url, |sql| count(url, sql));
}

#[test]
fn sqlite_and_files_have_no_room() {
    let sandbox = Sandbox::new();
    shop(&sandbox, 2000, 2000);
    let files = PIPELINE.replace("{table: orders, database: '${DATABASE}'}", "file: ${DATABASE}");
    sandbox.write("files.yaml", files.replace("pipeline: orders", "pipeline: files"));
    for (pipeline, to) in [
        ("pipeline.yaml", "sqlite://warehouse.db"),
        ("files.yaml", "out.csv"),
        ("files.yaml", "out.parquet"),
    ] {
        let parameter = format!("DATABASE={to}");
        let arguments = ["run", pipeline, "--param", &parameter];
        // No file of the process may grow beyond 1 MiB; the write fails then, as on a full disk.
        let script = "trap '' XFSZ; exec prlimit --fsize=1048576 -- \"$0\" \"$@\"";
        let limited = Command::new("sh")
            .args(["-c", script])
            .arg(binary())
            .args(arguments)
            .current_dir(sandbox.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&limited.stderr).into_owned();
        assert_eq!(limited.status.code(), Some(1), "{to}: {said}");
        let name = to.trim_start_matches("sqlite://");
        assert!(!sandbox.path().join(name).exists(), "{to}");
        let ran = sandbox.run(&arguments);
        assert_eq!(ran.code, Some(0), "{to}: {}", ran.stderr);
        assert_eq!(sandbox.json("report.json")["read"], 2000, "{to}");
        assert!(sandbox.path().join(name).exists(), "{to}");
        let ledger = Connection::open(sandbox.path().join(".gristmill/ledger.db")).unwrap();
        ledger.execute_batch("DELETE FROM bookmarks").unwrap();
    }
    let hidden: Vec<String> =
        sandbox.files().into_iter().filter(|file| file.contains("gristmill")).collect();
    assert_eq!(hidden, [""; 0]);
}

/// Runs that begin at the same moment: each ends with all or with nothing.
fn at_the_same_time(database: &str, count: impl Fn(&Sandbox, &str) -> String) {
    let sandbox = Sandbox::new();
    shop(&sandbox, 3000, 100);
    let parameter = format!("DATABASE={database}");
    let started: Vec<_> = (0..4)
        .map(|_| {
            let mut command = sandbox.command(&["run", "pipeline.yaml", "--param", &parameter]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ended: Vec<_> = started.into_iter().map(|run| run.wait_with_output().unwrap()).collect();
    assert!(ended.iter().any(|run| run.status.success()), "{ended:?}");
    for run in ended.iter().filter(|run| !run.status.success()) {
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(said.contains("another run") && said.contains("hint:"), "{said}");
    }
    ends_well(&sandbox, 3000, database, |sql| count(&sandbox, sql));
}

#[test]
fn runs_at_the_same_time_load_each_record_once() {
    at_the_same_time("sqlite://warehouse.db", |sandbox, sql| {
        let warehouse = Connection::open(sandbox.path().join("warehouse.db")).unwrap();
        let number: i64 = warehouse.query_row(sql, [], |row| row.get(0)).unwrap();
        number.to_string()
    });
}

#[test]
fn runs_at_the_same_time_load_each_record_once_into_servers() {
    if let Some(database) = gristmill_scratch::postgres() {
        at_the_same_time(database.url(), |_, sql| count(database.url(), sql));
    }
    if let Some(database) = gristmill_scratch::mysql() {
        at_the_same_time(database.url(), |_, sql| count(database.url(), sql));
    }
}
