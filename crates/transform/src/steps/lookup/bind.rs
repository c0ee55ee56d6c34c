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
use super::options::{Early, Lookup, Otherwise, VersionDates};
use super::{At, Plan, Taken};
use crate::steps::convert::{Conversion, widened};
use crate::steps::other::{self, Column, Family, Sides};

type Found<T> = Result<T, Vec<Mistake>>;

/// The lookup for these columns, and the columns behind it.
pub(super) fn bind(
    lookup: &Lookup,
    input: &SchemaRef,
    context: &BindContext<'_>,
) -> Found<(Plan, SchemaRef)> {
    let mut mistakes = lookup.mistakes();
    let at = |key: &str| Pointer::root().key(key);
    let [source] = &context.references[..] else {
        mistakes.push(Mistake::new(at("from"), "there is nothing to look things up in"));
        mistakes.extend(lookup.on.unknown_keys(input));
        return Err(mistakes);
    };
    let name = lookup.from.name();
    let mut sides = Lookups { lookup, sides: Sides::new(input, source, name) };
    let keys = sides.sides.keys(&lookup.on);
    let time = lookup.at.as_ref().and_then(|column| sides.time(column));
    let (taken, output) = match keys.len() < lookup.on.pairs.len() && lookup.take.is_none() {
        true => (Vec::new(), Arc::clone(input)), // the key would be among the columns taken
        false => sides.taken(),
    };
    let Sides { name, mistakes: of_columns, .. } = sides.sides;
    mistakes.extend(of_columns);
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

/// The columns of both sides, and what the lookup says of them.
struct Lookups<'a> {
    lookup: &'a Lookup,
    sides: Sides<'a>,
}

impl<'a> Lookups<'a> {
    fn time(&mut self, column: &str) -> Option<At> {
        let at = Pointer::root().key("at");
        let place = self.sides.of_input(column, at.clone());
        let mine = place.map(|place| Arc::clone(&self.sides.input.fields()[place]));
        let conversion = mine.and_then(|field| {
            let family = Family::of(field.data_type());
            let conversion = family.filter(|family| family.is_instant()).map(|_| instant(&field));
            if conversion.is_none() {
                let message = format!("`{column}` holds neither dates nor timestamps");
                self.sides.mistakes.push(
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
            let place = self.sides.of_source(column, at.clone())?;
            let field = &self.sides.source.fields()[place];
            let family = Family::of(field.data_type());
            if family.is_some_and(|family| family.is_instant() || family == Family::Text) {
                return Some(Column { place, conversion: Some(instant(field)) });
            }
            let message =
                format!("`{column}` of `{}` holds neither dates nor timestamps", self.sides.name);
            self.sides.mistakes.push(Mistake::new(at, message));
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
        let mut fields = self.sides.input.fields().to_vec();
        let mut taken = Vec::new();
        let mut given = Vec::new();
        for (name, other, at) in self.wanted() {
            let Some(place) = self.sides.of_source(&other, at.clone()) else { continue };
            let field = self.sides.source.field(place).clone().with_name(&name).with_nullable(true);
            let replaces = self.sides.input.index_of(&name).ok();
            let renamed = self.lookup.take.as_ref().is_some_and(|take| take.renamed);
            if replaces.is_some() && !renamed {
                self.sides.mistakes.push(
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
                    self.sides.mistakes.push(mistake.on_key());
                }
            }
        }
        let output = Schema::new_with_metadata(fields, self.sides.input.metadata().clone());
        (taken, Arc::new(output))
    }

    /// Each column that is taken: its new name, its name, and where it is asked for.
    fn wanted(&self) -> Vec<(String, String, Pointer)> {
        let dates = &self.lookup.version_columns;
        let dates = [&dates.effective_date, &dates.end_date];
        let is_date = |name: &String| self.lookup.at.is_some() && dates.contains(&name);
        let is_key = |name: &String| self.lookup.on.pairs.iter().any(|(_, key)| key == name);
        let known = |name: &String| is_date(name) || is_key(name);
        let Lookup { take, prefix, .. } = self.lookup;
        other::taken(take.as_ref(), prefix, self.sides.source, known, "from")
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
            self.sides.mistakes.push(Mistake::new(at, message));
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
