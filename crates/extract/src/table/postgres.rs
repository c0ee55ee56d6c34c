//! PostgreSQL: `COPY … TO STDOUT` in binary form.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::registry::longest_record;
use gristmill_core::{
    Batch, ByteSize, Chunk, Error, ErrorKind, ExtractContext, Extractor, Findings, ReadPlan, Result,
};
use gristmill_database::read::Reader;
use gristmill_database::results::{Reading, ResultColumn};
use gristmill_database::{Address, Client, CopyOut, DatabaseError, literal, quoted, read_error_of};
use serde_json::Value;

use super::cursor::{Bounds, Cursor};
use super::rows::{Columns, Unfit};
use super::source::{Relation, Wanted, declared};

/// Bytes of a chunk.
const CHUNK: usize = 4 << 20;

/// Reads what a query answers, in one transaction.
pub(super) struct PostgresExtractor {
    source: Arc<Source>,
    client: Option<Client>,
    copy: String,
    rows: Option<CopyOut>,
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
        client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(failed)?;
        let found = client.describe(&relation.select).map_err(failed)?;
        if found.parameters > 0 {
            return Err(Error::new(ErrorKind::Configuration, what)
                .caused_by("the query has places for parameters such as $1")
                .hint("write values into the query; ${NAME} takes a parameter of the pipeline"));
        }
        let names: Vec<String> = found.columns.iter().map(|column| column.name.clone()).collect();
        let declared = declared(relation, &names, &wanted.columns)?;
        let (relation, bookmark) = match &wanted.cursor {
            None => (relation.clone(), None),
            Some(cursor) => {
                let column = &found.columns[cursor.position(relation, &names)?];
                let bounds = cursor.bounds(relation, address.name(), &context.range);
                advance(&client, relation, cursor, bounds, column, &what)?
            }
        };
        let relation = &relation;
        let mut notes = Vec::new();
        let results = found.columns.into_iter().zip(&declared).map(|(column, declared)| {
            if declared.is_some() {
                return column.as_text();
            }
            if column.cast && column.type_name == "numeric" {
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
        let copy = format!("COPY ({}\n) TO STDOUT (FORMAT BINARY)", select(relation, &results));
        let columns = Columns::new(&relation.name, fields, declared);
        let longest = longest_record(context.memory);
        let source = Arc::new(Source { what, results, columns, longest });
        Ok(Self {
            source,
            client: Some(client),
            copy,
            rows: None,
            bytes: 0,
            started: false,
            notes,
            bookmark,
        })
    }

    fn failed(&self, error: DatabaseError) -> Error {
        read_error_of(&self.source.what, error)
    }

    fn next_piece(&mut self) -> Result<Option<bytes::Bytes>> {
        let Some(client) = &self.client else { return Ok(None) };
        let rows = match &mut self.rows {
            Some(rows) => rows,
            None => {
                let rows = client.copy_out(&self.copy, CHUNK);
                self.rows.insert(rows.map_err(|e| read_error_of(&self.source.what, e))?)
            }
        };
        rows.next().transpose().map_err(|error| self.failed(error))
    }
}

/// The records within the bounds, and the bookmark that is left when they are read.
fn advance(
    client: &Client,
    relation: &Relation,
    cursor: &Cursor,
    bounds: Bounds,
    column: &ResultColumn,
    what: &str,
) -> Result<(Relation, Option<(String, Value)>)> {
    let is_time = matches!(column.reading, Reading::Date | Reading::Timestamp { .. });
    let lag = cursor.lag_micros(is_time)?;
    let name = format!("q.{}", quoted(&cursor.column));
    // A text without a type takes that of the column.
    let text = |value: &Value| match value {
        Value::String(text) => literal(text),
        other => literal(&other.to_string()),
    };
    let from = format!("FROM ({}\n) AS q", relation.select);
    let within = |conditions: &[String]| match conditions {
        [] => from.clone(),
        some => format!("{from} WHERE {}", some.join(" AND ")),
    };
    let narrowed = |conditions: &[String]| Relation {
        select: format!("SELECT * {}", within(conditions)),
        ..relation.clone()
    };
    let lower = bounds.lower.iter();
    let mut conditions: Vec<String> =
        lower.map(|(operator, value)| format!("{name} {operator} {}", text(value))).collect();
    let Some(bookmark) = bounds.bookmark else {
        conditions.extend(bounds.end.iter().map(|end| format!("{name} < {}", text(end))));
        return Ok((narrowed(&conditions), None));
    };
    let last = bounds.lower.filter(|(operator, _)| *operator == ">").map(|(_, last)| last);
    let mut limited = conditions.clone();
    if is_time {
        limited.push(format!("{name} < 'infinity'"));
    }
    if let Some(lag) = lag {
        let age = format!("now() - interval '{lag} microseconds'");
        limited.push(format!("{name} <= CAST({age} AS {})", column.type_name));
    }
    let greatest = format!("SELECT max({name})::text {}", within(&limited));
    let greatest = client.row(&greatest, &[]).map_err(|error| read_error_of(what, error))?;
    Ok(match greatest.get::<_, Option<String>>(0) {
        Some(greatest) => {
            conditions.push(format!("{name} <= {}", literal(&greatest)));
            (narrowed(&conditions), Some((bookmark, Value::String(greatest))))
        }
        None => (narrowed(&["false".to_owned()]), last.map(|last| (bookmark, last))),
    })
}

/// The statement whose rows are copied: the query, with text in place of what has no other form.
fn select(relation: &Relation, results: &[ResultColumn]) -> String {
    if results.iter().all(|column| !column.cast) {
        return relation.select.clone();
    }
    // Columns get names of their own, since those of a query may be anything.
    let inner: Vec<String> = (1..=results.len()).map(|i| format!("c{i}")).collect();
    let outer = results.iter().zip(&inner).map(|(column, inner)| {
        let cast = if column.cast { "::text" } else { "" };
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
                self.client = None;
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
