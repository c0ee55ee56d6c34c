//! What the loaders promise, checked with independent readers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod file;
mod sqlite;
mod support;
