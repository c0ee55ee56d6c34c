//! A table in ranges of its key, read by several connections at the same moment.
//!
//! A server has no word for a moment that connections share. So a further one takes a lock that keeps
//! changes of the table out while the others begin. Who reads looks ahead in the index: a range ends
//! after as many records as make a piece, so that it does not matter whether keys lie close together
//! or far apart. The order is that of the key, for any number of connections.

use std::sync::{Arc, Mutex};

use gristmill_core::{Error, Result};
use gristmill_database::mysql::{Address, Client, DatabaseError, read_error_of};

use super::key::{Key, Range, Writing};
use super::{BEGIN, Reading, put};
use crate::table::stepped::{CHUNK, Step};

/// Records of the first ranges, while it is not known how large they are.
const FIRST: u64 = 1000;
/// Bytes that a range should have, so that most of them are one piece.
const RANGE: u64 = CHUNK as u64 / 4 * 3;
/// How long the lock may take, in seconds.
const PATIENCE: u32 = 1;
/// What tells servers behind one address apart.
const SERVER: &str = "SELECT @@hostname, @@port, @@server_id, @@datadir";

/// Connections that see a table as a first one does.
pub(super) struct Moment(Vec<Client>);

impl Moment {
    /// Begins the transactions of the first connection and of so many others; answers why there are
    /// none where that cannot be. The first one reads alone then.
    ///
    /// Each looks at the table while nobody can change what it is, since nobody else can then do so
    /// until it ends: who waits to does not come between two of them.
    pub(super) fn begin(
        first: &Client,
        address: &Address,
        table: &str,
        others: usize,
    ) -> Result<Self, String> {
        let server = first.texts(SERVER).map_err(said)?;
        let connect = || {
            let client = Client::connect(address)
                .map_err(|error| error.causes().pop().unwrap_or_default())?;
            match client.texts(SERVER).map_err(said)? == server {
                true => Ok(client),
                false => Err("there are several servers behind its address".to_owned()),
            }
        };
        let guard = connect()?;
        let mut more = vec![connect()?];
        more.extend((1..others).map_while(|_| connect().ok()));
        let lock = format!("SET lock_wait_timeout = {PATIENCE}; LOCK TABLES {table} READ");
        guard.batch(&lock).map_err(|error| format!("LOCK TABLES: {}", said(error)))?;
        let begin = format!("{BEGIN}; SELECT 1 FROM {table} LIMIT 0");
        first.batch(&begin).map_err(said)?;
        more.retain(|client| client.batch(&begin).is_ok());
        // It may have been lost before all of them began.
        guard.batch("UNLOCK TABLES").map_err(said)?;
        Ok(Self(more))
    }

    /// The step of each connection.
    pub(super) fn steps(
        self,
        first: Reading,
        key: &Key,
        writing: Writing,
        columns: &str,
    ) -> Vec<Step> {
        let Reading { client: first, found, what, .. } = first;
        let plan = Plan { above: None, is_over: false, records: 0, bytes: 0 };
        let plan = Arc::new(Mutex::new(plan));
        let step = |client: Client| -> Step {
            let (plan, key) = (Arc::clone(&plan), key.clone());
            let (found, what, columns) = (found.clone(), what.clone(), columns.to_owned());
            Box::new(move |pieces| {
                let failed = |error| read_error_of(&what, error);
                let plan = || {
                    plan.lock()
                        .map_err(|_| Error::internal("another connection's thread broke off"))
                };
                loop {
                    let range = {
                        let mut plan = plan()?;
                        let next = plan.next(&client, &key, writing).map_err(failed)?;
                        let Some(range) = next else { return Ok(()) };
                        pieces.begin(); // while no other connection can
                        range
                    };
                    let before = pieces.size();
                    let mut records = 0;
                    let read = client.stream(&key.select(&columns, &range), |values| {
                        records += 1;
                        put(values, &found, pieces)
                    });
                    let is_wanted = read.map_err(failed)?;
                    plan()?.learn(records, pieces.size() - before);
                    if !is_wanted || !pieces.finish() {
                        return Ok(());
                    }
                }
            })
        };
        [first].into_iter().chain(self.0).map(step).collect()
    }
}

/// What is left to read.
struct Plan {
    above: Option<String>,
    is_over: bool,
    /// How many records were read, and how large they are.
    records: u64,
    bytes: u64,
}

impl Plan {
    fn next(
        &mut self,
        client: &Client,
        key: &Key,
        writing: Writing,
    ) -> Result<Option<Range>, DatabaseError> {
        if self.is_over {
            return Ok(None);
        }
        let records = (RANGE * self.records).checked_div(self.bytes).unwrap_or(FIRST);
        let found = client.texts(&key.ahead(self.above.as_ref(), records))?;
        let found = found.into_iter().flatten().flatten().next();
        let until = found.and_then(|text| writing.written(&text));
        self.is_over = until.is_none();
        Ok(Some((std::mem::replace(&mut self.above, until.clone()), until)))
    }

    fn learn(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
    }
}

fn said(error: DatabaseError) -> String {
    match error {
        DatabaseError::MySqlError(error) => error.message,
        _ => "the connection was lost".to_owned(),
    }
}
