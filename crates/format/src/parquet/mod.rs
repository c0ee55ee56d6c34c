//! Apache Parquet.
//!
//! Reading goes by row groups, large ones in slices of rows: each worker opens its own decoder on
//! the shared file. Writing makes one row group of each chunk, whose columns the worker encodes;
//! the sink only appends them. Text is a plain string column in the file, a `json` column has the
//! logical type JSON, and statistics and page indexes are kept.

mod read;
mod write;

pub use read::Reader;
pub use write::{Codec, WriteOptions, writer};
