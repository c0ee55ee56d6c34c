//! Rows in the form of `LOAD DATA` (<https://mariadb.com/kb/en/load-data-infile/>): values as text
//! between tabs, with backslashes before what would be mistaken for the end of one.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int64Array, StringViewArray, UInt64Array,
};
use arrow_schema::{DataType, Field};
use gristmill_core::json::write_json;
use gristmill_core::text::{ColumnBuilder, ColumnPlan, print, write_value};
use gristmill_core::{FieldType, Result};

use super::types::{Characters, Form};
use crate::rows::{RowWriter, Rows, Unfit};
use crate::types::{is_text, values_type};
use crate::values::{TOO_FINE, TOO_LARGE, Times, decimals, is_finer_than, to, write_dictionary};

/// Digits of a row's number.
const NUMBER: usize = 15;
/// The first and the last day, in days since 1970-01-01: those of the years 1 and 9999.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
const DAY: i64 = 86_400_000_000;

/// The clauses of a statement that loads such rows.
pub const CLAUSES: &str = "CHARACTER SET utf8mb4 FIELDS TERMINATED BY X'09' ESCAPED BY X'5C' \
    LINES TERMINATED BY X'0A'";

/// Adds the numbers that rows are to have, from `first` on, to rows that were written with room for
/// them.
pub fn number(rows: &mut Rows, first: i64) {
    rows.change(first, |row, mut number| {
        for digit in row[..NUMBER].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    });
}

/// Rows as the values of an INSERT: `(…), (…)`. Columns of bytes are written in hexadecimal
/// digits; `bytes` says which.
pub fn values(rows: &[u8], bytes: &[bool]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * rows.len());
    for row in rows.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()) {
        out.extend_from_slice(if out.is_empty() { b"(" } else { b",(" });
        // A tab in a text is written as a backslash and a letter.
        for (column, field) in row.split(|byte| *byte == b'\t').enumerate() {
            out.extend_from_slice(if column == 0 { b"" } else { b"," });
            if field == b"\\N" {
                out.extend_from_slice(b"NULL");
                continue;
            }
            out.extend_from_slice(if bytes[column] { b"X'" } else { b"'" });
            let mut escaped = false;
            for &byte in field {
                if byte == b'\\' && !std::mem::replace(&mut escaped, true) {
                    continue;
                }
                let byte = match byte {
                    b'n' if escaped => b'\n',
                    b't' if escaped => b'\t',
                    byte => byte,
                };
                escaped = false;
                out.extend((byte == b'\'').then_some(byte));
                out.push(byte);
            }
            out.push(b'\'');
        }
        out.push(b')');
    }
    out
}

/// Writes the rows of one batch.
pub struct Writer<'a> {
    columns: Vec<Cells<'a>>,
    numbered: bool,
    scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// For columns with these fields and forms. Where rows are `numbered`, each has an additional
    /// first column for [`number`].
    ///
    /// # Errors
    /// When a column cannot be brought into its form at all.
    pub fn new(
        columns: impl Iterator<Item = (&'a ArrayRef, &'a Field, Form)>,
        numbered: bool,
    ) -> Result<Self> {
        let columns = columns
            .map(|(array, field, form)| Cells::new(array, field, form))
            .collect::<Result<_>>()?;
        Ok(Self { columns, numbered, scratch: Vec::new() })
    }
}

impl RowWriter for Writer<'_> {
    fn is_null(&self, column: usize, row: usize) -> bool {
        self.columns[column].given.is_null(row)
    }

    fn value(&mut self, column: usize, row: usize) -> Option<&[u8]> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let written = self.columns[column].write(row, &mut scratch);
        scratch.push(b'\t');
        self.scratch = scratch;
        written.ok().map(|()| self.scratch.as_slice())
    }

    fn push(&self, row: usize, rows: &mut Rows) -> Result<(), Vec<Unfit>> {
        let out = &mut rows.bytes;
        let start = out.len();
        if self.numbered {
            out.extend_from_slice(&[b'0'; NUMBER]);
            out.push(b'\t');
        }
        let head = out.len() - start;
        let mut unfit = Vec::new();
        for (i, cells) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b'\t');
            }
            if let Err(why) = cells.write(row, out) {
                unfit.push((i, why));
            }
        }
        out.push(b'\n');
        if unfit.is_empty() {
            rows.values += (out.len() - start - head - self.columns.len()) as u64;
            rows.ends.push(out.len());
            Ok(())
        } else {
            out.truncate(start);
            Err(unfit)
        }
    }
}

/// One column, ready to be sent.
struct Cells<'a> {
    given: &'a ArrayRef,
    values: Values<'a>,
}

enum Values<'a> {
    Bool(BooleanArray),
    Int(Int64Array, i128, i128),
    Unsigned(UInt64Array, i128, i128),
    Double(Float64Array),
    /// Numbers that have to be whole, as they are.
    Whole(Float64Array, i128, i128),
    Decimal(Decimal128Array, u8),
    /// Decimals that have to be whole.
    WholeDecimal(Decimal128Array, i128, i128),
    Text(StringViewArray, Option<u32>, Characters),
    Bytes(BinaryViewArray, Option<u32>),
    Json(&'a Field),
    Date(Date32Array),
    /// With the digits of a second that the column keeps.
    Time(Times, u8),
    Timestamp(Times, u8),
    Written,
    /// Texts that were read as another type; what is null in its place is unfit.
    Parsed(Box<Values<'a>>, ArrayRef, &'static str),
}

impl<'a> Cells<'a> {
    fn new(given: &'a ArrayRef, field: &'a Field, form: Form) -> Result<Self> {
        let Form::Parsed(field_type, then) = form else {
            return Ok(Self { given, values: Values::new(given, field, form)? });
        };
        let texts = to(given, &DataType::Utf8View)?;
        let plan = ColumnPlan::new(field.name(), field_type);
        let mut builder = ColumnBuilder::new(&plan, texts.len());
        for text in texts.as_string_view() {
            match text {
                None | Some("") => builder.append_null(),
                // A value that is refused is null in the column.
                Some(text) => drop(builder.push_str(text)),
            }
        }
        let parsed = builder.finish();
        let why = match field_type {
            FieldType::Int | FieldType::Decimal { scale: 0, .. } => "it is not an integer",
            FieldType::Decimal { .. } | FieldType::Double => {
                "it is not a number that the column holds"
            }
            FieldType::Date => "it is not a date",
            FieldType::Time => "it is not a time",
            _ => "it is not a timestamp",
        };
        let values = Values::new(&parsed, field, then.form())?;
        let values = Values::Parsed(Box::new(values), parsed, why);
        Ok(Self { given, values })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.given.is_null(row) {
            out.extend_from_slice(b"\\N");
            return Ok(());
        }
        self.values.write(self.given, row, out)
    }
}

impl<'a> Values<'a> {
    /// The values do not borrow from the array: it may be one that was made of texts.
    fn new(array: &ArrayRef, field: &'a Field, form: Form) -> Result<Self> {
        let kind = values_type(array.data_type());
        Ok(match form {
            Form::Bool => Values::Bool(to(array, &DataType::Boolean)?.as_boolean().clone()),
            Form::Int(least, greatest) if kind.is_floating() => {
                let values = to(array, &DataType::Float64)?;
                Values::Whole(values.as_primitive::<Float64Type>().clone(), least, greatest)
            }
            Form::Int(least, greatest) if matches!(kind, DataType::Decimal128(..)) => {
                Values::WholeDecimal(decimals(array)?, least, greatest)
            }
            Form::Int(least, greatest) if *kind == DataType::UInt64 => {
                let values = to(array, kind)?;
                Values::Unsigned(values.as_primitive::<UInt64Type>().clone(), least, greatest)
            }
            Form::Int(least, greatest) => {
                let values = to(array, &DataType::Int64)?;
                Values::Int(values.as_primitive::<Int64Type>().clone(), least, greatest)
            }
            Form::Double => {
                let values = to(array, &DataType::Float64)?;
                Values::Double(values.as_primitive::<Float64Type>().clone())
            }
            Form::Decimal(scale) => Values::Decimal(decimals(array)?, scale),
            Form::Text(length, characters) if is_text(kind) => {
                let texts = to(array, &DataType::Utf8View)?;
                Values::Text(texts.as_string_view().clone(), length, characters)
            }
            Form::Bytes(length) => {
                let values = to(array, &DataType::BinaryView)?;
                Values::Bytes(values.as_binary_view().clone(), length)
            }
            Form::Json => Values::Json(field),
            Form::Date => {
                let days = to(array, &DataType::Date32)?;
                Values::Date(days.as_primitive::<Date32Type>().clone())
            }
            Form::Time(digits) => Values::Time(Times::of_day(array)?, digits),
            Form::Timestamp(digits) => Values::Timestamp(Times::of_points(array)?, digits),
            Form::Text(..) | Form::Written | Form::Parsed(..) => Values::Written,
        })
    }

    fn write(&self, given: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Values::Bool(array) => out.push(b'0' + u8::from(array.value(row))),
            Values::Int(array, least, greatest) => {
                whole(out, array.value(row).into(), *least, *greatest)?;
            }
            Values::Unsigned(array, least, greatest) => {
                whole(out, array.value(row).into(), *least, *greatest)?;
            }
            Values::Double(array) => {
                let value = array.value(row);
                if !value.is_finite() {
                    return Err("the column cannot hold this number");
                }
                // The two zeros are one number, and one key.
                printed(out, |window| print::double(window, value + 0.0));
            }
            Values::Whole(array, least, greatest) => {
                let value = array.value(row);
                // Beyond 2⁵³, not every integer is such a number.
                if value.fract() != 0.0 || value.abs() > 9_007_199_254_740_992.0 {
                    return Err(NOT_WHOLE);
                }
                whole(out, value as i128, *least, *greatest)?;
            }
            Values::WholeDecimal(array, least, greatest) => {
                let (value, scale) = (array.value(row), array.scale());
                let unit = 10_i128.pow(scale.unsigned_abs().into());
                let value = match scale {
                    0.. if value % unit != 0 => return Err(NOT_WHOLE),
                    0.. => value / unit,
                    _ => value.checked_mul(unit).ok_or(TOO_LARGE)?,
                };
                whole(out, value, *least, *greatest)?;
            }
            Values::Decimal(array, limit) => {
                if is_finer_than(array.value(row), array.scale(), (*limit).into()) {
                    return Err(TOO_FINE);
                }
                write_value(out, array, row);
            }
            Values::Text(array, length, characters) => {
                let text = array.value(row);
                if length.is_some_and(|length| text.chars().nth(length as usize).is_some()) {
                    return Err("the text is longer than the column takes");
                }
                if !text.is_ascii() && !text.chars().all(|c| characters.have(c)) {
                    return Err("the column has no such character");
                }
                escaped(out, text.as_bytes());
            }
            Values::Bytes(array, length) => {
                let bytes = array.value(row);
                if length.is_some_and(|length| bytes.len() > length as usize) {
                    return Err("there are more bytes than the column takes");
                }
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                for byte in bytes {
                    out.push(DIGITS[usize::from(byte >> 4)]);
                    out.push(DIGITS[usize::from(byte & 15)]);
                }
            }
            Values::Json(field) => {
                let mut text = Vec::new();
                match field.data_type().is_nested() {
                    true => write_json(&mut text, given.as_ref(), field, row),
                    false => write_dictionary(&mut text, given, row),
                }
                escaped(out, &text);
            }
            Values::Date(array) => {
                let days = array.value(row);
                if !DAYS.contains(&days) {
                    return Err(TOO_FAR);
                }
                printed(out, |window| print::date(window, days.into()));
            }
            Values::Time(times, digits) => {
                let micros = micros(times.micros(row)?, *digits)?;
                printed(out, |window| print::time(window, micros));
            }
            Values::Timestamp(times, digits) => {
                let micros = micros(times.micros(row)?, *digits)?;
                if !DAYS.contains(&i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX)) {
                    return Err(TOO_FAR);
                }
                printed(out, |window| print::timestamp(window, micros, false));
            }
            Values::Written => {
                let mut text = Vec::new();
                write_dictionary(&mut text, given, row);
                escaped(out, &text);
            }
            Values::Parsed(_, parsed, why) if parsed.is_null(row) => return Err(why),
            Values::Parsed(values, parsed, _) => values.write(parsed, row, out)?,
        }
        Ok(())
    }
}

const NOT_WHOLE: &str = "the column holds whole numbers";
const TOO_FAR: &str = "the time is before or after all that the column holds";

fn whole(out: &mut Vec<u8>, value: i128, least: i128, greatest: i128) -> Result<(), &'static str> {
    if !(least..=greatest).contains(&value) {
        return Err(TOO_LARGE);
    }
    match i64::try_from(value) {
        Ok(value) => printed(out, |window| print::int(window, value)),
        Err(_) => out.extend_from_slice(value.to_string().as_bytes()),
    }
    Ok(())
}

fn printed(out: &mut Vec<u8>, print: impl FnOnce(&mut [u8; 48]) -> usize) {
    let mut window = [0; 48];
    let length = print(&mut window);
    out.extend_from_slice(&window[..length]);
}

/// Microseconds that have no more digits behind the point than the column keeps.
fn micros(micros: i64, digits: u8) -> Result<i64, &'static str> {
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    match micros % unit {
        0 => Ok(micros),
        _ => Err("the column keeps fewer digits of a second"),
    }
}

fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}

impl Characters {
    fn have(self, character: char) -> bool {
        match self {
            Characters::All => true,
            Characters::Utf8Mb3 => u32::from(character) <= 0xffff,
            Characters::Latin1 => {
                character.is_ascii()
                    || ('\u{a0}'..='\u{ff}').contains(&character)
                    || "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ".contains(character)
            }
            Characters::Ascii => character.is_ascii(),
        }
    }
}
