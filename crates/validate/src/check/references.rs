//! Other inputs, which checks compare with: each is read once, for all checks.

use std::collections::BTreeMap;

use arrow_schema::Schema;
use gristmill_core::check::OtherInput;
use gristmill_core::{CheckContext, Error, ErrorKind, Result, Space};
use serde_json::Value;

use super::bind::{Bound, dataset, numeric};
use super::gather::{Gatherer, What};
use super::keys::Skip;
use super::metric::Metric;
use super::{Test, predicate};

/// What was gathered of other inputs.
pub(super) struct References {
    pub(super) by_name: BTreeMap<String, Read>,
}

/// A reference that was read.
pub(super) struct Read {
    pub(super) gatherer: Gatherer,
    /// For each test that needs it, where its parts are.
    slots: BTreeMap<usize, Vec<usize>>,
    /// For each test and aggregate, where its numbers are.
    pub(super) aggregates: BTreeMap<(usize, String), usize>,
}

impl References {
    pub(super) fn slots(&self, name: &str, test: usize) -> &[usize] {
        self.by_name[name].slots.get(&test).map_or(&[], Vec::as_slice)
    }

    /// Reads every reference once.
    pub(super) fn gather(
        bound: &Bound,
        sources: &BTreeMap<String, Value>,
        space: &Space,
        context: &dyn CheckContext,
    ) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        let tests: Vec<&Test> = bound.checks.iter().flat_map(|check| check.rule.tests()).collect();
        let mut names: Vec<&str> = tests.iter().flat_map(|test| references(&test.metric)).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let OtherInput { schema, batches } = context.reference(name, sources.get(name))?;
            let mut read = Read {
                gatherer: Gatherer::new(&schema),
                slots: BTreeMap::new(),
                aggregates: BTreeMap::new(),
            };
            for (index, test) in tests.iter().enumerate() {
                read.need(index, test, name, bound)?;
            }
            read.gatherer.open(space);
            for batch in batches {
                read.gatherer.add(&batch?)?;
            }
            by_name.insert(name.to_owned(), read);
        }
        Ok(Self { by_name })
    }
}

/// The references that a metric reads.
pub(super) fn references(metric: &Metric) -> Vec<&str> {
    match metric {
        Metric::ReferentialIntegrity { reference, .. }
        | Metric::RowCountMatch(reference)
        | Metric::SchemaMatch(reference)
        | Metric::DatasetMatch { reference, .. } => vec![reference],
        Metric::AggregateMatch(a, b) => {
            [a, b].into_iter().filter_map(|aggregate| aggregate.reference.as_deref()).collect()
        }
        _ => Vec::new(),
    }
}

impl Read {
    fn need(&mut self, index: usize, test: &Test, name: &str, bound: &Bound) -> Result<()> {
        if !references(&test.metric).contains(&name) {
            return Ok(());
        }
        let schema = self.gatherer.schema.clone();
        let wrong = |message: String| {
            Error::new(ErrorKind::Configuration, format!("reference `{name}`: {message}"))
        };
        let find = |column: &str| predicate::column(&schema, column).map_err(wrong);
        let whats = match &test.metric {
            Metric::ReferentialIntegrity { theirs, .. } => {
                let columns = theirs.iter().map(|column| find(column)).collect::<Result<_>>()?;
                vec![What::Texts { columns, skip: Skip::Any }]
            }
            Metric::RowCountMatch(_) => vec![What::Rows],
            Metric::DatasetMatch { keys, columns, .. } => {
                let theirs = |pairs: &[(String, String)]| -> Result<Vec<usize>> {
                    pairs.iter().map(|(_, theirs)| find(theirs)).collect()
                };
                if columns.is_empty() {
                    let mine = &bound.gatherer.schema;
                    let (here, there) = (rest(mine, keys, false), rest(&schema, keys, true));
                    if here != there {
                        let message = format!(
                            "its columns besides the key are {}, and those of the input {}",
                            there.join(", "),
                            here.join(", ")
                        );
                        return Err(wrong(message).hint("name the columns to compare"));
                    }
                }
                dataset(theirs(keys)?, theirs(columns)?, &schema)
            }
            Metric::AggregateMatch(a, b) => {
                for aggregate in [a, b] {
                    if aggregate.reference.as_deref() == Some(name) {
                        let column = numeric(&schema, &aggregate.column)
                            .map_err(|(message, _)| wrong(message))?;
                        let slot = self.slot(What::Numbers(column));
                        self.aggregates.insert((index, aggregate.to_string()), slot);
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        let slots = whats.into_iter().map(|what| self.slot(what)).collect();
        self.slots.insert(index, slots);
        Ok(())
    }

    fn slot(&mut self, what: What) -> usize {
        self.gatherer.plain(what)
    }
}

/// The names of the columns that are no key's, in order.
fn rest(schema: &Schema, keys: &[(String, String)], theirs: bool) -> Vec<String> {
    let key = |name: &String| keys.iter().any(|(a, b)| if theirs { b == name } else { a == name });
    let names = schema.fields().iter().map(|field| field.name().clone());
    let mut names: Vec<String> = names.filter(|name| !key(name)).collect();
    names.sort();
    names
}
