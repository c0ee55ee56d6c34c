//! One file and many, plain and compressed, in every format.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use gristmill_core::{Batch, ErrorKind, FieldType, Findings, Origin};
use gristmill_extract::File;
use gristmill_format::{Compression, ipc, parquet};
use serde_json::json;

use crate::support::{Folder, read};

#[test]
fn files_of_a_pattern_are_read_in_the_order_of_their_names() {
    let folder = Folder::new(&[
        ("data/b.csv", "id,name\n3,c\n"),
        ("data/a.csv", "id,name\n1,a\n2,b\n"),
        ("data/B.csv", "id,name\n0,z\n"),
        ("data/.hidden.csv", "id,name\n9,x\n"),
        ("data/other.txt", "nothing"),
        ("data/folder.csv/inside.csv", "id,name\n9,x\n"),
    ]);
    let read = folder.read(json!({"file": "data/*.csv"})).unwrap();
    assert_eq!(read.column("id"), ["0", "1", "2", "3"]);
    let sources = read.sources.iter().map(|(name, records)| (&**name, *records));
    assert_eq!(
        sources.collect::<Vec<_>>(),
        [("data/B.csv", 1), ("data/a.csv", 2), ("data/b.csv", 1)]
    );
    let read = folder.read(json!({"file": "**/inside.csv"})).unwrap();
    assert_eq!(&*read.sources[0].0, "data/folder.csv/inside.csv");
    let absolute = folder.path().join("data/a.csv");
    let read = folder.read(json!({"file": absolute})).unwrap();
    assert_eq!(&*read.sources[0].0, absolute.to_str().unwrap());
}

#[test]
fn a_name_with_brackets_is_a_name_where_there_is_such_a_file() {
    let folder = Folder::new(&[("funds [1].csv", "id\n1\n"), ("funds 1.csv", "id\n2\n")]);
    assert_eq!(folder.read(json!({"file": "funds [1].csv"})).unwrap().column("id"), ["1"]);
    assert_eq!(folder.read(json!({"file": "funds [[]1].csv"})).unwrap().column("id"), ["1"]);
}

const COMPRESSIONS: [Compression; 4] =
    [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Lz4];

#[test]
fn compressed_files_are_told_by_their_content() {
    let text = "id,name\n1,a\n2,b\n";
    for compression in COMPRESSIONS {
        let bytes = compression.compress(text.as_bytes()).unwrap();
        let named = format!("named.csv.{}", compression.extension());
        let folder = Folder::new(&[("plain.csv.gz", text)]);
        folder.write(&named, &bytes);
        folder.write("unnamed.csv", &bytes);

        let read = folder.read(json!({"file": named})).unwrap();
        assert_eq!(read.column("name"), ["a", "b"]);
        assert_eq!(read.notes, [""; 0]);
        let read = folder.read(json!({"file": "unnamed.csv"})).unwrap();
        assert_eq!(read.column("name"), ["a", "b"]);
        let note =
            format!("`unnamed.csv` is compressed with {compression}, which its name does not say");
        assert_eq!(read.notes, [note]);
        let read = folder.read(json!({"file": "unnamed.csv", "compression": compression})).unwrap();
        assert_eq!((read.column("name").len(), read.notes.len()), (2, 0));
        let read = folder.read(json!({"file": "plain.csv.gz"})).unwrap();
        assert_eq!(read.notes, ["`plain.csv.gz` is not compressed, though its name says so"]);
        let error = folder.error(json!({"file": "plain.csv.gz", "compression": "gzip"}));
        assert_eq!(error.to_string(), "`plain.csv.gz` is not gzip data");
    }
}

#[test]
fn a_truncated_compressed_file_is_an_error_and_not_a_short_success() {
    let text: String = (0..20_000).map(|i| format!("{i},fund {i}\n")).collect();
    for compression in COMPRESSIONS {
        let folder = Folder::new(&[]);
        let bytes = compression.compress(format!("id,name\n{text}").as_bytes()).unwrap();
        let name = format!("funds.csv.{}", compression.extension());
        for keep in [0, 1, 3, bytes.len() / 2, bytes.len() - 1] {
            folder.write(&name, &bytes[..keep]);
            let error = folder.error(json!({"file": name}));
            assert_eq!(error.kind(), ErrorKind::Truncated, "{name} cut at {keep}: {error}");
            assert!(error.to_string().contains(&name), "{error}");
        }
        folder.write(&name, &bytes);
        assert_eq!(folder.read(json!({"file": name})).unwrap().columns.num_rows(), 20_000);
    }
}

#[test]
fn json_files_have_the_columns_of_all_of_them() {
    let folder = Folder::new(&[
        ("1.ndjson", "{\"id\": 1, \"name\": \"a\"}\n{\"id\": 2}\n"),
        ("2.ndjson", "{\"id\": 3.5, \"tags\": [\"x\"], \"at\": \"2024-01-02\"}\n"),
        ("one.json", "[{\"id\": 1}, {\"id\": 2}]"),
    ]);
    let read = folder.read(json!({"file": "*.ndjson", "columns": {"at": "date"}})).unwrap();
    assert_eq!(read.names(), ["id", "name", "tags", "at"]);
    assert_eq!(read.types()[..2], ["double", "string"]);
    assert_eq!(read.column("id"), ["1.0", "2.0", "3.5"]);
    assert_eq!(read.column("name"), ["a", "-", "-"]);
    assert_eq!(read.column("at"), ["-", "-", "2024-01-02"]);
    assert_eq!(folder.read(json!({"file": "one.json"})).unwrap().column("id"), ["1", "2"]);
    let error = folder.error(json!({"file": "*"}));
    assert_eq!(
        error.to_string(),
        "`1.ndjson` is NDJSON and `one.json` is JSON: the files of one source have one format"
    );
}

fn table(ids: &[i64], name: &str) -> RecordBatch {
    let names: StringViewArray = ids.iter().map(|id| Some(format!("{name}{id}"))).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
        (name, Arc::new(names)),
    ])
    .unwrap()
}

fn columnar(writer: &dyn gristmill_format::Writer, columns: RecordBatch) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut sink = writer.sink(Box::new(std::fs::File::create(&path).unwrap())).unwrap();
    let origin = Arc::new(Origin::columns("x".into(), columns.clone()));
    let mut part = writer.encoder().begin();
    part.push(&Batch::whole(columns, origin).unwrap()).unwrap();
    sink.append(part.finish().unwrap()).unwrap();
    sink.finish().unwrap();
    std::fs::read(path).unwrap()
}

fn parquet_file(columns: RecordBatch) -> Vec<u8> {
    let writer = parquet::writer(&columns.schema(), &Default::default()).unwrap();
    columnar(&*writer, columns)
}

#[test]
fn typed_files_come_as_they_are() {
    let folder = Folder::new(&[]);
    folder.write("a.parquet", &parquet_file(table(&[1, 2], "name")));
    folder.write("b.parquet", &parquet_file(table(&[3], "name")));
    let gzipped = Compression::Gzip.compress(&parquet_file(table(&[4], "name"))).unwrap();
    folder.write("c.parquet.gz", &gzipped);
    let writer = ipc::writer(&table(&[], "name").schema(), &Default::default()).unwrap();
    folder.write("d.arrow", &columnar(&*writer, table(&[5], "name")));

    let read = folder.read(json!({"file": "*.parquet"})).unwrap();
    assert_eq!(read.types(), ["int", "string"]);
    assert_eq!(read.column("name"), ["name1", "name2", "name3"]);
    assert_eq!(read.sources.len(), 2);
    assert_eq!(folder.read(json!({"file": "c.parquet.gz"})).unwrap().column("id"), ["4"]);
    assert_eq!(folder.read(json!({"file": "d.arrow"})).unwrap().column("id"), ["5"]);

    folder.write("b.parquet", &parquet_file(table(&[3], "label")));
    let error = folder.error(json!({"file": "*.parquet"}));
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.to_string().contains("`b.parquet` without column `name` and with column `label`"),
        "{error}"
    );
    let read = folder.read(json!({"file": "*.parquet", "drift": "fill"})).unwrap();
    assert_eq!(read.names(), ["id", "name", "label"]);
    assert_eq!(read.column("name"), ["name1", "name2", "-"]);
    assert_eq!(read.column("label"), ["-", "-", "label3"]);
    let read = folder.read(json!({"file": "*.parquet", "drift": "ignore"})).unwrap();
    assert_eq!(read.names(), ["id", "name"]);

    let texts = RecordBatch::try_from_iter([(
        "id",
        Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef,
    )]);
    folder.write("b.parquet", &parquet_file(texts.unwrap()));
    let error = folder.error(json!({"file": "*.parquet", "drift": "fill"}));
    assert_eq!(error.to_string(), "column `id` is int in `a.parquet` and string in `b.parquet`");
}

#[test]
fn columns_of_parquet_files_that_are_not_kept_are_not_read() {
    let folder = Folder::new(&[]);
    folder.write("a.parquet", &parquet_file(table(&[1, 2], "name")));
    folder.write("b.parquet", &parquet_file(table(&[3], "label")));
    let kept = |places: &[usize]| {
        let mut extractor = folder.open(json!({"file": "*.parquet", "drift": "fill"})).unwrap();
        assert!(extractor.read_plan().unwrap().is_none());
        let whole = extractor.begin(None).unwrap();
        assert!(extractor.keep(places).unwrap());
        let mut rows = Vec::new();
        let mut findings = Findings::default();
        while let Some(mut chunk) = extractor.next_chunk().unwrap() {
            while let Some(batch) = chunk.next_batch(&mut findings).unwrap() {
                assert_eq!(*batch.columns().schema(), whole.project(places).unwrap());
                rows.push((batch.num_rows(), batch.columns().column(0).null_count()));
            }
        }
        rows
    };
    assert_eq!(kept(&[2, 0]), [(2, 2), (1, 0)]);
    assert_eq!(kept(&[1]), [(2, 0), (1, 1)]); // none of the second file's

    folder.write("d.csv", b"id,name\n1,a\n");
    let mut extractor = folder.open(json!({"file": "d.csv"})).unwrap();
    let plan = extractor.read_plan().unwrap();
    extractor.begin(plan).unwrap();
    assert!(!extractor.keep(&[1]).unwrap());
}

#[test]
fn declared_types_are_parsed_and_bad_values_noted() {
    let folder = Folder::new(&[(
        "funds.csv",
        "Fund Code,As Of Date,aum\nF1,31.12.2024,12.50\nF2,2024-12-31,n/a\n",
    )]);
    let read = folder
        .read(json!({
            "file": "funds.csv",
            "columns": {"as_of_date": "date", "aum": "decimal(18, 2)"},
            "date_formats": {"as_of_date": ["%Y-%m-%d", "%d.%m.%Y"]},
        }))
        .unwrap();
    assert_eq!(read.names(), ["Fund Code", "As Of Date", "aum"]);
    assert_eq!(read.types(), ["string", "date", "decimal(18, 2)"]);
    assert_eq!(read.column("As Of Date"), ["2024-12-31", "2024-12-31"]);
    assert_eq!(read.flaws, ["`n/a` is not a decimal(18, 2)"]);
}

#[test]
fn types_are_inferred_from_all_files_and_after_cleaning() {
    let folder = Folder::new(&[
        ("1.csv", "id,zip,amount,code\n1, 75001,1.5,7\n"),
        ("2.csv", "id,zip,amount,code\n2, 00100,-,8\n"),
    ]);
    let item = json!({"file": "*.csv", "infer": true, "columns": {"code": "string"}});
    let mut extractor = folder.open(item.clone()).unwrap();
    let cleaned = read(&mut *extractor, |plan| {
        for column in &mut plan.columns {
            column.clean.trim = true;
            column.clean.nulls = vec!["-".into()];
        }
    });
    let cleaned = cleaned.unwrap();
    assert_eq!(cleaned.types(), ["int", "string", "double", "string"]);
    assert_eq!(cleaned.column("zip"), ["75001", "00100"]);
    assert_eq!(cleaned.column("amount"), ["1.5", "-"]);
    assert_eq!(folder.read(item).unwrap().types(), ["int", "string", "string", "string"]);
}

#[test]
fn an_empty_file_gives_nothing_and_a_header_gives_columns() {
    let folder = Folder::new(&[
        ("empty.csv", ""),
        ("header.csv", "id,name\n"),
        ("some.csv", "id,name\n1,a\n"),
        ("empty.json", ""),
        ("none.json", "[]"),
        ("empty.ndjson", ""),
    ]);
    for (file, notes) in [
        ("empty.json", vec!["`empty.json` is empty".to_owned()]),
        ("empty.ndjson", vec!["`empty.ndjson` is empty".to_owned()]),
        ("none.json", vec![]),
    ] {
        assert_eq!(folder.read(json!({"file": file})).unwrap().notes, notes);
    }
    let read = folder.read(json!({"file": "empty.csv", "columns": {"id": "int"}})).unwrap();
    assert_eq!((read.names(), read.columns.num_rows()), (vec!["id"], 0));
    let read = folder.read(json!({"file": "*.csv"})).unwrap();
    assert_eq!(read.names(), ["id", "name"]);
    assert_eq!(read.column("id"), ["1"]);
    assert!(
        read.notes.iter().any(|note| note.contains("`empty.csv` is empty")),
        "{:?}",
        read.notes
    );
}

#[test]
fn bad_records_are_counted_and_reading_goes_on() {
    let folder = Folder::new(&[("1.csv", "id,name\n1,a\n2\n3,c\n"), ("2.csv", "id,name\n4,d,x\n")]);
    let read = folder.read(json!({"file": "*.csv"})).unwrap();
    assert_eq!(read.column("id"), ["1", "3"]);
    assert_eq!(read.rejects, 2);
    assert_eq!(read.sources.iter().map(|(_, records)| *records).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn a_file_that_changes_under_the_reader_is_an_error() {
    let folder = Folder::new(&[("a.csv", "id\n1\n"), ("b.csv", "id\n2\n")]);
    let mut extractor = folder.open(json!({"file": "*.csv"})).unwrap();
    let plan = extractor.read_plan().unwrap();
    extractor.begin(plan).unwrap();
    assert!(extractor.next_chunk().unwrap().is_some());
    folder.write("b.csv", b"id,more\n2,3\n");
    let error = extractor.next_chunk().err().unwrap();
    assert_eq!(error.to_string(), "`b.csv` was changed while it was read");
    assert!(extractor.next_chunk().unwrap().is_none());
}

#[test]
fn the_builder_reads_what_a_pipeline_does() {
    let folder = Folder::new(&[("a.dat", "id;name\n1;a\n")]);
    let file = File::new("a.dat")
        .format(gristmill_format::Format::Csv)
        .csv(gristmill_format::csv::ReadOptions {
            delimiter: Some(";".into()),
            ..Default::default()
        })
        .column("id", FieldType::Int);
    let mut extractor = file.extractor(&folder.context()).unwrap();
    assert_eq!(read(&mut *extractor, |_| {}).unwrap().types(), ["int", "string"]);

    let path = folder.path().join("a.dat");
    let error = File::open(&path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("cannot tell the format"), "{error}");
    assert_eq!(File::open("nothing.json").err().unwrap().kind(), ErrorKind::NotFound);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once_or_kept_aside() {
    use std::process::Command;

    let write = |folder: &Folder, name: &str, text: &'static str| {
        let path = folder.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        std::thread::spawn(move || std::fs::write(path, text).unwrap())
    };
    let folder = Folder::new(&[]);
    let writer = write(&folder, "once.csv", "id,name\n1,a\n2,b\n");
    let read = folder.read(json!({"file": "once.csv"})).unwrap();
    assert_eq!(read.column("name"), ["a", "b"]);
    writer.join().unwrap();
    let writer = write(&folder, "twice.csv", "id,name\n1,a\n2,b\n");
    let read = folder.read(json!({"file": "twice.csv", "infer": true})).unwrap();
    assert_eq!(read.types(), ["int", "string"]);
    writer.join().unwrap();
    let writer = write(&folder, "pipe.json", "[{\"id\": 1}]");
    assert_eq!(folder.read(json!({"file": "pipe.json"})).unwrap().column("id"), ["1"]);
    writer.join().unwrap();
    let left = folder.path().join(".scratch").read_dir().unwrap().count();
    assert_eq!(left, 0, "copies are removed when they are read");
}
