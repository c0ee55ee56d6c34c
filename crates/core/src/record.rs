//! Records: one row as people and per-record code see it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::batch::Batch;
use crate::json;

/// One record with its id, data, source, time and metadata. A view of a row: the hot path works
/// on [`Batch`] and never makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `source:number`, the same on every run over the same input.
    pub id: String,
    /// Field values in column order. Decimals, dates and times are strings in their exact form.
    pub data: Map<String, Value>,
    /// Name of the source.
    pub source: Arc<str>,
    /// When the record was read, or the time its source gives it.
    pub timestamp: DateTime<Utc>,
    /// Anything else; empty unless a stage adds to it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

impl Record {
    /// A view of one row, read at `timestamp`.
    pub fn of(batch: &Batch, row: usize, timestamp: DateTime<Utc>) -> Self {
        let ordinal = batch.rows().ordinal(row);
        let found = batch.origin().resolve(ordinal);
        let (origin, ordinal) = found.unwrap_or_else(|_| (Arc::clone(batch.origin()), ordinal));
        let source = Arc::clone(origin.source());
        let location = origin.locate(ordinal as usize);
        let schema = batch.schema();
        let data = schema
            .fields()
            .iter()
            .zip(batch.columns().columns())
            .map(|(field, column)| (field.name().clone(), json::value(column, field, row)))
            .collect();
        Self {
            id: format!("{source}:{}", location.record),
            data,
            source,
            timestamp,
            metadata: Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::RecordBatch;
    use bytes::Bytes;

    use super::*;
    use crate::origin::{Origin, Place, Span};
    use crate::text::{ColumnBuilder, ColumnPlan};
    use crate::types::FieldType;

    #[test]
    fn a_record_is_a_row_with_its_place_and_survives_json() {
        let amount = FieldType::Decimal { precision: 10, scale: 2 };
        let columns = [("code", FieldType::String, "F1"), ("amount", amount, "10.50")].map(
            |(name, field_type, text)| {
                let mut column = ColumnBuilder::new(&ColumnPlan::new(name, field_type), 1);
                column.push(text.as_bytes()).unwrap();
                (name, column.finish())
            },
        );
        let text = Bytes::from_static(b"F1,10.50\n");
        let origin = Origin::text("a.csv".into(), text, 9, vec![Span { start: 0, len: 8 }], b'\n');
        origin.set_place(Place { first_record: 7, first_line: 8 });
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let batch = Batch::whole(batch, Arc::new(origin)).unwrap();

        let record = Record::of(&batch, 0, DateTime::UNIX_EPOCH);
        assert_eq!(record.id, "a.csv:7");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            r#"{"id":"a.csv:7","data":{"code":"F1","amount":"10.50"},"source":"a.csv","timestamp":"1970-01-01T00:00:00Z"}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
