//! Types of text columns, from all of their values.
//!
//! A column gets a type only if every one of its values is read back as it was: `007` stays a
//! string, and so does the column it is in, however late it comes. Each column has a set of types
//! that fit all values so far; a value only ever takes types out of it. So the result depends
//! neither on the order of the values nor on how they are spread over batches and workers.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{RecordBatch, StringViewArray};
//! use gristmill_core::{Batch, FieldType, Origin, ReadPlan, text::ColumnPlan};
//! use gristmill_format::infer::Inference;
//!
//! let plan = ReadPlan {
//!     columns: ["id", "zip"].map(|name| ColumnPlan::new(name, FieldType::String)).into(),
//! };
//! let id: StringViewArray = ["1", "-20"].into_iter().map(Some).collect();
//! let zip: StringViewArray = ["75001", "00100"].into_iter().map(Some).collect();
//! let columns = RecordBatch::try_from_iter([("id", Arc::new(id) as _), ("zip", Arc::new(zip) as _)])?;
//!
//! let mut inference = Inference::new(&plan);
//! inference.observe(&Batch::whole(columns.clone(), Arc::new(Origin::columns("x".into(), columns)))?)?;
//! let inferred = inference.finish();
//! assert_eq!(inferred[0].field_type, FieldType::Int);
//! assert_eq!(inferred[1].field_type, FieldType::String);
//! # Ok::<(), gristmill_core::Error>(())
//! ```

use arrow_array::StringViewArray;
use arrow_array::cast::AsArray;
use gristmill_core::text::{ColumnPlan, parse};
use gristmill_core::{Batch, Error, FieldType, Findings, ReadPlan, Result};

/// The type that a column is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The column's name.
    pub name: String,
    /// Its type; for a column that was not to be inferred, the planned one.
    pub field_type: FieldType,
    /// What a reader of the report may wonder about, as a sentence.
    pub note: Option<String>,
}

/// The types that columns can have, narrowed with every value.
///
/// | all values are | type |
/// |---|---|
/// | integers within 64 bits, without leading zeros or plus | `int` |
/// | such integers beyond 64 bits, of at most 38 digits | `decimal(38, 0)` |
/// | numbers as JSON writes them, each the same number as a `double` (always so up to 15 digits) | `double` |
/// | such numbers without exponents, of at most 38 digits | `decimal(38, s)` |
/// | `true` and `false`, written in one way (`true`, `True` or `TRUE`) | `bool` |
/// | days `YYYY-MM-DD` | `date` |
/// | days and times in ISO 8601 without a zone, at most microseconds | `timestamp` |
/// | times with a zone | `timestamptz` |
/// | anything else, or there is none | `string` |
///
/// Nulls and empty texts fit every type.
#[derive(Debug, Clone)]
pub struct Inference {
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    planned: FieldType,
    inferred: bool,
    candidates: Candidates,
}

impl Inference {
    /// Starts with the columns of a plan. Those that are text without having been declared so are
    /// inferred.
    pub fn new(plan: &ReadPlan) -> Self {
        let open = |column: &ColumnPlan| {
            !column.declared && column.field_type == FieldType::String && column.nested.is_none()
        };
        let columns = plan.columns.iter().map(|column| Column {
            name: column.name.clone(),
            planned: column.field_type,
            inferred: open(column),
            candidates: Candidates::default(),
        });
        Self { columns: columns.collect() }
    }

    /// Looks at the values of a batch that was read as planned. Rows with open flaws, which will be
    /// rejected, have no say.
    ///
    /// # Errors
    /// [`gristmill_core::ErrorKind::Internal`] when the batch was not read by the plan.
    pub fn observe(&mut self, batch: &Batch) -> Result<()> {
        let settled;
        let batch = if batch.flaws().is_empty() {
            batch
        } else {
            settled = batch.clone().settle(&mut Findings::default())?;
            &settled
        };
        let arrays = batch.columns().columns();
        if arrays.len() != self.columns.len() {
            return Err(Error::internal("types are inferred from a batch of other columns"));
        }
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            if !column.inferred || column.candidates.types == 0 {
                continue;
            }
            match array.as_string_view_opt() {
                Some(texts) => column.candidates.observe(texts),
                None => {
                    let message = format!("the type of `{}` is inferred but not text", column.name);
                    return Err(Error::internal(message));
                }
            }
        }
        Ok(())
    }

    /// Adds what was seen of the same columns elsewhere.
    pub fn merge(&mut self, other: Inference) {
        for (mine, theirs) in self.columns.iter_mut().zip(other.columns) {
            mine.candidates.merge(&theirs.candidates);
        }
    }

    /// The types, in the order of the plan.
    pub fn finish(self) -> Vec<Inferred> {
        let finish = |column: Column| {
            if !column.inferred {
                return Inferred { name: column.name, field_type: column.planned, note: None };
            }
            let field_type = column.candidates.best();
            let note = column.candidates.note(&column.name, field_type);
            Inferred { name: column.name, field_type, note }
        };
        self.columns.into_iter().map(finish).collect()
    }
}

const INT: u16 = 1;
const DOUBLE: u16 = 1 << 1;
const DECIMAL: u16 = 1 << 2;
const BOOL_LOWER: u16 = 1 << 3;
const BOOL_TITLE: u16 = 1 << 4;
const BOOL_UPPER: u16 = 1 << 5;
const DATE: u16 = 1 << 6;
const TIMESTAMP: u16 = 1 << 7;
const TIMESTAMP_TZ: u16 = 1 << 8;
/// No type: texts that some would take for numbers, kept for the note.
const NUMERAL: u16 = 1 << 9;

const NUMBERS: u16 = INT | DOUBLE | DECIMAL;
const BOOLS: u16 = BOOL_LOWER | BOOL_TITLE | BOOL_UPPER;
const TIMES: u16 = DATE | TIMESTAMP | TIMESTAMP_TZ;

/// Digits that a decimal holds.
const MAX_DIGITS: usize = 38;
/// Digits that a double always holds.
const DOUBLE_DIGITS: usize = 15;

/// What fits all values seen.
#[derive(Debug, Clone, Copy)]
struct Candidates {
    types: u16,
    seen: bool,
    /// Most digits before and behind a point, while `DECIMAL` fits.
    whole: usize,
    fraction: usize,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { types: NUMBERS | BOOLS | TIMES | NUMERAL, seen: false, whole: 0, fraction: 0 }
    }
}

impl Candidates {
    fn observe(&mut self, texts: &StringViewArray) {
        for text in texts.iter().flatten() {
            if !text.is_empty() {
                self.narrow(text.as_bytes());
            }
            if self.types == 0 {
                return;
            }
        }
    }

    fn narrow(&mut self, text: &[u8]) {
        self.seen = true;
        let mut fits = 0;
        if self.types & (NUMBERS | NUMERAL) != 0 {
            fits |= self.number(text);
        }
        if self.types & BOOLS != 0 {
            fits |= bool_style(text);
        }
        if self.types & TIMES != 0 {
            fits |= time(text);
        }
        self.types &= fits;
    }

    fn number(&mut self, text: &[u8]) -> u16 {
        let Some(number) = Number::read(text) else {
            let numeral = self.types & NUMERAL != 0
                && text.iter().any(u8::is_ascii_digit)
                && parse::double(text.trim_ascii()).is_some();
            return if numeral { NUMERAL } else { 0 };
        };
        let mut fits = NUMERAL;
        if number.is_int() && self.types & INT != 0 && parse::int(text).is_some() {
            fits |= INT;
        }
        let is_decimal = !number.has_exponent && (number.fraction > 0 || number.is_int());
        if is_decimal && self.types & DECIMAL != 0 {
            self.whole = self.whole.max(number.whole);
            self.fraction = self.fraction.max(number.fraction);
            if self.whole + self.fraction <= MAX_DIGITS {
                fits |= DECIMAL;
            }
        }
        if self.types & DOUBLE != 0 && number.is_exact_double() {
            fits |= DOUBLE;
        }
        fits
    }

    fn merge(&mut self, other: &Candidates) {
        self.types &= other.types;
        self.seen |= other.seen;
        self.whole = self.whole.max(other.whole);
        self.fraction = self.fraction.max(other.fraction);
        if self.whole + self.fraction > MAX_DIGITS {
            self.types &= !DECIMAL;
        }
    }

    fn best(&self) -> FieldType {
        let has = |candidate: u16| self.types & candidate != 0;
        let decimal = FieldType::Decimal { precision: 38, scale: self.fraction as i8 };
        if !self.seen {
            FieldType::String
        } else if has(INT) {
            FieldType::Int
        } else if has(DECIMAL) && self.fraction == 0 {
            decimal
        } else if has(DOUBLE) {
            FieldType::Double
        } else if has(DECIMAL) {
            decimal
        } else if has(BOOLS) {
            FieldType::Bool
        } else if has(DATE) {
            FieldType::Date
        } else if has(TIMESTAMP) {
            FieldType::Timestamp
        } else if has(TIMESTAMP_TZ) {
            FieldType::TimestampTz
        } else {
            FieldType::String
        }
    }

    fn note(&self, name: &str, best: FieldType) -> Option<String> {
        match best {
            FieldType::Decimal { .. } => {
                Some(format!("`{name}` has numbers of more digits than an int or a double holds"))
            }
            FieldType::String if self.seen && self.types & NUMERAL != 0 => Some(format!(
                "`{name}` looks like numbers, but some would not read back as they are (leading zeros, \
                 a plus, blanks, too many digits): it stays a string"
            )),
            _ => None,
        }
    }
}

/// A number as RFC 8259 writes it.
struct Number<'a> {
    text: &'a [u8],
    /// Digits before the point.
    whole: usize,
    /// Digits behind it.
    fraction: usize,
    has_exponent: bool,
}

impl<'a> Number<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let (whole, rest) = split_digits(digits);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return None;
        }
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split_digits(rest),
            _ => (&[][..], rest),
        };
        if fraction.is_empty() && digits.get(whole.len()) == Some(&b'.') {
            return None;
        }
        let has_exponent = match rest {
            [] => false,
            [b'e' | b'E', rest @ ..] => {
                let rest = rest.strip_prefix(b"-").or(rest.strip_prefix(b"+")).unwrap_or(rest);
                let (exponent, rest) = split_digits(rest);
                if exponent.is_empty() || !rest.is_empty() {
                    return None;
                }
                true
            }
            _ => return None,
        };
        Some(Self { text, whole: whole.len(), fraction: fraction.len(), has_exponent })
    }

    /// `-0` is not: neither an int nor a decimal keeps its sign.
    fn is_int(&self) -> bool {
        self.fraction == 0 && !self.has_exponent && self.text != b"-0"
    }

    /// Whether the nearest double, written in the fewest digits that tell it from others, is the
    /// same number.
    fn is_exact_double(&self) -> bool {
        if !self.has_exponent && self.whole + self.fraction <= DOUBLE_DIGITS {
            return true;
        }
        let Some(value) = parse::double(self.text) else {
            return false;
        };
        normal_form(self.text) == normal_form(format!("{value:e}").as_bytes())
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// A number's sign, its digits from the first to the last that is not 0, and the power of ten of
/// the first. None for an exponent out of all bounds.
fn normal_form(text: &[u8]) -> Option<(bool, Vec<u8>, i64)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', text) {
        Some(at) => (&text[..at], parse::int(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = memchr::memchr(b'.', mantissa).unwrap_or(mantissa.len());
    let digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
    let Some(first) = digits.iter().position(|&digit| digit != b'0') else {
        return Some((negative, Vec::new(), 0));
    };
    let last = digits.iter().rposition(|&digit| digit != b'0')?;
    let power = exponent.checked_add(point as i64 - first as i64)?;
    Some((negative, digits[first..=last].to_vec(), power))
}

fn bool_style(text: &[u8]) -> u16 {
    match text {
        b"true" | b"false" => BOOL_LOWER,
        b"True" | b"False" => BOOL_TITLE,
        b"TRUE" | b"FALSE" => BOOL_UPPER,
        _ => 0,
    }
}

fn time(text: &[u8]) -> u16 {
    if text.get(4) != Some(&b'-') || parse::timestamp(text).is_none() {
        return 0;
    }
    match text.get(10..) {
        None | Some([]) => DATE | TIMESTAMP,
        Some(clock) if clock.iter().any(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-')) => {
            TIMESTAMP_TZ
        }
        Some(_) => TIMESTAMP,
    }
}
