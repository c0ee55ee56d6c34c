//! What a file's footer knows of the values in a row group.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::Schema;
use gristmill_core::Known;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;

use crate::columnar::convert;

/// What is known of a column of the file in a row group; `field` is what the column is in the
/// engine. Nothing of floats: bounds in a file leave out NaN, which a condition may be true for.
pub(super) fn known(
    metadata: &ArrowReaderMetadata,
    group: &RowGroupMetaData,
    column: usize,
    engine: &Schema,
) -> Known {
    told(metadata, group, column, engine).unwrap_or_default()
}

fn told(
    metadata: &ArrowReaderMetadata,
    group: &RowGroupMetaData,
    column: usize,
    engine: &Schema,
) -> Option<Known> {
    let (schema, field) = (metadata.parquet_schema(), metadata.schema().field(column));
    let is_column = |leaf: &usize| schema.get_column_root_idx(*leaf) == column;
    let leaf = (0..schema.num_columns()).find(is_column)?;
    if field.data_type().is_nested() {
        return None;
    }
    let converter = StatisticsConverter::from_column_index(leaf, field, schema).ok()?;
    let converter = converter.with_missing_null_counts_as_zero(false);
    let nulls = converter.row_group_null_counts([group]).ok()?;
    let nulls = nulls.iter().next().flatten();
    // Bounds in the place that older writers used may be in the order of signed bytes.
    let ordered =
        group.column(leaf).statistics().is_some_and(|found| !found.is_min_max_deprecated());
    let bounds = (ordered && !field.data_type().is_floating()).then(|| {
        let least = converter.row_group_mins([group]).ok()?;
        let greatest = converter.row_group_maxes([group]).ok()?;
        Some((
            in_engine(field.name(), &least, engine)?,
            in_engine(field.name(), &greatest, engine)?,
        ))
    });
    Some(Known { bounds: bounds.flatten(), nulls })
}

/// One value with the type that its column has in the engine; `None` if it is null.
fn in_engine(name: &str, value: &ArrayRef, engine: &Schema) -> Option<ArrayRef> {
    let schema = Arc::new(engine.project(&[engine.index_of(name).ok()?]).ok()?);
    let value = RecordBatch::try_from_iter([(name, Arc::clone(value))]).ok()?;
    let value = convert(&value, &schema).ok()?;
    value.column(0).is_valid(0).then(|| Arc::clone(value.column(0)))
}
