//! `gristmill_loads`: one row for each load, committed with it.

use gristmill_core::{Error, ErrorKind, Loaded, Result};
use gristmill_database::literal;
use gristmill_database::mysql::{Address, Client, DatabaseError, error_of};

use super::session::{self, Session};
use crate::merge::Outcome;
use crate::session::Transactions;
use crate::table::Mode;

/// The table's name.
pub(crate) const TABLE: &str = "gristmill_loads";

/// Creates it unless it is there: before the transaction of a load, which it would commit.
pub(crate) fn create(client: &Client) -> Result<()> {
    let writing = |e| {
        error_of(&format!("cannot create the table `{TABLE}`"), e)
            .hint("grant the user CREATE on the database")
    };
    if is_there(client).map_err(writing)? {
        return Ok(());
    }
    // Texts that are long enough for an index, and compared byte by byte.
    let text = format!("varchar(190) COLLATE {} NOT NULL", client.flavour().exact_collation());
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (run {text}, pipeline {text}, destination {text}, \
         mode varchar(20) NOT NULL, account longtext NOT NULL, \
         at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
         PRIMARY KEY (run, destination)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    );
    client.batch(&create).map_err(writing)
}

fn is_there(client: &Client) -> Result<bool, DatabaseError> {
    let sql = format!(
        "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema = database() AND table_name = '{TABLE}'"
    );
    Ok(client.numbers(&sql, &[])? != [[0]])
}

pub(crate) fn record(
    client: &Client,
    session: &Session,
    table: &str,
    mode: Mode,
    outcome: &Outcome,
) -> Result<()> {
    let account = serde_json::to_string(outcome).unwrap_or_default();
    let values = [session.run(), session.pipeline(), table, mode.name(), &account].map(literal);
    client
        .batch(&format!(
            "INSERT INTO {TABLE} (run, pipeline, destination, mode, account) VALUES ({})",
            values.join(", ")
        ))
        .map_err(|e| error_of(&format!("cannot write the table `{TABLE}`"), e))
}

/// Whether a run has loaded one of these tables. Others of the run may be committed, or not, that
/// went to the same database by another address.
pub(crate) fn has(client: &Client, run: &str, tables: &[String]) -> Result<bool, DatabaseError> {
    if tables.is_empty() || !is_there(client)? {
        return Ok(false);
    }
    let tables: Vec<String> = tables.iter().map(|table| literal(table)).collect();
    let sql = format!(
        "SELECT count(*) FROM {TABLE} WHERE run = {} AND destination IN ({})",
        literal(run),
        tables.join(", ")
    );
    Ok(client.numbers(&sql, &[])? != [[0]])
}

/// Whether a run has loaded a table of a MariaDB or MySQL database, and what it made of the
/// records: to tell on which side of the commit a run died. Waits while a run loads that table.
///
/// # Errors
/// When the database cannot be read.
pub fn committed(url: &str, run: &str, table: &str) -> Result<Option<Loaded>> {
    let address = Address::parse(url)
        .map_err(|mistake| Error::new(ErrorKind::Configuration, mistake.to_string()))?;
    let client = Client::connect(&address)?;
    let reading = |e| error_of(&format!("cannot read the table `{TABLE}`"), e);
    // What the run asked for last may still be on its way; its lock goes when that is over.
    if !session::wait_for(&client, table).map_err(reading)? {
        return Err(Transactions::new(address.name(), run).busy(table));
    }
    if !is_there(&client).map_err(reading)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT account FROM {TABLE} WHERE run = {} AND destination = {}",
        literal(run),
        literal(table)
    );
    let account = client.texts(&sql).map_err(reading)?.into_iter().flatten().flatten().next();
    let outcome: Option<Outcome> = account.and_then(|text| serde_json::from_str(&text).ok());
    Ok(outcome.map(|outcome| outcome.loaded(0)))
}
