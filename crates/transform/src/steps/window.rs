//! `window`: columns computed from other records.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use gristmill_core::{BindContext, Bound, Mistake, Pointer, Result, StepKind, StepPlan};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{computed, expression_mistake, keys};
use crate::options;
use crate::relational::{
    INPUT, Place, ROW, SetFunctions, Windows, column, expression, input, named, over, planned,
    quoted, select, with_row,
};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "window",
    about: "Computes columns from the records around each record: running totals, ranks, the value before.",
    example: "window: {partition_by: [fund_code], order_by: [as_of_date], columns: {running_aum: sum(aum), previous_aum: lag(aum)}}\n",
    schema: |generator| generator.subschema_for::<Window>(),
    plan: |options, _| {
        let plan: Window = options::read(options)?;
        let mistakes = plan.check();
        options::planned(plan, mistakes)
    },
};

/// Computes columns from the records around each record. The records keep their order, and all
/// their columns; a column of the same name is replaced in its place, others come last.
///
/// A column is an SQL expression with window functions (`row_number()`, `rank()`, `dense_rank()`,
/// `percent_rank()`, `ntile(4)`, `lag(x)`, `lead(x, 2)`, `first(x)`, `last(x)`, `nth_value(x, 2)`) or
/// the functions of `aggregate`, for example `revenue / sum(revenue)`. They look at the records of
/// the same partition. With `order_by`, sums and the like run from the partition's first record to
/// this one; without it, they are over the whole partition; `frame` says what else is meant. Where
/// a function has an `OVER (…)` of its own, that counts. Records that are equal in `order_by` are
/// taken in the order of the input.
///
/// What does not fit in the step's share of `limits.memory` goes to a temporary folder; where a
/// function looks at a whole partition, the largest one must fit. A value that cannot be computed
/// ends the run. A record that a later step rejects still names its line.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// The columns whose values tell partitions apart. Without them, all records are one.
    pub partition_by: Vec<String>,
    /// The order within a partition: columns, with `desc` and `nulls first` where that is meant.
    pub order_by: Vec<String>,
    /// The records around each one that count, as SQL says it, for example
    /// `rows between 2 preceding and current row`.
    pub frame: Option<String>,
    /// The new columns by name, each an SQL expression with window functions.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub columns: IndexMap<String, String>,
}

impl Window {
    /// Over all records, in their order.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at records that are equal in these columns.
    #[must_use]
    pub fn partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// In the order of these columns.
    #[must_use]
    pub fn order_by<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.order_by = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Looks at these records around each one, as SQL says it.
    #[must_use]
    pub fn frame(mut self, frame: impl Into<String>) -> Self {
        self.frame = Some(frame.into());
        self
    }

    /// Adds a column, computed by an SQL expression with window functions.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, expression: impl Into<String>) -> Self {
        self.columns.insert(name.into(), expression.into());
        self
    }

    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.columns.is_empty() {
            let message = "there is nothing to compute";
            mistakes.push(
                Mistake::new(Pointer::root(), message).hint("say what to compute with `columns`"),
            );
        }
        if let Some(frame) = &self.frame
            && over(count(), frame).is_err()
        {
            let message = format!("`{frame}` is no frame");
            mistakes.push(
                Mistake::new(Pointer::root().key("frame"), message)
                    .hint("for example `rows between 2 preceding and current row`"),
            );
        }
        mistakes.extend(computed::mistakes(&self.columns, SetFunctions::all()));
        mistakes
    }

    /// The window as SQL writes it.
    fn window(&self, names: &[&str], mistakes: &mut Vec<Mistake>) -> String {
        let (mut partitions, mut order) = (Vec::new(), Vec::new());
        for (i, name) in self.partition_by.iter().enumerate() {
            match options::find(names, name, Pointer::root().key("partition_by").index(i)) {
                Ok(place) => partitions.push(quoted(names[place])),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        for (i, text) in self.order_by.iter().enumerate() {
            match keys::key(names, text, Pointer::root().key("order_by").index(i)) {
                Ok(key) => order.push(key),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let part = |words: &str, parts: Vec<String>| match parts.is_empty() {
            true => String::new(),
            false => format!("{words} {} ", parts.join(", ")),
        };
        let frame = self.frame.as_deref().unwrap_or_default();
        let (partitions, order) = (part("PARTITION BY", partitions), part("ORDER BY", order));
        format!("{partitions}{order}{frame}")
    }
}

fn count() -> datafusion_sql::sqlparser::ast::Expr {
    expression("count(*)", SetFunctions::all(), None).expect("it is an expression")
}

impl StepPlan for Window {
    fn bind(&self, schema: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.check();
        let names = options::names(schema);
        let window = self.window(&names, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let table = [input(&with_row(schema))];
        let trees = computed::trees(&self.columns, |name, text| {
            let tree = over(expression(text, SetFunctions::all(), Some(schema))?, &window)?;
            let alone = select(vec![named(tree.clone(), name)], &format!("FROM {INPUT}"))?;
            planned(alone, &table)?;
            Ok(tree)
        })?;
        let of = |schema: &SchemaRef| {
            let computed = trees.iter().map(|(name, tree)| named(tree.clone(), name));
            let rest = format!("FROM {INPUT} ORDER BY {}", quoted(ROW));
            select(computed.chain([column(ROW)]).collect(), &rest)
                .and_then(|statement| planned(statement, &[input(&with_row(schema))]))
                .map_err(|found| vec![expression_mistake(Pointer::root(), found)])
        };
        // Only the columns that the new ones are made of are looked at.
        let mut needs = of(schema)?.needs(INPUT, names.len());
        needs.retain(|place| *place < names.len());
        let fields = needs.iter().map(|place| Arc::clone(&schema.fields()[*place]));
        let narrow = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let query = of(&narrow)?;
        let (mut fields, mut places) = (Vec::new(), Vec::new());
        for (place, field) in schema.fields().iter().enumerate() {
            let computed = trees.get_index_of(field.name().as_str());
            fields.push(match computed {
                Some(computed) => query.output.field(computed).clone(),
                None => field.as_ref().clone().with_nullable(true),
            });
            places.push(computed.map_or(Place::Input(place), Place::Query));
        }
        for (place, name) in trees.keys().enumerate() {
            if !names.contains(name) {
                fields.push(query.output.field(place).clone());
                places.push(Place::Query(place));
            }
        }
        let output = Schema::new(fields).with_metadata(schema.metadata().clone());
        let output = (Arc::new(output), places);
        Ok(Windows::new(KIND.name, query, (narrow, needs), output).bound())
    }
}
