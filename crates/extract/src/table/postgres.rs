//! PostgreSQL: `COPY … TO STDOUT` in binary form, of a table by several connections.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::registry::longest_record;
use gristmill_core::{
    Batch, ByteSize, Chunk, Error, ErrorKind, ExtractContext, Extractor, Findings, ReadPlan, Result,
};
use gristmill_database::read::Reader;
use gristmill_database::results::{Reading, ResultColumn};
use gristmill_database::{Address, Client, literal, quoted, read_error_of};
use serde_json::Value;

use super::cursor::Column;
use super::rows::{Columns, Unfit};
use super::source::{Relation, Wanted, declared};
use heaps::Heaps;
use parts::Parts;

mod heaps;
mod parts;

/// So many connections read a table at most, where a pipeline does not say how many.
const CONNECTIONS: usize = 4;

/// Reads what a query answers, at one moment.
pub(super) struct PostgresExtractor {
    source: Arc<Source>,
    rows: Option<Parts>,
    bytes: u64,
    started: bool,
    notes: Vec<String>,
    bookmark: Option<(String, Value)>,
}

/// What chunks need to know of where they are from.
struct Source {
    what: String,
    results: Arc<[ResultColumn]>,
    columns: Columns,
    longest: ByteSize,
}

impl PostgresExtractor {
    /// Connects, and asks which columns there are.
    pub(super) fn open(
        wanted: &Wanted,
        address: &Address,
        context: &ExtractContext,
    ) -> Result<Self> {
        let relation = &wanted.relation;
        let what = format!("cannot read `{}` of `{}`", relation.name, address.name());
        let failed = |error| read_error_of(&what, error);
        let client = Client::connect(address)?;
        client.batch(parts::BEGIN).map_err(failed)?;
        if relation.table.is_some() {
            client.batch(parts::IN_ORDER).map_err(failed)?;
        }
        let found = client.describe(&relation.select).map_err(failed)?;
        if found.parameters > 0 {
            return Err(Error::new(ErrorKind::Configuration, what)
                .caused_by("the query has places for parameters such as $1")
                .hint("write values into the query; ${NAME} takes a parameter of the pipeline"));
        }
        let names: Vec<String> = found.columns.iter().map(|column| column.name.clone()).collect();
        let declared = declared(relation, &names, &wanted.columns)?;
        let mut relation = relation.clone();
        let (mut notes, mut bookmark) = (Vec::new(), None);
        if let Some(cursor) = &wanted.cursor {
            let of = &found.columns[cursor.position(&relation, &names)?];
            let lag = cursor.lag_micros(is_time(of))?;
            let bounds = cursor.bounds(&relation, address.name(), &context.range);
            let column = CursorColumn { client: &client, of, what: &what };
            let name = format!("q.{}", quoted(&cursor.column));
            let narrowed = cursor.narrow(&relation, &bounds, &name, &column, lag)?;
            relation.select = narrowed.select;
            (notes, bookmark) = (narrowed.notes, narrowed.bookmark);
        }
        let relation = &relation;
        let results = found.columns.into_iter().zip(&declared).map(|(column, declared)| {
            if declared.is_some() {
                return column.as_text();
            }
            if column.cast && matches!(&*column.type_name, "numeric" | "money") {
                notes.push(format!(
                    "`{}` of `{}` has no declared digits and is read as text; give it a type \
                     under `columns`",
                    column.name, relation.name
                ));
            }
            column
        });
        let results: Arc<[ResultColumn]> = results.collect();
        let fields = results.iter().map(ResultColumn::field).collect();
        let heaps = match (&relation.table, &wanted.cursor) {
            (Some(table), None) => Heaps::of(&client, table).map_err(failed)?,
            _ => Heaps::whole(),
        };
        let parts = heaps.parts();
        let statements = {
            let (relation, results) = (relation.clone(), Arc::clone(&results));
            Arc::new(move |part| copy(&relation, &results, &heaps, part))
        };
        let at_once = wanted.connections.map_or(context.workers.min(CONNECTIONS), usize::from);
        let table = relation.table.as_deref().unwrap_or_default();
        let rows = Parts::new(client, address.clone(), table, parts, statements, at_once);
        let columns = Columns::new(&relation.name, fields, declared);
        let longest = longest_record(context.memory);
        let source = Arc::new(Source { what, results, columns, longest });
        Ok(Self { source, rows: Some(rows), bytes: 0, started: false, notes, bookmark })
    }

    fn next_piece(&mut self) -> Result<Option<bytes::Bytes>> {
        let Some(parts) = &mut self.rows else { return Ok(None) };
        parts.next_piece(&self.source.what)
    }
}

/// The column of a cursor.
struct CursorColumn<'a> {
    client: &'a Client,
    of: &'a ResultColumn,
    what: &'a str,
}

impl Column for CursorColumn<'_> {
    fn is_date(&self) -> bool {
        self.of.reading == Reading::Date
    }

    /// A text without a type takes that of the column.
    fn written(&self, value: &Value) -> Result<String> {
        Ok(match value {
            Value::String(text) => literal(text),
            other => literal(&other.to_string()),
        })
    }

    fn is_settled(&self, column: &str, lag: u128) -> String {
        let age = format!("now() - interval '{lag} microseconds'");
        let operator = if self.is_date() { "<" } else { "<=" };
        format!("{column} {operator} CAST({age} AS {})", self.of.type_name)
    }

    fn is_finite(&self, column: &str) -> Option<String> {
        is_time(self.of).then(|| format!("{column} < 'infinity'"))
    }

    fn greatest(&self, column: &str, from: &str) -> Result<Option<Value>> {
        let row = self.client.row(&format!("SELECT max({column})::text {from}"), &[]);
        let row = row.map_err(|error| read_error_of(self.what, error))?;
        Ok(row.get::<_, Option<String>>(0).map(Value::String))
    }
}

fn is_time(column: &ResultColumn) -> bool {
    matches!(column.reading, Reading::Date | Reading::Timestamp { .. })
}

/// The statement that copies one of the parts. The columns of a child may have another order.
fn copy(relation: &Relation, results: &[ResultColumn], heaps: &Heaps, part: u64) -> String {
    let (child, pages) = heaps.part(part);
    let narrowed = match child {
        None => format!("{}{pages}", relation.select),
        Some(child) => {
            let columns: Vec<String> = results.iter().map(|column| quoted(&column.name)).collect();
            format!("SELECT {} FROM ONLY {child}{pages}", columns.join(", "))
        }
    };
    let select = select(&Relation { select: narrowed, ..relation.clone() }, results);
    format!("COPY ({select}\n) TO STDOUT (FORMAT BINARY)")
}

/// The statement whose rows are copied: the query, with text in place of what has no other form.
fn select(relation: &Relation, results: &[ResultColumn]) -> String {
    if results.iter().all(|column| !column.cast) {
        return relation.select.clone();
    }
    // Columns get names of their own, since those of a query may be anything.
    let inner: Vec<String> = (1..=results.len()).map(|i| format!("c{i}")).collect();
    let outer = results.iter().zip(&inner).map(|(column, inner)| {
        let cast = match (column.cast, &*column.type_name) {
            (false, _) => "",
            // Its own text depends on where the server stands.
            (true, "money") => "::numeric::text",
            (true, _) => "::text",
        };
        format!("{inner}{cast} AS {}", quoted(&column.name))
    });
    let (inner, outer) = (inner.join(", "), outer.collect::<Vec<_>>().join(", "));
    format!("SELECT {outer} FROM ({}\n) AS q ({inner})", relation.select)
}

impl Extractor for PostgresExtractor {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        Ok(None)
    }

    fn begin(&mut self, _: Option<ReadPlan>) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.source.columns.schema))
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        match self.next_piece() {
            Ok(Some(piece)) => {
                self.bytes += piece.len() as u64;
                let source = Arc::clone(&self.source);
                let (results, given) = (Arc::clone(&source.results), &source.columns.given);
                Ok(Some(Box::new(Rows {
                    size: piece.len(),
                    starts_source: !std::mem::replace(&mut self.started, true),
                    reader: Reader::new(results, Arc::clone(given), piece)
                        .longest(source.longest.0),
                    source,
                })))
            }
            over => {
                self.rows = None;
                over.map(|_| None)
            }
        }
    }

    fn total_bytes(&self) -> Option<u64> {
        None
    }

    fn bytes_read(&self) -> u64 {
        self.bytes
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn bookmarks(&self) -> Vec<(String, Value)> {
        self.bookmark.clone().into_iter().collect()
    }
}

/// Some rows.
struct Rows {
    source: Arc<Source>,
    reader: Reader,
    size: usize,
    starts_source: bool,
}

impl Chunk for Rows {
    fn size(&self) -> usize {
        self.size
    }

    fn starts_source(&self) -> bool {
        self.starts_source
    }

    fn next_batch(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        let source = &self.source;
        let read = self.reader.next_batch().map_err(|malformed| {
            Error::new(ErrorKind::Corrupt, source.what.clone()).caused_by(malformed)
        })?;
        let Some((columns, unread)) = read else { return Ok(None) };
        let unfit = unread.into_iter().map(|unread| Unfit {
            row: unread.row,
            column: unread.column,
            value: match unread.column {
                Some(_) => unread.value,
                None => source.longest.to_string(),
            },
        });
        source.columns.batch(columns, unfit.collect()).map(Some)
    }
}
