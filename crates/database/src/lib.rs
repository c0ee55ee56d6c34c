//! Databases behind a network: addresses, passwords, encryption, types, the binary form of rows.
//!
//! What is here serves extractors and loaders alike. A [`Client`] is sync: one thread of its own
//! moves the bytes. Messages name a database by host, port and name; user names and passwords
//! never appear in them.
//!
//! SQLite is not here: it is a file, and its crate needs nothing of this.

pub mod address;
mod client;
pub mod copy;
mod errors;
pub mod mysql;
mod password;
pub mod read;
pub mod results;
pub mod rows;
mod tls;
pub mod types;
mod values;

pub use address::Address;
pub use client::{Client, CopyIn, CopyOut, Described, Piece};
pub use errors::{Refusal, error_of, is_lost, read_error_of, refusal};
pub use tokio_postgres::error::SqlState;
pub use tokio_postgres::{Error as DatabaseError, Row, SimpleQueryMessage};

/// A value that is bound to a parameter.
pub type Parameter<'a> = &'a (dyn tokio_postgres::types::ToSql + Sync);

/// A name as SQL writes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it, with `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
