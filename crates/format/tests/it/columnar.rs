//! Parquet and Arrow IPC: what is written comes back, other tools' files are read with the
//! engine's types, and a file cut off anywhere is an error.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::LogicalType;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int16Array, Int64Array, RecordBatch, Scalar, StringArray, StringViewArray,
    StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow_cast::cast;
use arrow_ord::cmp::{gt_eq, lt_eq};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use gristmill_core::{ErrorKind, FieldType, Findings, Known, Prune, Result};
use gristmill_format::{Reader, Writer, ipc, parquet};
use proptest::prelude::*;

use crate::support::{batch, written};

/// Writes each element of `chunks` as one part.
fn write(writer: &dyn Writer, chunks: &[Vec<RecordBatch>]) -> Vec<u8> {
    let parts: Vec<_> =
        chunks.iter().map(|chunk| chunk.iter().cloned().map(batch).collect()).collect();
    written(writer, &parts)
}

fn on_disk(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Everything that a reader gives, chunk by chunk, each as one batch.
fn read(reader: &mut dyn Reader) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    assert!(reader.read_plan()?.is_none());
    let schema = reader.begin(None)?;
    let mut findings = Findings::default();
    let mut chunks = Vec::new();
    while let Some(mut chunk) = reader.next_chunk()? {
        assert_eq!(chunk.starts_source(), chunks.is_empty());
        let mut batches = Vec::new();
        while let Some(batch) = chunk.next_batch(&mut findings)? {
            assert_eq!(batch.origin().len(), batch.num_rows());
            batches.push(batch.columns().clone());
        }
        assert!(chunk.next_batch(&mut findings)?.is_none());
        chunks.push(concat_batches(&schema, &batches)?);
    }
    assert!(reader.next_chunk()?.is_none(), "the end stays the end");
    assert!(findings.rejects().is_empty());
    Ok((schema, chunks))
}

fn read_parquet(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    read(&mut parquet::Reader::open("x.parquet".into(), on_disk(bytes))?)
}

fn read_ipc(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    read(&mut ipc::Reader::open("x.arrow".into(), on_disk(bytes))?)
}

/// Every type that a pipeline can declare, and lists and structs, with nulls.
fn all_types(rows: usize) -> RecordBatch {
    let some = |i: usize| !i.is_multiple_of(5);
    let numbers = || (0..rows).map(move |i| some(i).then_some(i as i64 * 1_000_003));
    let texts: Vec<Option<String>> = (0..rows)
        .map(|i| {
            some(i).then(|| ["", "short", "longer than a view keeps inline é"][i % 3].repeat(i % 4))
        })
        .collect();
    let timestamps = TimestampMicrosecondArray::from_iter(numbers());
    let decimals = Decimal128Array::from_iter(numbers().map(|n| n.map(i128::from)));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for (i, text) in texts.iter().enumerate() {
        lists.values().append_option(text.clone());
        lists.append(i % 7 != 0);
    }
    let lists = lists.finish();
    let item = Field::new(
        "item",
        DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true))),
        true,
    );
    let lists = cast(&lists, item.data_type()).unwrap();
    let inner = Fields::from(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8View, true),
    ]);
    let structs = StructArray::new(
        inner.clone(),
        vec![
            Arc::new(Int64Array::from_iter(numbers())),
            Arc::new(StringViewArray::from_iter(texts.iter().map(Option::as_deref))),
        ],
        None,
    );
    let fields = vec![
        FieldType::String.field("string"),
        FieldType::Bool.field("bool"),
        FieldType::Int.field("int"),
        FieldType::Double.field("double"),
        FieldType::Decimal { precision: 18, scale: 2 }.field("decimal"),
        FieldType::Date.field("date"),
        FieldType::Time.field("time"),
        FieldType::Timestamp.field("timestamp"),
        FieldType::TimestampTz.field("timestamptz"),
        FieldType::Json.field("json"),
        FieldType::Binary.field("binary"),
        Field::new("list", item.data_type().clone(), true),
        Field::new("struct", DataType::Struct(inner), true),
        Field::new("narrow", DataType::Int16, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter(texts.iter().map(Option::as_deref))),
        Arc::new(BooleanArray::from_iter((0..rows).map(|i| some(i).then_some(i % 2 == 0)))),
        Arc::new(Int64Array::from_iter(numbers())),
        Arc::new(Float64Array::from_iter(numbers().map(|n| n.map(|n| n as f64 / 3.0)))),
        Arc::new(decimals.with_precision_and_scale(18, 2).unwrap()),
        Arc::new(Date32Array::from_iter((0..rows).map(|i| some(i).then_some(i as i32 - 50)))),
        Arc::new(Time64MicrosecondArray::from_iter(numbers())),
        Arc::new(timestamps.clone()),
        Arc::new(timestamps.with_timezone("UTC")),
        Arc::new(StringViewArray::from_iter(
            (0..rows).map(|i| some(i).then(|| format!("{{\"i\":{i}}}"))),
        )),
        Arc::new(BinaryViewArray::from_iter(
            (0..rows).map(|i| some(i).then(|| vec![i as u8; i % 20])),
        )),
        lists,
        Arc::new(structs),
        Arc::new(Int16Array::from_iter((0..rows).map(|i| some(i).then_some(i as i16)))),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn chunks() -> Vec<Vec<RecordBatch>> {
    let all = all_types(200);
    vec![
        vec![all.slice(0, 30), all.slice(30, 50)],
        vec![],
        vec![all.slice(80, 0)],
        vec![all.slice(80, 120)],
    ]
}

const CODECS: [parquet::Codec; 5] = [
    parquet::Codec::Snappy,
    parquet::Codec::Zstd,
    parquet::Codec::Gzip,
    parquet::Codec::Lz4,
    parquet::Codec::None,
];

#[test]
fn parquet_gives_back_what_was_written() {
    let all = all_types(200);
    for compression in CODECS {
        let writer =
            parquet::writer(&all.schema(), &parquet::WriteOptions { compression }).unwrap();
        let file = write(&*writer, &chunks());
        let (schema, groups) = read_parquet(&file).unwrap();
        assert_eq!(schema, all.schema());
        assert_eq!(groups.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [80, 120]);
        assert_eq!(concat_batches(&schema, &groups).unwrap(), all);
        assert_eq!(write(&*writer, &chunks()), file, "the same chunks give the same bytes");
    }
}

#[test]
fn arrow_gives_back_what_was_written() {
    let all = all_types(200);
    for compression in [ipc::Codec::None, ipc::Codec::Lz4, ipc::Codec::Zstd] {
        let writer = ipc::writer(&all.schema(), &ipc::WriteOptions { compression }).unwrap();
        let file = write(&*writer, &chunks());
        let (schema, batches) = read_ipc(&file).unwrap();
        assert_eq!(schema, all.schema());
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [80, 120]);
        assert_eq!(concat_batches(&schema, &batches).unwrap(), all);
        assert_eq!(write(&*writer, &chunks()), file, "the same chunks give the same bytes");
    }
}

#[test]
fn a_file_without_records_has_its_columns() {
    let schema = all_types(0).schema();
    let file = write(&*parquet::writer(&schema, &Default::default()).unwrap(), &[]);
    assert_eq!(read_parquet(&file).unwrap(), (Arc::clone(&schema), vec![]));
    let file = write(&*ipc::writer(&schema, &Default::default()).unwrap(), &[vec![]]);
    assert_eq!(read_ipc(&file).unwrap(), (schema, vec![]));
}

/// What the crates' own readers make of our files: plain types that any tool knows.
#[test]
fn other_readers_see_plain_columns() {
    let all = all_types(200);
    let file = write(&*parquet::writer(&all.schema(), &Default::default()).unwrap(), &chunks());
    let reader = ParquetRecordBatchReaderBuilder::try_new(on_disk(&file)).unwrap();
    assert_eq!(reader.schema().field(0).data_type(), &DataType::Utf8);
    assert_eq!(reader.schema().field(10).data_type(), &DataType::Binary);
    let batches: Vec<_> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
    let plain = concat_batches(&batches[0].schema(), &batches).unwrap();
    for (ours, theirs) in all.columns().iter().zip(plain.columns()) {
        assert_eq!(&cast(theirs, ours.data_type()).unwrap(), ours);
    }

    let metadata = SerializedFileReader::new(on_disk(&file)).unwrap();
    let metadata = metadata.metadata();
    let leaves = metadata.file_metadata().schema_descr().columns();
    assert_eq!(leaves[0].logical_type_ref(), Some(&LogicalType::String));
    assert_eq!(leaves[9].logical_type_ref(), Some(&LogicalType::Json));
    for group in metadata.row_groups() {
        let int = group.column(2);
        let statistics = int.statistics().unwrap();
        assert!(statistics.min_bytes_opt().is_some() && statistics.null_count_opt().is_some());
        assert!(int.column_index_offset().is_some() && int.offset_index_offset().is_some());
    }

    let file = write(&*ipc::writer(&all.schema(), &Default::default()).unwrap(), &chunks());
    let reader = arrow_ipc::reader::FileReader::try_new(on_disk(&file), None).unwrap();
    assert_eq!(reader.schema().field(0).data_type(), &DataType::Utf8);
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 200);
}

/// Columns as other tools write them: dictionaries, large strings, other units.
fn foreign() -> RecordBatch {
    let dictionary: DictionaryArray<Int32Type> =
        [Some("USD"), None, Some("EUR"), Some("USD")].into_iter().collect();
    let millis = TimestampMillisecondArray::from(vec![Some(1_500), None, Some(-1), Some(0)]);
    let text = StringArray::from(vec![Some("a"), Some(""), None, Some("longer than twelve bytes")]);
    RecordBatch::try_from_iter([
        ("currency", Arc::new(dictionary) as ArrayRef),
        ("at", Arc::new(millis.with_timezone("Europe/Zurich"))),
        ("large", cast(&text, &DataType::LargeUtf8).unwrap()),
        ("plain", Arc::new(text)),
    ])
    .unwrap()
}

fn check_foreign(schema: &SchemaRef, columns: &RecordBatch) {
    let types: Vec<_> = schema.fields().iter().map(|field| FieldType::of(field)).collect();
    let string = Some(FieldType::String);
    assert_eq!(types, [string, Some(FieldType::TimestampTz), string, string]);
    let foreign = foreign();
    assert_eq!(columns.num_rows(), foreign.num_rows());
    for (i, ours) in columns.columns().iter().enumerate() {
        assert_eq!(ours, &cast(foreign.column(i), ours.data_type()).unwrap());
        assert_eq!(ours.data_type(), schema.field(i).data_type());
    }
}

#[test]
fn foreign_types_become_the_engines() {
    let foreign = foreign();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, foreign.schema(), None).unwrap();
    writer.write(&foreign).unwrap();
    writer.close().unwrap();
    let (schema, groups) = read_parquet(&file).unwrap();
    check_foreign(&schema, &groups[0]);

    let mut file = Vec::new();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(&mut file, &foreign.schema()).unwrap();
    writer.write(&foreign).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let (schema, batches) = read_ipc(&file).unwrap();
    check_foreign(&schema, &batches[0]);

    let mut stream = Vec::new();
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(&mut stream, &foreign.schema()).unwrap();
    writer.write(&foreign.slice(0, 3)).unwrap();
    writer.write(&foreign.slice(3, 1)).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let (schema, batches) = read_ipc(&stream).unwrap();
    assert_eq!(batches.len(), 2);
    check_foreign(&schema, &concat_batches(&schema, &batches).unwrap());
}

#[test]
fn dictionaries_are_written_out() {
    let dictionary = |values: [&str; 2]| -> RecordBatch {
        let column: DictionaryArray<Int32Type> = values.into_iter().collect();
        RecordBatch::try_from_iter([("currency", Arc::new(column) as ArrayRef)]).unwrap()
    };
    let (first, second) = (dictionary(["USD", "EUR"]), dictionary(["CHF", "USD"]));
    let expected = StringViewArray::from(vec!["USD", "EUR", "CHF", "USD"]);
    let chunks = [vec![first.clone()], vec![second]];
    let arrow = write(&*ipc::writer(&first.schema(), &Default::default()).unwrap(), &chunks);
    let parquet = write(&*parquet::writer(&first.schema(), &Default::default()).unwrap(), &chunks);
    for (schema, batches) in [read_ipc(&arrow).unwrap(), read_parquet(&parquet).unwrap()] {
        let all = concat_batches(&schema, &batches).unwrap();
        assert_eq!(all.column(0).as_ref(), &expected as &dyn Array);
    }
}

#[test]
fn large_row_groups_are_cut_into_chunks() {
    let rows = 300_000;
    let wide: StringViewArray = (0..rows).map(|i| Some(format!("{i:0200}"))).collect();
    let narrow = Int64Array::from_iter_values(0..rows as i64);
    let all =
        RecordBatch::try_from_iter([("n", Arc::new(narrow) as ArrayRef), ("wide", Arc::new(wide))])
            .unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, all.schema(), Some(properties)).unwrap();
    writer.write(&all).unwrap();
    writer.close().unwrap();

    let (schema, chunks) = read_parquet(&file).unwrap();
    assert_eq!(chunks.len(), 2, "62 MB in chunks of 32 MiB");
    assert_eq!(concat_batches(&schema, &chunks).unwrap().columns(), all.columns());

    let mut reader = parquet::Reader::open("x".into(), on_disk(&file)).unwrap();
    let mut findings = Findings::default();
    let mut chunk = reader.next_chunk().unwrap().unwrap();
    let batch = chunk.next_batch(&mut findings).unwrap().unwrap();
    assert!(batch.num_rows() < 10_000, "{} rows", batch.num_rows());
    assert!(reader.bytes_read().unwrap() <= file.len() as u64);
}

#[test]
fn columns_are_chosen_and_ordered() {
    let all = all_types(20);
    let file =
        write(&*parquet::writer(&all.schema(), &Default::default()).unwrap(), &[vec![all.clone()]]);
    let open = || parquet::Reader::open("x.parquet".into(), on_disk(&file)).unwrap();
    let expected = all.project(&[12, 9, 2]).unwrap();
    let mut reader = open().with_columns_of(&expected.schema()).unwrap();
    let (schema, chunks) = read(&mut reader).unwrap();
    assert_eq!((schema, &chunks[0]), (expected.schema(), &expected));
    let (mut whole, mut none) = (open(), open().with_columns_of(&Schema::empty()).unwrap());
    read(&mut whole).unwrap();
    let (schema, chunks) = read(&mut none).unwrap();
    assert_eq!((schema.fields().len(), chunks[0].num_rows()), (0, 20));
    assert_eq!(none.bytes_read(), Some(0));
    assert!(reader.bytes_read() < whole.bytes_read());
    assert_eq!(open().num_rows(), 20);
}

/// Lets nothing pass, and writes down what it was told.
struct Nothing {
    columns: Vec<usize>,
    told: Mutex<Vec<(u64, Vec<Known>)>>,
}

impl Prune for Nothing {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn may_pass(&self, rows: u64, known: &[Known]) -> bool {
        self.told.lock().unwrap().push((rows, known.to_vec()));
        false
    }
}

#[test]
fn bounds_of_row_groups_hold_their_values() {
    let all = all_types(20);
    let parts = [vec![all.slice(0, 7)], vec![all.slice(7, 13)]];
    let ours = write(&*parquet::writer(&all.schema(), &Default::default()).unwrap(), &parts);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(7)).build();
    let mut theirs = ArrowWriter::try_new(Vec::new(), all.schema(), Some(properties)).unwrap();
    theirs.write(&all).unwrap();
    for file in [ours, theirs.into_inner().unwrap()] {
        let columns: Vec<usize> = (0..all.num_columns()).rev().collect();
        let nothing = Arc::new(Nothing { columns, told: Mutex::default() });
        let reader = parquet::Reader::open("x.parquet".into(), on_disk(&file)).unwrap();
        let mut reader = reader.with_prune(Some(Arc::clone(&nothing) as _));
        let schema = reader.begin(None).unwrap();
        let (mut findings, mut read) = (Findings::default(), 0);
        while let Some(mut chunk) = reader.next_chunk().unwrap() {
            assert_eq!(chunk.starts_source(), read == 0);
            let batch = chunk.next_batch(&mut findings).unwrap().unwrap();
            assert_eq!((batch.num_rows(), batch.schema()), (0, Arc::clone(&schema)));
            read += batch.origin().len();
            assert!(chunk.next_batch(&mut findings).unwrap().is_none());
        }
        assert_eq!((read, findings.filtered), (20, 20));

        let (mut from, mut bounded) = (0, 0);
        for (rows, known) in nothing.told.lock().unwrap().iter() {
            let group = all.slice(from, *rows as usize);
            from += *rows as usize;
            for (known, column) in known.iter().zip(group.columns().iter().rev()) {
                let data_type = column.data_type();
                if data_type.is_nested() {
                    assert!(known.bounds.is_none());
                    continue;
                }
                assert_eq!(known.nulls, Some(column.null_count() as u64), "{data_type}");
                assert_eq!(known.bounds.is_none(), data_type.is_floating(), "{data_type}");
                let Some((least, greatest)) = &known.bounds else { continue };
                bounded += 1;
                assert!(least.data_type() == data_type && greatest.data_type() == data_type);
                let above = gt_eq(column, &Scalar::new(least)).unwrap();
                let below = lt_eq(column, &Scalar::new(greatest)).unwrap();
                assert!(above.iter().chain(below.iter()).flatten().all(|holds| holds));
            }
        }
        assert!(from == 20 && bounded > 10, "{bounded} bounds");
    }
}

#[test]
fn a_cut_parquet_file_is_an_error() {
    let all = all_types(3).project(&[0, 2]).unwrap();
    let file = write(&*parquet::writer(&all.schema(), &Default::default()).unwrap(), &[vec![all]]);
    for end in 0..file.len() {
        let error = read_parquet(&file[..end]).unwrap_err();
        let kind = if end == 0 { ErrorKind::Corrupt } else { ErrorKind::Truncated };
        assert_eq!(error.kind(), kind, "cut at {end}: {error}");
    }
    let error = read_parquet(b"id,name\n1,a\n").unwrap_err();
    assert_eq!(error.to_string(), "`x.parquet` is not a Parquet file");
    assert_eq!(error.hint_text(), Some("say what it is with `format:`"));
}

#[test]
fn a_cut_arrow_file_is_an_error() {
    let all = all_types(3).project(&[0, 2]).unwrap();
    let file =
        write(&*ipc::writer(&all.schema(), &Default::default()).unwrap(), &[vec![all.clone()]]);
    for end in 0..file.len() {
        let error = read_ipc(&file[..end]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {end}: {error}");
    }
    let error = read_ipc(b"id,name\n1,a\n").unwrap_err();
    assert_eq!(error.to_string(), "`x.arrow` is not Arrow data");

    let mut stream = Vec::new();
    let all = cast_to_plain(&all);
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut stream, &all.schema()).unwrap();
    writer.write(&all).unwrap();
    writer.finish().unwrap();
    drop(writer);
    // A stream may end without its mark (the format says so), but not within a message.
    let whole = [stream.len() - 8];
    let mut without_batch = 0;
    for end in 0..stream.len() {
        match read_ipc(&stream[..end]) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {end}: {error}"),
            Ok((_, batches)) if batches.is_empty() => without_batch += 1,
            Ok(_) => assert!(whole.contains(&end), "{end}"),
        }
    }
    assert_eq!(without_batch, 1, "between the schema and the first batch");
    // A length that is not true is not believed.
    let mut lying = stream.clone();
    lying[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    assert_eq!(read_ipc(&lying).unwrap_err().kind(), ErrorKind::Truncated);
}

fn cast_to_plain(columns: &RecordBatch) -> RecordBatch {
    let text = cast(columns.column(0), &DataType::Utf8).unwrap();
    RecordBatch::try_from_iter([("s", text), ("n", Arc::clone(columns.column(1)))]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Ours and the crate's own reader agree on files with any row groups and nulls.
    #[test]
    fn reads_parquet_as_the_crate_does(
        lists in prop::collection::vec(prop::option::of(prop::collection::vec(prop::option::of(any::<i32>()), 0..4)), 1..200),
        group in 1..60usize,
    ) {
        let mut builder = ListBuilder::new(Int32Builder::new());
        for list in &lists {
            for value in list.iter().flatten() {
                builder.values().append_option(*value);
            }
            builder.append(list.is_some());
        }
        let texts: StringArray = lists.iter().map(|list| list.as_ref().map(|l| format!("{l:?}"))).collect();
        let all = RecordBatch::try_from_iter_with_nullable([
            ("list", Arc::new(builder.finish()) as ArrayRef, true),
            ("text", Arc::new(texts), true),
        ]).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, all.schema(), Some(properties)).unwrap();
        writer.write(&all).unwrap();
        writer.close().unwrap();

        let (schema, groups) = read_parquet(&file).unwrap();
        prop_assert_eq!(groups.len(), lists.len().div_ceil(group));
        let ours = concat_batches(&schema, &groups).unwrap();
        let theirs = ParquetRecordBatchReaderBuilder::try_new(on_disk(&file)).unwrap().build().unwrap();
        let theirs: Vec<_> = theirs.map(|batch| batch.unwrap()).collect();
        let theirs = concat_batches(&all.schema(), &theirs).unwrap();
        for (ours, theirs) in ours.columns().iter().zip(theirs.columns()) {
            prop_assert_eq!(ours, &cast(theirs, ours.data_type()).unwrap());
        }
    }
}
