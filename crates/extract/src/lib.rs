//! Extractors: where records come from.
//!
//! An extractor opens its source, says which columns it has, and cuts it into chunks that any
//! worker decodes. Pipelines find extractors in [`KINDS`] by the key of their item; a library user
//! builds one, for example [`File`].
//!
//! ```
//! use gristmill_core::{ByteSize, ExtractContext, FieldType, Findings};
//! use gristmill_extract::File;
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("funds.csv"), "code,aum\nFND000001,1200.50\nFND000002,n/a\n")?;
//!
//! let context = ExtractContext {
//!     base: folder.path().to_owned(),
//!     scratch: folder.path().to_owned(),
//!     memory: ByteSize(64 << 20),
//!     workers: 2,
//!     range: Default::default(),
//!     guess: None,
//! };
//! let aum = FieldType::Decimal { precision: 18, scale: 2 };
//! let mut funds = File::new("*.csv").column("aum", aum).extractor(&context)?;
//! let plan = funds.read_plan()?;
//! let schema = funds.begin(plan)?;
//! assert_eq!(schema.field(0).name(), "code");
//!
//! let mut findings = Findings::default();
//! while let Some(mut chunk) = funds.next_chunk()? {
//!     while let Some(batch) = chunk.next_batch(&mut findings)? {
//!         assert_eq!(batch.num_rows(), 2);
//!         assert_eq!(batch.flaws()[0].reason.message, "`n/a` is not a decimal(18, 2)");
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adapt;
pub mod file;
pub mod rows;
pub mod table;

use gristmill_core::ExtractorKind;

pub use file::File;
pub use rows::Rows;
pub use table::{Query, Table};

/// The extractors that pipelines can name.
pub static KINDS: &[ExtractorKind] = &[file::KIND, table::TABLE, table::QUERY, rows::KIND];
