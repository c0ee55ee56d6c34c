//! `derive`: columns computed from others.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{
    Batch, BindContext, Bound, Expression, ExpressionCompiler, Findings, Grain, Mistake, Needs,
    Pointer, Reason, Result, Stage, Step, StepKind, StepPlan,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{expression_mistake, failed};
use crate::{expression, options};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "derive",
    about: "Computes columns from other columns with SQL expressions.",
    example: "derive: {management_fee_pct: \"management_fee * 100\"}\n",
    schema: |generator| generator.subschema_for::<Derive>(),
    plan: |options, expressions| {
        let plan: Derive = options::read(options)?;
        let mistakes = plan.check(expressions);
        options::planned(plan, mistakes)
    },
};

/// New columns by name, each an SQL expression, for example `management_fee * 100`. Later ones may
/// use earlier ones. A column of the same name is replaced in its place; others come last. A
/// record for which an expression has no value (a division by zero, a failed cast) is rejected.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Derive(IndexMap<String, String>);

impl Derive {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column, computed by an SQL expression.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, expression: impl Into<String>) -> Self {
        self.0.insert(name.into(), expression.into());
        self
    }

    fn check(&self, expressions: &dyn ExpressionCompiler) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for (name, text) in &self.0 {
            let at = Pointer::root().key(name);
            if name.is_empty() {
                mistakes.push(Mistake::new(at, "a column needs a name").on_key());
            } else if let Err(found) = expressions.check(text) {
                mistakes.push(expression_mistake(at, found));
            }
        }
        mistakes
    }
}

impl StepPlan for Derive {
    fn needs(&self) -> Needs {
        let (mut uses, mut adds) = (Vec::new(), Vec::new());
        for (name, text) in &self.0 {
            let Some(names) = expression::names(text) else { return Needs::All };
            // Later ones may use earlier ones.
            uses.extend(names.into_iter().filter(|name| !adds.contains(name)));
            adds.push(name.clone());
        }
        Needs::Some { uses, adds }
    }

    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut schema = Arc::clone(input);
        let mut columns = Vec::new();
        for (name, text) in &self.0 {
            let compiled = context.expressions.compile(text, &schema);
            // After a mistake the column is there, without a type, so that it is said only once.
            let data_type = compiled.as_ref().map_or(DataType::Null, |it| it.data_type().clone());
            let mut fields = schema.fields().to_vec();
            let mut field = Field::new(name, data_type, true);
            if let Some(source) = copied(&compiled, &schema) {
                field = field.with_metadata(source.metadata().clone()); // JSON stays JSON
            }
            let field = Arc::new(field);
            let place = schema.index_of(name).ok();
            match place {
                Some(place) => fields[place] = field,
                None => fields.push(field),
            }
            schema = Arc::new(Schema::new(fields).with_metadata(schema.metadata().clone()));
            match compiled {
                Ok(expression) => {
                    let (name, schema) = (name.clone(), Arc::clone(&schema));
                    columns.push(Column { name, expression, place, schema });
                }
                Err(found) => {
                    mistakes.push(expression_mistake(Pointer::root().key(name), found));
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let local: Option<Box<dyn Step>> = Some(Box::new(BoundDerive { columns }));
        Ok(Bound { local, ordered: None, output: schema, grain: Grain::Preserves })
    }
}

/// The field that an expression passes on as it is: its text is the column's name.
fn copied<'a, E>(
    compiled: &Result<Arc<dyn Expression>, E>,
    schema: &'a SchemaRef,
) -> Option<&'a Field> {
    let expression = compiled.as_ref().ok()?;
    let [column] = expression.columns() else {
        return None;
    };
    let text = expression.text().trim().trim_matches('"');
    text.eq_ignore_ascii_case(column).then(|| schema.field_with_name(column).ok()).flatten()
}

struct BoundDerive {
    columns: Vec<Column>,
}

struct Column {
    name: String,
    expression: Arc<dyn Expression>,
    place: Option<usize>,
    schema: SchemaRef,
}

impl Step for BoundDerive {
    fn apply(&self, mut batch: Batch, _: &mut Findings) -> Result<Batch> {
        for column in &self.columns {
            let evaluated = column.expression.evaluate(batch.columns())?;
            let mut arrays = batch.columns().columns().to_vec();
            match column.place {
                Some(place) => arrays[place] = evaluated.values,
                None => arrays.push(evaluated.values),
            }
            batch =
                batch.with_columns(RecordBatch::try_new(Arc::clone(&column.schema), arrays)?)?;
            for (row, why) in evaluated.failures {
                let message = failed(&why, column.expression.text());
                let reason = Reason::field(column.name.clone(), "derive", message, None);
                batch.add_flaw(row as usize, Stage::Transform, reason);
            }
        }
        Ok(batch)
    }
}
