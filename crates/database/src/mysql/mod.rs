//! MariaDB and MySQL: addresses, option files, types, rows in the form of `LOAD DATA`.
//!
//! A session is strict, speaks UTF-8 and UTC, and quotes names as standard SQL does, so that
//! statements that other databases understand are understood.

mod address;
mod client;
mod errors;
mod files;
pub mod results;
pub mod rows;
pub mod types;

pub use address::Address;
pub use client::{Client, Flavour, Rows};
pub use errors::{error_of, is_lost, is_missing, read_error_of, refusal};
pub use mysql::{Error as DatabaseError, Value};
