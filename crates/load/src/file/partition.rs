//! Partitions: values as folder names, and batches split by them.
//!
//! Folders are named as Hive names them, `column=value`, values in the text form that CSV gets.
//! Bytes that a file system or a reader of such names could take for something else are written
//! `%XX`. A null is `__HIVE_DEFAULT_PARTITION__`, an empty text an empty value (`column=`). No two
//! values have the same name.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, downcast_primitive_array};
use arrow_buffer::ToByteSlice;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use gristmill_core::text::{value_text, write_value};
use gristmill_core::types::is_json;
use gristmill_core::{Batch, Encoded, Encoder, Part, Reason, Reject, Result, Stage};
use gristmill_parallel::views::{compact, value_bytes};
use gristmill_parallel::{KeyForm, NOWHERE, scatter};
use hashbrown::HashMap;
use indexmap::IndexSet;

/// The folder of records without a value.
pub const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Bytes that a file name may have on every file system.
const MAX_NAME: usize = 255;

/// A value, or a column's name, in a form that is safe in a folder's name.
///
/// ```
/// use gristmill_load::file::partition::encode;
/// assert_eq!(encode("USD"), "USD");
/// assert_eq!(encode("../a=b"), "%2E.%2Fa%3Db");
/// assert_eq!(encode("x. "), "x.%20");
/// ```
pub fn encode(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let unsafe_here = match c {
            '.' => at == 0 || at == last,
            ' ' => at == last,
            '_' => at == 0 && value == NULL,
            _ => c.is_ascii_control() || r#"/\:*?"<>|%=#'{}[]^"#.contains(c),
        };
        if unsafe_here {
            out.push_str(&format!("%{:02X}", c as u32)); // all of them are ASCII
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a column's values can name folders.
pub(crate) fn can_partition(field: &Field) -> bool {
    match field.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => false,
        DataType::Dictionary(_, values) => !values.is_nested(),
        data_type => !data_type.is_nested() && !is_json(field),
    }
}

/// Splits batches by the values of some columns.
pub(crate) struct Splitter {
    /// Index and encoded name of each partition column.
    keys: Arc<[(usize, String)]>,
    /// Indices of the columns that go into the files.
    rest: Arc<[usize]>,
}

/// Rows that go into one folder.
pub(crate) struct Piece {
    /// Below the destination.
    pub(crate) folder: String,
    pub(crate) columns: RecordBatch,
    /// The size of their values.
    pub(crate) bytes: usize,
}

/// What a worker made of a chunk.
pub(crate) struct Pieces {
    /// In order; a folder may come again.
    pub(crate) pieces: Vec<Piece>,
    /// Records that no folder can be named for.
    pub(crate) rejects: Vec<Reject>,
}

/// The columns that are not partition columns.
pub(crate) fn file_schema(schema: &Schema, partition_by: &[String]) -> SchemaRef {
    let fields = schema.fields().iter();
    let rest: Vec<_> =
        fields.filter(|field| !partition_by.contains(field.name())).cloned().collect();
    Arc::new(Schema::new_with_metadata(rest, schema.metadata().clone()))
}

impl Splitter {
    /// What it makes has the [`file_schema`].
    pub(crate) fn new(schema: &Schema, partition_by: &[String]) -> Self {
        let keys = partition_by
            .iter()
            .filter_map(|name| Some((schema.index_of(name).ok()?, encode(name))))
            .collect();
        let rest = (0..schema.fields().len())
            .filter(|&i| !partition_by.contains(schema.field(i).name()))
            .collect();
        Self { keys, rest }
    }
}

impl Encoder for Splitter {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(SplitPart {
            keys: Arc::clone(&self.keys),
            rest: Arc::clone(&self.rest),
            groups: Groups::default(),
            folders: Vec::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            rows: Vec::new(),
            pieces: Vec::new(),
            bytes: 0,
            rejects: Vec::new(),
            records: 0,
        })
    }
}

struct SplitPart {
    keys: Arc<[(usize, String)]>,
    rest: Arc<[usize]>,
    groups: Groups,
    folders: Vec<Result<String, Reason>>,
    /// Columns for the files, not yet split.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// The group of each of their rows.
    rows: Vec<u32>,
    pieces: Vec<Piece>,
    bytes: u64,
    rejects: Vec<Reject>,
    records: u64,
}

/// Bytes of columns that are split together: more rows for each folder, and fewer pieces.
const TOGETHER: usize = 32 << 20;

impl SplitPart {
    /// Names the folders of groups that have come up, and rejects rows for which none can be named.
    fn name_folders(&mut self, batch: &Batch, groups: &[u32]) {
        for (row, &group) in groups.iter().enumerate() {
            if group as usize == self.folders.len() {
                self.folders.push(self.folder(batch, row));
            }
            if let Err(reason) = &self.folders[group as usize] {
                self.rejects.push(Reject {
                    origin: Arc::clone(batch.origin()),
                    ordinal: batch.rows().ordinal(row),
                    stage: Stage::Load,
                    errors: vec![reason.clone()],
                });
            }
        }
    }

    fn folder(&self, batch: &Batch, row: usize) -> Result<String, Reason> {
        let mut folder = String::new();
        for (index, name) in self.keys.iter() {
            let value = value_text(batch.columns().column(*index), row);
            let start = folder.len() + usize::from(!folder.is_empty());
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(name);
            folder.push('=');
            folder.push_str(&value.as_deref().map_or_else(|| NULL.to_owned(), encode));
            if folder.len() - start > MAX_NAME {
                let column = batch.schema().field(*index).name().clone();
                let message = format!("too long to name a folder: more than {MAX_NAME} bytes");
                return Err(Reason::field(column, "partition", message, value));
            }
        }
        Ok(folder)
    }

    /// Splits what waits by folder, in the order in which they came up.
    fn split(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else { return Ok(()) };
        let schema = first.schema();
        self.waiting_bytes = 0;
        // Different values may have one name: NaNs of several bit patterns.
        let mut places: IndexSet<&str> = IndexSet::new();
        let place_of: Vec<u32> = self
            .folders
            .iter()
            .map(|folder| match folder {
                Ok(folder) => places.insert_full(folder).0 as u32,
                Err(_) => NOWHERE,
            })
            .collect();
        let rows: Vec<u32> = self.rows.drain(..).map(|group| place_of[group as usize]).collect();
        let pieces = match rows.first() {
            // Text is only copied where much of what it stands in is something else.
            Some(&place) if place != NOWHERE && rows.iter().all(|&other| other == place) => {
                let all = compact(&concat_batches(&schema, &waiting)?)?;
                vec![(place as usize, all)]
            }
            _ => scatter(&schema, &waiting, &rows, places.len())?.into_iter().enumerate().collect(),
        };
        for (place, columns) in pieces {
            if columns.num_rows() > 0 {
                let (folder, bytes) = (places[place].to_owned(), value_bytes(&columns));
                self.bytes += bytes as u64;
                self.pieces.push(Piece { folder, columns, bytes });
            }
        }
        Ok(())
    }
}

impl Part for SplitPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        self.records += batch.num_rows() as u64;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let keys: Vec<&ArrayRef> =
            self.keys.iter().map(|(index, _)| batch.columns().column(*index)).collect();
        let groups = self.groups.of(&keys, batch.num_rows());
        self.name_folders(batch, &groups);
        self.rows.extend(groups);
        let columns = batch.columns().project(&self.rest)?;
        self.waiting_bytes += value_bytes(&columns);
        let dictionaries = columns
            .columns()
            .iter()
            .any(|column| matches!(column.data_type(), DataType::Dictionary(..)));
        self.waiting.push(columns);
        // Dictionaries of several batches need not fit in one.
        if self.waiting_bytes >= TOGETHER || dictionaries { self.split() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<Encoded> {
        self.split()?;
        let payload = Box::new(Pieces { pieces: self.pieces, rejects: self.rejects });
        Ok(Encoded { records: self.records, bytes: self.bytes, payload })
    }
}

/// Numbers combinations of values, in the order in which they come up.
#[derive(Default)]
struct Groups {
    /// By column: what its values tell apart, beside the columns before it.
    levels: Vec<HashMap<(u32, Option<u128>), u32>>,
}

impl Groups {
    /// The number of each row's combination.
    fn of(&mut self, columns: &[&ArrayRef], rows: usize) -> Vec<u32> {
        let mut groups = vec![0; rows];
        self.levels.resize_with(columns.len(), HashMap::new);
        for (column, level) in columns.iter().zip(&mut self.levels) {
            let nulls = column.logical_nulls();
            let mut last = None;
            let mut number = |row: usize, value: u128| {
                let value = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then_some(value);
                let key = (groups[row], value);
                groups[row] = match last {
                    Some((same, group)) if same == key => group,
                    _ => {
                        let next = level.len() as u32;
                        *level.entry(key).or_insert(next)
                    }
                };
                last = Some((key, groups[row]));
            };
            each_value(column, rows, &mut number);
        }
        groups
    }
}

/// Calls `number` with something that tells each value of a column apart from others, whatever it
/// is for a null.
fn each_value(column: &ArrayRef, rows: usize, mut number: impl FnMut(usize, u128)) {
    macro_rules! primitive {
        ($array:ident) => {{
            for (row, value) in $array.values().iter().enumerate() {
                let mut bits = [0; 16];
                let bytes = value.to_byte_slice();
                bits[..bytes.len()].copy_from_slice(bytes);
                number(row, u128::from_ne_bytes(bits));
            }
        }};
    }
    // A text of up to 12 bytes is its view; a longer one its length and 96 bits of its hash.
    let mut form = KeyForm::default();
    let mut long = |text: &[u8]| {
        form.clear();
        form.binary(text);
        let [high, low] = form.hash_wide();
        (u128::from(high) << 64 | u128::from(low)) << 32 | u128::from(text.len() as u32)
    };
    let mut written = |number: &mut dyn FnMut(usize, u128)| {
        let mut text = Vec::new();
        for row in 0..rows {
            text.clear();
            write_value(&mut text, column.as_ref(), row);
            number(row, long(&text));
        }
    };
    if let DataType::Decimal256(..) = column.data_type() {
        return written(&mut number); // too wide
    }
    downcast_primitive_array!(
        column => primitive!(column),
        DataType::Utf8View => {
            let texts = column.as_string_view();
            for (row, view) in texts.views().iter().enumerate() {
                let inline = *view as u32 <= 12;
                number(row, if inline { *view } else { long(texts.value(row).as_bytes()) });
            }
        }
        _ => written(&mut number)
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unsafe_names_are_encoded() {
        for (value, name) in [
            ("", ""),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("a.b", "a.b"),
            ("a/b\\c:d", "a%2Fb%5Cc%3Ad"),
            ("100%", "100%25"),
            ("a\u{0}b\n", "a%00b%0A"),
            ("Zürich", "Zürich"),
            (NULL, "%5F_HIVE_DEFAULT_PARTITION__"),
        ] {
            assert_eq!(encode(value), name);
        }
    }

    proptest! {
        #[test]
        fn names_are_safe_and_tell_values_apart(values in prop::collection::vec(any::<String>(), 1..40)) {
            let mut seen: BTreeMap<String, &str> = BTreeMap::new();
            for value in &values {
                let name = encode(value);
                prop_assert!(!name.contains(['/', '\\', '\0', '=', ':']));
                prop_assert!(!name.starts_with('.') && !name.ends_with(['.', ' ']));
                prop_assert!(name != NULL);
                let other = seen.insert(name, value);
                prop_assert!(other.is_none_or(|other| other == value));
            }
        }
    }
}
