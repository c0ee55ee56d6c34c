//! Databases of their own for tests, on a server that `cargo xtask test` starts.
//!
//! Where a variable such as `GRISTMILL_POSTGRES` does not say where a server is, there is no
//! database, and a test that wants one returns at once; `cargo xtask test` says in its last lines
//! that such tests were skipped.

pub mod server;

use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_database::{Address, Client, mysql, quoted};

/// A PostgreSQL database that is empty at first, and goes with this value.
#[derive(Debug)]
pub struct Postgres {
    server: String,
    name: String,
    url: String,
}

/// A new database on the server that `GRISTMILL_POSTGRES` names, if it names one.
///
/// # Panics
/// When the server is named and cannot be used.
pub fn postgres() -> Option<Postgres> {
    let (server, name, url) = place("GRISTMILL_POSTGRES")?;
    let database = Postgres { server, name, url };
    let create = format!("CREATE DATABASE {}", quoted(&database.name));
    let created = client(&database.server).batch(&create);
    created.unwrap_or_else(|error| panic!("`{create}` on the tests' server: {error}"));
    Some(database)
}

impl Postgres {
    /// Where it is, as a pipeline file says it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn client(&self) -> Client {
        client(&self.url)
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When one fails.
    pub fn run(&self, sql: &str) {
        self.client().batch(sql).unwrap_or_else(|error| panic!("`{sql}`: {error}"));
    }

    /// The rows of a query as text.
    ///
    /// # Panics
    /// When it fails.
    pub fn texts(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        texts(&self.url, sql)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&self.name));
        // A server that is gone has dropped it as well.
        if let Ok(address) = Address::parse(&self.server)
            && let Ok(client) = Client::connect(&address)
        {
            let _ = client.batch(&drop);
        }
    }
}

/// A MariaDB or MySQL database that is empty at first, and goes with this value.
#[derive(Debug)]
pub struct MySql {
    server: String,
    name: String,
    url: String,
}

/// A new database on the server that `GRISTMILL_MYSQL` names, if it names one.
///
/// # Panics
/// When the server is named and cannot be used.
pub fn mysql() -> Option<MySql> {
    let (server, name, url) = place("GRISTMILL_MYSQL")?;
    let database = MySql { server, name, url };
    let create = format!("CREATE DATABASE {} CHARACTER SET utf8mb4", quoted(&database.name));
    let created = mysql_client(&database.server).batch(&create);
    created.unwrap_or_else(|error| panic!("`{create}` on the tests' server: {error}"));
    Some(database)
}

impl MySql {
    /// Where it is, as a pipeline file says it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When one fails.
    pub fn run(&self, sql: &str) {
        mysql_client(&self.url).batch(sql).unwrap_or_else(|error| panic!("`{sql}`: {error}"));
    }

    /// The rows of a query as text.
    ///
    /// # Panics
    /// When it fails.
    pub fn texts(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        texts(&self.url, sql)
    }

    /// Ends all other connections to it.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn disconnect(&self) {
        let sql = format!(
            "SELECT id FROM information_schema.processlist \
             WHERE db = '{}' AND id <> connection_id()",
            self.name
        );
        let client = mysql_client(&self.server);
        let connections = client.texts(&sql).unwrap_or_else(|error| panic!("`{sql}`: {error}"));
        for connection in connections.into_iter().flatten().flatten() {
            let _ = client.batch(&format!("KILL {connection}")); // or it is gone already
        }
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        let drop = format!("SET lock_wait_timeout = 5; DROP DATABASE {}", quoted(&self.name));
        // A server that is gone has dropped it as well.
        if let Ok(address) = mysql::Address::parse(&self.server)
            && let Ok(client) = mysql::Client::connect(&address)
        {
            let _ = client.batch(&drop);
        }
    }
}

/// The rows of a query as text, whatever the kind of the database.
///
/// # Panics
/// When it fails.
pub fn texts(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    let said = |error: &dyn std::fmt::Display| -> ! { panic!("`{sql}`: {error}") };
    match url.starts_with("postgres:") {
        true => client(url).texts(sql).unwrap_or_else(|error| said(&error)),
        false => mysql_client(url).texts(sql).unwrap_or_else(|error| said(&error)),
    }
}

fn mysql_client(url: &str) -> mysql::Client {
    let address = mysql::Address::parse(url).unwrap_or_else(|mistake| panic!("{mistake}"));
    mysql::Client::connect(&address).unwrap_or_else(|error| panic!("{error}"))
}

/// The server that a variable names, and the name and the URL of a database that is to be made.
fn place(variable: &str) -> Option<(String, String, String)> {
    let server = env::var(variable).ok().filter(|url| !url.is_empty())?;
    let name = unique_name();
    let url = with_database(&server, &name);
    Some((server, name, url))
}

fn client(url: &str) -> Client {
    let address = Address::parse(url).unwrap_or_else(|mistake| panic!("{mistake}"));
    Client::connect(&address).unwrap_or_else(|error| panic!("{error:?}"))
}

/// A name that no other test takes, of this process or another.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("test_{}_{count}_{now}", process::id())
}

/// The URL of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let (place, parameters) = match url.split_once('?') {
        Some((place, parameters)) => (place, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = place.split_once("://").unwrap_or(("postgres", place));
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    format!("{scheme}://{host}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_all_but_the_database() {
        for (url, other) in [
            ("postgres://a@h:1/postgres", "postgres://a@h:1/x"),
            ("postgres://a@h:1", "postgres://a@h:1/x"),
            ("postgres://a@h/b?sslmode=disable", "postgres://a@h/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(url, "x"), other);
        }
    }

    #[test]
    fn a_database_is_gone_after_its_test() {
        let Some(database) = postgres() else { return };
        let (server, name) = (database.server.clone(), database.name.clone());
        let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        let count = || client(&server).texts(&count).unwrap()[0][0].clone().unwrap();
        assert_eq!(database.texts("SELECT current_database()")[0][0].as_ref(), Some(&name));
        let open = database.client();
        assert_eq!(count(), "1");
        drop(database);
        assert_eq!(count(), "0");
        drop(open);
    }
}
