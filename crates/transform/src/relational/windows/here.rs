//! Columns that are computed here.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field, Schema};
use arrow_select::concat::{concat, concat_batches};
use arrow_select::take::take;
use datafusion_common::Result;
use gristmill_parallel::views::{compact, value_bytes};

use super::functions::{Partitions, computed};
use super::order::{Keys, Sorted, pieces};
use super::plan::{Order, Plan, columns};
use crate::relational::parallel::each;

/// Bytes for each row beside what is kept of it: its place among the sorted ones, and back.
const PLACES: usize = 2 * size_of::<u32>();
/// Bytes for each row and function: the widest value, and whether it is null.
const VALUE: usize = size_of::<i128>() + 1;
/// Bytes for each row that is sorted together with all others.
const SORTED: usize = 32;

/// What is kept of the records.
#[derive(Default)]
pub(super) struct Here {
    /// Of each window.
    keys: Vec<Keys>,
    /// What functions take, batch by batch.
    values: Vec<RecordBatch>,
    bytes: usize,
    rows: usize,
}

impl Here {
    /// Takes the next batch.
    pub(super) fn take(&mut self, plan: &Plan, batch: &RecordBatch) -> Result<()> {
        let batch = plan.before(batch)?;
        if self.keys.is_empty() {
            self.keys.extend(plan.windows.iter().map(|_| Keys::new()));
        }
        for (keys, window) in self.keys.iter_mut().zip(&plan.windows) {
            keys.push(window, &batch)?;
        }
        let values = columns(&plan.values, &batch)?;
        let fields = values.iter().map(|values| Field::new("", values.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let values = RecordBatch::try_new_with_options(schema, values, &options)?;
        let values = compact(&values)
            .map_err(|found| datafusion_common::DataFusionError::External(Box::new(found)))?;
        self.bytes += value_bytes(&values);
        self.rows += batch.num_rows();
        self.values.push(values);
        Ok(())
    }

    /// Rows that were taken.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of memory that this needs in the end.
    pub(super) fn size(&self, plan: &Plan) -> usize {
        if u32::try_from(self.rows).is_err() {
            return usize::MAX;
        }
        let keys = self.keys.iter().zip(&plan.windows).map(|(keys, window)| {
            let sorted = if window.partitions.is_empty() { SORTED } else { 0 };
            keys.size() + self.rows * (PLACES + sorted + VALUE * window.functions.len())
        });
        // Values are copied once, when all are there.
        keys.sum::<usize>() + 2 * self.bytes
    }

    /// All columns of windows.
    pub(super) fn computed(self, plan: &Plan, threads: usize) -> Result<Computed> {
        let Some(first) = self.values.first() else { return Ok(Computed::default()) };
        let values = concat_batches(&first.schema(), &self.values)?;
        drop(self.values);
        let windows = self.keys.into_iter().zip(&plan.windows).map(|(keys, window)| {
            let sorted = keys.sorted(threads);
            let given = functions(window, &sorted, values.columns(), threads)?;
            let mut places = vec![0; sorted.rows.len()];
            for (place, row) in sorted.rows.into_iter().enumerate() {
                places[row as usize] = place as u32;
            }
            let columns = window.functions.iter().zip(given).map(|(function, values_or_rows)| {
                let of = function.of.filter(|_| function.gives_rows());
                Column { values_or_rows, of: of.map(|of| Arc::clone(values.column(of))) }
            });
            Ok((places.into(), columns.collect()))
        });
        Ok(Computed(windows.collect::<Result<_>>()?))
    }
}

/// What the functions of a window give, for rows in its order.
fn functions(
    window: &Order,
    sorted: &Sorted,
    values: &[ArrayRef],
    threads: usize,
) -> Result<Vec<ArrayRef>> {
    let asks = window.functions.iter().any(|function| function.asks_for_peers());
    let pieces = each(pieces(&sorted.ends), threads, |piece| {
        let start = piece.start.checked_sub(1).map_or(0, |before| sorted.ends[before]);
        let ends: Vec<usize> = sorted.ends[piece].iter().map(|end| end - start).collect();
        let rows = &sorted.rows[start..][..ends.last().copied().unwrap_or_default()];
        let peers = if asks { sorted.peers(rows, &ends) } else { Vec::new() };
        let partitions = Partitions { rows, ends: &ends, peers: &peers };
        let given = window.functions.iter().map(|function| {
            let of = function.of.map(|of| &values[of]);
            computed(function, of, &partitions)
        });
        given.collect::<Result<Vec<_>>>()
    });
    let pieces = pieces.into_iter().collect::<Result<Vec<_>>>()?;
    let columns = (0..window.functions.len()).map(|function| {
        let parts: Vec<_> = pieces.iter().map(|piece| piece[function].as_ref()).collect();
        Ok(concat(&parts)?)
    });
    columns.collect()
}

/// The columns of each window, and the places of all rows in its order.
#[derive(Default)]
pub(super) struct Computed(Vec<(UInt32Array, Vec<Column>)>);

/// A column in the order of a window: values, or the rows that have them.
struct Column {
    values_or_rows: ArrayRef,
    of: Option<ArrayRef>,
}

impl Computed {
    /// The columns for so many rows from one on.
    pub(super) fn columns(&self, first: usize, rows: usize) -> Result<Vec<ArrayRef>> {
        let windows = self.0.iter().flat_map(|(places, columns)| {
            let places = places.slice(first, rows);
            columns.iter().map(move |column| {
                let values = take(&column.values_or_rows, &places, None)?;
                Ok(match &column.of {
                    Some(of) => take(of, values.as_primitive::<UInt32Type>(), None)?,
                    None => values,
                })
            })
        });
        windows.collect()
    }
}
