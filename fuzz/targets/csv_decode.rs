//! The whole decoder with every type and odd options: no panic, each record a row or a reject, and
//! the same result however the text is cut.
#![no_main]

use gristmill_core::FieldType;
use gristmill_core::text::ColumnPlan;
use gristmill_format::Sizes;
use gristmill_format::csv::{Encoding, Level, ReadOptions};
use gristmill_fuzz::read_csv;
use libfuzzer_sys::fuzz_target;

const TYPES: [FieldType; 8] = [
    FieldType::Int,
    FieldType::Double,
    FieldType::Decimal { precision: 12, scale: 3 },
    FieldType::Date,
    FieldType::Timestamp,
    FieldType::Bool,
    FieldType::String,
    FieldType::Time,
];

fuzz_target!(|input: &[u8]| {
    let [chunk, batch, first_type, flags, text @ ..] = input else { return };
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let options = ReadOptions {
        escape: flag(0).then(|| "\\".to_owned()),
        comment: flag(1).then(|| "#".to_owned()),
        delimiter: flag(2).then(|| ";".to_owned()),
        quote: Some(if flag(3) { "'" } else { "\"" }.to_owned()),
        encoding: if flag(4) { Encoding::Latin1 } else { Encoding::default() },
        nulls: vec![String::new(), "NA".to_owned()],
        skip_rows: u64::from(flag(5)),
        ..ReadOptions::default()
    };
    let max_record = if flag(6) { 128 } else { 1 << 20 };
    let read = |chunk: usize, batch: usize, level| {
        read_csv(text, &options, Sizes { chunk, batch, max_record }, level, |plan| {
            for (i, column) in plan.columns.iter_mut().enumerate() {
                column.field_type = TYPES[(i + usize::from(*first_type)) % TYPES.len()].clone();
                column.clean.trim = i % 2 == 0;
            }
            if flag(7) {
                plan.columns.push(ColumnPlan::new("not in the text", FieldType::String));
                plan.columns.swap_remove(0);
            }
        })
        .map_err(|error| error.to_string())
    };
    let expected = read(1 << 20, 1 << 20, Level::Scalar);
    let outcome = read(usize::from(*chunk) + 1, usize::from(*batch) + 1, Level::detect());
    assert_eq!(outcome, expected);
});
