//! Generated inputs: seeded, the same on every machine, made once and kept.

mod distinct;
mod events;
mod funds;
mod long_text;
mod random;
mod rows;
mod shape;
mod unicode;
mod wide;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub(crate) use shape::{Kind, Shape};

pub(crate) use random::Random;
use rows::Rows;

/// All shapes; the first is the default.
pub(crate) fn shapes() -> Vec<Shape> {
    vec![
        funds::dirty(),
        funds::clean(),
        events::shape(),
        wide::shape(),
        long_text::shape(),
        unicode::shape(),
        distinct::shape(),
    ]
}

/// The shape of this name.
pub(crate) fn shape(name: &str) -> Result<Shape> {
    let mut names = Vec::new();
    for shape in shapes() {
        if shape.name == name {
            return Ok(shape);
        }
        names.push(shape.name);
    }
    bail!("unknown shape `{name}`; there are {}", names.join(", "))
}

/// Writes so many records of a shape; the form is `csv` or `ndjson`.
pub(crate) fn write(shape: &Shape, rows: u64, form: &str, path: &Path) -> Result<()> {
    let mut random = Random::new(7);
    let mut out = Rows::create(path, form, &shape.columns)?;
    for number in 0..rows {
        (shape.record)(number, &mut random, &mut out)?;
        out.end()?;
    }
    out.finish()
}

/// The kept file with so many records of a shape. It is made when it is not there.
pub(crate) fn cached(shape: &Shape, rows: u64, form: &str, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}-{rows}.{form}", shape.name));
    if !path.exists() {
        eprintln!("making {}", path.display());
        let unfinished = folder.join(format!("unfinished-{}", std::process::id()));
        write(shape, rows, form, &unfinished)?;
        fs::rename(&unfinished, &path)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(path)
}

/// The year, month and day this many days after 2020-01-01.
fn day(days: u64) -> (i64, u32, u32) {
    // Days to civil date, after Howard Hinnant's "chrono-compatible low-level date algorithms".
    let shifted = days as i64 + 18_262 + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_writes_the_same_bytes_again_and_as_many_fields_as_columns() {
        let folder = tempfile::tempdir().unwrap();
        for shape in shapes() {
            let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
            for path in [&first, &second] {
                write(&shape, 300, "csv", path).unwrap();
            }
            assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap(), "{}", shape.name);
            let mut reader = csv::Reader::from_path(&first).unwrap();
            assert_eq!(reader.headers().unwrap().len(), shape.columns.len());
            let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
            assert_eq!(records.len(), 300, "{}", shape.name);
        }
    }

    #[test]
    fn every_shape_has_the_same_values_in_both_forms() {
        let folder = tempfile::tempdir().unwrap();
        for shape in shapes() {
            let [as_csv, as_json] = ["csv", "ndjson"].map(|form| folder.path().join(form));
            write(&shape, 200, "csv", &as_csv).unwrap();
            write(&shape, 200, "ndjson", &as_json).unwrap();
            let text = fs::read_to_string(&as_json).unwrap();
            let mut reader = csv::Reader::from_path(&as_csv).unwrap();
            for (record, line) in reader.records().zip(text.lines()) {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                for (field, column) in record.unwrap().iter().zip(&shape.columns) {
                    let pointer = format!("/{}", column.path.replace('.', "/"));
                    let value = value.pointer(&pointer).unwrap();
                    let value = match value {
                        serde_json::Value::String(text) => text.clone(),
                        serde_json::Value::Null => String::new(),
                        serde_json::Value::Array(texts) => {
                            let texts: Vec<_> = texts.iter().filter_map(|t| t.as_str()).collect();
                            texts.join(" ")
                        }
                        serde_json::Value::Number(number) if column.kind == Kind::Double => {
                            let field: f64 = field.parse().unwrap();
                            assert_eq!(number.as_f64(), Some(field));
                            continue;
                        }
                        other => other.to_string(),
                    };
                    assert_eq!(value, field, "{} {}", shape.name, column.path);
                }
            }
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(0), (2020, 1, 1));
        assert_eq!(day(59), (2020, 2, 29));
        assert_eq!(day(1461), (2024, 1, 1));
        assert_eq!(day(1461 + 730), (2025, 12, 31));
    }
}
