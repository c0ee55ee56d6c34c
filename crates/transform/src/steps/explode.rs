//! `explode`: one record for each element of a list.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use gristmill_core::types::{is_json, type_name};
use gristmill_core::{
    Batch, BindContext, Bound, Error, Findings, Grain, Mistake, Pointer, Result, Step, StepKind,
    StepPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "explode",
    about: "Makes one record of each element of a list; the other columns are repeated.",
    example: "explode: {column: items, empty: drop, position: line_number}\n",
    schema: |generator| generator.subschema_for::<Explode>(),
    plan: |options, _| {
        let plan: Explode = options::read(options)?;
        options::planned(plan, Vec::new())
    },
};

/// Makes one record of each element of a list column. The element takes the list's place; the
/// other columns are repeated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explode {
    /// The list column.
    pub column: String,
    /// What becomes of a record whose list is empty or null.
    #[serde(default)]
    pub empty: Empty,
    /// Name of a new last column with the element's position in its list, from 1.
    #[serde(default)]
    pub position: Option<String>,
}

/// What becomes of a record whose list is empty or null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// One record with a null in the element's place.
    #[default]
    Keep,
    /// No record; it is counted as filtered.
    Drop,
}

impl Explode {
    /// One record for each element of this column.
    pub fn new(column: impl Into<String>) -> Self {
        Self { column: column.into(), empty: Empty::Keep, position: None }
    }

    /// Takes out records whose list is empty or null.
    #[must_use]
    pub fn drop_empty(mut self) -> Self {
        self.empty = Empty::Drop;
        self
    }

    /// Adds a column with the element's position, from 1.
    #[must_use]
    pub fn position(mut self, name: impl Into<String>) -> Self {
        self.position = Some(name.into());
        self
    }
}

impl StepPlan for Explode {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let names = options::names(input);
        if let Some(position) = self.position.as_deref().filter(|name| names.contains(name)) {
            let at = Pointer::root().key("position");
            mistakes.push(Mistake::new(at, format!("there is a column `{position}` already")));
        }
        let at = Pointer::root().key("column");
        let mut fields: Vec<Arc<Field>> = input.fields().to_vec();
        let place = match options::find(&names, &self.column, at.clone()) {
            Ok(place) => place,
            Err(mistake) => {
                mistakes.push(mistake);
                return Err(mistakes);
            }
        };
        match fields[place].data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                let element = item.as_ref().clone().with_name(&self.column).with_nullable(true);
                fields[place] = Arc::new(element);
            }
            _ => mistakes.push(not_a_list(&fields[place], at)),
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if let Some(name) = &self.position {
            fields.push(Arc::new(Field::new(name, DataType::Int64, true)));
        }
        let output = Arc::new(Schema::new(fields).with_metadata(input.metadata().clone()));
        let local = BoundExplode {
            schema: Arc::clone(&output),
            place,
            empty: self.empty,
            position: self.position.is_some(),
        };
        let local: Option<Box<dyn Step>> = Some(Box::new(local));
        Ok(Bound { local, ordered: None, output, grain: Grain::Changes })
    }
}

fn not_a_list(field: &Field, at: Pointer) -> Mistake {
    let message = format!("`{}` is not a list: its type is {}", field.name(), type_name(field));
    let mistake = Mistake::new(at, message);
    if is_json(field) {
        return mistake.hint("read the source with `nested: struct` to have its arrays as lists");
    }
    mistake
}

struct BoundExplode {
    schema: SchemaRef,
    place: usize,
    empty: Empty,
    position: bool,
}

impl Step for BoundExplode {
    fn apply(&self, batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let batch = batch.settle(findings)?;
        let list = Arc::clone(batch.columns().column(self.place));
        let (elements, range) = elements(&list)?;
        let (mut rows, mut taken, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..list.len() {
            let (start, end) = if list.is_null(row) { (0, 0) } else { range(row) };
            for element in start..end {
                rows.push(row as u32);
                taken.push(Some(element as u64));
                positions.push(Some((element - start) as i64 + 1));
            }
            if start == end && self.empty == Empty::Keep {
                rows.push(row as u32);
                taken.push(None);
                positions.push(None);
            } else if start == end {
                findings.filtered += 1;
            }
        }
        let exploded = take(&elements, &UInt64Array::from(taken), None)?;
        let batch = batch.take(&UInt32Array::from(rows))?;
        let mut columns = batch.columns().columns().to_vec();
        columns[self.place] = exploded;
        if self.position {
            columns.push(Arc::new(Int64Array::from(positions)));
        }
        batch.with_columns(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Where the elements of a row begin and end.
type Range<'a> = Box<dyn Fn(usize) -> (usize, usize) + 'a>;

/// All elements, and the range of each row's.
fn elements(list: &ArrayRef) -> Result<(ArrayRef, Range<'_>)> {
    Ok(match list.data_type() {
        DataType::List(_) => {
            let list = list.as_list::<i32>();
            let offsets = list.value_offsets();
            let range = |row: usize| (offsets[row] as usize, offsets[row + 1] as usize);
            (Arc::clone(list.values()), Box::new(range))
        }
        DataType::LargeList(_) => {
            let list = list.as_list::<i64>();
            let offsets = list.value_offsets();
            let range = |row: usize| (offsets[row] as usize, offsets[row + 1] as usize);
            (Arc::clone(list.values()), Box::new(range))
        }
        DataType::FixedSizeList(..) => {
            let list = list.as_fixed_size_list();
            let length = list.value_length() as usize;
            let range = move |row: usize| {
                let start = list.value_offset(row) as usize;
                (start, start + length)
            };
            (Arc::clone(list.values()), Box::new(range))
        }
        other => return Err(Error::internal(format!("explode was bound to {other}"))),
    })
}
