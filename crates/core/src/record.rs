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
        let source = Arc::clone(batch.origin().source());
        let ordinal = batch.rows().ordinal(row) as usize;
        let location = batch.origin().locate(ordinal);
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
