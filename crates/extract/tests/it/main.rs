//! Integration tests of the extractors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod cursors;
mod drift;
mod files;
mod fresh;
mod kept;
mod mistakes;
mod mysql;
mod postgres;
mod ranges;
mod rows;
mod sqlite;
mod support;
