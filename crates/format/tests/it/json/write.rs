//! What is written is JSON, and reads back as it was.

use std::sync::Arc;

use gristmill_core::Batch;
use gristmill_format::Compression;
use gristmill_format::json::{Layout, writer};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::How;
use crate::support::written;

/// One part for each list of batches.
fn write(parts: &[&[Batch]], layout: Layout, compression: Compression) -> Vec<u8> {
    let schema = Arc::new(arrow_schema::Schema::empty());
    let schema =
        parts.iter().flat_map(|part| part.first()).map(Batch::schema).next().unwrap_or(schema);
    let writer = writer(schema, layout, compression);
    written(&*writer, &parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>())
}

#[test]
fn documents_are_arrays_even_without_records() {
    assert_eq!(write(&[], Layout::Document, Compression::None), b"[]\n");
    assert_eq!(write(&[&[]], Layout::Document, Compression::None), b"[]\n");
    assert_eq!(write(&[&[]], Layout::Lines, Compression::None), b"");
    let all = How::of(Layout::Lines).read(b"{\"a\": 1}\n{\"a\": 2}\n{\"a\": null}").unwrap();
    let text = write(&[&[], &all.batches, &[], &all.batches], Layout::Document, Compression::None);
    let expected =
        "[\n{\"a\":1},\n{\"a\":2},\n{\"a\":null},\n{\"a\":1},\n{\"a\":2},\n{\"a\":null}\n]\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let text = write(&[&all.batches, &all.batches], Layout::Lines, Compression::None);
    let expected = "{\"a\":1}\n{\"a\":2}\n{\"a\":null}\n{\"a\":1}\n{\"a\":2}\n{\"a\":null}\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn compressed_parts_make_one_file() {
    let all = How::of(Layout::Lines).read(b"{\"a\": \"x\"}\n{\"a\": \"y\"}").unwrap();
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Lz4]
    {
        for parts in [&[][..], &[&all.batches[..], &all.batches[..]][..]] {
            for layout in [Layout::Document, Layout::Lines] {
                let packed = write(parts, layout, compression);
                let plain = write(parts, layout, Compression::None);
                let unpacked = unpack(compression, packed);
                assert_eq!(unpacked, plain, "{compression:?} {layout:?}");
            }
        }
    }
}

/// With the libraries themselves, as another program would.
fn unpack(compression: Compression, bytes: Vec<u8>) -> Vec<u8> {
    use std::io::Read;
    let input = std::io::Cursor::new(bytes);
    let mut reader: Box<dyn Read> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::Decoder::new(input).unwrap()),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        Compression::Lz4 => return unpack_lz4(input),
    };
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    out
}

fn unpack_lz4(mut input: std::io::Cursor<Vec<u8>>) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::new();
    while (input.position() as usize) < input.get_ref().len() {
        lz4_flex::frame::FrameDecoder::new(&mut input).read_to_end(&mut out).unwrap();
    }
    out
}

fn record() -> impl Strategy<Value = Value> {
    let text = "[a \"\\\\\u{1}\n\u{7f}é😀]{0,6}";
    (any::<i64>(), any::<Option<bool>>(), text, any::<u32>(), prop::collection::vec(text, 0..3))
        .prop_map(|(int, flag, text, number, list)| {
            json!({"int": int, "flag": flag, "text": text, "double": f64::from(number) / 7.0,
                "list": list, "nested": {"é \"": [{"deep": text}]}, "any": if number % 2 == 0 {
                json!(number) } else { json!([text]) }})
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn written_records_read_back(records in prop::collection::vec(record(), 0..20), batch in 1usize..200) {
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        let mut how = How::of(Layout::Lines);
        how.sizes.batch = batch;
        let all = how.read(text.as_bytes()).unwrap();
        prop_assert_eq!(&all.rows, &records);
        let parts: Vec<&[Batch]> = all.batches.chunks(2).collect();

        let lines = write(&parts, Layout::Lines, Compression::None);
        let back = How::of(Layout::Lines).read(&lines).unwrap();
        prop_assert_eq!(&back.rows, &records);

        let document = write(&parts, Layout::Document, Compression::None);
        let independent: Vec<Value> = serde_json::from_slice(&document).unwrap();
        prop_assert_eq!(&independent, &records);
        let back = How::of(Layout::Document).read(&document).unwrap();
        prop_assert_eq!(&back.rows, &records);
    }
}
