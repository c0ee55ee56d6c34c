//! Arrow IPC: files (also called Feather, version 2) and streams.
//!
//! A file is told from a stream by its first bytes. The record batches of a file are read and
//! decoded by workers; those of a stream one after the other. What is written is always a file;
//! text is a plain string column there, so that any tool reads it.

mod read;
mod write;

pub use read::Reader;
pub use write::{Codec, WriteOptions, writer};
