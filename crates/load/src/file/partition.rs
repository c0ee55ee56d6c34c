//! Partitions: values as folder names, and batches split by them.
//!
//! Folders are named as Hive names them, `column=value`, values in the text form that CSV gets.
//! Bytes that a file system or a reader of such names could take for something else are written
//! `%XX`. A null is `__HIVE_DEFAULT_PARTITION__`, an empty text an empty value (`column=`). No two
//! values have the same name.

use std::sync::Arc;

use arrow_array::UInt32Array;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::text::{value_text, write_value};
use gristmill_core::types::is_json;
use gristmill_core::{Batch, Encoded, Encoder, Part, Reason, Reject, Result, Stage};
use gristmill_format::Writer;
use indexmap::IndexMap;

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

/// Folders that a worker encodes for at the same time: each has buffers of its own.
const MAX_PARTS: usize = 256;

/// Whether a column's values can name folders.
pub(crate) fn can_partition(field: &Field) -> bool {
    match field.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => false,
        DataType::Dictionary(_, values) => !values.is_nested(),
        data_type => !data_type.is_nested() && !is_json(field),
    }
}

/// Splits batches by the values of some columns, and encodes the others.
pub(crate) struct Splitter {
    writer: Arc<dyn Writer>,
    /// Index and encoded name of each partition column.
    keys: Arc<[(usize, String)]>,
    /// Indices of the columns that go into the files.
    rest: Arc<[usize]>,
}

/// What a worker made of a chunk.
pub(crate) struct Pieces {
    /// Folders below the destination and what goes into them, in order; a folder may come again.
    pub(crate) pieces: Vec<(String, Encoded)>,
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
    /// `writer` writes the [`file_schema`].
    pub(crate) fn new(schema: &Schema, partition_by: &[String], writer: Arc<dyn Writer>) -> Self {
        let keys = partition_by
            .iter()
            .filter_map(|name| Some((schema.index_of(name).ok()?, encode(name))))
            .collect();
        let rest = (0..schema.fields().len())
            .filter(|&i| !partition_by.contains(schema.field(i).name()))
            .collect();
        Self { writer, keys, rest }
    }
}

impl Encoder for Splitter {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(SplitPart {
            encoder: self.writer.encoder(),
            keys: Arc::clone(&self.keys),
            rest: Arc::clone(&self.rest),
            parts: IndexMap::new(),
            pieces: Vec::new(),
            bytes: 0,
            rejects: Vec::new(),
            records: 0,
        })
    }
}

struct SplitPart {
    encoder: Arc<dyn Encoder>,
    keys: Arc<[(usize, String)]>,
    rest: Arc<[usize]>,
    parts: IndexMap<String, Box<dyn Part>>,
    pieces: Vec<(String, Encoded)>,
    bytes: u64,
    rejects: Vec<Reject>,
    records: u64,
}

impl SplitPart {
    fn push_to(&mut self, folder: String, batch: Batch) -> Result<()> {
        if self.parts.len() == MAX_PARTS && !self.parts.contains_key(&folder) {
            self.complete_first()?;
        }
        let columns = batch.columns().project(&self.rest)?;
        let part = self.parts.entry(folder).or_insert_with(|| self.encoder.begin());
        part.push(&batch.with_columns(columns)?)
    }

    fn complete_first(&mut self) -> Result<()> {
        if let Some((folder, part)) = self.parts.shift_remove_index(0) {
            let encoded = part.finish()?;
            self.bytes += encoded.bytes;
            self.pieces.push((folder, encoded));
        }
        Ok(())
    }

    /// The rows of each folder, in the order of their first rows.
    fn groups(&mut self, batch: &Batch) -> IndexMap<String, Vec<u32>> {
        // Rows with the same raw key share a folder name, which is made once.
        let mut raw: IndexMap<Vec<u8>, Vec<u32>> = IndexMap::new();
        let mut key = Vec::new();
        for row in 0..batch.num_rows() {
            key.clear();
            for (index, _) in self.keys.iter() {
                let column = batch.columns().column(*index);
                key.push(u8::from(column.is_valid(row)));
                let start = key.len();
                write_value(&mut key, column.as_ref(), row);
                let length = (key.len() - start) as u64;
                key.extend_from_slice(&length.to_le_bytes());
            }
            match raw.get_mut(key.as_slice()) {
                Some(rows) => rows.push(row as u32),
                None => drop(raw.insert(key.clone(), vec![row as u32])),
            }
        }
        let mut groups: IndexMap<String, Vec<u32>> = IndexMap::with_capacity(raw.len());
        for rows in raw.into_values() {
            match self.folder(batch, rows[0] as usize) {
                Ok(folder) => groups.entry(folder).or_default().extend(rows),
                Err(reason) => self.rejects.extend(rows.iter().map(|&row| Reject {
                    origin: Arc::clone(batch.origin()),
                    ordinal: batch.rows().ordinal(row as usize),
                    stage: Stage::Load,
                    errors: vec![reason.clone()],
                })),
            }
        }
        groups
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
}

impl Part for SplitPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        self.records += batch.num_rows() as u64;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.keys.is_empty() {
            return self.push_to(String::new(), batch.clone());
        }
        for (folder, rows) in self.groups(batch) {
            let piece = if rows.len() == batch.num_rows() {
                batch.clone()
            } else {
                batch.clone().take(&UInt32Array::from(rows))?
            };
            self.push_to(folder, piece)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Encoded> {
        while !self.parts.is_empty() {
            self.complete_first()?;
        }
        let payload = Box::new(Pieces { pieces: self.pieces, rejects: self.rejects });
        Ok(Encoded { records: self.records, bytes: self.bytes, payload })
    }
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
