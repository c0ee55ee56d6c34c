//! Integration tests of the codecs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod columnar;
mod compression;
mod csv;
mod infer;
mod json;
mod parquet;
mod peers;
mod rows;
mod support;
