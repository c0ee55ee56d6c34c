//! Functions of many records: aggregates and window functions.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion_expr::{AggregateUDF, WindowUDF};

use super::sum::Sum;

/// The functions that an expression may call besides those of one record.
#[derive(Debug)]
pub(crate) struct SetFunctions {
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
}

/// Names that are shorter, or that other tools have, and what they mean.
const SHORT: [(&str, &str); 5] = [
    ("first", "first_value"),
    ("last", "last_value"),
    ("count_distinct", "count"),
    ("approx_count_distinct", "approx_distinct"),
    ("any", "any_value"),
];

static AGGREGATES: LazyLock<SetFunctions> =
    LazyLock::new(|| SetFunctions { aggregates: aggregates(), windows: BTreeMap::new() });

static ALL: LazyLock<SetFunctions> =
    LazyLock::new(|| SetFunctions { aggregates: aggregates(), windows: windows() });

impl SetFunctions {
    /// Those that make one value of many records.
    pub(crate) fn aggregates() -> &'static Self {
        &AGGREGATES
    }

    /// These, and those that look at other records from one of them.
    pub(crate) fn all() -> &'static Self {
        &ALL
    }

    pub(super) fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    pub(super) fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(name).cloned()
    }

    /// The name that the planner knows a function by, given one in lower case.
    pub(crate) fn canonical<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| *long);
        (self.aggregates.contains_key(name) || self.windows.contains_key(name)).then_some(name)
    }

    /// Every name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let short = SHORT.iter().map(|(short, _)| *short);
        self.aggregates.keys().chain(self.windows.keys()).map(String::as_str).chain(short)
    }

    pub(super) fn aggregate_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    pub(super) fn window_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }
}

fn aggregates() -> BTreeMap<String, Arc<AggregateUDF>> {
    let mut by_name = BTreeMap::new();
    for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
        for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
            by_name.insert(name.to_ascii_lowercase(), Arc::clone(&function));
        }
    }
    by_name.insert("sum".to_owned(), Arc::new(AggregateUDF::from(Sum::new())));
    by_name
}

fn windows() -> BTreeMap<String, Arc<WindowUDF>> {
    let mut by_name = BTreeMap::new();
    for function in datafusion_functions_window::all_default_window_functions() {
        for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
            by_name.insert(name.to_ascii_lowercase(), Arc::clone(&function));
        }
    }
    by_name
}
