//! What a table of PostgreSQL is made of: pages of its own, or partitions and children that have
//! pages.

use gristmill_database::{Client, DatabaseError, quoted};
use serde_json::Value;

/// Pages of a part: 4 MiB.
const PAGES: u64 = 512;
/// The pages of a relation `c`.
const SIZE: &str = "pg_relation_size(c.oid) / current_setting('block_size')::bigint";
/// That pages of it can be asked for. A server before PostgreSQL 14 would look at all of them each time.
const READABLE: &str = "has_table_privilege(c.oid, 'SELECT') \
                        AND current_setting('server_version_num')::int >= 140000";

/// The plain tables that a table is read as, in the order in which the server reads them.
#[derive(Debug)]
pub(super) struct Heaps(Vec<Heap>);

#[derive(Debug)]
struct Heap {
    /// Its name as SQL writes it, where it is not the table that was asked for.
    child: Option<String>,
    /// How many parts come before its own, and how many it has.
    before: u64,
    parts: u64,
}

impl Heaps {
    /// What is read by one statement.
    pub(super) fn whole() -> Self {
        Self(vec![Heap { child: None, before: 0, parts: 1 }])
    }

    /// What the server says of a table. What is no table, or lies somewhere else than in pages, is read
    /// by one statement. A table with partitions or children is read as those, if they are on average
    /// as large as a part: each begins a chunk.
    pub(super) fn of(client: &Client, table: &str) -> Result<Self, DatabaseError> {
        let found = client.query(
            &format!(
                "SELECT {SIZE}, c.relkind = 'p' OR c.relhassubclass \
                 FROM pg_class AS c LEFT JOIN pg_am AS a ON a.oid = c.relam \
                 WHERE c.oid = to_regclass($1) AND {READABLE} \
                 AND (c.relkind = 'p' OR c.relkind = 'r' AND a.amname = 'heap')"
            ),
            &[&table],
        )?;
        Ok(match found.first().map(|row| (row.get(0), row.get(1))) {
            Some((pages, false)) => Self::new([(None, pages)]),
            Some((_, true)) => Self::children(client, table)?.unwrap_or_else(Self::whole),
            None => Self::whole(),
        })
    }

    /// The tables that the server reads in place of one, by its plan. To make it, the server locks them
    /// all, so that what they have at this moment stays.
    fn children(client: &Client, table: &str) -> Result<Option<Self>, DatabaseError> {
        let plan =
            client.texts(&format!("EXPLAIN (FORMAT JSON, VERBOSE) SELECT * FROM {table}"))?;
        let plan = plan.into_iter().flatten().flatten().next().unwrap_or_default();
        let plan: Value = serde_json::from_str(&plan).unwrap_or_default();
        let mut names = Vec::new();
        if plan.pointer("/0/Plan").and_then(|plan| scanned(plan, &mut names)).is_none() {
            return Ok(None);
        }
        let sizes = client.query(
            &format!(
                "SELECT {SIZE} FROM unnest($1::text[]) WITH ORDINALITY AS n (name, place) \
                 JOIN pg_class AS c ON c.oid = to_regclass(n.name) \
                 JOIN pg_am AS a ON a.oid = c.relam AND a.amname = 'heap' \
                 WHERE c.relkind = 'r' AND NOT row_security_active(c.oid) AND {READABLE} \
                 ORDER BY n.place"
            ),
            &[&names],
        )?;
        let sizes: Vec<i64> = sizes.iter().map(|row| row.get(0)).collect();
        let enough = PAGES * names.len() as u64;
        if sizes.len() != names.len() || sizes.iter().sum::<i64>().unsigned_abs() < enough {
            return Ok(None);
        }
        Ok(Some(Self::new(names.into_iter().map(Some).zip(sizes))))
    }

    fn new(tables: impl IntoIterator<Item = (Option<String>, i64)>) -> Self {
        let mut before = 0;
        let heaps = tables.into_iter().map(|(child, pages)| {
            let parts = pages.unsigned_abs().div_ceil(PAGES).max(1);
            let heap = Heap { child, before, parts };
            before += parts;
            heap
        });
        Self(heaps.collect())
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> u64 {
        self.0.last().map_or(0, |heap| heap.before + heap.parts)
    }

    /// The table that a part is of, where it is not the one that was asked for, and the condition for
    /// its rows.
    pub(super) fn part(&self, part: u64) -> (Option<&str>, String) {
        let place = self.0.partition_point(|heap| heap.before <= part) - 1;
        let heap = &self.0[place];
        (heap.child.as_deref(), pages(part - heap.before, heap.parts))
    }
}

/// The tables that a plan reads one after the other, each with all its rows; `None` where it does
/// anything else.
fn scanned(plan: &Value, names: &mut Vec<String>) -> Option<()> {
    let text = |key: &str| plan.get(key).and_then(Value::as_str);
    match text("Node Type")? {
        "Append" => {
            let plans = plan.get("Plans")?.as_array()?;
            plans.iter().try_for_each(|plan| scanned(plan, names))
        }
        "Seq Scan" if plan.get("Filter").is_none() => {
            names.push(format!("{}.{}", quoted(text("Schema")?), quoted(text("Relation Name")?)));
            Some(())
        }
        _ => None,
    }
}

/// The condition for the rows of one of so many parts.
fn pages(part: u64, parts: u64) -> String {
    let from = part * PAGES;
    match part + 1 {
        _ if parts == 1 => String::new(),
        last if last == parts => format!(" WHERE ctid >= '({from},0)'"),
        next => format!(" WHERE ctid >= '({from},0)' AND ctid < '({},0)'", next * PAGES),
    }
}
