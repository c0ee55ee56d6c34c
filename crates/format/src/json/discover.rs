//! Columns and their types, found by reading a whole input.

use std::io::Read;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use gristmill_core::text::ColumnPlan;
use gristmill_core::{Error, ErrorKind, FieldType, ReadPlan, Result};
use indexmap::IndexMap;

use super::cut::Cutter;
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

/// Adds the columns of an input to `columns`. Reads all of it; records that the reader will reject
/// do not count.
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
    let mut cutter = Cutter::new(&name, input, layout, options, sizes)?;
    let mut members = Vec::new();
    while let Some(cut) = cutter.next()? {
        let valid_utf8 = str::from_utf8(&cut.bytes).is_ok();
        let (mut at, mut next_span) = (0, 0);
        while at < cut.bytes.len() {
            let (end, spans) = next_records(&cut, at, &mut next_span, sizes.batch);
            at = end;
            for span in spans {
                let start = span.start as usize;
                let record = &cut.bytes[start..start + span.len as usize];
                let cut_short = cut.cut_short == Some(start);
                if check_text(record, cut_short, valid_utf8, sizes.max_record).is_ok() {
                    columns.observe(record, &mut members);
                }
            }
            if columns.fields.len() > MAX_COLUMNS {
                let message =
                    format!("records of `{name}` have more than {MAX_COLUMNS} different keys");
                return Err(Error::new(ErrorKind::Schema, message)
                    .hint("columns must have names; put keys that are data into a nested object"));
            }
        }
    }
    Ok(())
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
    pub fn merge(&mut self, next: Columns) {
        self.nested = next.nested;
        merge_fields(&mut self.fields, next.fields);
    }

    fn observe(&mut self, record: &[u8], members: &mut Vec<(Token, Token)>) {
        members.clear();
        let checked = token::record(record, |key, value| {
            members.push((key, value));
            Ok(())
        });
        if checked.is_err() {
            return;
        }
        for (key, value) in &*members {
            shape_of(&mut self.fields, &key.string(record)).observe(record, *value);
        }
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
                value.members(record, |key, member| {
                    shape_of(members, &key).observe(record, member);
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

fn shape_of<'a>(fields: &'a mut IndexMap<Box<str>, Shape>, key: &[u8]) -> &'a mut Shape {
    let key = str::from_utf8(key).unwrap_or_default(); // the record is UTF-8
    // Looked up twice for a new key only: most are known, and then nothing is allocated.
    match fields.get_index_of(key) {
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
