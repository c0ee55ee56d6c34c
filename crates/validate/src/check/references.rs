//! Other inputs, which checks compare with. What each check needs of them is bound before anything is read; each is read
//! once, for all checks, when the first records come.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arrow_schema::{Schema, SchemaRef};
use gristmill_core::{Records, Result, Space};

use super::bind::{Wrong, dataset, numeric};
use super::gather::{Gatherer, What};
use super::keys::Skip;
use super::metric::Metric;
use super::{Check, Test, predicate};

/// What is gathered of other inputs.
#[derive(Default)]
pub(crate) struct References {
    by_name: BTreeMap<String, Read>,
    /// Their records, in the order of their names, until they are read.
    waiting: Mutex<Vec<Records>>,
}

/// A reference, and what of it is gathered.
pub(super) struct Read {
    pub(super) gatherer: Gatherer,
    /// For each test that needs it, where its parts are.
    slots: BTreeMap<usize, Vec<usize>>,
    /// For each test and aggregate, where its numbers are.
    pub(super) aggregates: BTreeMap<(usize, String), usize>,
}

impl References {
    /// Finds what tests need of the inputs that they compare with. What does not fit is told with its test.
    pub(super) fn bind(
        tests: &[&Test],
        mine: &Schema,
        others: &[(String, SchemaRef)],
        mut wrong: impl FnMut(usize, Wrong),
    ) -> Self {
        let mut by_name = BTreeMap::new();
        for (name, schema) in others {
            let (slots, aggregates) = (BTreeMap::new(), BTreeMap::new());
            let mut read = Read { gatherer: Gatherer::new(schema), slots, aggregates };
            for (index, test) in tests.iter().enumerate() {
                if let Err((message, hint)) = read.need(index, test, name, mine) {
                    wrong(index, (format!("reference `{name}`: {message}"), hint));
                }
            }
            by_name.insert(name.clone(), read);
        }
        Self { by_name, waiting: Mutex::default() }
    }

    /// Whether nothing is compared with.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Takes their records, in the order of their names.
    pub(super) fn load(&self, records: Vec<Records>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = records;
    }

    /// Divides the memory among them.
    pub(super) fn open(&self, space: &Space) {
        let memory = space.memory / self.by_name.len().max(1);
        for read in self.by_name.values() {
            read.gatherer.open(&Space { memory, ..space.clone() });
        }
    }

    /// Reads them, if that was not done yet.
    pub(super) fn read(&self) -> Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (read, records) in self.by_name.values().zip(std::mem::take(&mut *waiting)) {
            for batch in records {
                read.gatherer.add(batch?.columns())?;
            }
        }
        Ok(())
    }

    pub(super) fn of(&self, name: &str) -> &Read {
        &self.by_name[name]
    }
}

/// The inputs that a metric compares with.
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

/// The inputs that checks compare with, each once, in the order of their names.
pub(super) fn compared(checks: &[Check]) -> Vec<&str> {
    let tests = checks.iter().flat_map(|check| check.rule.tests());
    let mut names: Vec<&str> = tests.flat_map(|test| references(&test.metric)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Read {
    /// Where the parts of a test are.
    pub(super) fn slots(&self, test: usize) -> &[usize] {
        self.slots.get(&test).map_or(&[], Vec::as_slice)
    }

    fn need(&mut self, index: usize, test: &Test, name: &str, mine: &Schema) -> Result<(), Wrong> {
        if !references(&test.metric).contains(&name) {
            return Ok(());
        }
        let schema = self.gatherer.schema.clone();
        let find = |column: &str| predicate::column(&schema, column).map_err(|it| (it, None));
        let whats = match &test.metric {
            Metric::ReferentialIntegrity { theirs, .. } => {
                let columns = theirs.iter().map(|it| find(it)).collect::<Result<_, Wrong>>()?;
                vec![What::Texts { columns, skip: Skip::Any }]
            }
            Metric::RowCountMatch(_) => vec![What::Rows],
            Metric::DatasetMatch { keys, columns, .. } => {
                let theirs = |pairs: &[(String, String)]| -> Result<Vec<usize>, Wrong> {
                    pairs.iter().map(|(_, theirs)| find(theirs)).collect()
                };
                if columns.is_empty() {
                    let (here, there) = (rest(mine, keys, false), rest(&schema, keys, true));
                    if here != there {
                        let message = format!(
                            "its columns besides the key are {}, and those of the input {}",
                            there.join(", "),
                            here.join(", ")
                        );
                        return Err((message, Some("name the columns to compare".to_owned())));
                    }
                }
                dataset(theirs(keys)?, theirs(columns)?, &schema)
            }
            Metric::AggregateMatch(a, b) => {
                for aggregate in [a, b] {
                    if aggregate.reference.as_deref() == Some(name) {
                        let column = numeric(&schema, &aggregate.column)?;
                        let slot = self.gatherer.plain(What::Numbers(column));
                        self.aggregates.insert((index, aggregate.to_string()), slot);
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        let slots = whats.into_iter().map(|what| self.gatherer.plain(what)).collect();
        self.slots.insert(index, slots);
        Ok(())
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
