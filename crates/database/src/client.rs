//! A connection that is used as if it were sync.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use gristmill_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Error as DatabaseError, Row, SimpleQueryMessage};

use crate::address::{Address, CONNECT_TIMEOUT};
use crate::copy::HEADER;
use crate::errors::error_of;
use crate::results::ResultColumn;
use crate::tls;

/// What a session is told. Since PostgreSQL 14 a server can notice in the middle of a statement that
/// nobody waits for its end.
const SESSION: &str = "SET TIME ZONE 'UTC'; SET datestyle TO 'ISO'; SET intervalstyle TO 'iso_8601'; \
    SET extra_float_digits TO 3; SET standard_conforming_strings TO on; \
    SET idle_in_transaction_session_timeout TO 0; \
    SELECT set_config(name, '2s', FALSE) FROM pg_settings \
    WHERE name = 'client_connection_check_interval'";

/// A connection to a PostgreSQL database. Times are UTC in it, and it is never idle for too long.
pub struct Client {
    client: Arc<tokio_postgres::Client>,
    /// A thread that moves bytes while the caller does something else.
    runtime: Runtime,
}

/// That nobody answers. `what` says what was tried.
pub(crate) fn silent(what: String) -> Error {
    Error::new(ErrorKind::Transient, what).caused_by("the server does not answer").hint(
        "look at host and port, and at the network; `connect_timeout` in the URL, in seconds, \
         waits longer",
    )
}

impl Client {
    /// Connects, within the address's `connect_timeout`.
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
        let connecting = async {
            let (client, connection) = config.connect(connector).await?;
            tokio::spawn(connection);
            client.batch_execute(SESSION).await?;
            Ok(client)
        };
        // Of each host that it may be: TCP, encryption, login and settings together.
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1).max(1);
        let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT) * hosts;
        match runtime.block_on(async { tokio::time::timeout(limit, connecting).await }) {
            Ok(Ok(client)) => Ok(Self { client: Arc::new(client), runtime }),
            Ok(Err(error)) => Err(error_of(&what(), error)),
            Err(_) => Err(silent(what())),
        }
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::mysql;

    /// The address of a server that says so much to everybody, and then no more.
    fn silent_after(words: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut open: Vec<TcpStream> = Vec::new();
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let _ = client.write_all(words); // it may have gone
                open.push(client);
            }
        });
        address
    }

    #[test]
    fn a_server_that_does_not_answer_is_given_up() {
        let began = Instant::now();
        // Authenticated, and ready for a query.
        let ready = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
        let cases = [
            ("postgres", "", &b""[..]),
            ("postgres", "&sslmode=disable", b""),
            ("postgres", "&sslmode=disable", ready),
            ("postgres", "&sslmode=require", b"S"),
            ("mysql", "", b""),
            ("mysql", "&sslmode=disable", b"\x4a\0\0"),
        ];
        thread::scope(|scope| {
            for (scheme, parameters, words) in cases {
                scope.spawn(move || {
                    let host = silent_after(words);
                    let url = format!("{scheme}://ann:x@{host}/dwh?connect_timeout=1{parameters}");
                    let error = match scheme {
                        "mysql" => {
                            mysql::Client::connect(&mysql::Address::parse(&url).unwrap()).err()
                        }
                        _ => Client::connect(&Address::parse(&url).unwrap()).err(),
                    };
                    let error = error.unwrap();
                    assert!(error.is_transient(), "{url}: {error:?}");
                    assert_eq!(error.causes(), ["the server does not answer"], "{url}");
                });
            }
        });
        assert!(began.elapsed() < Duration::from_secs(25), "login has a time of its own");
    }
}
