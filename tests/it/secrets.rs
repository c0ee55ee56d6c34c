//! A password is never told: it is planted wherever one can stand, and looked for in all that the
//! command says and leaves behind.

use std::path::Path;
use std::process::Stdio;
use std::thread;

use gristmill_scratch::server::{MARIADB, POSTGRES, Server, Setup};
use gristmill_scratch::texts;
use gristmill_tests::Sandbox;

/// The password of the user `teller`, and as URLs write it.
const PASSWORD: &str = "tig#er@s3cret";
const ENCODED: &str = "tig%23er%40s3cret";
/// What nothing may show: each is a part of every password that is planted.
const PARTS: [&str; 3] = ["s3cret", "tig#er", "tig%23er"];

/// A server that lets `teller` in by that password; that of all tests lets everybody in.
struct Place {
    scheme: &'static str,
    /// Host and port.
    host: String,
    _server: Server,
}

impl Place {
    fn postgres() -> Option<Self> {
        let before = "echo 'host all teller 127.0.0.1/32 scram-sha-256' >hba; \
                      cat data/pg_hba.conf >>hba; mv hba data/pg_hba.conf";
        let server = Server::own(&POSTGRES, Setup { before, options: "" })?;
        let url = &server.url;
        texts(url, &format!("CREATE ROLE teller LOGIN SUPERUSER PASSWORD '{PASSWORD}'"));
        texts(url, "CREATE DATABASE shop");
        Self::of("postgres", server)
    }

    fn mariadb() -> Option<Self> {
        let before = format!(
            r#"echo "CREATE DATABASE shop;
GRANT ALL ON shop.* TO teller@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';" >>init.sql"#
        );
        let server = Server::own(&MARIADB, Setup { before: &before, options: "" })?;
        Self::of("mysql", server)
    }

    fn of(scheme: &'static str, server: Server) -> Option<Self> {
        let (_, rest) = server.url.split_once('@')?;
        let (host, _) = rest.split_once('/')?;
        Some(Self { scheme, host: host.to_owned(), _server: server })
    }

    /// Its URL, with this after the user's name.
    fn url(&self, password: &str) -> String {
        format!("{}://teller{password}@{}/shop", self.scheme, self.host)
    }

    /// Its URL with the password.
    fn right(&self) -> String {
        self.url(&format!(":{ENCODED}"))
    }

    /// URLs that lead somewhere, and URLs that lead nowhere: all hold a password.
    fn urls(&self) -> Vec<String> {
        let right = self.right();
        let host = |other: &str| right.replace(&self.host, other);
        vec![
            right.clone(),
            self.url(":wrong-s3cret"),
            self.url(&format!(":{PASSWORD}")), // a reader that stops too early shows the rest
            self.url(":tig/er@s3cret"),
            self.url(":s3cret/tiger"),
            self.url(":tig?er=s3cret"),
            self.url(":tig%zzs3cret"),
            self.url(":tig er s3cret"),
            format!("{}?password=s3cret", self.url("")),
            format!("{}?sslmode=disable&password=s3cret&application_name=x", self.url("")),
            host("no-such-host.invalid"),
            host("127.0.0.1:1"),
            host("127.0.0.1:port"),
            host("[::1"),
            format!("{right}_missing"),
            format!("{right}?colour=blue"),
            format!("{right}?connect_timeout=a&statement_timeout=b"),
            right.replace("://", ":/"),
            right.replace("://", ":"),
            right.replace("://", "s://"),
            right.replace(self.scheme, &self.scheme.to_uppercase()),
            right.replace(&format!("{}://", self.scheme), "//"),
        ]
    }
}

/// Pipelines in which a database's URL stands in place of `URL`.
const DESTINATION: &str = r#"pipeline: people
extract:
  - {file: in.csv, columns: {id: int, age: int}}
load:
  - {table: people, database: "URL", mode: upsert, keys: [id]}
rejects: rejects.ndjson
report: report.json
retry: {attempts: 2, backoff: 1ms}
"#;
const SOURCE: &str = r#"pipeline: people
extract:
  - SOURCE
steps:
  - validate: {rules: {age: {min: 3}}}
load:
  - {file: out.csv}
rejects: rejects.ndjson
report: report.json
retry: {attempts: 2, backoff: 1ms}
"#;
const STEP: &str = r#"pipeline: people
extract:
  - {file: in.csv, columns: {id: int, age: int}}
steps:
  - STEP
load:
  - {file: out.csv}
rejects: rejects.ndjson
report: report.json
retry: {attempts: 2, backoff: 1ms}
"#;

/// Sources that are read, well and badly.
const SOURCES: [&str; 8] = [
    r#"{table: people, database: "URL", cursor: {column: id}}"#,
    r#"{table: people, database: "URL", cursor: {column: nope}}"#,
    r#"{table: nope, database: "URL"}"#,
    r#"{table: people, database: "URL", colour: blue}"#,
    r#"{table: people, database: "URL", split: nope}"#,
    r#"{query: "SELECT nope FROM people", database: "URL"}"#,
    r#"{query: "SELEC", database: "URL"}"#,
    r#"{query: "DELETE FROM people", database: "URL"}"#,
];

/// Steps that read another source.
const STEPS: [&str; 4] = [
    r#"lookup: {from: {table: people, database: "URL"}, on: id, take: {other: name}}"#,
    r#"lookup: {from: {table: people, database: "URL"}, on: id, take: [nope]}"#,
    r#"join: {with: {query: "SELECT nope", database: "URL"}, on: id}"#,
    r#"check: {dqdl: 'Rules = [ DatasetMatch "other" "id" >= 2 ]', references: {other: {table: people, database: "URL"}}}"#,
];

/// Pipelines that use a database each in another place, well and badly.
fn pipelines() -> Vec<String> {
    let mut all = vec![DESTINATION.to_owned()];
    let badly = [
        ("keys: [id]", "keys: [nope], colour: blue"),
        ("mode: upsert", "mode: scd2, track: [nope]"),
        ("table: people", "table: 'no.such.table'"),
        ("retry:", "limits: {rejected_ratio: 0}\nretry:"),
    ];
    all.extend(badly.map(|(part, this)| DESTINATION.replace(part, this)));
    all.extend(SOURCES.map(|source| SOURCE.replace("SOURCE", source)));
    all.extend(STEPS.map(|step| STEP.replace("STEP", step)));
    all
}

const CHECK: &[&str] = &["check", "pipeline.yaml"];
const PLAN: &[&str] = &["plan", "pipeline.yaml"];
const RUN: &[&str] = &["run", "pipeline.yaml", "--json", "--log-format", "json"];
const LOG: &[&str] = &["-vvv", "--log-file", "log/all.log"];

/// A folder in which commands must not say a password.
struct Watched {
    sandbox: Sandbox,
    /// How often a command had the exit codes 0, 1, 2 and 3.
    codes: [usize; 4],
    /// Where one did.
    told: Vec<String>,
}

impl Watched {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("in.csv", "id,name,age\n1,a,2\nx,b,3\n2,b,4\n");
        sandbox.write("rules.dqdl", "Rules = [ IsComplete \"id\", RowCount > 5 ]");
        sandbox.write("contract.yaml", "columns: {id: int64, nope: string}\n");
        Self { sandbox, codes: [0; 4], told: Vec::new() }
    }

    fn call(&mut self, arguments: &[&str], variables: &[(&str, &str)]) {
        let mut command = self.sandbox.command(arguments);
        for name in ["PGPASSWORD", "PGPASSFILE", "MYSQL_PWD"] {
            command.env_remove(name);
        }
        command.env("HOME", self.sandbox.path()).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        let lines = said.lines().filter(|line| tells(line));
        self.told.extend(lines.map(|line| format!("{arguments:?} says: {line}")));
        for folder in [self.sandbox.path(), self.sandbox.temporary()] {
            each_file(folder, &mut |path| {
                if path.ends_with("pipeline.yaml") {
                    return; // the test wrote it
                }
                let left = text(&std::fs::read(path).unwrap());
                if let Some(line) = left.lines().find(|line| tells(line)) {
                    self.told.push(format!("{arguments:?} leaves in {}: {line}", path.display()));
                    std::fs::remove_file(path).unwrap();
                }
            });
        }
        let code = output.status.code().and_then(|code| usize::try_from(code).ok());
        self.codes[code.unwrap()] += 1;
    }

    fn end(self) -> [usize; 4] {
        assert!(self.told.is_empty(), "{}", self.told.join("\n"));
        self.codes
    }

    /// Commands that take a pipeline, and log all that they can.
    fn pipeline(
        &mut self,
        text: &str,
        commands: &[&[&str]],
        parameters: &[&str],
        variables: &[(&str, &str)],
    ) {
        self.sandbox.write("pipeline.yaml", text);
        let given: Vec<&str> = parameters.iter().flat_map(|given| ["--param", given]).collect();
        for command in commands {
            self.call(&[command, LOG, &given].concat(), variables);
        }
    }
}

fn tells(text: &str) -> bool {
    PARTS.iter().any(|part| text.contains(part))
}

fn each_file(folder: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => each_file(&path, see),
            path => see(&path),
        }
    }
}

/// In the pipeline file and in parameters, by any URL and in any place.
fn in_pipelines(place: &Place) {
    let mut watched = Watched::new();
    for pipeline in pipelines() {
        let pipeline = pipeline.replace("URL", &place.right());
        watched.pipeline(&pipeline, &[CHECK, RUN], &[], &[]);
    }
    for url in place.urls() {
        watched.pipeline(&DESTINATION.replace("URL", &url), &[RUN], &[], &[]);
        let source = SOURCE.replace("SOURCE", SOURCES[0]).replace("URL", "${DATABASE}");
        watched.pipeline(&source, &[PLAN], &[&format!("DATABASE={url}")], &[]);
    }
    // Parts of a URL; what is not used, or is none, is a mistake.
    let (url, right) = (place.url(":${DB_PWD}"), place.right());
    let (given, environment) = (format!("DB_PWD={ENCODED}"), [("DB_PWD", ENCODED)]);
    for parameters in [&[given.as_str()][..], &[], &[&given, "NOPE=s3cret"], &[&right]] {
        watched.pipeline(&DESTINATION.replace("URL", &url), &[RUN], parameters, &environment);
    }
    let stray =
        DESTINATION.replace("URL", &place.url("")).replace("table: people", "table: ${DB_PWD}");
    watched.pipeline(&stray, &[CHECK, RUN], &[], &environment);
    // What tells about runs that were.
    watched.pipeline(&DESTINATION.replace("URL", &right), &[RUN], &[], &[]);
    for command in [
        &["runs", "--limit", "200"][..],
        &["runs", "--json"],
        &["runs", "show", "2"],
        &["runs", "show", "2", "--json"],
        &["bookmarks", "list"],
        &["rejects", "rejects.ndjson"],
        &["rejects", "replay", "rejects.ndjson", "--pipeline", "pipeline.yaml"],
        &["test", "pipeline.yaml"],
    ] {
        watched.call(command, &[]);
    }
    let codes = watched.end();
    assert!(codes[0] > 15 && codes[1] > 10 && codes[2] > 20 && codes[3] > 0, "{codes:?}");
}

/// In arguments of commands that take no pipeline, and of commands that are written wrongly.
fn in_arguments(place: &Place) {
    let mut watched = Watched::new();
    let right = place.right();
    watched.pipeline(&DESTINATION.replace("URL", &right), &[RUN], &[], &[]);
    let people = format!("{right}#people");
    let scheme = right.replace("://", "s://") + "#people";
    for data in [&people, &format!("{right}#nope"), &right, &scheme, &people.replace("://", ":/")] {
        let reference = format!("regions={data}");
        for command in [
            &["profile", data][..],
            &["profile", data, data, "--json"],
            &["quality", "check", "rules.dqdl", data],
            &["quality", "check", "rules.dqdl", "in.csv", "--reference", &reference],
            &["contract", "diff", "contract.yaml", data],
        ] {
            watched.call(&[command, LOG].concat(), &[]);
        }
    }
    for command in [
        &["profile", &people, &people][..],
        &["profile", &people, "--suggest", "yaml"],
        &["profile", &people, "--suggest", &right],
        &["profile", &people, "--values", "name"],
        &["profile", &people, "--nope"],
        &["quality", "check", &right, "in.csv"],
        &["quality", "check", "rules.dqdl", "in.csv", "--reference", &right],
        &["contract", "diff", &right, "in.csv"],
        &[&right],
        &["run", &right],
        &["run", "pipeline.yaml", &right],
        &["run", "pipeline.yaml", "--log-format", &right],
        &["init", &right],
        &["convert", &right, "out.csv"],
        &["convert", "in.csv", &right],
        &["rejects", &right],
        &["runs", "show", &right],
        &["bookmarks", "reset", &right],
    ] {
        watched.call(command, &[]);
    }
    let codes = watched.end();
    assert!(codes[0] > 5 && codes[2] > 10, "{codes:?}");
}

/// In the environment, and in files that databases' own programs read.
fn beside(place: &Place) {
    let mut watched = Watched::new();
    watched.pipeline(&DESTINATION.replace("URL", &place.right()), &[RUN], &[], &[]);
    let homes = Sandbox::new();
    for (password, runs) in [(PASSWORD, true), ("wrong-s3cret", false)] {
        let file = |name: &str, text: String| {
            let path = homes.write(&format!("{runs}/{name}"), text);
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode).unwrap();
            path.display().to_string()
        };
        let pgpass = file(".pgpass", format!("*:*:*:teller:{password}\n"));
        file(".my.cnf", format!("[client]\npassword=\"{password}\"\n"));
        let home = homes.path().join(runs.to_string()).display().to_string();
        for variables in [
            [("PGPASSWORD", password), ("MYSQL_PWD", password)],
            [("PGPASSFILE", &pgpass), ("HOME", &home)],
            [("TZ", "UTC"), ("HOME", &home)],
        ] {
            for pipeline in [DESTINATION, &SOURCE.replace("SOURCE", SOURCES[0])] {
                let before = watched.codes[0];
                let pipeline = pipeline.replace("URL", &place.url(""));
                watched.pipeline(&pipeline, &[PLAN, RUN], &[], &variables);
                let went = watched.codes[0] - before;
                assert_eq!(went, if runs { 2 } else { 0 }, "{variables:?}");
            }
        }
    }
    watched.end();
}

fn never_told(place: Option<Place>) {
    let Some(place) = &place else { return };
    thread::scope(|scope| {
        for planted in [in_pipelines, in_arguments, beside] {
            scope.spawn(move || planted(place));
        }
    });
}

#[test]
fn a_password_of_postgres_is_never_told() {
    never_told(Place::postgres());
}

#[test]
fn a_password_of_mariadb_is_never_told() {
    never_told(Place::mariadb());
}
