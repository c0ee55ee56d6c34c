//! JSON: documents (an array of objects, one object, or several such values in a row) and lines
//! (NDJSON, one object a line).
//!
//! One thread cuts the input at record ends ([`Reader`]); workers tokenize records and write their
//! values straight into column builders. JSON has no header: [`discover`] reads an input once to
//! find its columns and their types, before a [`Reader`] reads it again to decode it.
//!
//! A record that is not a JSON object (RFC 8259) becomes a reject of stage `parse` with its text,
//! and reading goes on with the next one. Its rules are `json` (malformed), `object` (a value that
//! is no object), `duplicate_key`, `encoding` (not UTF-8), `nul` (U+0000 in a string), `depth`
//! (more than 128 levels) and `record_size`. Only where a document's structure is broken, so that
//! the next record cannot be found, is there an error.
//!
//! ```
//! use gristmill_core::Findings;
//! use gristmill_format::json::{Columns, Layout, ReadOptions, Reader, discover};
//! use gristmill_format::{Reader as _, Sizes};
//!
//! let text = br#"[{"id": 1, "tags": ["a"]}, {"id": 2.5, "city": "Oslo"}, {"id" 3}]"#;
//! let (options, sizes) = (ReadOptions::default(), Sizes::default());
//! let mut columns = Columns::default();
//! discover("x.json".into(), Box::new(&text[..]), Layout::Document, &options, sizes, &mut columns)?;
//!
//! let input = Box::new(&text[..]);
//! let reader = Reader::open("x.json".into(), input, Layout::Document, &options, sizes)?;
//! let mut reader = reader.with_columns(columns);
//! let schema = reader.begin(None)?;
//! assert_eq!(schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["id", "tags", "city"]);
//!
//! let mut findings = Findings::default();
//! let mut chunk = reader.next_chunk()?.unwrap();
//! let batch = chunk.next_batch(&mut findings)?.unwrap();
//! assert_eq!(batch.num_rows(), 2);
//! assert_eq!(
//!     findings.rejects()[0].errors[0].message,
//!     "expected `:` but found `3` at column 7 of the record"
//! );
//! # Ok::<(), gristmill_core::Error>(())
//! ```

mod cut;
mod decode;
mod delimit;
mod discover;
mod document;
mod escape;
mod fault;
mod finder;
mod guess;
mod keys;
mod lanes;
mod lines;
mod nested;
mod read;
mod token;
mod walk;
mod write;

use gristmill_core::{Mistake, Pointer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Format;

pub use discover::{Columns, Piece, Pieces, discover};
pub use read::Reader;
pub use write::writer;

/// How records stand in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In a document: the elements of an array, or the top-level values themselves.
    Document,
    /// One a line.
    Lines,
}

impl Layout {
    /// The layout of a format, for those that are JSON.
    pub fn of(format: Format) -> Option<Self> {
        match format {
            Format::Json => Some(Layout::Document),
            Format::Ndjson => Some(Layout::Lines),
            _ => None,
        }
    }
}

/// How objects and arrays inside records are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    /// As structs and lists, typed from the whole input. An object that has no field, or more than
    /// 1,000 different ones, is read as `json`.
    #[default]
    Struct,
    /// As JSON text.
    Json,
}

/// How JSON is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "JsonRead")]
pub struct ReadOptions {
    /// Where the records are inside a document, when they are not at its top: the keys that lead to
    /// them, separated by dots, for example `data.items`.
    pub records: Option<String>,
    /// How objects and arrays inside records are read: `struct` (typed, the default) or `json`
    /// (as text).
    pub nested: Nested,
}

impl ReadOptions {
    /// Mistakes in the options for an input of this layout.
    pub fn check(&self, layout: Layout) -> Vec<Mistake> {
        let at = || Pointer::root().key("records");
        match self.records.as_deref() {
            Some(_) if layout == Layout::Lines => vec![
                Mistake::new(at(), "`records` leads into a JSON document; NDJSON has one a line")
                    .hint("remove `records`, or say `format: json`"),
            ],
            Some(path) if path.split('.').any(str::is_empty) => vec![
                Mistake::new(at(), format!("`{path}` has an empty key"))
                    .hint("write the keys separated by single dots, for example data.items"),
            ],
            _ => Vec::new(),
        }
    }

    fn path(&self) -> Vec<String> {
        let path = self.records.as_deref().unwrap_or_default();
        path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }
}
