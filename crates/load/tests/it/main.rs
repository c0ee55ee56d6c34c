//! What the loaders promise, checked with independent readers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod warehouse;

mod changes;
mod conformance;
mod file;
mod modes;
mod mysql;
mod postgres;
mod scd2;
mod servers;
mod sqlite;
mod support;
mod tls;
