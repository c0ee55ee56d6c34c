//! Rules that judge records, and measures of an input's quality: the `validate` step.
//!
//! A rule judges one field, a record rule several, a key all records together. Whoever fails is
//! rejected with *every* reason, kept with a warning, or ends the run ([`Severity`]); a null passes
//! every rule but `required`, as it passes a `CHECK` in SQL.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{Int64Array, RecordBatch, StringViewArray};
//! use gristmill_core::{Batch, BindContext, Findings, Origin, StepPlan};
//! use gristmill_validate::{Rule, Validate};
//! # use gristmill_core::{Expression, ExpressionCompiler, ExpressionError};
//! # struct NoExpressions;
//! # impl ExpressionCompiler for NoExpressions {
//! #     fn compile(&self, _: &str, _: &arrow_schema::SchemaRef)
//! #     -> Result<Arc<dyn Expression>, ExpressionError> { unreachable!() }
//! #     fn check(&self, _: &str) -> Result<(), ExpressionError> { Ok(()) }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let columns = RecordBatch::try_from_iter([
//!     ("email", Arc::new(StringViewArray::from(vec!["ann@x.org", "bob"])) as _),
//!     ("age", Arc::new(Int64Array::from(vec![31, -4])) as _),
//! ])?;
//! let step = Validate::new()
//!     .rule("email", Rule::matches("@.+\\.")?)
//!     .rule("age", Rule::between(0, 150));
//!
//! let context = BindContext::new(&NoExpressions); // the transform crate has SQL ones
//! let bound = step.bind(&columns.schema(), &context).map_err(|mut all| all.remove(0))?;
//! let origin = Arc::new(Origin::columns("users".into(), columns.clone()));
//! let mut findings = Findings::default();
//! let judged = bound.local.unwrap().apply(Batch::whole(columns, origin)?, &mut findings)?;
//!
//! assert_eq!(judged.settle(&mut findings)?.num_rows(), 1);
//! let reject = &findings.rejects()[0];
//! assert_eq!(reject.errors[0].message, "`bob` does not match @.+\\.");
//! assert_eq!(reject.errors[1].message, "`-4` is not between 0 and 150");
//! # Ok(())
//! # }
//! ```
//!
//! What a rule asks is defined in [`rule`], how it is compared with a column's values is decided
//! once, when the step is bound, and the values are then judged a column at a time.

mod arrays;
mod bind;
pub mod check;
mod distinct;
mod first;
mod judge;
mod key;
mod limit;
pub mod options;
mod ordered;
pub mod pattern;
mod plan;
pub mod profile;
mod quality;
pub mod rule;
pub mod scalar;
mod shape;
mod step;
mod suggest;

pub use check::{Check, Checks};
pub use gristmill_core::Severity;
pub use options::{Keys, Options, Quality, RecordRule, UniqueNulls};
pub use pattern::{Pattern, PatternError};
pub use plan::Validate;
pub use rule::{Length, Rule, Rules, Test};
pub use scalar::Scalar;

use gristmill_core::StepKind;

/// The steps of this crate.
pub static KINDS: &[StepKind] = &[
    StepKind {
        name: "validate",
        about: "Judges records by rules; who fails is rejected with every reason, warned about, or ends the run.",
        example: r"validate:
  rules:
    fund_code: [required, {matches: '^FND\d{6}$', name: fund_code_format}]
    aum: [required, {min: 0}]
    currency: {one_of: [USD, EUR, GBP, JPY, CHF], severity: warn}
    as_of_date: {before: 2030-01-01}
  record_rules:
    - {name: fee_cap, expr: 'management_fee * aum < 1e9'}
  unique: [[fund_code, as_of_date]]
  on_failure: reject
",
        schema: |generator| generator.subschema_for::<Options>(),
        plan: plan::plan,
    },
    StepKind {
        name: "check",
        about: "Judges all records as a whole before anything is published: counts, shares, sums, keys, freshness, DQDL.",
        example: r#"check:
  checks:
    - {measure: row_count, min: 1000}
    - {measure: completeness, column: email, min: 0.95, severity: warn}
    - {measure: primary_key, columns: [fund_code, as_of_date]}
    - {measure: share, column: currency, one_of: [USD, EUR], where: aum > 0, min: 0.9}
    - {measure: freshness, column: as_of_date, max: 3 days}
  dqdl: |
    Rules = [ Mean "fee" < 0.05 ]
"#,
        schema: |generator| generator.subschema_for::<check::Options>(),
        plan: check::plan,
    },
];
