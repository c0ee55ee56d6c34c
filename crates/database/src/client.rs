//! A connection that is used as if it were sync.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use gristmill_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Error as DatabaseError, Row, SimpleQueryMessage};

use crate::address::Address;
use crate::copy::HEADER;
use crate::errors::error_of;
use crate::results::ResultColumn;
use crate::tls;

/// How long TCP, encryption and login may take together, beyond the timeout of TCP itself.
pub(crate) const LOGIN: Duration = Duration::from_secs(30);

/// A connection to a PostgreSQL database. Times are UTC in it, and it is never idle for too long.
pub struct Client {
    client: Arc<tokio_postgres::Client>,
    /// A thread that moves bytes while the caller does something else.
    runtime: Runtime,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached or does not let the user in.
    pub fn connect(address: &Address) -> Result<Self> {
        let config = address.with_password()?;
        let connector = tls::connector(address)?;
        let what = || format!("cannot connect to `{}`", address.name());
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("gristmill-database")
            .enable_all()
            .build()
            .map_err(|e| Error::io("cannot start a thread", e))?;
        let limit = LOGIN + config.get_connect_timeout().copied().unwrap_or_default();
        let connected = runtime
            .block_on(async { tokio::time::timeout(limit, config.connect(connector)).await });
        let (client, connection) = match connected {
            Ok(connected) => connected.map_err(|e| error_of(&what(), e))?,
            Err(_) => {
                return Err(Error::new(ErrorKind::Transient, what())
                    .caused_by("the server does not answer")
                    .hint("look at host and port, and at the network"));
            }
        };
        runtime.spawn(connection);
        let client = Self { client: Arc::new(client), runtime };
        // Since PostgreSQL 14 a server can notice in the middle of a statement that nobody waits for
        // its end.
        client
            .batch(
                "SET TIME ZONE 'UTC'; SET datestyle TO 'ISO'; SET intervalstyle TO 'iso_8601'; \
                 SET extra_float_digits TO 3; SET standard_conforming_strings TO on; \
                 SET idle_in_transaction_session_timeout TO 0; \
                 SELECT set_config(name, '2s', FALSE) FROM pg_settings \
                 WHERE name = 'client_connection_check_interval'",
            )
            .map_err(|e| error_of(&what(), e))?;
        Ok(client)
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Runs statements without parameters and without results.
    ///
    /// # Errors
    /// What the database says.
    pub fn batch(&self, sql: &str) -> Result<(), DatabaseError> {
        self.block(self.client.batch_execute(sql))
    }

    /// Runs a statement without a result, and answers the number of rows it touched.
    ///
    /// # Errors
    /// What the database says.
    pub fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DatabaseError> {
        self.block(self.client.execute(sql, parameters))
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What the database says.
    pub fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.block(self.client.query(sql, parameters))
    }

    /// The only row of a query.
    ///
    /// # Errors
    /// What the database says; that there is not one row.
    pub fn row(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, DatabaseError> {
        self.block(self.client.query_one(sql, parameters))
    }

    /// The rows of a query as text, whatever their types are.
    ///
    /// # Errors
    /// What the database says.
    pub fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
        let messages = self.block(self.client.simple_query(sql))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Begins a COPY to the server. Until it is finished or dropped, all else that is asked of the
    /// connection waits.
    ///
    /// # Errors
    /// What the database says at the beginning.
    pub fn copy_in(&self, sql: &str) -> Result<CopyIn, DatabaseError> {
        let sink = self.block(self.client.copy_in::<_, Bytes>(sql))?;
        Ok(CopyIn { sink: Box::pin(sink), runtime: self.runtime.handle().clone() })
    }

    /// The columns of a query's result. The query is not run.
    ///
    /// # Errors
    /// What the database says.
    pub fn describe(&self, sql: &str) -> Result<Described, DatabaseError> {
        let statement = self.block(self.client.prepare(sql))?;
        let columns = statement.columns().iter();
        let column = |column: &tokio_postgres::Column| {
            ResultColumn::new(column.name(), column.type_(), column.type_modifier())
        };
        Ok(Described {
            columns: columns.map(column).collect(),
            parameters: statement.params().len(),
        })
    }

    /// Runs COPY statements in binary form to here, one after the other. Rows come in pieces of
    /// about `size` bytes, which end where a row ends; while one is waited for, no more than one
    /// other is held. Each statement has a last piece, which may be empty.
    pub fn copy_out<S>(&self, statements: S, size: usize) -> CopyOut
    where
        S: IntoIterator<Item = String, IntoIter: Send + 'static>,
    {
        let (sender, receiver) = mpsc::channel(1);
        let (client, statements) = (Arc::clone(&self.client), statements.into_iter());
        self.runtime.spawn(async move {
            for statement in statements {
                match copied(&client, &statement, size, &sender).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        let _ = sender.send(Err(error)).await; // or nobody wants to know
                        return;
                    }
                }
            }
        });
        CopyOut { receiver }
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// A COPY to the server. Dropped before it is finished, it comes to nothing.
pub struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    runtime: Handle,
}

impl CopyIn {
    /// Sends a piece; waits while what was sent before is still on its way. Whether the database
    /// refuses it is known at the end.
    pub fn send(&mut self, piece: Bytes) {
        // A sink that is closed has an answer waiting, which says why.
        let _ = self.runtime.block_on(self.sink.feed(piece));
    }

    /// Ends it, and answers the number of rows that the database took.
    ///
    /// # Errors
    /// What the database says. Nothing of the COPY stays then.
    pub fn finish(mut self) -> Result<u64, DatabaseError> {
        self.runtime.block_on(self.sink.as_mut().finish())
    }
}

/// What a query gives and wants.
#[derive(Debug, Clone)]
pub struct Described {
    /// The columns of its result.
    pub columns: Vec<ResultColumn>,
    /// How many parameters it has.
    pub parameters: usize,
}

/// Hands the rows of one COPY over; answers whether somebody wants more.
async fn copied(
    client: &tokio_postgres::Client,
    statement: &str,
    size: usize,
    sender: &mpsc::Sender<Result<Piece, DatabaseError>>,
) -> Result<bool, DatabaseError> {
    let mut messages = pin!(client.copy_out(statement).await?);
    let mut rows = BytesMut::new();
    let mut begun = false;
    // A message is a row; what is before all rows comes with the first one or alone.
    while let Some(message) = messages.next().await {
        let mut message = message?;
        if !std::mem::replace(&mut begun, true) && message.len() >= HEADER.len() {
            message.advance(HEADER.len());
        }
        if message.as_ref() != crate::copy::TRAILER {
            rows.extend_from_slice(&message);
        }
        if rows.len() >= size {
            let piece = Piece { rows: rows.split().freeze(), is_last: false };
            if sender.send(Ok(piece)).await.is_err() {
                return Ok(false);
            }
            rows.reserve(size + size / 8);
        }
    }
    let last = Piece { rows: rows.freeze(), is_last: true };
    Ok(sender.send(Ok(last)).await.is_ok())
}

/// Some rows of a COPY from the server.
#[derive(Debug)]
pub struct Piece {
    /// The rows, without what stands before and behind all of them.
    pub rows: Bytes,
    /// Whether its statement has no more of them.
    pub is_last: bool,
}

/// The rows of COPY statements, piece by piece. Their client must live as long.
#[derive(Debug)]
pub struct CopyOut {
    receiver: mpsc::Receiver<Result<Piece, DatabaseError>>,
}

impl Iterator for CopyOut {
    type Item = Result<Piece, DatabaseError>;

    /// The next piece; waits for it.
    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.blocking_recv()
    }
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyIn")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
