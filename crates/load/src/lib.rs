//! Loaders: where records go.
//!
//! A loader hands out an encoder that workers share, takes what they encoded in the order of the
//! source, and publishes in two phases: what is prepared is durable and invisible, what is
//! published is visible at once. A loader that is dropped before leaves no trace.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{Int64Array, RecordBatch};
//! use gristmill_core::{Batch, ByteSize, Findings, LoadContext, Origin};
//! use gristmill_load::Table;
//!
//! let folder = tempfile::tempdir()?;
//! let columns = RecordBatch::try_from_iter([
//!     ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as _),
//! ])?;
//! let origin = Arc::new(Origin::columns("numbers".into(), columns.clone()));
//! let batch = Batch::whole(columns, origin)?;
//!
//! let context = LoadContext {
//!     base: folder.path(),
//!     pipeline: "example",
//!     run: "1",
//!     started: chrono::Utc::now(),
//!     scratch: folder.path(),
//!     memory: ByteSize(64 << 20),
//!     workers: 2,
//! };
//! let mut loader = Table::sqlite("numbers.db", "numbers").open(&batch.schema(), &context)?;
//! let mut part = loader.encoder().begin();
//! part.push(&batch)?;
//! let mut findings = Findings::default();
//! loader.append(part.finish()?, &mut findings)?;
//! loader.prepare(&mut findings)?;
//! assert_eq!(loader.publish()?.inserted, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod before;
mod changes;
mod database;
mod dialect;
pub mod file;
mod fit;
mod hidden;
mod merge;
pub mod mysql;
mod part;
mod partitions;
mod patience;
pub mod postgres;
mod preview;
mod reading;
mod records;
pub mod scd2;
mod server;
mod session;
mod spool;
pub mod sqlite;
mod statements;
pub mod table;
mod transaction;
mod versions;

use gristmill_core::LoaderKind;

pub use before::before;
pub use changes::SchemaChanges;
pub use file::File;
pub use table::Table;

/// The loaders that pipelines can name.
pub static KINDS: &[LoaderKind] = &[file::KIND, table::KIND];
