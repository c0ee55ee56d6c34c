//! The vocabulary that every stage of Gristmill shares: batches with provenance, records, types,
//! rejects, accounts, and the traits that extractors, steps and loaders implement.
//!
//! This crate does no I/O and starts no thread. It owns the laws that hold between stages:
//!
//! - a [`Batch`] never forgets which record of which source a row came from ([`Origin`]);
//! - a finding about data is a value ([`Reject`]), never an `Err`;
//! - every step's books balance ([`Account`]).
//!
//! Text becomes typed values in one place, [`text`], whether a CSV decoder or a cast step asks.
//!
//! ```
//! use gristmill_core::{FieldType, text::{ColumnBuilder, ColumnPlan}};
//!
//! let mut plan = ColumnPlan::new("aum", FieldType::Decimal { precision: 18, scale: 2 });
//! plan.clean.trim = true;
//! let mut column = ColumnBuilder::new(&plan, 2);
//! assert!(column.push(b" 1200.50 ").is_ok());
//! let failure = column.push(b"n/a").unwrap_err();
//! assert_eq!(failure.to_string(), "`n/a` is not a decimal(18, 2)");
//! assert_eq!(column.finish().null_count(), 1); // the failed value is a null in the column
//! ```

pub mod account;
pub mod batch;
pub mod check;
pub mod error;
pub mod exact;
pub mod expression;
pub mod findings;
pub mod json;
pub mod loaded;
pub mod loader;
pub mod metrics;
pub mod mistake;
pub mod origin;
pub mod plan;
pub mod prune;
pub mod record;
pub mod registry;
pub mod reject;
pub mod size;
pub mod stage;
pub mod text;
pub mod types;

pub use account::{Account, Imbalance};
pub use batch::{Batch, Rows};
pub use check::{CheckContext, CheckResult, Gravity, Observation};
pub use error::{Error, ErrorKind, Result};
pub use expression::{Evaluated, Expression, ExpressionCompiler, ExpressionError};
pub use findings::{Findings, Severity, Warning};
pub use loaded::{Loaded, PublishedFile};
pub use loader::{Encoded, Encoder, Loader, Part, Preview};
pub use mistake::{Mistake, Pointer, Segment};
pub use origin::{Location, Origin, Place, Span};
pub use plan::ReadPlan;
pub use prune::{Known, Prune};
pub use record::Record;
pub use registry::{ExtractContext, ExtractorKind, LoadContext, LoaderKind, Planned, StepKind};
pub use reject::{LineHead, LineWriter, Reason, Reject, RejectLine, Stage};
pub use size::{ByteSize, Ratio};
pub use stage::{
    BindContext, Bound, Chunk, Extractor, Grain, LeftOut, Needs, OrderedStep, Records, Reference,
    Space, Step, StepPlan, TableStep, Turn,
};
pub use types::FieldType;
