//! A folder of files: `part-00000.parquet`, in folders by partition where there are any.
//!
//! Workers split a chunk by partition. In source order, the rows of each partition are then gathered
//! over many chunks, so that a row group does not shrink with the number of partitions (`gather`);
//! encoded, they are written to the partition's file (`parts`).
//!
//! The whole folder is built under a hidden name. In mode `replace` it then changes places with
//! the old folder in one step. In mode `append` its files are renamed into the existing folder one
//! by one: each appears whole, and what a killed run has shown is taken out again (`appended`).

mod appended;
mod gather;
mod parts;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::Schema;
use gristmill_core::{
    Encoded, Encoder, Error, ErrorKind, Findings, Loaded, Loader, PublishedFile, Result,
};
use gristmill_format::Writer;

use super::options::Mode;
use super::partition::{Pieces, Splitter};
use crate::hidden::{self, Beside, Hidden};
pub(crate) use appended::published;
use gather::Gather;
pub(crate) use gather::Sizes;
use parts::{Part, Parts, Place, folders};

pub(crate) struct Folder {
    name: String,
    path: PathBuf,
    mode: Mode,
    run: String,
    /// Whether rows go into files at once, since files have a size to stay below.
    at_once: bool,
    partitioned: bool,
    encoder: Arc<Splitter>,
    gather: Gather,
    parts: Parts,
    /// Files that are complete and durable, once it is prepared.
    files: Option<Vec<Part>>,
    hidden: Hidden,
}

/// How a folder is written.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) run: &'a str,
    pub(crate) partition_by: &'a [String],
    pub(crate) max_file_size: Option<u64>,
    /// What file names end in.
    pub(crate) end: String,
    /// How many threads encode.
    pub(crate) workers: usize,
    pub(crate) sizes: Sizes,
}

impl Folder {
    pub(crate) fn open(plan: Plan<'_>, schema: &Schema, writer: Arc<dyn Writer>) -> Result<Self> {
        refuse_what_is_not_ours(plan.name, &plan.path, plan.mode)?;
        // In mode `replace`, too: this run may fail, and leave the folder as it is.
        let hidden = Beside::new(&plan.path)?
            .folder(plan.run, |run, hidden| appended::take_out_dead(&plan.path, run, hidden))?;
        let place = Place {
            name: plan.name.to_owned(),
            folder: hidden.path().to_owned(),
            start: match plan.mode {
                Mode::Replace => "part-".to_owned(),
                Mode::Append => appended::start(plan.run),
            },
            end: plan.end,
            max_file_size: plan.max_file_size,
        };
        Ok(Self {
            name: plan.name.to_owned(),
            path: plan.path,
            mode: plan.mode,
            run: plan.run.to_owned(),
            at_once: plan.max_file_size.is_some(),
            partitioned: !plan.partition_by.is_empty(),
            encoder: Arc::new(Splitter::new(schema, plan.partition_by)),
            gather: Gather::new(plan.sizes, writer.encoder(), plan.workers)?,
            parts: Parts::new(place, writer),
            files: None,
            hidden,
        })
    }

    /// Renames the files into the existing folder, or none of them.
    fn publish_into(&mut self, files: &[Part]) -> Result<()> {
        // Whoever completed the same run at the same time has done it already.
        if files.iter().any(|part| self.path.join(&part.path).exists()) {
            return Ok(());
        }
        let moved = self.move_all(files);
        let start = appended::start(&self.run);
        if moved.is_err() && appended::take_out(self.hidden.path(), &self.path, &start).is_err() {
            self.hidden.leave(); // the next run tries again
        }
        moved
    }

    fn move_all(&mut self, files: &[Part]) -> Result<()> {
        for part in files {
            let from = self.hidden.path().join(&part.path);
            move_into(&from, &self.path, &part.path).map_err(|e| {
                let name = below(&self.name, &part.path);
                Error::io(format!("cannot publish `{name}`"), e)
            })?;
        }
        for folder in folders(files.iter().map(|part| part.path.as_path())) {
            hidden::sync(&self.path.join(folder))?;
        }
        self.hidden.end().map_err(|e| Error::io(format!("cannot publish `{}`", self.name), e))
    }

    fn loaded(&self, files: &[Part]) -> Loaded {
        let published = |part: &Part| PublishedFile {
            path: self.path.join(&part.path),
            records: part.records,
            bytes: part.bytes,
        };
        Loaded {
            inserted: files.iter().map(|file| file.records).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.iter().map(published).collect(),
            ..Loaded::default()
        }
    }
}

impl Loader for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::clone(&self.encoder) as Arc<dyn Encoder>
    }

    fn append(&mut self, part: Encoded, findings: &mut Findings) -> Result<()> {
        let pieces = part
            .payload
            .downcast::<Pieces>()
            .map_err(|_| Error::internal("a folder was given what another encoder made"))?;
        for piece in pieces.pieces {
            self.gather.add(piece, self.at_once)?;
            while let Some((partition, encoded)) = self.gather.take_ready()? {
                self.parts.write(partition, encoded)?;
            }
        }
        pieces.rejects.into_iter().for_each(|reject| findings.reject(reject));
        Ok(())
    }

    fn prepare(&mut self, _: &mut Findings) -> Result<Loaded> {
        self.gather.finish()?;
        while let Some((partition, encoded)) = self.gather.take()? {
            self.parts.write(partition, encoded)?;
        }
        if !self.partitioned && self.parts.is_empty() {
            self.parts.begin("")?; // the header and the schema, as for a single file
        }
        let files = self.parts.finish()?;
        refuse_what_is_not_ours(&self.name, &self.path, self.mode)?;
        let loaded = self.loaded(&files);
        self.files = Some(files);
        Ok(loaded)
    }

    fn publish(&mut self) -> Result<Loaded> {
        let Some(files) = self.files.take() else {
            return Err(Error::internal(format!("`{}` was published unprepared", self.name)));
        };
        match self.mode {
            Mode::Replace => self.hidden.replace_folder(&self.path)?,
            Mode::Append => {
                if self.path.is_dir() || !self.hidden.become_folder(&self.path)? {
                    self.publish_into(&files)?;
                }
            }
        }
        Ok(self.loaded(&files))
    }

    fn abort(self: Box<Self>) {}
}

/// Renames a file into a folder, making the folders between. A link there is not followed.
fn move_into(from: &Path, folder: &Path, path: &Path) -> io::Result<()> {
    let mut at = folder.to_path_buf();
    for part in path.parent().unwrap_or(Path::new("")) {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("`{}` is not a folder", at.display()),
                ));
            }
            Err(_) => fs::create_dir(&at)?,
        }
    }
    fs::rename(from, folder.join(path))
}

fn below(name: &str, path: &Path) -> String {
    format!("{}/{}", name.trim_end_matches('/'), path.display())
}

/// A folder is only written to when it can be, and only replaced when all that is in it looks like
/// the output of an earlier run.
fn refuse_what_is_not_ours(name: &str, path: &Path, mode: Mode) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if mode == Mode::Append && metadata.is_symlink() {
        return Err(Error::new(ErrorKind::Destination, format!("`{name}` is a link"))
            .hint("name the folder that it points to: links are not followed when writing"));
    }
    if metadata.is_file() {
        return Err(Error::new(ErrorKind::Destination, format!("`{name}` is a file")).hint(
            "this destination is a folder of files; name another path, or remove the file first",
        ));
    }
    if !metadata.is_dir() || mode == Mode::Append {
        return Ok(());
    }
    let entries =
        fs::read_dir(path).map_err(|e| Error::io(format!("cannot list the folder `{name}`"), e))?;
    for entry in entries.flatten() {
        let file = entry.file_name();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let text = file.to_string_lossy();
        let ours = if is_folder {
            text.contains('=')
        } else {
            text.starts_with("part-") || text == "_SUCCESS"
        };
        if !ours && !hidden::is_hidden(&file) {
            return Err(Error::new(
                ErrorKind::Destination,
                format!("`{name}` has other files in it, for example `{text}`"),
            )
            .hint("replacing the folder would delete them: name a folder of its own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
    use gristmill_core::{Batch, Origin};
    use gristmill_format::parquet;
    use proptest::prelude::*;

    use super::super::partition::file_schema;
    use super::*;

    /// Files by path, after loading chunks of rows of these partitions.
    fn load(chunks: &[Vec<u8>], sizes: Sizes, workers: usize) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let mut next = 0i64;
        let mut batches = Vec::new();
        for partitions in chunks {
            let names: StringViewArray = partitions.iter().map(|p| Some(format!("p{p}"))).collect();
            let rows: Int64Array = (next..).take(partitions.len()).map(Some).collect();
            let long = rows.iter().map(|row| row.map(|row| format!("the text of row {row:09}")));
            let long: StringViewArray = long.collect();
            next += partitions.len() as i64;
            let columns: [(&str, ArrayRef); 3] =
                [("p", Arc::new(names)), ("row", Arc::new(rows)), ("long", Arc::new(long))];
            batches.push(RecordBatch::try_from_iter(columns).unwrap());
        }
        let schema = batches[0].schema();
        let keys = ["p".to_owned()];
        let writer = parquet::writer(&file_schema(&schema, &keys), &Default::default()).unwrap();
        let plan = Plan {
            name: "out",
            path: folder.path().join("out"),
            mode: Mode::Replace,
            run: "1",
            partition_by: &keys,
            max_file_size: None,
            end: ".parquet".to_owned(),
            workers,
            sizes,
        };
        let mut loader = Folder::open(plan, &schema, writer).unwrap();
        let mut findings = Findings::default();
        for columns in batches {
            let origin = Arc::new(Origin::columns("in".into(), columns.clone()));
            let mut part = loader.encoder().begin();
            part.push(&Batch::whole(columns, origin).unwrap()).unwrap();
            loader.append(part.finish().unwrap(), &mut findings).unwrap();
            assert!(loader.gather.waiting_bytes() <= sizes.waiting);
        }
        loader.prepare(&mut findings).unwrap();
        let loaded = loader.publish().unwrap();
        assert_eq!(loaded.inserted, next as u64);
        let path = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_owned();
        loaded.files.iter().map(|f| (path(&f.path), fs::read(&f.path).unwrap())).collect()
    }

    /// The values of `row`, and the number of row groups.
    fn rows(file: &[u8]) -> (Vec<i64>, usize) {
        use arrow_array::cast::AsArray;
        let file = bytes::Bytes::copy_from_slice(file);
        let reader = ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
        let reader = reader.unwrap();
        let groups = reader.metadata().num_row_groups();
        let mut rows = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column(0).as_primitive::<arrow_array::types::Int64Type>();
            rows.extend_from_slice(column.values());
        }
        (rows, groups)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn gathered_rows_stay_in_order_whatever_is_full_first(
            chunks in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), 0..9u8], 1..60), 1..30),
            group in 60usize..3_000,
            waiting in 60usize..6_000,
        ) {
            let sizes = Sizes { group, waiting };
            let files = load(&chunks, sizes, 3);
            prop_assert_eq!(&files, &load(&chunks, sizes, 1));
            let mut expected: BTreeMap<PathBuf, Vec<i64>> = BTreeMap::new();
            for (partition, row) in chunks.concat().into_iter().zip(0..) {
                let path = format!("out/p=p{partition}/part-00000.parquet");
                expected.entry(path.into()).or_default().push(row);
            }
            let mut groups = 0;
            let mut found = BTreeMap::new();
            for (path, file) in &files {
                let (rows, in_file) = rows(file);
                groups += in_file;
                found.insert(path.clone(), rows);
            }
            prop_assert_eq!(&found, &expected);
            // With room for everything, a partition is one row group.
            let roomy = load(&chunks, Sizes::default(), 2);
            prop_assert!(roomy.values().all(|file| rows(file).1 == 1));
            prop_assert!(groups >= roomy.len());
        }
    }
}
