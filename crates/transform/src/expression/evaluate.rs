//! Evaluation over batches, with rows that fail told apart.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat;
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use gristmill_core::{Error, Evaluated, Expression, Prune, Result, text};

use super::message;
use super::prune::Bounded;

/// An expression bound to a schema.
#[derive(Debug)]
pub(crate) struct Compiled {
    text: String,
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    columns: Vec<String>,
}

impl Compiled {
    pub(crate) fn new(
        text: &str,
        physical: Arc<dyn PhysicalExpr>,
        raw: &DataType,
        columns: Vec<String>,
    ) -> Self {
        let data_type = if physical.is::<Column>() { raw.clone() } else { pipeline_type(raw) };
        Self { text: text.to_owned(), physical, data_type, columns }
    }

    fn values(&self, columns: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
        let values = self.physical.evaluate(columns)?.into_array(columns.num_rows())?;
        if values.data_type() == &self.data_type {
            return Ok(values);
        }
        Ok(cast(&values, &self.data_type)?)
    }

    /// Evaluates rows `start..end`, cutting them in halves until only rows that fail are left out.
    fn bisect(
        &self,
        columns: &RecordBatch,
        (start, end): (usize, usize),
        pieces: &mut Vec<ArrayRef>,
        failures: &mut Vec<(u32, String)>,
    ) -> Result<()> {
        match self.values(&columns.slice(start, end - start)) {
            Ok(values) => pieces.push(values),
            Err(found) if !message::is_about_data(&found) => {
                return Err(Error::internal(format!("`{}` could not be evaluated", self.text))
                    .caused_by(found));
            }
            Err(found) if end - start == 1 => {
                pieces.push(new_null_array(&self.data_type, 1));
                failures.push((start as u32, message::failure(&found)));
            }
            Err(_) => {
                let middle = start + (end - start) / 2;
                self.bisect(columns, (start, middle), pieces, failures)?;
                self.bisect(columns, (middle, end), pieces, failures)?;
            }
        }
        Ok(())
    }
}

impl Expression for Compiled {
    fn text(&self) -> &str {
        &self.text
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn evaluate(&self, columns: &RecordBatch) -> Result<Evaluated> {
        let (mut pieces, mut failures) = (Vec::new(), Vec::new());
        self.bisect(columns, (0, columns.num_rows()), &mut pieces, &mut failures)?;
        let values = match &pieces[..] {
            [whole] => Arc::clone(whole),
            _ => concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
        };
        limit_digits(values, failures)
    }

    fn prune(&self) -> Option<Arc<dyn Prune>> {
        Some(Arc::new(Bounded::of(self.physical.as_ref())?))
    }
}

/// Decimals that have more digits than their type become failures: Arrow computes within 128
/// bits and leaves the digits unchecked.
fn limit_digits(values: ArrayRef, mut failures: Vec<(u32, String)>) -> Result<Evaluated> {
    let &DataType::Decimal128(precision, scale) = values.data_type() else {
        return Ok(Evaluated { values, failures });
    };
    let decimals = values.as_primitive::<Decimal128Type>();
    let limit = 10i128.pow(u32::from(precision)).unsigned_abs();
    if decimals.values().iter().all(|value| value.unsigned_abs() < limit) {
        return Ok(Evaluated { values, failures });
    }
    let fits = |row: usize| decimals.value(row).unsigned_abs() < limit;
    for row in (0..decimals.len()).filter(|&row| decimals.is_valid(row) && !fits(row)) {
        let value = text::value_text(&values, row).unwrap_or_default();
        failures.push((row as u32, format!("{value} does not fit decimal({precision}, {scale})")));
    }
    failures.sort_by_key(|(row, _)| *row);
    let kept = decimals
        .unary_opt::<_, Decimal128Type>(|value| (value.unsigned_abs() < limit).then_some(value));
    let kept = kept.with_precision_and_scale(precision, scale)?;
    Ok(Evaluated { values: Arc::new(kept), failures })
}

/// Functions give narrow integers, nanoseconds and other string layouts; a pipeline has one type
/// for each.
pub(crate) fn pipeline_type(raw: &DataType) -> DataType {
    match raw {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Dictionary(_, values) => pipeline_type(values),
        other => other.clone(),
    }
}
