//! Batches with provenance, and loads from end to end.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use gristmill_core::{
    Batch, ByteSize, Findings, LoadContext, Loaded, Loader, Origin, Place, Result, Span,
};
use serde_json::Value;

pub(crate) fn context<'a>(base: &'a Path, run: &'a str) -> LoadContext<'a> {
    LoadContext {
        base,
        pipeline: "test",
        run,
        started: chrono::DateTime::UNIX_EPOCH,
        scratch: base,
        memory: ByteSize(64 << 20),
        workers: 2,
    }
}

/// Rows with provenance: record `i` is line `i + 1` of `input.txt` and reads `record i`.
pub(crate) fn batch(first_record: u64, columns: Vec<(&str, ArrayRef)>) -> Batch {
    let columns = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let mut text = String::new();
    let mut spans = Vec::new();
    for i in 0..columns.num_rows() as u64 {
        let record = format!("record {}", first_record + i);
        spans.push(Span { start: text.len() as u32, len: record.len() as u32 });
        text += &record;
        text.push('\n');
    }
    let origin = Origin::text("input.txt".into(), Bytes::from(text), 0, spans, b'\n');
    origin.set_place(Place { first_record, first_line: first_record });
    Batch::whole(columns, Arc::new(origin)).unwrap()
}

pub(crate) fn ints(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int64Array>())
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<StringViewArray>())
}

/// Records with an `id` and a `name`.
pub(crate) fn people(first_record: u64, ids: &[Option<i64>], names: &[Option<&str>]) -> Batch {
    let (ids, names) = (ints(ids.iter().copied()), texts(names.iter().copied()));
    batch(first_record, vec![("id", ids), ("name", names)])
}

/// Encodes each batch as a chunk of its own and appends it.
pub(crate) fn append(
    loader: &mut dyn Loader,
    batches: &[Batch],
    findings: &mut Findings,
) -> Result<()> {
    let encoder = loader.encoder();
    for batch in batches {
        let mut part = encoder.begin();
        part.push(batch)?;
        loader.append(part.finish()?, findings)?;
    }
    Ok(())
}

pub(crate) fn open(
    item: &Value,
    schema: &SchemaRef,
    context: &LoadContext<'_>,
) -> Result<Box<dyn Loader>> {
    let kind = gristmill_load::KINDS.iter().find(|kind| item.get(kind.name).is_some()).unwrap();
    let mistakes = (kind.check)(item);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let mistakes = (kind.bind)(item, schema);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    (kind.open)(item, schema, context)
}

/// Loads batches and checks that every record is accounted for.
pub(crate) fn load(
    item: &Value,
    batches: &[Batch],
    context: &LoadContext<'_>,
) -> Result<(Loaded, Findings)> {
    let mut loader = open(item, &batches[0].schema(), context)?;
    let mut findings = Findings::default();
    append(loader.as_mut(), batches, &mut findings)?;
    loader.prepare(&mut findings)?;
    let loaded = loader.publish()?;
    let read: usize = batches.iter().map(Batch::num_rows).sum();
    let accounted = loaded.inserted
        + loaded.updated
        + loaded.closed
        + loaded.unchanged
        + loaded.deduplicated
        + findings.rejects().len() as u64;
    assert_eq!(read as u64, accounted, "{loaded:?}");
    Ok((loaded, findings))
}

/// Number, text, rule and message of each reject.
pub(crate) fn rejects(findings: &Findings) -> Vec<(u64, String, String, String)> {
    findings
        .rejects()
        .iter()
        .map(|reject| {
            let location = reject.origin.locate(reject.ordinal as usize);
            assert_eq!(location.line, Some(location.record));
            assert_eq!(&**reject.origin.source(), "input.txt");
            let reason = &reject.errors[0];
            let raw = reject.origin.raw(reject.ordinal as usize).into_owned();
            (location.record, raw, reason.rule.to_string(), reason.message.clone())
        })
        .collect()
}

/// Names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
