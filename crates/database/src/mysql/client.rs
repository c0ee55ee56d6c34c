//! A connection to MariaDB or MySQL.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc;

use bytes::Bytes;
use gristmill_core::{Error, Result};
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{
    Conn, DriverError, Error as DatabaseError, LocalInfileHandler, OptsBuilder, SslOpts, Value,
};

use super::address::{Address, Whole};
use super::errors::{error_of, is_lost};
use super::results::ResultColumn;
use crate::address::{KEEPALIVE, TlsMode};
use crate::client::silent;
use crate::tls::unreadable;

/// What a session is told. Names stand in double quotes, and backslashes mean themselves; a value
/// that a column cannot hold is an error; waiting for us is no reason to break off.
const SESSION: &str = "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,\
    NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,\
    NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', autocommit = 1, foreign_key_checks = 1, \
    unique_checks = 1, sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = DEFAULT, \
    max_sort_length = 16384, net_read_timeout = 86400, net_write_timeout = 86400, \
    wait_timeout = 86400; SET NAMES utf8mb4";

/// Which of the two a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// MariaDB.
    MariaDb,
    /// MySQL.
    MySql,
}

impl Flavour {
    /// The collation of UTF-8 in which texts are equal that have equal bytes, and only they.
    pub fn exact_collation(self) -> &'static str {
        match self {
            Flavour::MariaDb => "utf8mb4_nopad_bin",
            Flavour::MySql => "utf8mb4_0900_bin",
        }
    }
}

/// A connection to a MariaDB or MySQL database. Times are UTC in it.
pub struct Client {
    connection: RefCell<Conn>,
    is_closed: Cell<bool>,
    flavour: Flavour,
    /// Whether the server takes rows by `LOAD DATA LOCAL`.
    takes_files: bool,
}

/// The values of a row as texts, in the order of the columns; `None` for a null.
pub type Rows = Vec<Vec<Option<String>>>;

impl Client {
    /// Connects, within the address's `connect_timeout`.
    ///
    /// # Errors
    /// When the server cannot be reached or does not let the user in.
    pub fn connect(address: &Address) -> Result<Self> {
        let whole = address.whole()?;
        let what = || format!("cannot connect to `{}`", address.name());
        // The first one stays: all that we use is its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = address.root.iter().filter(|_| whole.tls == TlsMode::VerifyFull);
        for root in root {
            std::fs::File::open(root).map_err(|e| unreadable(root, e))?;
        }
        let (sender, receiver) = mpsc::channel();
        let connecting = address.clone();
        let thread = std::thread::Builder::new().name("gristmill-connect".to_owned());
        let started = thread.spawn(move || {
            let _ = sender.send(Self::open(&connecting, &whole)); // or nobody waits any more
        });
        started.map_err(|e| Error::io("cannot start a thread", e))?;
        match receiver.recv_timeout(address.connect_timeout) {
            Ok(opened) => opened.map_err(|e| error_of(&what(), e)),
            Err(_) => Err(silent(what())),
        }
    }

    /// TCP, encryption, login and settings.
    fn open(address: &Address, whole: &Whole) -> Result<Self, DatabaseError> {
        let options = options(address, whole);
        let connection = match whole.tls {
            TlsMode::Disable => Conn::new(options)?,
            mode => match Conn::new(options.clone().ssl_opts(tls(address, mode))) {
                Err(DatabaseError::DriverError(DriverError::TlsNotSupported))
                    if mode == TlsMode::Prefer =>
                {
                    Conn::new(options)?
                }
                opened => opened?,
            },
        };
        let mut client = Self {
            connection: RefCell::new(connection),
            is_closed: Cell::new(false),
            flavour: Flavour::MySql,
            takes_files: false,
        };
        client.set_up(address)?;
        Ok(client)
    }

    fn set_up(&mut self, address: &Address) -> Result<(), DatabaseError> {
        self.batch(SESSION)?;
        let rows = self.texts("SELECT version(), @@global.local_infile")?;
        let mut values = rows.into_iter().next().unwrap_or_default().into_iter().flatten();
        if values.next().is_some_and(|version| version.contains("MariaDB")) {
            self.flavour = Flavour::MariaDb;
        }
        self.takes_files = values.next().is_some_and(|on| matches!(on.as_str(), "1" | "ON"));
        if let Some(limit) = address.statement_timeout {
            self.batch(&match self.flavour {
                Flavour::MariaDb => format!("SET SESSION max_statement_time = {}", limit.as_secs()),
                Flavour::MySql => format!("SET SESSION max_execution_time = {}", limit.as_millis()),
            })?;
        }
        Ok(())
    }

    /// Which kind of server it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Whether [`Self::load`] works; the server's administrator decides.
    pub fn takes_files(&self) -> bool {
        self.takes_files
    }

    /// Remembers that a connection is gone.
    fn noticed<T>(&self, result: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if result.as_ref().is_err_and(is_lost) {
            self.is_closed.set(true);
        }
        result
    }

    /// Runs statements, and answers the number of rows that the last one touched.
    fn run(&self, sql: &str) -> Result<u64, DatabaseError> {
        if sql.trim().is_empty() {
            return Ok(0);
        }
        let mut connection = self.connection.borrow_mut();
        let mut run = || {
            let mut touched = 0;
            let mut result = connection.query_iter(sql)?;
            while let Some(rows) = result.iter() {
                touched = rows.affected_rows();
                for row in rows {
                    row?;
                }
            }
            Ok(touched)
        };
        self.noticed(run())
    }

    /// Runs statements without results.
    ///
    /// # Errors
    /// What the database says of the first one that fails; those behind it are not run.
    pub fn batch(&self, sql: &str) -> Result<(), DatabaseError> {
        self.run(sql).map(|_| ())
    }

    /// Runs a statement without a result, and answers the number of rows it touched, or left as
    /// they were because they were so already. `?1` stands for the first parameter.
    ///
    /// # Errors
    /// What the database says.
    pub fn execute(&self, sql: &str, parameters: &[Option<i64>]) -> Result<u64, DatabaseError> {
        self.run(&bound(sql, parameters))
    }

    /// The rows of a query as text, whatever their types are.
    ///
    /// # Errors
    /// What the database says.
    pub fn texts(&self, sql: &str) -> Result<Rows, DatabaseError> {
        let mut connection = self.connection.borrow_mut();
        let mut query = || {
            let mut rows = Vec::new();
            for row in connection.query_iter(sql)? {
                let values = row?.unwrap().into_iter();
                rows.push(values.map(text).collect());
            }
            Ok(rows)
        };
        self.noticed(query())
    }

    /// The rows of a query for numbers and truth values; nulls are 0.
    ///
    /// # Errors
    /// What the database says.
    pub fn numbers(
        &self,
        sql: &str,
        parameters: &[Option<i64>],
    ) -> Result<Vec<Vec<i64>>, DatabaseError> {
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let rows = self.texts(&bound(sql, parameters))?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(number).collect()).collect())
    }

    /// Runs a `LOAD DATA LOCAL INFILE` statement, whatever file it names, with these bytes.
    /// Answers the number of rows that the database took, and the number of its warnings: what a
    /// column cannot hold is changed with a warning, in strict sessions too.
    ///
    /// # Errors
    /// What the database says.
    pub fn load(&self, sql: &str, bytes: Bytes) -> Result<(u64, u64), DatabaseError> {
        let mut connection = self.connection.borrow_mut();
        let handler = move |_: &[u8], file: &mut mysql::LocalInfile<'_>| file.write_all(&bytes);
        connection.set_local_infile_handler(Some(LocalInfileHandler::new(handler)));
        let loaded = connection.query_drop(sql);
        connection.set_local_infile_handler(None);
        let counts = (connection.affected_rows(), u64::from(connection.warnings()));
        self.noticed(loaded).map(|()| counts)
    }

    /// The columns of a query's result, and how many parameters it has. The query is not run.
    ///
    /// # Errors
    /// What the database says.
    pub fn describe(&self, sql: &str) -> Result<(Vec<ResultColumn>, usize), DatabaseError> {
        let mut connection = self.connection.borrow_mut();
        let statement = self.noticed(connection.prep(sql))?;
        let columns = statement.columns().iter().map(ResultColumn::new).collect();
        let parameters = usize::from(statement.num_params());
        self.noticed(connection.close(statement))?;
        Ok((columns, parameters))
    }

    /// Hands the rows of a query over one by one, until `take` answers false. Answers whether it
    /// never did; otherwise the connection is of no further use.
    ///
    /// # Errors
    /// What the database says.
    pub fn stream(
        &self,
        sql: &str,
        mut take: impl FnMut(Vec<Value>) -> bool,
    ) -> Result<bool, DatabaseError> {
        let mut connection = self.connection.borrow_mut();
        // Numbers and times come in binary form: the text of a FLOAT has fewer digits than it.
        let mut rows = connection.exec_iter(sql, ())?;
        while let Some(row) = rows.next() {
            if !take(row?.unwrap()) {
                // Dropping it would read all that is left.
                std::mem::forget(rows);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
        // Results that are not prepared are texts.
        other => Some(other.as_sql(true)),
    }
}

/// A statement with its parameters in their places.
fn bound(sql: &str, parameters: &[Option<i64>]) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut quote = None;
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('"' | '\'' | '`', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            ('?', None) => {
                let number = characters.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10));
                let value = number.and_then(|number| parameters.get(number as usize - 1));
                match value.copied().flatten() {
                    Some(value) => out += &value.to_string(),
                    None => out += "NULL",
                }
                continue;
            }
            _ => {}
        }
        out.push(character);
    }
    out
}

fn options(address: &Address, whole: &Whole) -> OptsBuilder {
    let keepalive = u32::try_from(KEEPALIVE.as_millis()).ok();
    OptsBuilder::new()
        .ip_or_hostname(Some(whole.host.clone()))
        .tcp_port(whole.port)
        .socket(address.socket.clone())
        .prefer_socket(false)
        .user(whole.user.clone())
        .pass(whole.password.clone())
        .db_name(Some(address.database.clone()))
        .tcp_connect_timeout(Some(address.connect_timeout))
        .tcp_keepalive_time_ms(keepalive)
        // Rows that are as they should be count among those that were updated.
        .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
}

fn tls(address: &Address, mode: TlsMode) -> SslOpts {
    let trusting = mode != TlsMode::VerifyFull;
    let root = address.root.clone().or_else(trusted).filter(|_| !trusting);
    SslOpts::default().with_root_cert_path(root).with_danger_accept_invalid_certs(trusting)
}

/// The file of the authorities that the system trusts.
fn trusted() -> Option<PathBuf> {
    const FILES: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(FILES.map(PathBuf::from)).find(|file| file.is_file())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_put_in_their_places_and_nowhere_else() {
        let parameters = [Some(7), None, Some(-1)];
        for (sql, expected) in [
            ("a = ?1 AND b = ?3", "a = 7 AND b = -1"),
            ("\"?1\" <=> ?2", "\"?1\" <=> NULL"),
            ("'it''s ?1' ?1", "'it''s ?1' 7"),
        ] {
            assert_eq!(bound(sql, &parameters), expected);
        }
    }
}
