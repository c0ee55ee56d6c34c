//! Steps that clean, cast, map, derive, filter, flatten, explode and deduplicate records, and SQL
//! expressions.
//!
//! Each step is a plan (its options, which pipelines write in YAML and libraries build in Rust),
//! is bound to a schema, and then works on batches. Leading `clean`, `cast`, `map`, `select` and
//! `drop` steps write themselves into the source's read plan instead, where it can hold them: with
//! the same result, and no text column is built for what becomes a number.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch};
//! use gristmill_core::{Batch, BindContext, Findings, Origin, StepPlan};
//! use gristmill_transform::{Derive, Sql};
//!
//! let units: ArrayRef = Arc::new(Int64Array::from(vec![4, 0, 5]));
//! let columns = RecordBatch::try_from_iter([("units", units)])?;
//! let origin = Arc::new(Origin::columns("orders".into(), columns.clone()));
//! let batch = Batch::whole(columns, origin)?;
//!
//! let sql = Sql::new();
//! let step = Derive::new()
//!     .column("price", "100 / units")
//!     .column("total", "price * units")
//!     .bind(&batch.schema(), &BindContext::new(&sql))
//!     .map_err(|mistakes| mistakes[0].clone())?;
//!
//! let mut findings = Findings::default();
//! let batch = step.local.expect("derive is local").apply(batch, &mut findings)?;
//! let batch = batch.settle(&mut findings)?;
//! assert_eq!((batch.num_rows(), findings.rejects().len()), (2, 1));
//! assert_eq!(findings.rejects()[0].errors[0].message, "division by zero in `100 / units`");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod expression;
mod names;
mod options;
mod relational;
pub mod steps;
mod suggest;

pub use expression::Sql;
pub use names::{snake_case, snake_case_all};
pub use steps::{
    Aggregate, Cast, CastTo, Clean, Compare, Dedupe, Derive, Drop, Early, Explode, Filter, Flatten,
    How, Join, KINDS, Lookup, MapFields, NullValues, Others, Otherwise, Pivot, PivotAggregate,
    Select, Sort, SqlQuery, Tolerance, Unpivot, Window,
};
