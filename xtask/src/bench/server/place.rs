//! The databases that are measured: how each is started and asked, and its fastest way in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::super::measure::Taken;
use super::super::side::Bench;
use crate::provide;
use crate::servers::{self, Durable, Server};

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Postgres, Kind::MariaDb, Kind::Sqlite];

/// The database of the bench on a server of several.
const NAME: &str = "bench";

/// A dimension as a careful person makes it, without its members. In this order: PostgreSQL,
/// MariaDB, SQLite.
const DIMENSION: [&str; 3] = [
    "drop table if exists ours, by_hand; drop schema if exists dlt, dlt_staging cascade;
     create table by_hand (fund_key bigint generated always as identity primary key, code text, class text,
       name text, fee double precision, kind text, effective_date timestamptz, end_date timestamptz,
       is_current boolean);
     create unique index on by_hand (code, class) where is_current",
    "drop table if exists ours, by_hand;
     create table by_hand (fund_key bigint auto_increment primary key, code varchar(20), class varchar(20),
       name varchar(200), fee double, kind varchar(50), effective_date datetime(6), end_date datetime(6),
       is_current boolean, one boolean as (if(is_current, true, null)) virtual, unique (code, class, one))",
    "drop table if exists ours; drop table if exists by_hand;
     create table by_hand (fund_key integer primary key, code text, class text, name text, fee real,
       kind text, effective_date text, end_date text, is_current integer);
     create unique index current on by_hand (code, class) where is_current",
];

impl Kind {
    /// The one that people call so.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = KINDS.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
        let Some(kind) = found else { bail!("unknown database `{name}`") };
        Ok(kind)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "PostgreSQL",
            Kind::MariaDb => "MariaDB",
            Kind::Sqlite => "SQLite",
        }
    }

    /// What is measured, with the name of the database where it is not the first one.
    pub(super) fn titled(self, what: &str) -> String {
        match self {
            Kind::Postgres => what.to_owned(),
            other => format!("{}: {what}", other.name()),
        }
    }

    /// What the rows are loaded with beside ours, and how many times its time ours may take.
    pub(super) fn way_in(self) -> (&'static str, f64) {
        match self {
            Kind::Postgres => ("`psql \\copy`, binary", 1.15),
            Kind::MariaDb => ("`LOAD DATA LOCAL`", 1.25),
            Kind::Sqlite => ("`sqlite3 .import`", 0.8),
        }
    }
}

/// A database with nothing in it.
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) url: String,
    /// Goes with this value, and the data with it.
    _server: Option<Server>,
    /// The command that asks it.
    client: Vec<String>,
}

impl Place {
    /// Starts a server, or names a file.
    pub(super) fn start(kind: Kind, folder: &Path) -> Result<Self> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (url, server, client): (_, _, Vec<String>) = match kind {
            Kind::Postgres => {
                let server = servers::start(&servers::KINDS[0], Durable::Yes)?;
                let url = server.url.clone();
                let client =
                    words(&["psql", &url, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
                (url, Some(server), client)
            }
            Kind::MariaDb => {
                let server = servers::start(&servers::KINDS[1], Durable::Yes)?;
                let (user, port) = server
                    .url
                    .strip_prefix("mysql://")
                    .and_then(|rest| rest.split_once('@'))
                    .and_then(|(user, rest)| Some((user, rest.split_once(':')?.1)))
                    .and_then(|(user, rest)| Some((user, rest.split_once('/')?.0)))
                    .context("the URL of a server has a user and a port")?;
                let mut client = words(&["mariadb", "--no-defaults", "--local-infile=1"]);
                client.extend(words(&["--host=127.0.0.1", "--batch", "--skip-column-names"]));
                client.extend([format!("--port={port}"), format!("--user={user}")]);
                let url = format!("mysql://{user}@127.0.0.1:{port}/{NAME}");
                (url, Some(server), client)
            }
            Kind::Sqlite => {
                provide::sqlite_shell()?;
                let file = folder.join("bench.db").display().to_string();
                (format!("sqlite://{file}"), None, words(&["sqlite3", "-bail", &file]))
            }
        };
        let found = Command::new(&client[0]).arg("--version").output();
        found.with_context(|| format!("`{}` is missing; it comes with the server", client[0]))?;
        let mut place = Self { kind, url, _server: server, client };
        if kind == Kind::MariaDb {
            let mut command = Command::new(&place.client[0]);
            command.args(&place.client[1..]).args(["-e", &format!("create database {NAME}")]);
            ensure!(command.status()?.success(), "MariaDB makes no database");
            place.client.push(NAME.to_owned());
        }
        Ok(place)
    }

    /// Runs statements. For PostgreSQL a single one that starts with a backslash is psql's own.
    pub(super) fn run(&self, bench: &Bench, sql: &str) -> Result<Taken> {
        let mut command: Vec<&str> = self.client.iter().map(String::as_str).collect();
        match self.kind {
            Kind::Postgres => command.extend(["-c", sql]),
            Kind::MariaDb => command.extend(["-e", sql]),
            Kind::Sqlite => command.push(sql),
        }
        bench.run(&command)
    }

    /// Runs commands of SQLite's shell.
    fn shell(&self, bench: &Bench, commands: &[&str]) -> Result<Taken> {
        let client = self.client.iter().map(String::as_str);
        bench.run(&client.chain(commands.iter().copied()).collect::<Vec<_>>())
    }

    /// Lets the database write what it still holds back, so that it does not while others are
    /// measured.
    pub(super) fn settle(&self, bench: &Bench) -> Result<()> {
        match self.kind {
            Kind::Postgres => self.run(bench, "checkpoint").map(drop),
            // It writes at its own pace; pages that wait are as many for both sides.
            Kind::MariaDb | Kind::Sqlite => Ok(()),
        }
    }

    /// Puts the rows of `ours` into a file, and makes an empty table for them.
    pub(super) fn export(&self, bench: &Bench, folder: &Path) -> Result<PathBuf> {
        let file = folder.join("valid");
        match self.kind {
            Kind::Postgres => {
                self.run(bench, &format!("\\copy ours to '{}' (format binary)", file.display()))?;
                self.run(bench, "create table theirs (like ours)")?;
            }
            Kind::MariaDb => {
                // The server writes it, where it may.
                let data = self.run(bench, "select @@datadir")?.printed;
                let written = Path::new(data.trim()).join("valid");
                let sql = "select * from ours into outfile '$FILE' character set utf8mb4";
                self.run(bench, &sql.replace("$FILE", &written.display().to_string()))?;
                fs::copy(&written, &file).context("the server's file cannot be read")?;
                self.run(bench, "create table theirs like ours")?;
            }
            Kind::Sqlite => {
                let once = format!(".once '{}'", file.display());
                self.shell(bench, &[".mode csv", &once, "select * from ours"])?;
                let made = "select sql from sqlite_schema where name = 'ours'";
                let made = self.run(bench, made)?.printed;
                self.run(bench, &made.replacen("ours", "theirs", 1))?;
            }
        }
        Ok(file)
    }

    /// Puts the rows of a file into `theirs`.
    pub(super) fn import(&self, bench: &Bench, file: &Path) -> Result<Taken> {
        let file = file.display();
        match self.kind {
            Kind::Postgres => {
                self.run(bench, &format!("\\copy theirs from '{file}' (format binary)"))
            }
            Kind::MariaDb => {
                let sql = "load data local infile '$FILE' into table theirs character set utf8mb4";
                self.run(bench, &sql.replace("$FILE", &file.to_string()))
            }
            Kind::Sqlite => self.shell(bench, &[".mode csv", &format!(".import '{file}' theirs")]),
        }
    }

    /// Takes `ours` away, and the rows of `theirs`.
    pub(super) fn empty_facts(&self, bench: &Bench) -> Result<()> {
        let sql = match self.kind {
            Kind::Sqlite => "drop table ours; delete from theirs; vacuum",
            _ => "drop table if exists ours; truncate table theirs",
        };
        self.run(bench, sql).map(drop)
    }

    /// Takes `ours` away, and makes the dimension by hand without members.
    pub(super) fn empty_dimension(&self, bench: &Bench) -> Result<()> {
        self.run(bench, DIMENSION[self.kind as usize])?;
        self.settle(bench)
    }

    /// Runs the script of a careful person on the members in a file.
    pub(super) fn by_hand(&self, bench: &Bench, input: &Path) -> Result<Taken> {
        let script = format!("xtask/peers/scd2_by_hand.{}.sql", self.kind.name().to_lowercase());
        let script = fs::canonicalize(&script).with_context(|| script.clone())?;
        let (script, client) = (script.display(), quoted(&self.client));
        let read = match self.kind {
            Kind::Postgres => format!("-f '{script}'"),
            Kind::MariaDb => format!("-e 'source {script}'"),
            Kind::Sqlite => format!("'.read {script}'"),
        };
        let command = format!("{client} {read} < '{}'", input.display());
        bench.run(&["sh", "-c", &command])
    }

    /// The columns of a table, in a form in which they can be compared.
    pub(super) fn columns(&self, bench: &Bench, table: &str) -> Result<Vec<String>> {
        let sql = match self.kind {
            Kind::Sqlite => format!("select name from pragma_table_info('{table}')"),
            _ => format!(
                "select column_name from information_schema.columns where table_name = '{table}'"
            ),
        };
        let names = self.run(bench, &sql)?.printed;
        let columns = names.lines().map(|name| match self.kind {
            // Its shell writes 15 digits of a number, and reads an empty text for no value.
            Kind::Sqlite => format!(
                "case typeof({name}) when 'real' then printf('%.12g', {name}) \
                 else coalesce({name}, '') end"
            ),
            _ => name.to_owned(),
        });
        Ok(columns.collect())
    }

    /// That two tables have the same values in these columns, row for row, however often each is
    /// there.
    pub(super) fn same(
        &self,
        bench: &Bench,
        (ours, our_columns): (&str, &[String]),
        (theirs, their_columns): (&str, &[String]),
    ) -> Result<()> {
        if self.kind == Kind::MariaDb {
            return self.same_hashes(bench, (ours, our_columns), (theirs, their_columns));
        }
        let rows = |table: &str, columns: &[String]| {
            let columns = columns.iter().enumerate().map(|(i, column)| format!("{column} as c{i}"));
            let columns: Vec<_> = columns.collect();
            let names: Vec<_> = (0..columns.len()).map(|i| format!("c{i}")).collect();
            let (columns, names) = (columns.join(", "), names.join(", "));
            format!(
                "select {names}, count(*) as n from (select {columns} from {table}) as q group by {names}"
            )
        };
        let (ours, theirs) = (rows(ours, our_columns), rows(theirs, their_columns));
        let sql = format!(
            "select count(*) from (select * from ({ours}) as a except select * from ({theirs}) as b) as d \
             union all \
             select count(*) from (select * from ({theirs}) as a except select * from ({ours}) as b) as d"
        );
        let printed = self.run(bench, &sql)?.printed;
        let different = printed.split_whitespace().collect::<Vec<_>>();
        ensure!(different == ["0", "0"], "DIFFERENT: {} rows", different.join(" and "));
        Ok(())
    }

    /// As [`Self::same`], by the sums of hashes of the rows: MariaDB takes minutes to tell which rows
    /// of a large table another one does not have.
    fn same_hashes(
        &self,
        bench: &Bench,
        (ours, our_columns): (&str, &[String]),
        (theirs, their_columns): (&str, &[String]),
    ) -> Result<()> {
        let hashes = |table: &str, columns: &[String]| -> Result<String> {
            let values = columns.iter().map(|column| {
                format!("coalesce(cast({column} as char character set binary), '\\\\N')")
            });
            let row = format!("md5(concat_ws('\\t', {}))", values.collect::<Vec<_>>().join(", "));
            let hash = format!("cast(conv(left({row}, 15), 16, 10) as unsigned)");
            let sql = format!("select count(*), coalesce(sum({hash}), 0) from {table}");
            Ok(self.run(bench, &sql)?.printed)
        };
        let (ours, theirs) = (hashes(ours, our_columns)?, hashes(theirs, their_columns)?);
        ensure!(ours == theirs, "DIFFERENT: {} and {}", ours.trim(), theirs.trim());
        Ok(())
    }
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}
