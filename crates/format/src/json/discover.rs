//! Columns and their types, found by reading a whole input.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use gristmill_core::text::ColumnPlan;
use gristmill_core::{Error, ErrorKind, FieldType, ReadPlan, Result};
use indexmap::IndexMap;

use super::cut::{Cut, Cutter};
use super::decode::{check_text, next_records};
use super::token::{self, Kind, Token};
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
    nested: Nested,
    fields: IndexMap<Box<str>, Shape>,
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
        self.cut.bytes.len()
    }

    /// Its columns.
    ///
    /// # Errors
    /// When its records have more than 10,000 different keys.
    pub fn columns(&self) -> Result<Columns> {
        let mut columns = Columns { nested: self.nested, ..Columns::default() };
        let cut = &self.cut;
        let valid_utf8 = str::from_utf8(&cut.bytes).is_ok();
        let mut members = Vec::new();
        let (mut at, mut next_span) = (0, 0);
        while at < cut.bytes.len() {
            let (end, spans) = next_records(cut, at, &mut next_span, self.sizes.batch);
            at = end;
            for span in spans {
                let record = check_text(&cut.bytes, span, valid_utf8, self.sizes.max_record);
                if let Ok(record) = record {
                    columns.observe(record, &mut members);
                }
            }
            columns.check_number()?;
        }
        Ok(columns)
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

    fn observe(&mut self, record: &[u8], members: &mut Vec<(Token, Token)>) {
        members.clear();
        let checked = token::record(record, |key, value| {
            members.push((key, value));
            Ok(())
        });
        if checked.is_err() || self.has_key_twice(record, members) {
            return;
        }
        for (i, (key, value)) in members.iter().enumerate() {
            shape_of(&mut self.fields, &key.string(record), i).observe(record, *value);
        }
    }

    fn has_key_twice(&self, record: &[u8], members: &[(Token, Token)]) -> bool {
        // Mostly the keys come in the order of the fields: then all of them differ.
        let mut fields = self.fields.keys();
        let ascend = members.iter().all(|(key, _)| {
            let key = key.string(record);
            fields.any(|name| *name.as_bytes() == *key)
        });
        if ascend {
            return false;
        }
        let mut keys = HashSet::with_capacity(members.len());
        !members.iter().all(|(key, _)| keys.insert(key.string(record)))
    }
}

/// The kinds of values seen under a key.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shape {
    scalars: u8,
    /// Members of the objects seen; none if there was no object.
    members: Option<IndexMap<Box<str>, Shape>>,
    /// Whether there are too many members, which are then forgotten.
    is_map: bool,
    /// What the elements of the arrays seen are; none if there was no array.
    elements: Option<Box<Shape>>,
}

const BOOL: u8 = 1;
const INT: u8 = 2;
const LONG_INT: u8 = 4;
const INTS: u8 = INT | LONG_INT;
const DOUBLE: u8 = 8;
const STRING: u8 = 16;

impl Shape {
    fn observe(&mut self, record: &[u8], value: Token) {
        match value.kind {
            Kind::Null => {}
            Kind::Bool => self.scalars |= BOOL,
            Kind::Number => self.scalars |= number(value.text(record)),
            Kind::Plain | Kind::Escaped => self.scalars |= STRING,
            Kind::Array => {
                let elements = self.elements.get_or_insert_default();
                value.elements(record, |element| elements.observe(record, element));
            }
            Kind::Object => {
                let members = self.members.get_or_insert_default();
                if self.is_map {
                    return;
                }
                let mut i = 0;
                value.members(record, |key, member| {
                    shape_of(members, &key, i).observe(record, member);
                    i += 1;
                });
                self.forget_map();
            }
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

fn number(text: &[u8]) -> u8 {
    if memchr::memchr3(b'.', b'e', b'E', text).is_some() {
        return DOUBLE;
    }
    if gristmill_core::text::parse::int(text).is_some() {
        return INT;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text).len();
    if digits <= 38 { LONG_INT } else { DOUBLE }
}
