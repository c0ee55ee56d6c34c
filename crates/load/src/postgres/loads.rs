//! `gristmill_loads`: one row for each load, committed with it.

use gristmill_core::{Error, ErrorKind, Loaded, Result};
use gristmill_database::{Address, Client, DatabaseError, error_of};

use super::session::{self, Session};
use super::target::Target;
use crate::merge::Outcome;
use crate::table::Mode;

/// The table's name.
pub(crate) const TABLE: &str = "gristmill_loads";

const CREATE: &str = "CREATE TABLE gristmill_loads (\
    run text NOT NULL, pipeline text NOT NULL, destination text NOT NULL, mode text NOT NULL, \
    account jsonb NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), \
    PRIMARY KEY (run, destination))";

/// Refuses a database in which it can neither be found nor created, before anything is loaded.
pub(crate) fn check(client: &Client) -> Result<()> {
    let sql = format!(
        "SELECT to_regclass('{TABLE}') IS NOT NULL \
         OR coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE)"
    );
    let possible: bool =
        client.row(&sql, &[]).map_err(|e| error_of("cannot look for a table", e))?.get(0);
    if possible {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Permission, format!("the table `{TABLE}` cannot be created"))
        .hint(format!("grant the user CREATE on the schema, or run: {CREATE};")))
}

/// Creates it unless it is there: in the transaction of the first load. Another first load waits
/// until this one has committed.
///
/// # Errors
/// When the transaction is one of this run, which commits none before all are prepared.
fn create(session: &Session) -> Result<()> {
    let client = session.client()?;
    let writing = |e| error_of(&format!("cannot write the table `{TABLE}`"), e);
    if is_there(client).map_err(writing)? {
        return Ok(());
    }
    let key = format!("hashtextextended('{TABLE}', 0)");
    if session.has_sibling() {
        let sql = format!("SELECT pg_try_advisory_xact_lock({key})");
        let locked: bool = client.row(&sql, &[]).map_err(writing)?.get(0);
        if !locked {
            let message = format!("the table `{TABLE}` is being created by another load");
            return Err(Error::new(ErrorKind::Transient, message).hint(
                "run again when it is done; several destinations in one database need one URL",
            ));
        }
    } else {
        client.batch(&format!("SELECT pg_advisory_xact_lock({key})")).map_err(writing)?;
    }
    match is_there(client).map_err(writing)? {
        true => Ok(()),
        false => client.batch(CREATE).map_err(writing),
    }
}

fn is_there(client: &Client) -> Result<bool, DatabaseError> {
    Ok(client.row(&format!("SELECT to_regclass('{TABLE}') IS NOT NULL"), &[])?.get(0))
}

pub(crate) fn record(
    client: &Client,
    session: &Session,
    target: &Target,
    mode: Mode,
    outcome: &Outcome,
) -> Result<()> {
    let account = serde_json::to_string(outcome).unwrap_or_default();
    let writing = |e| error_of(&format!("cannot write the table `{TABLE}`"), e);
    create(session)?;
    client
        .execute(
            "INSERT INTO gristmill_loads (run, pipeline, destination, mode, account) \
             VALUES ($1, $2, $3, $4, $5::text::jsonb)",
            &[&session.run(), &session.pipeline(), &target.name, &mode.name(), &account],
        )
        .map_err(writing)?;
    Ok(())
}

/// Whether a run's loads of tables are committed: those of one transaction. Others of the run may
/// be, or not, that went to the same database by another address.
pub(crate) fn has(client: &Client, run: &str, tables: &[String]) -> Result<bool, DatabaseError> {
    if !is_there(client)? {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM gristmill_loads \
               WHERE run = $1 AND destination = ANY ($2))";
    Ok(client.row(sql, &[&run, &tables])?.get(0))
}

/// Whether a run has loaded a table of a PostgreSQL database, and what it made of the records: to
/// tell on which side of the commit a run died. Waits while a run loads that table.
///
/// # Errors
/// When the database cannot be read.
pub fn committed(url: &str, run: &str, table: &str) -> Result<Option<Loaded>> {
    let address = Address::parse(url)
        .map_err(|mistake| Error::new(ErrorKind::Configuration, mistake.to_string()))?;
    let client = Client::connect(&address)?;
    let reading = |e| error_of(&format!("cannot read the table `{TABLE}`"), e);
    // What the run asked for last may still be on its way; its lock goes when that is over.
    session::wait_for(&client, [table]).map_err(reading)?;
    if !is_there(&client).map_err(reading)? {
        return Ok(None);
    }
    let sql = "SELECT account::text FROM gristmill_loads WHERE run = $1 AND destination = $2";
    let rows = client.query(sql, &[&run, &table]).map_err(reading)?;
    let account = rows.first().map(|row| row.get::<_, String>(0));
    let outcome: Option<Outcome> = account.and_then(|text| serde_json::from_str(&text).ok());
    Ok(outcome.map(|outcome| outcome.loaded(0)))
}
