//! `sort`: the records in the order of their keys.

use arrow_schema::SchemaRef;
use gristmill_core::{BindContext, Bound, Grain, Mistake, Pointer, Result, StepKind, StepPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{expression_mistake, keys};
use crate::options;
use crate::relational::{INPUT, ROW, Tables, column, input, planned, select, with_row};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "sort",
    about: "Brings the records into the order of some columns.",
    example: "sort: {by: [fund_code, as_of_date desc]}\n",
    schema: |generator| generator.subschema_for::<Sort>(),
    plan: |options, _| {
        let plan: Sort = options::read(options)?;
        let mistakes = plan.check();
        options::planned(plan, mistakes)
    },
};

/// Brings the records into the order of some columns. Records that are equal in all of them keep
/// their order. Texts are compared byte by byte.
///
/// No record goes on before all of them are read; what does not fit in the step's share of
/// `limits.memory` goes to a temporary folder. A record that a later step rejects still names its
/// line.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sort {
    /// The columns, the most important one first. Behind its name, `desc` stands for the largest
    /// values first, and `nulls first` for nulls before everything else.
    pub by: Vec<String>,
    /// How many records go on: the first ones.
    #[serde(default)]
    pub limit: Option<u64>,
}

impl Sort {
    /// In the order of these columns, each with `desc` and `nulls first` where that is meant.
    pub fn by<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        Self { by: keys.into_iter().map(Into::into).collect(), limit: None }
    }

    /// Only so many go on.
    #[must_use]
    pub fn limit(mut self, records: u64) -> Self {
        self.limit = Some(records);
        self
    }

    fn check(&self) -> Vec<Mistake> {
        let at = Pointer::root().key("by");
        let none = self.by.is_empty();
        none.then(|| Mistake::new(at, "a sort needs at least one column")).into_iter().collect()
    }
}

impl StepPlan for Sort {
    fn bind(&self, schema: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.check();
        let names = options::names(schema);
        let mut order = Vec::new();
        for (i, text) in self.by.iter().enumerate() {
            match keys::key(&names, text, Pointer::root().key("by").index(i)) {
                Ok(key) => order.push(key),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let limit = self.limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let rest = format!("FROM {INPUT} ORDER BY {}{limit}", order.join(", "));
        let results = names.into_iter().chain([ROW]).map(column).collect();
        let query = select(results, &rest)
            .and_then(|statement| planned(statement, &[input(&with_row(schema))]))
            .map_err(|found| vec![expression_mistake(Pointer::root(), found)])?;
        // A limit leaves records out that nothing is wrong with.
        let grain = if self.limit.is_some() { Grain::Changes } else { Grain::Preserves };
        Ok(Tables::same_records(KIND.name, query, schema).bound(grain))
    }
}
