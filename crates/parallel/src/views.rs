//! Text and binary views: what they refer to, and what they hold.
//!
//! A view array refers into buffers that it shares with the array it was taken from. A few rows can
//! keep the text of a whole chunk in memory, or drag it to disk.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use gristmill_core::Result;

/// The same columns, without text that none of their rows refers to.
///
/// # Errors
/// Never, for columns that belong together.
pub fn compact(columns: &RecordBatch) -> Result<RecordBatch> {
    let compact = |column: &ArrayRef| -> ArrayRef {
        match parts(column) {
            Some((buffers, views)) if wasteful(buffers, views) => match column.data_type() {
                DataType::Utf8View => Arc::new(column.as_string_view().gc()),
                _ => Arc::new(column.as_binary_view().gc()),
            },
            _ => Arc::clone(column),
        }
    };
    let arrays = columns.columns().iter().map(compact).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
    Ok(RecordBatch::try_new_with_options(columns.schema(), arrays, &options)?)
}

/// The size of the values in columns: the same for the same values, however they are held. Text that
/// views point at counts once for each of them, and what nothing points at does not count: where
/// columns share the text that they were read from, it is kept, and counted, by the batch's origin.
pub fn value_bytes(columns: &RecordBatch) -> usize {
    let size = |column: &ArrayRef| match parts(column) {
        Some((_, views)) => size_of_val(views) + referred(views),
        None if let Some(width) = column.data_type().primitive_width() => {
            let nulls = column.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
            column.len() * width + nulls
        }
        None => {
            let data = column.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size())
        }
    };
    columns.columns().iter().map(size).sum()
}

fn parts(column: &ArrayRef) -> Option<(&[Buffer], &[u128])> {
    match column.data_type() {
        DataType::Utf8View => {
            let views = column.as_string_view();
            Some((views.data_buffers(), views.views()))
        }
        DataType::BinaryView => {
            let views = column.as_binary_view();
            Some((views.data_buffers(), views.views()))
        }
        _ => None,
    }
}

/// Bytes that views longer than 12 bytes refer to.
fn referred(views: &[u128]) -> usize {
    views.iter().map(|view| *view as u32 as usize).filter(|len| *len > 12).sum()
}

/// Whether buffers hold much more than what views refer to.
fn wasteful(buffers: &[Buffer], views: &[u128]) -> bool {
    let held: usize = buffers.iter().map(Buffer::len).sum();
    let used = referred(views);
    held > used + used / 4
}

#[cfg(test)]
mod tests {
    use arrow_array::StringViewArray;

    use super::*;

    #[test]
    fn rows_that_were_taken_let_go_of_the_others() {
        let long: Vec<String> = (0..100).map(|n| format!("{n:03}").repeat(20)).collect();
        let text: ArrayRef = Arc::new(StringViewArray::from_iter_values(&long));
        let all = RecordBatch::try_from_iter([("a", Arc::clone(&text)), ("b", text)]).unwrap();
        let one = all.slice(7, 1);
        assert!(one.get_array_memory_size() > 6_000);
        let compacted = compact(&one).unwrap();
        assert_eq!(compacted, one);
        assert!(compacted.get_array_memory_size() < 1_000);
        assert_eq!(value_bytes(&one), 2 * (16 + 60));
        assert_eq!(value_bytes(&compacted), value_bytes(&one));
        assert_eq!(
            compact(&all).unwrap().column(0).as_string_view().data_buffers().len(),
            all.column(0).as_string_view().data_buffers().len()
        );
    }
}
