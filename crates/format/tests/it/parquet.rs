//! Parquet files as the crate's own reader and writer see them: values come back, and statistics
//! and page indexes are those that its writer makes of the same data.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::Encoding;
use ::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use ::parquet::file::properties::WriterProperties;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int64Array, PrimitiveArray, RecordBatch, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use gristmill_core::{Batch, Findings, Reason, Stage};
use gristmill_format::parquet;
use proptest::prelude::*;

use crate::support::{self, written};

/// A file with one row group, of batches with so many rows.
fn write(all: &RecordBatch, batch: usize, compression: parquet::Codec) -> Bytes {
    write_groups(all, all.num_rows().max(1), batch, compression)
}

/// A file of row groups and batches with so many rows.
pub(crate) fn write_groups(
    all: &RecordBatch,
    group: usize,
    batch: usize,
    compression: parquet::Codec,
) -> Bytes {
    let writer = parquet::writer(&all.schema(), &parquet::WriteOptions { compression }).unwrap();
    let slices = |start: usize, end: usize, step| {
        let starts = (start..end).step_by(step);
        starts.map(move |start| (start, step.min(end - start))).collect::<Vec<_>>()
    };
    let groups = slices(0, all.num_rows(), group).into_iter().map(|(start, len)| {
        let batches = slices(start, start + len, batch).into_iter();
        batches.map(|(start, len)| support::batch(all.slice(start, len))).collect()
    });
    written(&*writer, &groups.collect::<Vec<_>>()).into()
}

/// The same, by the crate's writer. Its pages end at the same rows as ours, since it looks at the
/// limit after each thousand.
fn write_by_crate(all: &RecordBatch) -> Bytes {
    let properties = WriterProperties::builder().set_write_batch_size(1000).build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, all.schema(), Some(properties)).unwrap();
    writer.write(all).unwrap();
    writer.close().unwrap();
    out.into()
}

fn metadata(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(file)
        .unwrap()
}

fn assert_reads_back(file: &Bytes, all: &RecordBatch) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let batches: Vec<_> =
        reader.with_batch_size(3000).build().unwrap().map(|batch| batch.unwrap()).collect();
    let back = concat_batches(&batches[0].schema(), &batches).unwrap();
    for (field, (ours, back)) in
        all.schema().fields().iter().zip(all.columns().iter().zip(back.columns()))
    {
        let back = cast(back, ours.data_type()).unwrap();
        assert!(ours.to_data() == back.to_data(), "`{}` came back changed", field.name());
    }
}

/// That readers may skip as much as in a file of the crate's writer.
fn assert_prunes_as_the_crate(file: &Bytes, all: &RecordBatch) {
    let (ours, theirs) = (metadata(file), metadata(&write_by_crate(all)));
    let (group, their_group) = (ours.row_group(0), theirs.row_group(0));
    for (index, field) in all.schema().fields().iter().enumerate() {
        let (column, their) = (group.column(index), their_group.column(index));
        let name = field.name();
        assert_eq!(column.statistics(), their.statistics(), "statistics of `{name}`");
        assert_eq!(column.num_values(), their.num_values(), "values of `{name}`");
        assert_eq!(
            column.unencoded_byte_array_data_bytes(),
            their.unencoded_byte_array_data_bytes(),
            "bytes of `{name}`"
        );
        assert_eq!(
            column.definition_level_histogram().map(|histogram| histogram.values().to_vec()),
            their.definition_level_histogram().map(|histogram| histogram.values().to_vec()),
            "levels of `{name}`"
        );
        let index_of =
            |metadata: &ParquetMetaData| metadata.column_index().unwrap()[0][index].clone();
        assert_eq!(index_of(&ours), index_of(&theirs), "column index of `{name}`");
        let offsets =
            |metadata: &ParquetMetaData| metadata.offset_index().unwrap()[0][index].clone();
        let rows = |metadata: &ParquetMetaData| {
            let offsets = offsets(metadata);
            offsets.page_locations().iter().map(|page| page.first_row_index).collect::<Vec<_>>()
        };
        assert_eq!(rows(&ours), rows(&theirs), "pages of `{name}`");
        assert_eq!(
            offsets(&ours).unencoded_byte_array_data_bytes(),
            offsets(&theirs).unencoded_byte_array_data_bytes(),
            "bytes of the pages of `{name}`"
        );
    }
}

/// A number that looks random, the same for the same `i`.
fn mixed(i: usize) -> u64 {
    let mut x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ x >> 29
}

/// A column of a name, by the value of each row.
fn numbers(
    rows: usize,
    name: &str,
    to: DataType,
    f: impl Fn(usize) -> Option<i64>,
) -> (Field, ArrayRef) {
    let array: PrimitiveArray<Int64Type> = (0..rows).map(f).collect();
    (Field::new(name, to.clone(), true), cast(&array, &to).unwrap())
}

fn texts(rows: usize, name: &str, f: impl Fn(usize) -> Option<String>) -> (Field, ArrayRef) {
    let array: StringViewArray = (0..rows).map(f).collect();
    (Field::new(name, DataType::Utf8View, true), Arc::new(array))
}

fn doubles(rows: usize, name: &str, f: impl Fn(usize) -> Option<f64>) -> (Field, ArrayRef) {
    let array: Float64Array = (0..rows).map(f).collect();
    (Field::new(name, DataType::Float64, true), Arc::new(array))
}

/// All flat types, each with few and with many values, nulls here and there and in long runs.
pub(crate) fn columns(rows: usize) -> RecordBatch {
    let here = |i: usize| !mixed(i).is_multiple_of(11) && i % 9000 > 2500;
    let any = move |i: usize| here(i).then(|| mixed(i) as i64);
    let within = move |n: i64| move |i: usize| any(i).map(|v| v.rem_euclid(n));
    let mut columns = vec![
        numbers(rows, "int8", DataType::Int8, move |i| within(256)(i).map(|v| v - 128)),
        numbers(rows, "int16", DataType::Int16, move |i| within(65536)(i).map(|v| v - 32768)),
        numbers(rows, "int32", DataType::Int32, move |i| any(i).map(|v| v >> 32)),
        numbers(rows, "int64", DataType::Int64, any),
        numbers(rows, "uint8", DataType::UInt8, within(256)),
        numbers(rows, "uint16", DataType::UInt16, within(65536)),
        numbers(rows, "uint32", DataType::UInt32, within(1 << 32)),
        numbers(rows, "few", DataType::Int64, within(7)),
        numbers(rows, "whole", DataType::Int64, |i| Some(mixed(i) as i64)),
        numbers(rows, "rising", DataType::Int64, |i| Some(i as i64)),
        numbers(rows, "falling", DataType::Int32, |i| Some(-(i as i64))),
        numbers(rows, "one", DataType::Int32, |_| Some(5)),
        // Few values at first, then all distinct: the dictionary ends in the middle.
        numbers(rows, "turning", DataType::Int64, |i| {
            Some(if i < 25_000 { i as i64 % 9 } else { mixed(i) as i64 })
        }),
        doubles(rows, "double", move |i| any(i).map(|v| v as f64 / 7.0)),
        doubles(rows, "fees", move |i| any(i).map(|v| (v.rem_euclid(100)) as f64 / 1e4)),
        doubles(rows, "zeros", |i| Some([0.0, -0.0][(mixed(i) % 2) as usize])),
        doubles(rows, "odd", move |i| {
            let odd = [f64::NAN, -f64::NAN, -0.0, 0.0, f64::INFINITY, -1.5];
            here(i).then(|| odd[(mixed(i) % 6) as usize])
        }),
        doubles(rows, "nan", |_| Some(f64::NAN)),
        texts(rows, "code", move |i| here(i).then(|| format!("C{:05}", mixed(i) % 100_000))),
        texts(rows, "currency", move |i| {
            here(i).then(|| {
                ["USD", "EUR", "", "longer than twelve bytes"][(mixed(i) % 4) as usize].into()
            })
        }),
        texts(rows, "name", |i| Some(format!("r {:013}", mixed(i) % 10_000_000_000_000))),
        texts(rows, "long", move |i| {
            here(i).then(|| format!("{}{}", "é".repeat(70), mixed(i) % 50))
        }),
        texts(rows, "last", |i| Some(format!("{}{}", "\u{10FFFF}".repeat(20), i % 3))),
        texts(rows, "short", |i| Some("abcdefghijkl"[..i % 13].into())),
    ];
    let mut add = |name: &str, array: ArrayRef| {
        columns.push((Field::new(name, array.data_type().clone(), true), array));
    };
    let int = |i| any(i);
    add(
        "uint64",
        Arc::new((0..rows).map(|i| any(i).map(|v| v as u64)).collect::<arrow_array::UInt64Array>()),
    );
    add(
        "float",
        Arc::new(
            (0..rows).map(|i| any(i).map(|v| v as f32)).collect::<PrimitiveArray<Float32Type>>(),
        ),
    );
    add("bool", Arc::new((0..rows).map(|i| any(i).map(|v| v % 2 == 0)).collect::<BooleanArray>()));
    add("true", Arc::new((0..rows).map(|_| Some(true)).collect::<BooleanArray>()));
    add(
        "date",
        Arc::new((0..rows).map(|i| any(i).map(|v| (v % 2000) as i32)).collect::<Date32Array>()),
    );
    add(
        "time",
        Arc::new(
            (0..rows)
                .map(|i| any(i).map(|v| v.rem_euclid(86_400_000_000)))
                .collect::<Time64MicrosecondArray>(),
        ),
    );
    let timestamps: TimestampMicrosecondArray =
        (0..rows).map(|i| any(i).map(|v| v >> 10)).collect();
    add("timestamp", Arc::new(timestamps.clone()));
    add("timestamptz", Arc::new(timestamps.with_timezone("UTC")));
    for (precision, digits) in
        [(5, 100_000), (18, 1_000_000_000_000_000_000), (30, i128::MAX), (38, i128::MAX)]
    {
        let wide = |i| int(i).map(|v| i128::from(v) * i128::from(v >> 33) % digits);
        let decimals: Decimal128Array = (0..rows).map(wide).collect();
        let decimals = decimals.with_precision_and_scale(precision, 2).unwrap();
        add(&format!("decimal{precision}"), Arc::new(decimals));
    }
    add(
        "binary",
        Arc::new(
            (0..rows)
                .map(|i| any(i).map(|v| v.to_le_bytes()[..(v & 7) as usize].to_vec()))
                .collect::<BinaryViewArray>(),
        ),
    );
    add(
        "high",
        Arc::new(
            (0..rows)
                .map(|i| {
                    Some(
                        [vec![0xFF; 80], vec![0xFE; 70], [vec![7; 63], vec![0xFF; 9]].concat()]
                            [i % 3]
                            .clone(),
                    )
                })
                .collect::<BinaryViewArray>(),
        ),
    );
    for data_type in [
        DataType::Int64,
        DataType::Float32,
        DataType::Boolean,
        DataType::Utf8View,
        DataType::Decimal128(38, 0),
    ] {
        add(&format!("null {data_type}"), new_null_array(&data_type, rows));
    }
    let (mut fields, mut arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|i| mixed(i) as i64)));
    fields.push(Field::new("required", DataType::Int64, false));
    arrays.push(ids);
    let labels: ArrayRef =
        Arc::new(StringViewArray::from_iter_values((0..rows).map(|i| format!("{}", i % 5))));
    fields.push(Field::new("required text", DataType::Utf8View, false));
    arrays.push(labels);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[test]
fn many_pages_come_back_and_prune() {
    let all = columns(50_000);
    for batch in [50_000, 7_001] {
        let file = write(&all, batch, parquet::Codec::Snappy);
        assert_reads_back(&file, &all);
        assert_prunes_as_the_crate(&file, &all);
        assert!(file == write(&all, batch, parquet::Codec::Snappy), "the same bytes");
    }
    let rows = 1000;
    assert_prunes_as_the_crate(&write(&columns(rows), 100, parquet::Codec::None), &columns(rows));
    // Slices whose validity begins within a byte.
    let cut = all.slice(2_503, 21_001);
    for codec in
        [parquet::Codec::Zstd, parquet::Codec::Lz4, parquet::Codec::Gzip, parquet::Codec::None]
    {
        let file = write(&cut, 997, codec);
        assert_reads_back(&file, &cut);
    }
}

/// What is written of settled batches is what is written of batches without the rejected rows.
#[test]
fn rows_that_were_taken_out_leave_no_trace() {
    let all = columns(28_000).slice(2_503, 25_000);
    let is_bad =
        |row: usize| mixed(row).is_multiple_of(40) || (4_000..4_700).contains(&row) || row == 9_999;
    let settled = (0..25_000).step_by(5_000).map(|start| {
        let mut batch = support::batch(all.slice(start, 5_000));
        for row in (0..5_000).filter(|row| is_bad(start + row)) {
            batch.add_flaw(row, Stage::Validate, Reason::record("bad", ""));
        }
        batch.settle_in_place(&mut Findings::default())
    });
    let settled: Vec<_> = settled.collect();
    let copies: Vec<_> =
        settled.iter().map(|batch| support::batch(batch.columns().clone())).collect();
    let good = (0..25_000).filter(|&row| !is_bad(row)).count();
    assert_eq!(copies.iter().map(Batch::num_rows).sum::<usize>(), good);
    let writer = parquet::writer(&all.schema(), &parquet::WriteOptions::default()).unwrap();
    assert!(written(&*writer, &[settled]) == written(&*writer, &[copies]), "the same bytes");
}

/// A dictionary stands where it makes the column smaller, as far as it does.
#[test]
fn dictionaries_stand_where_they_pay() {
    let all = columns(50_000);
    let file = write(&all, 5_000, parquet::Codec::None);
    let metadata = metadata(&file);
    let group = metadata.row_group(0);
    let encodings = |name: &str| {
        let column = group.column(all.schema().index_of(name).unwrap());
        let has = |encoding| column.encodings().any(|e| e == encoding);
        (
            column.dictionary_page_offset().is_some(),
            has(Encoding::RLE_DICTIONARY),
            column.compressed_size(),
        )
    };
    for few in ["few", "currency", "long", "fees", "date", "one", "turning", "zeros", "last"] {
        assert!(encodings(few).0 && encodings(few).1, "`{few}` has a dictionary");
    }
    for many in ["int64", "double", "name", "rising", "whole", "bool", "required"] {
        assert!(!encodings(many).0 && !encodings(many).1, "`{many}` has none");
    }
    let turning = encodings("turning").2;
    assert!(turning < 50_000 * 8 * 3 / 4, "{turning} bytes");
    assert!(encodings("one").2 < 300, "equal values are one run");
}

#[test]
fn values_larger_than_a_page_come_back() {
    let large = |i: usize| "x".repeat(3 << 20) + &i.to_string();
    let texts: StringViewArray = (0..30)
        .map(|i| match i % 5 {
            0 => Some(large(i / 10)),
            1 => None,
            _ => Some(i.to_string()),
        })
        .collect();
    let medium: StringViewArray =
        (0..30_000).map(|i| Some(format!("{}{}", "m".repeat(300), mixed(i)))).collect();
    for array in [texts, medium] {
        let all = RecordBatch::try_from_iter([("text", Arc::new(array) as ArrayRef)]).unwrap();
        let file = write(&all, 10_000, parquet::Codec::None);
        assert_reads_back(&file, &all);
        let metadata = metadata(&file);
        let offsets = &metadata.offset_index().unwrap()[0][0];
        let sizes = offsets.page_locations().iter().map(|page| page.compressed_page_size as usize);
        for size in sizes {
            assert!(size < (3 << 20) + (2 << 20), "a page of {size} bytes");
        }
        assert!(offsets.page_locations().len() > 5);
    }
}

fn rows<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Vec<Option<T>>> {
    let value = prop_oneof![1 => Just(None), 4 => value.prop_map(Some)].boxed();
    let all_null = (1..80usize).prop_map(|n| vec![None; n]);
    prop_oneof![9 => prop::collection::vec(value, 1..2500), 1 => all_null].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_text_comes_back_and_prunes(
        texts in prop_oneof![rows("[a-c]{0,3}"), rows("\\PC{0,80}"), rows("x{60,70}[\\x00-\\x7f]?")],
        batch in 1..700usize,
    ) {
        let array: StringViewArray = texts.into_iter().collect();
        let all = RecordBatch::try_from_iter_with_nullable([("c", Arc::new(array) as ArrayRef, true)]).unwrap();
        let file = write(&all, batch, parquet::Codec::Snappy);
        assert_reads_back(&file, &all);
        assert_prunes_as_the_crate(&file, &all);
    }

    #[test]
    fn any_numbers_come_back_and_prune(
        doubles in rows(prop_oneof![any::<f64>(), prop::sample::select(vec![0.0, -0.0, f64::NAN, 1.5])]),
        batch in 1..700usize,
    ) {
        let ints: Int64Array = doubles.iter().map(|v| v.map(|v| v as i64)).collect();
        let bools: BooleanArray = doubles.iter().map(|v| v.map(|v| v > 0.0)).collect();
        let doubles: Float64Array = doubles.into_iter().collect();
        let all = RecordBatch::try_from_iter_with_nullable([
            ("double", Arc::new(doubles) as ArrayRef, true),
            ("int", Arc::new(ints), true),
            ("bool", Arc::new(bools), true),
        ]).unwrap();
        let file = write(&all, batch, parquet::Codec::Snappy);
        assert_reads_back(&file, &all);
        assert_prunes_as_the_crate(&file, &all);
    }
}
