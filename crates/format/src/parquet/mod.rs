//! Apache Parquet.
//!
//! Reading goes by row groups, large ones in slices of rows: each worker opens its own decoder on
//! the shared file. Writing makes one row group of each chunk, whose columns the worker encodes;
//! the sink only appends them. Flat columns of the usual types are encoded here, straight from
//! arrays into pages; the `parquet` crate encodes the others and writes all metadata. Text is a plain string column in the file, a `json` column has the
//! logical type JSON, and statistics and page indexes are kept.

mod bounds;
mod compress;
mod dictionary;
mod gathered;
mod hybrid;
mod kind;
mod number;
mod pages;
mod read;
mod strided;
mod text;
mod tools;
mod write;
mod written;

pub use read::Reader;
pub use write::{Codec, WriteOptions, writer};
