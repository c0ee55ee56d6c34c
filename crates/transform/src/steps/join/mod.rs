//! `join`: records with those of another source that have the same key.

mod keep;
mod options;
mod rows;

use std::sync::Arc;

use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use gristmill_core::{
    BindContext, Bound, Grain, Mistake, OrderedStep, Pointer, Reference, Result, StepKind, StepPlan,
};

use super::hashed::{HashKeys, Nulls};
use super::matching::{MatchedRows, Matching, Side, Wanted};
use super::other::{Column, Sides, taken};
use crate::options as reading;
use keep::Keep;
use rows::Joined;

pub use options::{How, Join};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "join",
    about: "Brings records together with those of another source that have the same key.",
    example: "join: {with: {file: orders.csv}, on: customer_id, how: left, take: [order_id, amount]}\n",
    schema: |generator| generator.subschema_for::<Join>(),
    plan: |options, _| {
        let plan: Join = reading::read(options)?;
        let mistakes = plan.mistakes();
        reading::planned(plan, mistakes)
    },
};

impl StepPlan for Join {
    fn references(&self) -> Vec<Reference> {
        let keys = self.on.pairs.iter().map(|(_, other)| other.clone());
        let columns = match (&self.take, self.how.only_asks()) {
            (_, true) => Some(keys.collect()),
            (Some(take), _) => {
                Some(keys.chain(take.pairs.iter().map(|(_, other)| other.clone())).collect())
            }
            (None, _) => None,
        };
        let at = Pointer::root().key("with");
        vec![Reference { at, source: self.with.0.clone(), columns }]
    }

    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.mistakes();
        let [source] = &context.references[..] else {
            let at = Pointer::root().key("with");
            mistakes.push(Mistake::new(at, "there is nothing to join with"));
            mistakes.extend(self.on.unknown_keys(input));
            return Err(mistakes);
        };
        let mut sides = Sides::new(input, source, self.with.name());
        let keys = sides.keys(&self.on);
        let whole: Vec<Option<Column>> =
            keys.iter().map(|key| sides.whole(key.place, key.source.place)).collect();
        // A wrong key would be among the columns that are taken unasked.
        let unknown = keys.len() < self.on.pairs.len() && self.take.is_none();
        let taken = match self.how.only_asks() || unknown {
            true => Vec::new(),
            false => self.taken(&mut sides),
        };
        let Sides { name, mistakes: of_columns, .. } = sides;
        mistakes.extend(of_columns);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let places: Vec<usize> = keys.iter().map(|key| key.place).collect();
        let local = HashKeys::new(input, places.clone(), Nulls::Unequal);
        let (rest, alone) = (self.how.keeps_other(), self.how.keeps_records());
        let mut columns = Vec::new();
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut behind: Vec<FieldRef> = input.fields().to_vec();
        if rest {
            behind = behind.iter().map(|field| nullable(field, field.name())).collect();
            for (key, whole) in keys.iter().zip(whole) {
                columns.push(whole.unwrap_or_else(|| key.source.clone()));
                fields.push(nullable(&input.fields()[key.place], key.name.as_str()));
            }
        }
        for (place, name) in taken {
            let field = nullable(&source.fields()[place], &name);
            columns.push(Column { place, conversion: None });
            fields.push(Arc::clone(&field));
            behind.push(field);
        }
        let keys = keys.into_iter().map(|key| (key.source, key.name)).collect();
        let side = Side { name, keys, columns, schema: Arc::new(Schema::new(fields)) };
        let output = match self.how.only_asks() {
            true => Arc::clone(input),
            false => Arc::new(Schema::new_with_metadata(behind, input.metadata().clone())),
        };
        let (ordered, grain): (Box<dyn OrderedStep>, Grain) = match self.how {
            How::Semi => (Box::new(Keep::new(side, true)), Grain::Preserves),
            How::Anti => (Box::new(Keep::new(side, false)), Grain::Preserves),
            How::Inner | How::Left | How::Right | How::Full => {
                let wanted = Wanted { nulls: Nulls::Unequal, alone, rest, unique: false };
                let matching = Matching::new(KIND.name, side, wanted);
                let keys = if rest { places } else { Vec::new() };
                let joined = Joined { keys, output: Arc::clone(&output) };
                (Box::new(MatchedRows::new(matching, joined)), Grain::Changes)
            }
        };
        Ok(Bound { local: Some(Box::new(local)), ordered: Some(ordered), output, grain })
    }
}

impl Join {
    /// The columns of the source that records get: where they are, and what they are called then.
    fn taken(&self, sides: &mut Sides<'_>) -> Vec<(usize, String)> {
        let mut columns: Vec<(usize, String)> = Vec::new();
        let is_key = |name: &String| self.on.pairs.iter().any(|(_, key)| key == name);
        let wanted = taken(self.take.as_ref(), &self.prefix, sides.source, is_key, "with");
        for (name, other, at) in wanted {
            let Some(place) = sides.of_source(&other, at.clone()) else { continue };
            let clashes = |name: &str| {
                sides.input.index_of(name).is_ok() || columns.iter().any(|(_, known)| known == name)
            };
            let name = match clashes(&name) && !self.suffix.is_empty() {
                true => format!("{name}{}", self.suffix),
                false => name,
            };
            if clashes(&name) {
                let hint = match self.suffix.is_empty() {
                    true => format!(
                        "say `suffix: _other`, a `prefix`, or which columns: `take: {{other_{other}: {other}}}`"
                    ),
                    false => "take another suffix".to_owned(),
                };
                let message = format!("there would be two columns `{name}`");
                sides.mistakes.push(Mistake::new(at, message).hint(hint));
                continue;
            }
            columns.push((place, name));
        }
        columns
    }
}

fn nullable(field: &Field, name: &str) -> FieldRef {
    Arc::new(field.clone().with_name(name).with_nullable(true))
}
