//! Pipelines: YAML → checked plan → run; the ledger, the report.
//!
//! This crate alone knows all stages.

pub mod report;
pub mod run;

pub use report::{Report, Status};
