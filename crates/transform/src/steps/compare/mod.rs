//! `compare`: records against an earlier state of them.

mod options;
mod rows;
mod tolerance;

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use gristmill_core::types::type_name;
use gristmill_core::{
    BindContext, Bound, Grain, Mistake, Pointer, Reference, Result, StepKind, StepPlan,
};

use super::hashed::{HashKeys, Nulls};
use super::matching::{MatchedRows, Matching, Side, Wanted};
use super::other::{Column, Sides};
use crate::options as reading;
use rows::{Compared, Layout, Tracked};

pub use options::Compare;
pub use tolerance::Tolerance;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "compare",
    about: "Says of each record whether it is new, changed, unchanged or missing, compared with an earlier state.",
    example: "compare: {with: {file: yesterday.csv}, on: fund_code, track: [fund_name, aum], changed_columns: differs}\n",
    schema: |generator| generator.subschema_for::<Compare>(),
    plan: |options, _| {
        let plan: Compare = reading::read(options)?;
        let mistakes = plan.mistakes();
        reading::planned(plan, mistakes)
    },
};

impl StepPlan for Compare {
    fn references(&self) -> Vec<Reference> {
        let at = Pointer::root().key("with");
        vec![Reference { at, source: self.with.0.clone(), columns: None }]
    }

    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.mistakes();
        let at = |key: &str| Pointer::root().key(key);
        let [source] = &context.references[..] else {
            mistakes.push(Mistake::new(at("with"), "there is nothing to compare with"));
            mistakes.extend(self.on.unknown_keys(input));
            return Err(mistakes);
        };
        let mut sides = Sides::new(input, source, self.with.name());
        let keys = sides.keys(&self.on);
        let mut carried =
            Carried { of_input: vec![None; input.fields().len()], ..Carried::default() };
        for key in &keys {
            let whole = sides.whole(key.place, key.source.place);
            carried.add(key.place, whole.unwrap_or_else(|| key.source.clone()), input);
        }
        let tracked = self.tracked(&mut sides, &mut carried);
        self.check_tolerances(&mut sides, &tracked);
        for (place, field) in input.fields().iter().enumerate() {
            let other = source.index_of(field.name()).ok();
            if let (None, Some(other)) = (carried.of_input[place], other)
                && let Some(column) = sides.whole(place, other)
            {
                carried.add(place, column, input);
            }
        }
        let mut output: Vec<FieldRef> =
            input.fields().iter().map(|field| nullable(field, field.name())).collect();
        let mut add = |field: FieldRef, at: Pointer| {
            if output.iter().any(|known| known.name() == field.name()) {
                let message = format!("there would be two columns `{}`", field.name());
                mistakes.push(Mistake::new(at, message).hint("take another name"));
            }
            output.push(field);
        };
        add(Arc::new(Field::new(&self.column, DataType::Utf8View, true)), at("column"));
        if let Some(name) = &self.changed_columns {
            let field = Field::new(name, DataType::Utf8View, true);
            add(Arc::new(field), at("changed_columns"));
        }
        if let Some(prefix) = self.old_prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
            for tracked in &tracked {
                let name = format!("{prefix}{}", tracked.name);
                add(nullable(input.field(tracked.place), &name), at("old_prefix"));
            }
        }
        let Sides { name, mistakes: of_columns, .. } = sides;
        mistakes.extend(of_columns);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let output = Arc::new(Schema::new_with_metadata(output, input.metadata().clone()));
        let places: Vec<usize> = keys.iter().map(|key| key.place).collect();
        let layout = Layout {
            keys: keys.iter().map(|key| (key.name.clone(), key.place)).collect(),
            of_input: carried.of_input,
            tracked,
            lists: self.changed_columns.is_some(),
            old: self.old_prefix.is_some(),
            output: Arc::clone(&output),
        };
        let keys = keys.into_iter().map(|key| (key.source, key.name)).collect();
        let schema = Arc::new(Schema::new(carried.fields));
        let side = Side { name, keys, columns: carried.columns, schema };
        let wanted = Wanted { nulls: Nulls::Equal, alone: true, rest: true, unique: true };
        let matching = Matching::new(KIND.name, side, wanted);
        Ok(Bound {
            local: Some(Box::new(HashKeys::new(input, places, Nulls::Equal))),
            ordered: Some(Box::new(MatchedRows::new(matching, Compared::new(layout)))),
            output,
            grain: Grain::Changes,
        })
    }
}

/// The columns of the source that have a place among the records'.
#[derive(Default)]
struct Carried {
    columns: Vec<Column>,
    fields: Vec<FieldRef>,
    /// For each column of the input.
    of_input: Vec<Option<usize>>,
}

impl Carried {
    fn add(&mut self, place: usize, column: Column, input: &Schema) -> usize {
        if let Some(known) = self.of_input[place] {
            return known;
        }
        let at = self.columns.len();
        self.columns.push(column);
        self.fields.push(nullable(input.field(place), input.field(place).name()));
        self.of_input[place] = Some(at);
        at
    }
}

impl Compare {
    fn tracked(&self, sides: &mut Sides<'_>, carried: &mut Carried) -> Vec<Tracked> {
        let mut tracked = Vec::new();
        for (name, other, at) in self.wanted(sides) {
            let places = (sides.of_input(&name, at.clone()), sides.of_source(&other, at.clone()));
            let (Some(place), Some(other)) = places else { continue };
            match sides.conversion(place, other) {
                Ok(conversion) => {
                    let column = Column { place: other, conversion };
                    let found = carried.add(place, column, sides.input);
                    let tolerance = self.tolerance.get(&name).copied();
                    tracked.push(Tracked { name, place, found, tolerance });
                }
                Err(mistake) => sides.mistakes.push(mistake.under(&at)),
            }
        }
        tracked
    }

    /// Tolerances are of columns that are compared, and hold numbers.
    fn check_tolerances(&self, sides: &mut Sides<'_>, tracked: &[Tracked]) {
        if tracked.is_empty() && !sides.mistakes.is_empty() {
            return;
        }
        for name in self.tolerance.keys() {
            let at = Pointer::root().key("tolerance").key(name);
            let Some(column) = tracked.iter().find(|it| it.name == *name) else {
                let names: Vec<&str> = tracked.iter().map(|it| it.name.as_str()).collect();
                let mut mistake = reading::unknown(&names, name, at).on_key();
                mistake.message = format!("`{name}` is not compared");
                sides.mistakes.push(mistake);
                continue;
            };
            let field = sides.input.field(column.place);
            if !field.data_type().is_numeric() {
                let kind = type_name(field);
                let message = format!("`{name}` is of type {kind}: a tolerance is for numbers");
                let hint = "declare its type with `columns` of the source, or `cast` it before";
                sides.mistakes.push(Mistake::new(at, message).on_key().hint(hint));
            }
        }
    }

    /// The columns that are compared, and where that is asked for.
    fn wanted(&self, sides: &mut Sides<'_>) -> Vec<(String, String, Pointer)> {
        if let Some(track) = &self.track {
            let pairs = track.pairs.iter().enumerate();
            let wanted = pairs.map(|(index, (name, other))| {
                (name.clone(), other.clone(), track.at("track", index))
            });
            return wanted.collect();
        }
        let at = Pointer::root().key("with");
        let is_key = |name: &String| self.on.pairs.iter().any(|(key, _)| key == name);
        let names = sides.input.fields().iter().map(|field| field.name());
        let names = names.filter(|name| !is_key(name) && sides.source.index_of(name).is_ok());
        let wanted: Vec<_> = names.map(|name| (name.clone(), name.clone(), at.clone())).collect();
        if wanted.is_empty() && sides.mistakes.is_empty() {
            let message =
                format!("the records and `{}` have no columns in common but the key", sides.name);
            let mistake = Mistake::new(at, message);
            sides.mistakes.push(mistake.hint(
                "say which columns are compared, `track: {fund_name: name}`, or compare keys only, `track: []`",
            ));
        }
        wanted
    }
}

fn nullable(field: &Field, name: &str) -> FieldRef {
    Arc::new(field.clone().with_name(name).with_nullable(true))
}
