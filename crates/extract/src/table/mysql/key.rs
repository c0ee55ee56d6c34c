//! The key in whose order a table lies, and is read.

use gristmill_core::FieldType;
use gristmill_database::mysql::{Client, DatabaseError};
use gristmill_database::{literal, quoted};

/// The clustered index of an InnoDB table that lies in one piece: reading it in this order costs
/// nothing, and gives each record its place, whatever other indexes there are.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// The table, and that it is read by this index.
    from: String,
    /// The column that it begins with.
    first: String,
    is_ascending: bool,
    order: String,
}

/// Records whose first column of the key is above the first value, and not above the second.
pub(super) type Range = (Option<String>, Option<String>);

impl Key {
    /// What cannot be asked, such as the definition of a view that another user made, has none.
    pub(super) fn find(client: &Client, table: &str) -> Option<Self> {
        let definition = client.texts(&format!("SHOW CREATE TABLE {table}")).ok()?;
        let definition = definition.into_iter().next()?.into_iter().nth(1)??;
        let (_, options) = definition.rsplit_once("\n) ENGINE=")?;
        if !options.starts_with("InnoDB") || options.contains("PARTITION BY") {
            return None;
        }
        let parts = client.texts(&format!("SHOW INDEX FROM {table}")).ok()?;
        let parts: Vec<Part> = parts.into_iter().filter_map(Part::new).collect();
        // The table lies in the order of the first one of this kind, and they come in their order.
        let by_index = parts.chunk_by(|one, other| one.index == other.index);
        let unique = |part: &Part| part.is_unique && !part.may_be_null;
        let clustered = by_index.into_iter().find(|index| index.iter().all(unique))?;
        let columns = clustered.iter().map(|part| part.column.as_deref());
        let columns: Vec<String> =
            columns.collect::<Option<Vec<_>>>()?.into_iter().map(quoted).collect();
        let order = clustered.iter().zip(&columns).map(|(part, column)| match part.is_ascending {
            true => column.clone(),
            false => format!("{column} DESC"),
        });
        Some(Self {
            from: format!("FROM {table} FORCE INDEX ({})", quoted(&clustered[0].index)),
            order: order.collect::<Vec<_>>().join(", "),
            is_ascending: clustered[0].is_ascending,
            first: columns[0].clone(),
        })
    }

    /// The statement for these columns of the records of a range, in order.
    pub(super) fn select(&self, columns: &str, (above, until): &Range) -> String {
        let first = &self.first;
        let above = above.iter().map(|value| format!("{first} > {value}"));
        let until = until.iter().map(|value| format!("{first} <= {value}"));
        let within: Vec<String> = above.chain(until).collect();
        let within = if within.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", within.join(" AND "))
        };
        format!("SELECT {columns} {}{within} ORDER BY {}", self.from, self.order)
    }

    /// The statement for the value that the key has so many records further on, and for its type.
    pub(super) fn ahead(&self, above: Option<&String>, records: u64) -> String {
        let (first, from) = (&self.first, &self.from);
        let within = above.map_or_else(String::new, |above| format!("WHERE {first} > {above}"));
        format!("SELECT {first} {from} {within} ORDER BY {first} LIMIT 1 OFFSET {records}")
    }

    /// How values of its first column are written, where ranges of them can be read.
    pub(super) fn writing(&self, client: &Client) -> Result<Option<Writing>, DatabaseError> {
        if !self.is_ascending {
            return Ok(None);
        }
        let (columns, _) = client.describe(&self.ahead(None, 0))?;
        Ok(columns.first().filter(|column| !column.is_bits).and_then(|column| {
            match column.field_type {
                FieldType::Int | FieldType::Decimal { .. } => Some(Writing::Plain),
                FieldType::Date | FieldType::Timestamp | FieldType::TimestampTz => {
                    Some(Writing::Time)
                }
                _ => None,
            }
        }))
    }
}

/// How a value is written in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// As it comes.
    Plain,
    /// In quotes.
    Time,
}

impl Writing {
    /// A value that came as text; `None` for a day that is none, which statements may not name.
    pub(super) fn written(self, text: &str) -> Option<String> {
        match self {
            Writing::Plain => Some(text.to_owned()),
            Writing::Time => {
                (!text.starts_with("0000") && !text.contains("-00")).then(|| literal(text))
            }
        }
    }
}

/// A column of an index.
struct Part {
    is_unique: bool,
    index: String,
    /// `None` for an expression, and where only the beginning of values is in the index.
    column: Option<String>,
    is_ascending: bool,
    may_be_null: bool,
}

impl Part {
    /// Of a row of `SHOW INDEX`, whose first columns are the same everywhere.
    fn new(row: Vec<Option<String>>) -> Option<Self> {
        let text = |column: usize| row.get(column).and_then(Option::as_deref);
        Some(Self {
            is_unique: text(1)? == "0",
            index: text(2)?.to_owned(),
            column: text(4).filter(|_| text(7).is_none()).map(str::to_owned),
            is_ascending: text(5) == Some("A"),
            may_be_null: text(9) == Some("YES"),
        })
    }
}
