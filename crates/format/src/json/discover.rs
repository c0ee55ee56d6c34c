//! Columns and their types, found by reading a whole input.

use std::io::Read;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use gristmill_core::text::ColumnPlan;
use gristmill_core::{Error, ErrorKind, FieldType, ReadPlan, Result};
use indexmap::IndexMap;
use memchr::memchr;

use super::cut::{Cut, Cutter, Records};
use super::decode::next_records;
use super::finder::{Finder, kind};
use super::token::{Inner, Kind, Token};
use super::{Layout, Nested, ReadOptions};
use crate::Sizes;

/// Different keys of a nested object beyond which it is a map rather than a struct.
const MAX_MEMBERS: usize = 1_000;
/// Different keys of records beyond which they are not columns.
const MAX_COLUMNS: usize = 10_000;

/// The columns of one or several inputs: every key that a readable record has, in the order of its
/// first appearance, with the one type that takes all of its values.
///
/// | values, besides null | type |
/// |---|---|
/// | none | `string` |
/// | truth values | `bool` |
/// | integers | `int`; beyond 64 bits `decimal(38, 0)`, beyond that `double` |
/// | numbers with a fraction or exponent, and any others | `double` |
/// | strings | `string` |
/// | objects | a struct of their members' types |
/// | arrays | a list of their elements' type |
/// | anything else | `json`, the values as JSON text |
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    pub(super) nested: Nested,
    pub(super) fields: IndexMap<Box<str>, Shape>,
}

/// Adds the columns of an input to `columns`. Reads all of it; records that cannot be parsed do not
/// count. [`Pieces`] does the same with many workers.
///
/// # Errors
/// As [`super::Reader`]: when the input cannot be read, or its structure is broken. When records
/// have more than 10,000 different keys.
pub fn discover(
    name: Arc<str>,
    input: Box<dyn Read + Send>,
    layout: Layout,
    options: &ReadOptions,
    sizes: Sizes,
    columns: &mut Columns,
) -> Result<()> {
    columns.nested = options.nested;
    for piece in Pieces::open(&name, input, layout, options, sizes)? {
        columns.merge(piece?.columns()?)?;
    }
    Ok(())
}

/// The pieces of an input, so that workers discover the columns of each. Merged in order, they are
/// the columns that [`discover`] finds.
pub struct Pieces {
    cutter: Cutter,
    nested: Nested,
    sizes: Sizes,
    ended: bool,
}

/// A piece of an input.
pub struct Piece {
    cut: Cut,
    nested: Nested,
    sizes: Sizes,
}

impl Pieces {
    /// The pieces of `input`, which is decompressed already. Reads nothing yet.
    ///
    /// # Errors
    /// When the options do not fit the layout.
    pub fn open(
        name: &Arc<str>,
        input: Box<dyn Read + Send>,
        layout: Layout,
        options: &ReadOptions,
        sizes: Sizes,
    ) -> Result<Self> {
        let cutter = Cutter::new(name, input, layout, options, sizes)?;
        Ok(Self { cutter, nested: options.nested, sizes, ended: false })
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.cutter.next() {
            Ok(Some(cut)) => Some(Ok(Piece { cut, nested: self.nested, sizes: self.sizes })),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

impl Piece {
    /// Memory it holds, in bytes.
    pub fn size(&self) -> usize {
        self.cut.text().len()
    }

    /// Its columns.
    ///
    /// # Errors
    /// When its records have more than 10,000 different keys.
    pub fn columns(&self) -> Result<Columns> {
        let mut finder = Finder::new(self.nested);
        match self.cut.records {
            // A line that is too long is the only one of its piece.
            Records::Lines if self.cut.cut_short.is_some() => {}
            Records::Lines => self.lines(&mut finder)?,
            Records::Spans(_) => self.spans(&mut finder)?,
        }
        Ok(finder.columns)
    }

    fn lines(&self, finder: &mut Finder) -> Result<()> {
        let text = self.cut.text();
        let (mut at, mut checked) = (0, 0);
        while at < text.len() {
            if let Some(next) = finder.glance(text, at) {
                at = next;
                continue;
            }
            let end = memchr(b'\n', &text[at..]).map_or(text.len(), |len| at + len);
            let line = &text[at..end];
            let record = line.strip_suffix(b"\r").unwrap_or(line);
            if record.len() <= self.sizes.max_record {
                finder.observe(record);
            }
            at = end + 1;
            if at - checked >= self.sizes.batch {
                checked = at;
                finder.columns.check_number()?;
            }
        }
        finder.columns.check_number()
    }

    fn spans(&self, finder: &mut Finder) -> Result<()> {
        let cut = &self.cut;
        let (mut at, mut next_span) = (0, 0);
        let text = cut.text();
        while at < text.len() {
            let (end, spans) = next_records(cut, at, &mut next_span, self.sizes.batch, usize::MAX);
            at = end;
            for span in spans {
                let (start, len) = (span.start as usize, span.len as usize);
                if len <= self.sizes.max_record {
                    finder.observe(&text[start..start + len]);
                }
            }
            finder.columns.check_number()?;
        }
        Ok(())
    }
}

impl Columns {
    /// The columns as a reader can produce them.
    pub fn plan(&self) -> ReadPlan {
        let columns = self.fields.iter().map(|(name, shape)| {
            let kept = shape.field(name, self.nested);
            match FieldType::of(&kept) {
                Some(field_type) => ColumnPlan::new(&**name, field_type),
                None => {
                    let mut plan = ColumnPlan::new(&**name, FieldType::Json);
                    plan.nested = Some(FieldRef::new(kept));
                    plan
                }
            }
        });
        ReadPlan { columns: columns.collect() }
    }

    /// Adds columns that were found in what comes next.
    ///
    /// # Errors
    /// When there are more than 10,000 in all.
    pub fn merge(&mut self, next: Columns) -> Result<()> {
        self.nested = next.nested;
        merge_fields(&mut self.fields, next.fields);
        self.check_number()
    }

    fn check_number(&self) -> Result<()> {
        if self.fields.len() <= MAX_COLUMNS {
            return Ok(());
        }
        let message = format!("JSON records have more than {MAX_COLUMNS} different keys");
        Err(Error::new(ErrorKind::Schema, message)
            .hint("columns must have names; put keys that are data into a nested object"))
    }
}

/// The kinds of values seen under a key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) scalars: u8,
    /// Members of the objects seen; none if there was no object.
    members: Option<IndexMap<Box<str>, Shape>>,
    /// Whether there are too many members, which are then forgotten.
    is_map: bool,
    /// What the elements of the arrays seen are; none if there was no array.
    elements: Option<Box<Shape>>,
}

pub(super) const BOOL: u8 = 1;
pub(super) const INT: u8 = 2;
pub(super) const LONG_INT: u8 = 4;
pub(super) const INTS: u8 = INT | LONG_INT;
pub(super) const DOUBLE: u8 = 8;
pub(super) const STRING: u8 = 16;
/// No scalar: never among those that were seen, so that each array and object is looked into.
pub(super) const NESTED: u8 = 32;

impl Shape {
    pub(super) fn observe(&mut self, record: &str, inner: &Inner, value: Token) {
        match value.kind {
            Kind::Array => {
                let elements = self.elements.get_or_insert_default();
                value.elements(record, inner, |element| elements.observe(record, inner, element));
            }
            Kind::Object => {
                let members = self.members.get_or_insert_default();
                if self.is_map {
                    return;
                }
                let mut i = 0;
                value.named_members(record, inner, |key, member| {
                    shape_of(members, &key, i).observe(record, inner, member);
                    i += 1;
                });
                self.forget_map();
            }
            _ => self.scalars |= kind(record.as_bytes(), value),
        }
    }

    fn merge(&mut self, next: Shape) {
        self.scalars |= next.scalars;
        self.is_map |= next.is_map;
        if let Some(members) = next.members {
            merge_fields(self.members.get_or_insert_default(), members);
            self.forget_map();
        }
        if let Some(elements) = next.elements {
            self.elements.get_or_insert_default().merge(*elements);
        }
    }

    fn forget_map(&mut self) {
        if let Some(members) = &mut self.members {
            self.is_map |= members.len() > MAX_MEMBERS;
            if self.is_map {
                *members = IndexMap::new();
            }
        }
    }

    fn field(&self, name: &str, nested: Nested) -> Field {
        let scalar = match self.scalars {
            0 => FieldType::String,
            BOOL => FieldType::Bool,
            INT => FieldType::Int,
            LONG_INT | INTS => FieldType::Decimal { precision: 38, scale: 0 },
            STRING => FieldType::String,
            numbers if numbers & !(INTS | DOUBLE) == 0 => FieldType::Double,
            _ => FieldType::Json,
        };
        let data_type = match (&self.members, &self.elements) {
            (None, None) => return scalar.field(name),
            (Some(members), None) if self.scalars == 0 && nested == Nested::Struct => {
                if members.is_empty() {
                    return FieldType::Json.field(name);
                }
                DataType::Struct(
                    members.iter().map(|(name, shape)| shape.field(name, nested)).collect(),
                )
            }
            (None, Some(elements)) if self.scalars == 0 && nested == Nested::Struct => {
                DataType::List(FieldRef::new(elements.field("item", nested)))
            }
            _ => return FieldType::Json.field(name),
        };
        Field::new(name, data_type, true)
    }
}

/// The shape of the values under a key, which most records have at the same position.
fn shape_of<'a>(
    fields: &'a mut IndexMap<Box<str>, Shape>,
    key: &[u8],
    guess: usize,
) -> &'a mut Shape {
    let key = str::from_utf8(key).unwrap_or_default(); // the record is UTF-8
    let position = match fields.get_index(guess) {
        Some((name, _)) if **name == *key => Some(guess),
        _ => fields.get_index_of(key),
    };
    match position {
        Some(position) => &mut fields[position],
        None => fields.entry(key.into()).or_default(),
    }
}

fn merge_fields(fields: &mut IndexMap<Box<str>, Shape>, next: IndexMap<Box<str>, Shape>) {
    for (name, shape) in next {
        fields.entry(name).or_default().merge(shape);
    }
}
