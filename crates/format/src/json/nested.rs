//! Column builders that take checked JSON values: scalars by their text, lists and structs by
//! their parts.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use gristmill_core::batch::Flaw;
use gristmill_core::text::{ColumnBuilder, ColumnPlan, FieldSyntax, SharedText, ValueError};
use gristmill_core::{Error, FieldType, Reason, Result, Stage};

use super::keys::Keys;
use super::token::{Inner, Kind, Token};

/// A record whose values were tokenized.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) text: &'a str,
    pub(super) inner: &'a Inner,
}

/// Keys of nested objects that are not among their fields and are remembered nevertheless.
const STRANGERS: usize = 100;

/// Flaws found in the values of a row.
#[derive(Default)]
pub(super) struct Flaws {
    pub(super) row: u32,
    pub(super) found: Vec<Flaw>,
}

impl Flaws {
    fn add(&mut self, stage: Stage, reason: Reason) {
        self.found.push(Flaw { row: self.row, stage, reason });
    }
}

/// The way from a column to a value in it, for messages: `address.lines[2]`.
pub(super) enum FieldPath<'a> {
    Column(&'a str),
    Member(&'a FieldPath<'a>, &'a str),
    Element(&'a FieldPath<'a>, usize),
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Column(name) => f.write_str(name),
            FieldPath::Member(outer, name) => write!(f, "{outer}.{name}"),
            FieldPath::Element(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

/// Builds a column, or a part of a nested one.
pub(super) enum Node {
    Leaf(Box<Leaf>),
    List(Box<List>),
    Struct(Box<Struct>),
}

pub(super) struct Leaf {
    builder: ColumnBuilder,
    general: General,
    /// Stands for a missing value among places.
    missing: Range<u32>,
    places: Vec<Range<u32>>,
}

/// How a leaf takes any value, with its builder.
struct General {
    field_type: FieldType,
    formats: Vec<String>,
    scratch: Vec<u8>,
    unescaped: String,
}

pub(super) struct List {
    field: FieldRef,
    item: Node,
    offsets: Vec<i32>,
    len: i32,
    validity: NullBufferBuilder,
}

pub(super) struct Struct {
    fields: Fields,
    keys: Keys,
    members: Vec<Node>,
    slots: Vec<Option<Token>>,
    validity: NullBufferBuilder,
}

impl Node {
    /// A builder for a planned column.
    pub(super) fn of_plan(plan: &ColumnPlan) -> Result<Self> {
        match &plan.nested {
            Some(field) => Self::of_field(field),
            None => Ok(Self::leaf(plan)),
        }
    }

    fn of_field(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::List(item) => Node::List(Box::new(List {
                field: Arc::clone(item),
                item: Self::of_field(item)?,
                offsets: vec![0],
                len: 0,
                validity: NullBufferBuilder::new(0),
            })),
            DataType::Struct(fields) => {
                let mut keys = Keys::new(STRANGERS);
                for field in fields {
                    keys.add(field.name().as_bytes());
                }
                Node::Struct(Box::new(Struct {
                    fields: fields.clone(),
                    slots: vec![None; fields.len()],
                    keys,
                    members: fields
                        .iter()
                        .map(|field| Self::of_field(field))
                        .collect::<Result<_>>()?,
                    validity: NullBufferBuilder::new(0),
                }))
            }
            data_type => match FieldType::of(field) {
                Some(field_type) => Self::leaf(&ColumnPlan::new(field.name(), field_type)),
                None => {
                    let name = field.name();
                    let message = format!("a JSON column `{name}` was planned as {data_type}");
                    return Err(Error::internal(message));
                }
            },
        })
    }

    fn leaf(plan: &ColumnPlan) -> Self {
        let (field_type, formats) = (plan.field_type, plan.formats.clone());
        let is_null = field_type != FieldType::String && plan.clean.default.is_none();
        Node::Leaf(Box::new(Leaf {
            builder: ColumnBuilder::new(plan, 0),
            general: General { field_type, formats, scratch: Vec::new(), unescaped: String::new() },
            missing: if is_null { EMPTY } else { NOWHERE },
            places: Vec::new(),
        }))
    }

    /// Appends a value; none is a missing one. What is not of the column's type becomes a null and
    /// a flaw.
    pub(super) fn push(
        &mut self,
        record: Record<'_>,
        token: Option<Token>,
        path: &FieldPath<'_>,
        flaws: &mut Flaws,
    ) {
        let Some(token) = token.filter(|token| token.kind != Kind::Null) else {
            return self.push_missing(path, flaws);
        };
        match self {
            Node::Leaf(leaf) => {
                if let Err(error) = leaf.general.push(&mut leaf.builder, record, token) {
                    flaws.add(Stage::Type, of_type(path, &error));
                }
            }
            Node::List(list) if token.kind == Kind::Array => list.push(record, token, path, flaws),
            Node::Struct(node) if token.kind == Kind::Object => {
                node.push(record, token, path, flaws);
            }
            Node::List(_) => self.push_other_kind(record, token, "an array", path, flaws),
            Node::Struct(_) => self.push_other_kind(record, token, "an object", path, flaws),
        }
    }

    fn push_missing(&mut self, path: &FieldPath<'_>, flaws: &mut Flaws) {
        match self {
            Node::Leaf(leaf) => {
                if let Err(error) = leaf.builder.push_null() {
                    flaws.add(Stage::Type, of_type(path, &error));
                }
            }
            _ => self.append_null(),
        }
    }

    fn push_other_kind(
        &mut self,
        record: Record<'_>,
        token: Token,
        kind: &str,
        path: &FieldPath<'_>,
        flaws: &mut Flaws,
    ) {
        let mut text = Vec::new();
        token.compact_into(record.text, &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let shown: String = text.chars().take(100).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let message = format!("`{shown}{more}` is not {kind}");
        flaws.add(Stage::Type, Reason::field(path.to_string(), "type", message, Some(text)));
        self.append_null();
    }

    fn append_null(&mut self) {
        match self {
            Node::Leaf(leaf) => leaf.builder.append_null(),
            Node::List(list) => {
                list.offsets.push(list.len);
                list.validity.append_null();
            }
            Node::Struct(node) => {
                node.members.iter_mut().for_each(Node::append_null);
                node.validity.append_null();
            }
        }
    }

    /// The column, and an empty builder for the next one.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Node::Leaf(leaf) => leaf.builder.finish(),
            Node::List(list) => {
                list.len = 0;
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                let offsets = OffsetBuffer::new(offsets.into());
                let items = list.item.finish()?;
                let nulls = list.validity.finish();
                Arc::new(ListArray::try_new(Arc::clone(&list.field), offsets, items, nulls)?)
            }
            Node::Struct(node) => {
                let members: Vec<ArrayRef> =
                    node.members.iter_mut().map(Node::finish).collect::<Result<_>>()?;
                let nulls = node.validity.finish();
                Arc::new(StructArray::try_new(node.fields.clone(), members, nulls)?)
            }
        })
    }
}

/// A place without bytes: for types other than text, a null.
const EMPTY: Range<u32> = 0..0;

/// The place of a value that a builder cannot take as it stands.
const NOWHERE: Range<u32> = Range { start: 1, end: 0 };

impl Leaf {
    /// Appends the values that `token` tells of some records, which have their positions in the
    /// text. The first makes the row that flaws are at.
    pub(super) fn extend(
        &mut self,
        text: &SharedText,
        records: &[(u32, Record<'_>)],
        token: impl Fn(usize) -> Option<Token>,
        path: &FieldPath<'_>,
        flaws: &mut Flaws,
    ) {
        let Self { builder, general, missing, places } = self;
        places.clear();
        places.extend(records.iter().enumerate().map(|(i, (start, _))| {
            let Some(token) = token(i) else {
                return missing.clone();
            };
            match token.kind {
                Kind::Null => missing.clone(),
                Kind::Plain => start + token.start + 1..start + token.end - 1,
                Kind::Bool | Kind::Int | Kind::Number => start + token.start..start + token.end,
                Kind::Escaped | Kind::Array | Kind::Object => NOWHERE,
            }
        }));
        let first = flaws.row;
        builder.extend(text, &FieldSyntax::default(), places, |builder, row| {
            let pushed = match token(row).filter(|token| token.kind != Kind::Null) {
                Some(token) => general.push(builder, records[row].1, token),
                None => builder.push_null(),
            };
            if let Err(error) = pushed {
                flaws.row = first + row as u32;
                flaws.add(Stage::Type, of_type(path, &error));
            }
        });
        flaws.row = first;
    }
}

impl General {
    /// Appends a value that is not null.
    fn push(
        &mut self,
        builder: &mut ColumnBuilder,
        record: Record<'_>,
        token: Token,
    ) -> Result<(), ValueError> {
        let as_text = matches!(self.field_type, FieldType::String | FieldType::Json);
        match token.kind {
            Kind::Array | Kind::Object if as_text => {
                self.scratch.clear();
                token.compact_into(record.text, &mut self.scratch);
                builder.push(&self.scratch)
            }
            Kind::Array | Kind::Object => {
                builder.append_null();
                self.scratch.clear();
                token.compact_into(record.text, &mut self.scratch);
                Err(ValueError {
                    value: String::from_utf8_lossy(&self.scratch).into_owned(),
                    field_type: self.field_type,
                    formats: self.formats.clone(),
                })
            }
            Kind::Plain if self.field_type != FieldType::Json => {
                builder.push_str(token.content(record.text))
            }
            Kind::Escaped if self.field_type != FieldType::Json => {
                self.unescaped.clear();
                token.string_into(record.text, &mut self.unescaped);
                builder.push_str(&self.unescaped)
            }
            _ => builder.push_str(token.text(record.text)),
        }
    }
}

impl List {
    fn push(&mut self, record: Record<'_>, token: Token, path: &FieldPath<'_>, flaws: &mut Flaws) {
        let mut index = 0;
        token.elements(record.text, record.inner, |element| {
            self.item.push(record, Some(element), &FieldPath::Element(path, index), flaws);
            index += 1;
        });
        self.len += index as i32; // a batch's text is far below 2 GiB
        self.offsets.push(self.len);
        self.validity.append_non_null();
    }
}

impl Struct {
    fn push(&mut self, record: Record<'_>, token: Token, path: &FieldPath<'_>, flaws: &mut Flaws) {
        self.slots.fill(None);
        let (slots, fields) = (&mut self.slots, &self.fields);
        token.members(record.text, record.inner, &mut self.keys, |position, value| {
            let Some(slot) = slots.get_mut(position) else {
                return;
            };
            if slot.replace(value).is_some() {
                let message = format!("`{path}` has the key `{}` twice", fields[position].name());
                flaws.add(
                    Stage::Parse,
                    Reason::field(path.to_string(), "duplicate_key", message, None),
                );
            }
        });
        for ((member, slot), field) in self.members.iter_mut().zip(&self.slots).zip(&self.fields) {
            member.push(record, *slot, &FieldPath::Member(path, field.name()), flaws);
        }
        self.validity.append_non_null();
    }
}

fn of_type(path: &FieldPath<'_>, error: &ValueError) -> Reason {
    Reason::field(path.to_string(), "type", error.to_string(), Some(error.value.clone()))
}
