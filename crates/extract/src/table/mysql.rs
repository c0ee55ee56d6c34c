//! MariaDB and MySQL: rows in the binary form of prepared statements.

use std::fmt::Write;

use arrow_schema::Field;
use gristmill_core::registry::longest_record;
use gristmill_core::text::{parse, print};
use gristmill_core::{Error, ErrorKind, ExtractContext, FieldType, Result};
use gristmill_database::literal;
use gristmill_database::mysql::results::ResultColumn;
use gristmill_database::mysql::{Address, Client, Value, read_error_of};
use serde_json::Value as Json;

use super::cells::{Cell, Rows};
use super::cursor::Column;
use super::rows::Columns;
use super::source::{Relation, Wanted, declared};
use super::stepped::{Begin, Pieces, Source, Step, Stepped, alone, one_turn};
use key::Key;
use parts::Moment;

mod key;
mod parts;

/// Begins to read, at this moment.
const BEGIN: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                     START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
/// So many bytes of `limits.memory` pay for one connection of several.
const MEMORY: u64 = 32 << 20;

/// Connects, and asks which columns there are. Answers as well whether a table has an order, whatever
/// columns of it are read.
pub(super) fn open(
    wanted: &Wanted,
    address: &Address,
    context: &ExtractContext,
) -> Result<(Stepped, bool)> {
    let relation = &wanted.relation;
    let what = format!("cannot read `{}` of `{}`", relation.name, address.name());
    let failed = |error| read_error_of(&what, error);
    let client = Client::connect(address)?;
    if relation.table.is_none() {
        // Quotes and backslashes mean what they mean to whoever wrote it.
        client.batch("SET SESSION sql_mode = @@global.sql_mode").map_err(failed)?;
    }
    client.batch(BEGIN).map_err(failed)?;
    let (found, parameters) = client.describe(&relation.select).map_err(failed)?;
    if parameters > 0 {
        return Err(Error::new(ErrorKind::Configuration, what)
            .caused_by("the query has places for parameters such as ?")
            .hint("write values into the query; ${NAME} takes a parameter of the pipeline"));
    }
    let names: Vec<String> = found.iter().map(|column| column.name.clone()).collect();
    let declared = declared(relation, &names, &wanted.columns)?;
    let key = match (&relation.table, &wanted.cursor) {
        (Some(table), None) => Key::find(&client, table),
        _ => None,
    };
    let select = key.as_ref().map(|key| key.select(&relation.columns, &(None, None)));
    let select = select.unwrap_or_else(|| relation.select.clone());
    let (mut select, mut bookmark, mut notes) = (select, None, Vec::new());
    if let Some(cursor) = &wanted.cursor {
        let of = found[cursor.position(relation, &names)?].field_type;
        let column = CursorColumn { client: &client, name: &cursor.column, of, what: &what };
        column.check()?;
        let lag = cursor.lag_micros(column.is_time())?;
        let bounds = cursor.bounds(relation, address.name(), &context.range);
        // Understood whatever the session makes of quotes.
        let name = format!("q.`{}`", cursor.column.replace('`', "``"));
        let narrowed = cursor.narrow(relation, &bounds, &name, &column, lag)?;
        (select, bookmark, notes) = (narrowed.select, narrowed.bookmark, narrowed.notes);
    }
    let long = found
        .iter()
        .zip(&declared)
        .filter(|(column, declared)| column.has_more_digits && declared.is_none());
    notes.extend(long.map(|(column, _)| {
        format!(
            "`{}` of `{}` has more digits than a decimal, and is read as text; give it a type \
             under `columns`",
            column.name, relation.name
        )
    }));
    // A declared type takes the place of the column's own.
    let types: Vec<FieldType> = found
        .iter()
        .zip(declared)
        .map(|(column, declared)| declared.unwrap_or(column.field_type))
        .collect();
    let fields: Vec<Field> =
        names.iter().zip(&types).map(|(name, field_type)| field_type.field(name)).collect();
    let source = Source {
        columns: Columns::new(&relation.name, fields, vec![None; names.len()]),
        types,
        longest: longest_record(context.memory),
    };
    let has_order = key.is_some();
    let reading = Reading { client, select, found, what };
    let (begin, note) = match (&relation.table, wanted.connections) {
        (Some(table), Some(many)) if many.get() > 1 => {
            let most = usize::try_from(context.memory.0 / MEMORY).unwrap_or(usize::MAX).max(2);
            let split = Split {
                relation: relation.clone(),
                table: table.clone(),
                others: many.get().min(most) - 1,
            };
            let alone = format!("`{}` is read by one connection", relation.name);
            match (&wanted.cursor, key) {
                (Some(_), _) => (reading.alone(), Some(format!("{alone}: {CURSOR}"))),
                (_, None) => (reading.alone(), Some(format!("{alone}: {NO_KEY}"))),
                (_, Some(key)) => reading.split(address, key, split, alone)?,
            }
        }
        _ => (reading.alone(), None),
    };
    notes.extend(note);
    Ok((Stepped::new(source, begin, None, notes, bookmark), has_order))
}

/// Why a table is read by one connection, though a pipeline asks for more.
const CURSOR: &str = "what a cursor leaves is not split";
const NO_KEY: &str = "it is no table of InnoDB in one part with a primary key, or a unique one \
                      without nulls";
const NO_RANGES: &str = "its key does not begin with a whole number or a time, in ascending order";

/// A table for several connections.
struct Split {
    relation: Relation,
    table: String,
    /// How many connections there are to be beside the first one.
    others: usize,
}

/// What one connection reads.
struct Reading {
    client: Client,
    select: String,
    found: Vec<ResultColumn>,
    what: String,
}

impl Reading {
    fn alone(self) -> Begin {
        alone(self.step())
    }

    /// Reads by several connections, if they can be had then.
    fn split(
        self,
        address: &Address,
        key: Key,
        split: Split,
        alone: String,
    ) -> Result<(Begin, Option<String>)> {
        let writing = key.writing(&self.client);
        let Some(writing) = writing.map_err(|error| read_error_of(&self.what, error))? else {
            return Ok((self.alone(), Some(format!("{alone}: {NO_RANGES}"))));
        };
        let address = address.clone();
        let begin: Begin = Box::new(move || {
            let Split { relation, table, others } = split;
            let moment = Moment::begin(&self.client, &address, &table, others);
            self.check(&relation.select)?;
            Ok(match moment {
                Ok(moment) => (moment.steps(self, &key, writing, &relation.columns), None),
                Err(why) => (vec![self.step()], Some(format!("{alone}: {why}"))),
            })
        });
        Ok((begin, None))
    }

    /// That the columns are still the same, in a transaction that began later.
    fn check(&self, select: &str) -> Result<()> {
        let (found, _) =
            self.client.describe(select).map_err(|error| read_error_of(&self.what, error))?;
        if found == self.found {
            return Ok(());
        }
        let changed = Error::new(ErrorKind::Transient, self.what.clone());
        Err(changed.caused_by("its columns changed while it was opened").hint("run again"))
    }

    fn step(self) -> Step {
        let Self { client, select, found, what } = self;
        one_turn(move |pieces| {
            let stepped = client.stream(&select, |values| put(values, &found, pieces));
            stepped.map(|_| ()).map_err(|error| read_error_of(&what, error))
        })
    }
}

/// Puts a row down; answers whether somebody wants more.
fn put(values: Vec<Value>, columns: &[ResultColumn], pieces: &mut Pieces) -> bool {
    let rows = pieces.row();
    for (value, column) in values.into_iter().zip(columns) {
        match value {
            Value::NULL => rows.cells.push(Cell::Null),
            Value::Int(number) => rows.cells.push(Cell::Int(number)),
            Value::UInt(number) => unsigned(number, rows),
            Value::Float(number) => rows.cells.push(Cell::Real(number.into())),
            Value::Double(number) => rows.cells.push(Cell::Real(number)),
            Value::Bytes(bytes) if column.is_bits => {
                let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
                unsigned(bits, rows);
            }
            Value::Bytes(bytes) if column.field_type == FieldType::Binary => rows.blob(&bytes),
            Value::Bytes(bytes) => rows.text(&bytes),
            time => rows.text(time_text(&time, column.field_type).as_bytes()),
        }
    }
    pieces.end()
}

fn unsigned(number: u64, rows: &mut Rows) {
    match i64::try_from(number) {
        Ok(number) => rows.cells.push(Cell::Int(number)),
        Err(_) => rows.text(number.to_string().as_bytes()),
    }
}

/// A date or a time in the form in which it is read. What is none, such as the day 0 and 100 hours,
/// has a form that is not understood.
fn time_text(value: &Value, field_type: FieldType) -> String {
    let mut text = String::new();
    let written = match *value {
        Value::Date(year, month, day, ..) if field_type == FieldType::Date => {
            write!(text, "{year:04}-{month:02}-{day:02}")
        }
        Value::Date(year, month, day, hour, minute, second, micros) => write!(
            text,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{}",
            if field_type == FieldType::TimestampTz { "Z" } else { "" }
        ),
        Value::Time(negative, days, hours, minutes, seconds, micros) => write!(
            text,
            "{}{:02}:{minutes:02}:{seconds:02}.{micros:06}",
            if negative { "-" } else { "" },
            u32::from(hours) + 24 * days
        ),
        _ => Ok(()),
    };
    debug_assert!(written.is_ok());
    text
}

/// The column of a cursor.
struct CursorColumn<'a> {
    client: &'a Client,
    name: &'a str,
    of: FieldType,
    what: &'a str,
}

impl CursorColumn<'_> {
    fn is_time(&self) -> bool {
        matches!(self.of, FieldType::Date | FieldType::Timestamp | FieldType::TimestampTz)
    }

    fn is_number(&self) -> bool {
        matches!(self.of, FieldType::Int | FieldType::Double | FieldType::Decimal { .. })
    }

    /// That its values have an order.
    fn check(&self) -> Result<()> {
        let is_text = matches!(self.of, FieldType::String | FieldType::Time);
        if self.is_time() || self.is_number() || is_text {
            return Ok(());
        }
        let message = format!("`{}` is a {}, which is no cursor", self.name, self.of);
        Err(Error::new(ErrorKind::Configuration, message)
            .hint("take a column of numbers or of times as the cursor"))
    }
}

impl Column for CursorColumn<'_> {
    fn is_date(&self) -> bool {
        self.of == FieldType::Date
    }

    fn written(&self, value: &Json) -> Result<String> {
        let text = match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        let wrong = || {
            let message = format!("`{text}` is no value of the cursor `{}`", self.name);
            Error::new(ErrorKind::Configuration, message)
        };
        if self.is_number() {
            let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
            return finite.then(|| text.clone()).ok_or_else(wrong);
        }
        if self.is_time() {
            let micros = parse::timestamp(text.as_bytes())
                .or_else(|| Some(i64::from(parse::date(text.as_bytes())?) * 86_400_000_000));
            let mut window = [0; 48];
            let length = print::timestamp(&mut window, micros.ok_or_else(wrong)?, false);
            let text = String::from_utf8_lossy(&window[..length]).replace('T', " ");
            return Ok(format!("CAST('{text}' AS DATETIME(6))"));
        }
        Ok(match text.contains('\\') {
            true => {
                let digits: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("CONVERT(X'{}' USING utf8mb4)", digits.concat())
            }
            false => literal(&text),
        })
    }

    fn is_settled(&self, column: &str, lag: u128) -> String {
        let age = format!("utc_timestamp(6) - INTERVAL {lag} MICROSECOND");
        match self.is_date() {
            true => format!("{column} < CAST({age} AS DATE)"),
            false => format!("{column} <= {age}"),
        }
    }

    fn is_finite(&self, _: &str) -> Option<String> {
        None
    }

    fn greatest(&self, column: &str, from: &str) -> Result<Option<Json>> {
        // The text of a FLOAT has fewer digits than it.
        let exact = if self.of == FieldType::Double { " + 0e0" } else { "" };
        let texts = self.client.texts(&format!("SELECT max({column}){exact} {from}"));
        let texts = texts.map_err(|error| read_error_of(self.what, error))?;
        Ok(texts.into_iter().flatten().flatten().next().map(|text| match text.parse::<i64>() {
            Ok(number) if self.of == FieldType::Int => Json::from(number),
            _ => Json::String(text),
        }))
    }
}
