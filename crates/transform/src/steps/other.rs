//! What steps say of a source besides their input: which one, its columns, and which of them are
//! compared with columns of the records.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::types::type_name;
use gristmill_core::{Batch, FieldType, Mistake, Pointer, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::convert::{Conversion, widened};
use crate::options;

/// A source, as an item of `extract` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(pub Value);

/// Columns by name: one, several, or pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// Each column's name among the records, and in the source.
    pub pairs: Vec<(String, String)>,
    /// Whether they were written as pairs.
    pub renamed: bool,
}

/// A column of the source, made comparable where it is not already.
#[derive(Clone)]
pub(super) struct Column {
    pub(super) place: usize,
    pub(super) conversion: Option<Conversion>,
}

impl Column {
    /// The column of a batch of the source; the row of a value that is not of the type, and why.
    pub(super) fn of_source(&self, batch: &Batch) -> Result<Result<ArrayRef, (usize, String)>> {
        let column = batch.columns().column(self.place);
        let Some(conversion) = &self.conversion else { return Ok(Ok(Arc::clone(column))) };
        let (converted, failures) = conversion.apply(column)?;
        let name = batch.schema();
        let name = name.field(self.place).name();
        Ok(match failures.into_iter().next() {
            Some((row, found)) => Err((row, format!("`{name}`: {found}"))),
            None => Ok(converted),
        })
    }
}

impl Source {
    /// What messages call it.
    pub(super) fn name(&self) -> String {
        const LONGEST: usize = 60;
        let text = |key: &str| self.0.get(key).and_then(Value::as_str);
        let name = ["file", "table", "query"].into_iter().find_map(text).unwrap_or("rows");
        let words = name.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None => words,
        }
    }
}

impl Columns {
    /// Adds a column that has the same name in both.
    pub(super) fn push(&mut self, name: impl Into<String>) {
        let name = name.into();
        self.push_pair(name.clone(), name);
    }

    /// Adds a column with its name among the records, and in the source.
    pub(super) fn push_pair(&mut self, name: impl Into<String>, other: impl Into<String>) {
        self.pairs.push((name.into(), other.into()));
    }

    /// The columns of a key that the records do not have.
    pub(super) fn unknown_keys(&self, input: &SchemaRef) -> Vec<Mistake> {
        let names = options::names(input);
        let pairs = self.pairs.iter().enumerate();
        let unknown = pairs.filter_map(|(index, (name, _))| {
            options::find(&names, name, self.at("on", index)).err()
        });
        unknown.collect()
    }

    /// The place of the pair at this index in the options under `key`.
    pub(super) fn at(&self, key: &str, index: usize) -> Pointer {
        let at = Pointer::root().key(key);
        match self.pairs.as_slice() {
            pairs if self.renamed => at.key(&pairs[index].0),
            [_] => at, // as one name or as a list of one
            _ => at.index(index),
        }
    }

    /// What is wrong with them as a key.
    pub(super) fn key_mistakes(&self) -> Vec<Mistake> {
        let at = Pointer::root().key("on");
        if self.pairs.is_empty() {
            return vec![
                Mistake::new(at, "a key needs at least one column")
                    .hint("write it like `on: region`, or `on: {region: region_code}`"),
            ];
        }
        let others = options::duplicate(self.pairs.iter().map(|pair| pair.1.as_str()));
        let others = others.map(|name| Mistake::new(at, format!("`{name}` stands twice")));
        self.twice("on").or(others).into_iter().collect()
    }

    /// The mistake of a name that stands twice under `key`.
    pub(super) fn twice(&self, key: &str) -> Option<Mistake> {
        let name = options::duplicate(self.pairs.iter().map(|pair| pair.0.as_str()))?;
        Some(Mistake::new(Pointer::root().key(key), format!("`{name}` stands twice")))
    }
}

/// What is wrong with the columns that records get of a source.
pub(super) fn take_mistakes(take: Option<&Columns>, prefix: &str) -> Vec<Mistake> {
    let Some(take) = take else { return Vec::new() };
    let mut mistakes = Vec::from_iter(take.twice("take"));
    if take.renamed && !prefix.is_empty() {
        let at = Pointer::root().key("prefix");
        mistakes.push(
            Mistake::new(at, "the columns of a mapping have their names already")
                .on_key()
                .hint("write `take` as a list, or leave the prefix out"),
        );
    }
    mistakes
}

/// Each column that records get: its new name, its name, and where it is asked for. Without `take`
/// those of the source that are not `known` already, because of what stands under this key.
pub(super) fn taken(
    take: Option<&Columns>,
    prefix: &str,
    source: &SchemaRef,
    known: impl Fn(&String) -> bool,
    key: &str,
) -> Vec<(String, String, Pointer)> {
    let new = |name: &String| format!("{prefix}{name}");
    match take {
        Some(take) => {
            let pairs = take.pairs.iter().enumerate();
            let taken = pairs
                .map(|(index, (name, other))| (new(name), other.clone(), take.at("take", index)));
            taken.collect()
        }
        None => {
            let names = source.fields().iter().map(|field| field.name());
            let names = names.filter(|name| !known(name));
            names.map(|name| (new(name), name.clone(), Pointer::root().key(key))).collect()
        }
    }
}

/// How a library says which columns are the key.
macro_rules! key_builders {
    () => {
        /// Adds a column to the key, which has the same name in both.
        #[must_use]
        pub fn on(mut self, column: impl Into<String>) -> Self {
            self.on.push(column);
            self
        }

        /// Adds a column of the records to the key, and what it is called in the source.
        #[must_use]
        pub fn on_pair(mut self, column: impl Into<String>, other: impl Into<String>) -> Self {
            self.on.push_pair(column, other);
            self
        }
    };
}

/// How a library says which columns records get.
macro_rules! take_builders {
    () => {
        /// Takes a column.
        #[must_use]
        pub fn take(mut self, column: impl Into<String>) -> Self {
            self.take.get_or_insert_default().push(column);
            self
        }

        /// Takes a column under another name.
        #[must_use]
        pub fn take_as(mut self, name: impl Into<String>, column: impl Into<String>) -> Self {
            let take = self.take.get_or_insert_default();
            take.renamed = true;
            take.push_pair(name, column);
            self
        }

        /// What stands before the names of the columns that records get.
        #[must_use]
        pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
            self.prefix = prefix.into();
            self
        }
    };
}

pub(super) use {key_builders, take_builders};

/// The columns of the records and of a source, and what is wrong with what a step says of them.
pub(super) struct Sides<'a> {
    pub(super) input: &'a SchemaRef,
    pub(super) source: &'a SchemaRef,
    /// What messages call the source.
    pub(super) name: String,
    pub(super) mistakes: Vec<Mistake>,
}

/// A column of a key.
pub(super) struct Key {
    /// Its name among the records, and its place.
    pub(super) name: String,
    pub(super) place: usize,
    pub(super) source: Column,
}

impl<'a> Sides<'a> {
    pub(super) fn new(input: &'a SchemaRef, source: &'a SchemaRef, name: String) -> Self {
        Self { input, source, name, mistakes: Vec::new() }
    }

    pub(super) fn of_input(&mut self, column: &str, at: Pointer) -> Option<usize> {
        let found = options::find(&options::names(self.input), column, at);
        found.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }

    pub(super) fn of_source(&mut self, column: &str, at: Pointer) -> Option<usize> {
        let found = options::find(&options::names(self.source), column, at);
        let found = found.map_err(|mut mistake| {
            mistake.message = format!("`{}` has no column `{column}`", self.name);
            self.mistakes.push(mistake);
        });
        found.ok()
    }

    /// The columns of a key.
    pub(super) fn keys(&mut self, on: &Columns) -> Vec<Key> {
        let mut keys = Vec::with_capacity(on.pairs.len());
        for (index, (name, other)) in on.pairs.iter().enumerate() {
            let at = on.at("on", index);
            keys.extend(self.pair(name, other, at));
        }
        keys
    }

    /// What makes a column of the source one of the type that a column of the records has.
    pub(super) fn conversion(
        &self,
        place: usize,
        other: usize,
    ) -> std::result::Result<Option<Conversion>, Mistake> {
        let (mine, theirs) = (&self.input.fields()[place], &self.source.fields()[other]);
        if mine.data_type() == theirs.data_type() {
            return Ok(None);
        }
        let found = comparison(mine, theirs)
            .map_err(|hint| Mistake::new(Pointer::root(), self.differ(mine, theirs)).hint(hint))?;
        // What is compared as it is may still be of another width or scale.
        Ok(found.or_else(|| {
            let wide = widened(mine.data_type()).unwrap_or_else(|| mine.data_type().clone());
            let target = FieldType::of(&Field::new("", wide, true))?;
            Conversion::new(theirs, &target.into()).ok()
        }))
    }

    /// A column of the source as one of the type that a column of the records has, if it can be.
    pub(super) fn whole(&self, place: usize, other: usize) -> Option<Column> {
        let conversion = self.conversion(place, other).ok()?;
        Some(Column { place: other, conversion })
    }

    fn differ(&self, mine: &Field, theirs: &Field) -> String {
        format!(
            "`{}` is of type {} and `{}` of `{}` of type {}: they cannot be compared",
            mine.name(),
            type_name(mine),
            theirs.name(),
            self.name,
            type_name(theirs)
        )
    }

    /// Two columns that are compared.
    pub(super) fn pair(&mut self, name: &str, other: &str, at: Pointer) -> Option<Key> {
        let of_input = self.of_input(name, at.clone());
        let of_source = self.of_source(other, at.clone());
        let (place, of_source) = (of_input?, of_source?);
        let (mine, theirs) = (&self.input.fields()[place], &self.source.fields()[of_source]);
        match comparison(mine, theirs) {
            Ok(conversion) => {
                let source = Column { place: of_source, conversion };
                Some(Key { name: name.to_owned(), place, source })
            }
            Err(hint) => {
                let message = self.differ(mine, theirs);
                self.mistakes.push(Mistake::new(at, message).hint(hint));
                None
            }
        }
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.pairs.iter().all(|(name, other)| name == other) && !self.renamed {
            return serializer.collect_seq(self.pairs.iter().map(|(name, _)| name));
        }
        serializer.collect_map(self.pairs.iter().map(|(name, other)| (name, other)))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let wrong = || de::Error::custom("a name, a list of names or pairs of names are expected");
        let name = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
        let same = |value: &Value| name(value).map(|name| (name.clone(), name));
        let (pairs, renamed) = match Value::deserialize(deserializer)? {
            Value::Array(names) => (names.iter().map(same).collect::<Result<_, _>>()?, false),
            Value::Object(pairs) => {
                let pair = |(new, old): (&String, &Value)| Ok((new.clone(), name(old)?));
                (pairs.iter().map(pair).collect::<Result<_, _>>()?, true)
            }
            one => (vec![same(&one)?], false),
        };
        Ok(Self { pairs, renamed })
    }
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Source").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A source, as an item of `extract` says it.",
            "type": "object"
        })
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Columns").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A name, a list of names, or pairs of names.",
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "string"}}
            ]
        })
    }
}

/// Types whose values are compared as they are, whatever their width, unit or layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bool,
    Int,
    Double,
    Decimal,
    Text,
    Binary,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl Family {
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        use DataType as D;
        Some(match data_type {
            D::Boolean => Family::Bool,
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Family::Text,
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Family::Binary,
            D::Date32 | D::Date64 => Family::Date,
            D::Time32(_) | D::Time64(_) => Family::Time,
            D::Timestamp(_, None) => Family::Timestamp,
            D::Timestamp(_, Some(_)) => Family::TimestampTz,
            D::Dictionary(_, values) => return Family::of(values),
            other if other.is_integer() => Family::Int,
            other if other.is_floating() => Family::Double,
            other if other.is_decimal() => Family::Decimal,
            _ => return None,
        })
    }

    pub(super) fn is_instant(self) -> bool {
        matches!(self, Family::Date | Family::Timestamp | Family::TimestampTz)
    }

    fn is_number(self) -> bool {
        matches!(self, Family::Int | Family::Double | Family::Decimal)
    }

    /// Whether values become values of another family without losing anything.
    fn becomes(self, other: Self) -> bool {
        self == other
            || self.is_number() && other.is_number()
            || self.is_instant() && matches!(other, Family::Timestamp | Family::TimestampTz)
            || self == Family::Text && other != Family::Binary
            || other == Family::Text && self != Family::Binary
    }
}

/// What makes the source's column comparable with the records' one; nothing where it is already.
/// Else what to do.
pub(super) fn comparison(
    mine: &Field,
    theirs: &FieldRef,
) -> std::result::Result<Option<Conversion>, String> {
    let hint = || "bring them to one type with `cast`, or `columns` of the source".to_owned();
    let families = (Family::of(mine.data_type()), Family::of(theirs.data_type()));
    let (Some(my), Some(their)) = families else {
        return Err("a key is made of single values, not of lists or structs".to_owned());
    };
    if !their.becomes(my) {
        return Err(hint());
    }
    // These two have codes of their own.
    let exact = matches!(mine.data_type(), DataType::Utf8View | DataType::Int64);
    if my == their && (!exact || mine.data_type() == theirs.data_type()) {
        return Ok(None);
    }
    let wide = widened(mine.data_type()).unwrap_or_else(|| mine.data_type().clone());
    let target = match my {
        Family::Text => Some(FieldType::String),
        _ => FieldType::of(&Field::new("", wide, true)),
    };
    let conversion = target.map(|target| Conversion::new(theirs, &target.into()));
    conversion.and_then(Result::ok).map(Some).ok_or_else(hint)
}

/// The values of a key, for people.
pub(super) fn shown(keys: &[ArrayRef], row: usize) -> String {
    let text = |key: &ArrayRef| {
        let text = value_text(key, row).unwrap_or_else(|| "null".to_owned());
        let cut: String = text.chars().take(60).collect();
        let more = if cut.len() < text.len() { "…" } else { "" };
        format!("`{cut}{more}`")
    };
    keys.iter().map(text).collect::<Vec<_>>().join(", ")
}
