//! A lookup and the columns of both sides: what is compared with what, and what is taken.

use std::sync::Arc;

use arrow_array::{ArrayRef, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use gristmill_core::text::{ColumnBuilder, ColumnPlan};
use gristmill_core::types::type_name;
use gristmill_core::{BindContext, FieldType, Mistake, Pointer};
use indexmap::IndexMap;
use serde_json::Value;

use super::index::Kind;
use super::options::{Early, Lookup, Otherwise, Source, VersionDates};
use super::{At, Column, Key, Plan, Taken};
use crate::options::{find, names};
use crate::steps::convert::{Conversion, widened};

type Found<T> = Result<T, Vec<Mistake>>;

/// The lookup for these columns, and the columns behind it.
pub(super) fn bind(
    lookup: &Lookup,
    input: &SchemaRef,
    context: &BindContext<'_>,
) -> Found<(Plan, SchemaRef)> {
    let mut mistakes = lookup.mistakes();
    let at = |key: &str| Pointer::root().key(key);
    let Some(source) = &context.reference else {
        mistakes.push(Mistake::new(at("from"), "there is nothing to look things up in"));
        return Err(mistakes);
    };
    let name = lookup.from.name();
    let mut sides = Sides { lookup, input, source, name, mistakes };
    let keys = sides.keys();
    let time = lookup.at.as_ref().and_then(|column| sides.time(column));
    let (taken, output) = sides.taken();
    let Sides { name, mistakes, .. } = sides;
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let types: Vec<&DataType> = keys.iter().map(|key| input.field(key.place).data_type()).collect();
    let plan = Plan {
        name,
        kind: Kind::of(&types),
        keys,
        at: time,
        taken,
        missing: lookup.missing.clone(),
        early: lookup.early.clone().unwrap_or_else(|| Early::Nothing(lookup.missing.clone())),
        output: Arc::clone(&output),
    };
    Ok((plan, output))
}

/// The columns of both sides, and what is wrong with what the lookup says of them.
struct Sides<'a> {
    lookup: &'a Lookup,
    input: &'a SchemaRef,
    source: &'a SchemaRef,
    /// What messages call the source.
    name: String,
    mistakes: Vec<Mistake>,
}

impl<'a> Sides<'a> {
    fn of_input(&mut self, column: &str, at: Pointer) -> Option<usize> {
        find(&names(self.input), column, at).map_err(|m| self.mistakes.push(m)).ok()
    }

    fn of_source(&mut self, column: &str, at: Pointer) -> Option<usize> {
        let found = find(&names(self.source), column, at);
        let found = found.map_err(|mut mistake| {
            mistake.message = format!("`{}` has no column `{column}`", self.name);
            self.mistakes.push(mistake);
        });
        found.ok()
    }

    fn keys(&mut self) -> Vec<Key> {
        let on = &self.lookup.on;
        let mut keys = Vec::with_capacity(on.pairs.len());
        for (index, (name, other)) in on.pairs.iter().enumerate() {
            let at = on.at("on", index);
            let of_input = self.of_input(name, at.clone());
            let of_source = self.of_source(other, at.clone());
            let (Some(place), Some(of_source)) = (of_input, of_source) else { continue };
            let (mine, theirs) = (&self.input.fields()[place], &self.source.fields()[of_source]);
            match comparison(mine, theirs) {
                Ok(conversion) => {
                    let source = Column { place: of_source, conversion };
                    keys.push(Key { name: name.clone(), place, source });
                }
                Err(hint) => {
                    let message = format!(
                        "`{name}` is of type {} and `{other}` of `{}` of type {}: they cannot be compared",
                        type_name(mine),
                        self.name,
                        type_name(theirs)
                    );
                    self.mistakes.push(Mistake::new(at, message).hint(hint));
                }
            }
        }
        keys
    }

    fn time(&mut self, column: &str) -> Option<At> {
        let at = Pointer::root().key("at");
        let place = self.of_input(column, at.clone());
        let mine = place.map(|place| Arc::clone(&self.input.fields()[place]));
        let conversion = mine.and_then(|field| {
            let family = Family::of(field.data_type());
            let conversion = family.filter(|family| family.is_instant()).map(|_| instant(&field));
            if conversion.is_none() {
                let message = format!("`{column}` holds neither dates nor timestamps");
                self.mistakes.push(
                    Mistake::new(at.clone(), message).hint("declare its type, or `cast` it before"),
                );
            }
            conversion
        });
        let dates = &self.lookup.version_columns;
        let dates = [("effective_date", &dates.effective_date), ("end_date", &dates.end_date)];
        let dates = dates.map(|(key, column)| {
            let known = self.lookup.version_columns == VersionDates::default();
            let at =
                if known { at.clone() } else { Pointer::root().key("version_columns").key(key) };
            let place = self.of_source(column, at.clone())?;
            let field = &self.source.fields()[place];
            let family = Family::of(field.data_type());
            if family.is_some_and(|family| family.is_instant() || family == Family::Text) {
                return Some(Column { place, conversion: Some(instant(field)) });
            }
            let message =
                format!("`{column}` of `{}` holds neither dates nor timestamps", self.name);
            self.mistakes.push(Mistake::new(at, message));
            None
        });
        let [Some(effective), Some(end)] = dates else { return None };
        Some(At {
            name: column.to_owned(),
            place: place?,
            conversion: conversion?,
            dates: [effective, end],
        })
    }

    /// The columns that are taken, and all columns behind the lookup.
    fn taken(&mut self) -> (Vec<Taken>, SchemaRef) {
        let mut fields = self.input.fields().to_vec();
        let mut taken = Vec::new();
        let mut given = Vec::new();
        for (name, other, at) in self.wanted() {
            let Some(place) = self.of_source(&other, at.clone()) else { continue };
            let field = self.source.field(place).clone().with_name(&name).with_nullable(true);
            let replaces = self.input.index_of(&name).ok();
            let renamed = self.lookup.take.as_ref().is_some_and(|take| take.renamed);
            if replaces.is_some() && !renamed {
                self.mistakes.push(
                    Mistake::new(at, format!("the records have a column `{name}` already")).hint(
                        format!("give it another name: `take: {{other_{other}: {other}}}`, or a `prefix`"),
                    ),
                );
                continue;
            }
            let missing = self.value("missing", &name, &field);
            let early = match self.lookup.early {
                Some(_) => self.value("early", &name, &field),
                None => Arc::clone(&missing),
            };
            let otherwise = [new_null_array(field.data_type(), 1), missing, early];
            given.push(name);
            match replaces {
                Some(place) => fields[place] = Arc::new(field),
                None => fields.push(Arc::new(field)),
            }
            taken.push(Taken { place, replaces, otherwise });
        }
        for key in ["missing", "early"] {
            for name in self.values(key).into_iter().flat_map(IndexMap::keys) {
                if !given.contains(name) {
                    let names: Vec<&str> = given.iter().map(String::as_str).collect();
                    let mut mistake =
                        crate::options::unknown(&names, name, Pointer::root().key(key).key(name));
                    mistake.message = format!("the lookup takes no column `{name}`");
                    self.mistakes.push(mistake.on_key());
                }
            }
        }
        let output = Schema::new_with_metadata(fields, self.input.metadata().clone());
        (taken, Arc::new(output))
    }

    /// Each column that is taken: its new name, its name, and where it is asked for.
    fn wanted(&self) -> Vec<(String, String, Pointer)> {
        let prefix = &self.lookup.prefix;
        if let Some(take) = &self.lookup.take {
            let pairs = take.pairs.iter().enumerate();
            let wanted = pairs.map(|(index, (name, other))| {
                (format!("{prefix}{name}"), other.clone(), take.at("take", index))
            });
            return wanted.collect();
        }
        let dates = &self.lookup.version_columns;
        let dates = [&dates.effective_date, &dates.end_date];
        let is_date = |name: &String| self.lookup.at.is_some() && dates.contains(&name);
        let is_key = |name: &String| self.lookup.on.pairs.iter().any(|(_, key)| key == name);
        let names = self.source.fields().iter().map(|field| field.name());
        let names = names.filter(|name| !is_date(name) && !is_key(name));
        names
            .map(|name| (format!("{prefix}{name}"), name.clone(), Pointer::root().key("from")))
            .collect()
    }

    /// The values that a lookup has for what it does not find.
    fn values(&self, key: &str) -> Option<&'a IndexMap<String, Value>> {
        let otherwise = match (key, &self.lookup.early) {
            ("missing", _) => &self.lookup.missing,
            (_, Some(Early::Nothing(otherwise))) => otherwise,
            (_, Some(Early::First) | None) => return None,
        };
        match otherwise {
            Otherwise::Values(values) => Some(values),
            Otherwise::Reject | Otherwise::Null => None,
        }
    }

    /// The value of a column for what is not found, as a column of one row.
    fn value(&mut self, key: &str, name: &str, field: &Field) -> ArrayRef {
        let nothing = || new_null_array(field.data_type(), 1);
        let Some(value) = self.values(key).and_then(|values| values.get(name)) else {
            return nothing();
        };
        value_of(value, field).unwrap_or_else(|message| {
            let at = Pointer::root().key(key).key(name);
            self.mistakes.push(Mistake::new(at, message));
            nothing()
        })
    }
}

/// The value of a pipeline file as a column of one row.
fn value_of(value: &Value, field: &Field) -> Result<ArrayRef, String> {
    let text = match value {
        Value::Null => return Ok(new_null_array(field.data_type(), 1)),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => return Err("a column takes one value".to_owned()),
        other => other.to_string(),
    };
    let wide = widened(field.data_type()).unwrap_or_else(|| field.data_type().clone());
    let Some(field_type) = FieldType::of(&field.clone().with_data_type(wide)) else {
        return Err(format!(
            "`{}` is of type {}, of which no value can be written here",
            field.name(),
            type_name(field)
        ));
    };
    let mut builder = ColumnBuilder::new(&ColumnPlan::new(field.name(), field_type), 1);
    builder.push_str(&text).map_err(|found| found.to_string())?;
    cast(&builder.finish(), field.data_type()).map_err(|found| found.to_string())
}

/// Timestamps of dates, timestamps or texts.
fn instant(field: &FieldRef) -> Conversion {
    Conversion::new(field, &FieldType::Timestamp.into())
        .expect("dates, timestamps and texts become timestamps")
}

/// Types whose values are compared as they are, whatever their width, unit or layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
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
    fn of(data_type: &DataType) -> Option<Self> {
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

    fn is_instant(self) -> bool {
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
fn comparison(mine: &Field, theirs: &FieldRef) -> Result<Option<Conversion>, String> {
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

impl Source {
    /// What messages call it.
    fn name(&self) -> String {
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
