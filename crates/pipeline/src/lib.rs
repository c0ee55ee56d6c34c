//! Pipelines: the definition file, checked; the run; the ledger of runs; the report.
//!
//! This crate alone knows all stages. A pipeline comes from a file ([`definition`]) or from Rust
//! ([`Pipeline`]), and both become the same run.
//!
//! ```
//! use gristmill_pipeline::{File, MapFields, Output, Pipeline, Rule, Validate};
//!
//! let folder = tempfile::tempdir()?;
//! let (input, output) = (folder.path().join("input.json"), folder.path().join("output.json"));
//! std::fs::write(&input, r#"[
//!     {"user_id": 1, "user_name": "Ada", "email": "ada@example.com"},
//!     {"user_id": 2, "user_name": "Bob", "email": "nowhere"}
//! ]"#)?;
//!
//! let report = Pipeline::new("user_data")
//!     .extract(File::open(&input)?)
//!     .step(MapFields::new([("user_id", "id"), ("user_name", "name")]))
//!     .step(Validate::new().rule("email", Rule::matches("@.+\\.")?))
//!     .load(Output::create(&output)?)
//!     .run()?;
//!
//! assert_eq!((report.account.loaded(), report.rejected), (1, 1));
//! assert_eq!(
//!     std::fs::read_to_string(&output)?,
//!     "[\n{\"id\":1,\"name\":\"Ada\",\"email\":\"ada@example.com\"}\n]\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backfill;
pub mod contract;
pub mod convert;
pub mod definition;
pub mod execute;
pub mod init;
pub mod ledger;
mod library;
pub mod params;
pub mod profile;
pub mod quality;
pub mod rejects;
pub mod report;
pub mod run;
mod scratch;
pub mod testing;
mod unfinished;
pub mod values;

pub use definition::Definition;
pub use gristmill_core::{Error, ErrorKind, Result};
pub use gristmill_extract::{File, Query, Rows, Table as SourceTable};
pub use gristmill_load::scd2::{Missing, Scope};
pub use gristmill_load::table::{Create, Duplicates, Mode};
pub use gristmill_load::{File as Output, SchemaChanges, Table};
pub use gristmill_transform::{Cast, Clean, Dedupe, Derive, Filter, Lookup, MapFields};
pub use gristmill_validate::{Rule, Validate};
pub use library::{IntoDestination, IntoSource, Pipeline};
pub use report::{Report, Status};
