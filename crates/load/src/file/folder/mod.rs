//! A folder of files: `part-00000.parquet`, in folders by partition where there are any.
//!
//! Workers split a chunk by partition. Here, in source order, the rows of each partition are gathered
//! over many chunks, so that a row group does not shrink with the number of partitions; they are
//! encoded on threads of the folder's own, and written in the order in which they were full. When a
//! group is full depends on the data alone.
//!
//! The whole folder is built under a hidden name. In mode `replace` it then changes places with
//! the old folder in one step. In mode `append` its files are renamed into the existing folder one
//! by one, under names that contain the run's id: each appears whole, but a run killed in the
//! middle of publishing has shown some of them.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use gristmill_core::{
    Batch, Encoded, Encoder, Error, ErrorKind, Findings, Loaded, Loader, Origin, PublishedFile,
    Result,
};
use gristmill_format::{Sink, Writer};
use gristmill_parallel::views::value_bytes;
use gristmill_parallel::{OrderedQueue, Pool};
use indexmap::IndexMap;

use super::failed;
use super::options::Mode;
use super::partition::{Pieces, Splitter};
use crate::hidden::{self, Beside, Hidden};

/// Files that are written to at the same time. Records of a partition whose file was closed to
/// make room go into its next file.
const MAX_OPEN: usize = 64;

pub(crate) struct Folder {
    name: String,
    path: PathBuf,
    mode: Mode,
    run: String,
    writer: Arc<dyn Writer>,
    encoder: Arc<Splitter>,
    /// What file names end in.
    end: String,
    max_file_size: Option<u64>,
    partitioned: bool,
    hidden: Hidden,
    sizes: Gather,
    /// Rows that are not yet encoded, by partition.
    waiting: IndexMap<String, Waiting>,
    waiting_bytes: usize,
    /// Rows being encoded, with their partition and their bytes.
    encoding: OrderedQueue<Encoded>,
    submitted: VecDeque<(String, usize)>,
    submitted_bytes: usize,
    /// Files being written, by partition; the one used last is the last.
    open: IndexMap<String, Part>,
    /// Files begun in each partition.
    begun: IndexMap<String, u32>,
    /// Files that are complete.
    files: Vec<Part>,
    rejected: u64,
    prepared: bool,
}

/// Rows of a partition, gathered so that they make a row group worth its name.
#[derive(Default)]
struct Waiting {
    columns: Vec<RecordBatch>,
    bytes: usize,
}

/// Bytes of values by which rows are gathered. They do not depend on the memory limit: what is in a
/// file does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather {
    /// What is encoded together, at least.
    group: usize,
    /// What waits for more rows of its partition, over all partitions; and again what is being
    /// encoded.
    waiting: usize,
}

impl Default for Gather {
    fn default() -> Self {
        Self { group: 16 << 20, waiting: 48 << 20 }
    }
}

struct Part {
    /// Its path below the folder.
    path: PathBuf,
    sink: Option<Box<dyn Sink>>,
    records: u64,
    bytes: u64,
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
    pub(crate) sizes: Gather,
}

impl Folder {
    pub(crate) fn open(plan: Plan<'_>, schema: &Schema, writer: Arc<dyn Writer>) -> Result<Self> {
        refuse_what_is_not_ours(plan.name, &plan.path, plan.mode)?;
        let hidden = Beside::new(&plan.path)?.folder(plan.run)?;
        Ok(Self {
            name: plan.name.to_owned(),
            path: plan.path,
            mode: plan.mode,
            run: plan.run.to_owned(),
            encoder: Arc::new(Splitter::new(schema, plan.partition_by)),
            sizes: plan.sizes,
            waiting: IndexMap::new(),
            waiting_bytes: 0,
            encoding: OrderedQueue::new(Pool::named("encoder", plan.workers)?),
            submitted: VecDeque::new(),
            submitted_bytes: 0,
            writer,
            end: plan.end,
            max_file_size: plan.max_file_size,
            partitioned: !plan.partition_by.is_empty(),
            hidden,
            open: IndexMap::new(),
            begun: IndexMap::new(),
            files: Vec::new(),
            rejected: 0,
            prepared: false,
        })
    }

    /// Takes rows of a partition. They are encoded when there are enough of them; where files have
    /// a size to stay below, at once.
    fn gather(&mut self, partition: String, columns: RecordBatch) -> Result<()> {
        let bytes = value_bytes(&columns);
        let entry = self.waiting.entry(partition);
        let at = entry.index();
        let waiting = entry.or_default();
        waiting.columns.push(columns);
        waiting.bytes += bytes;
        let enough = waiting.bytes >= self.sizes.group || self.max_file_size.is_some();
        self.waiting_bytes += bytes;
        if enough {
            return self.encode(at);
        }
        if self.waiting_bytes <= self.sizes.waiting {
            return Ok(());
        }
        let mut largest: Vec<usize> = (0..self.waiting.len()).collect();
        largest.sort_by_key(|&at| Reverse(self.waiting[at].bytes));
        for at in largest {
            if self.waiting_bytes <= self.sizes.waiting / 2 {
                break;
            }
            self.encode(at)?;
        }
        Ok(())
    }

    /// Has the rows of a partition encoded that wait.
    fn encode(&mut self, at: usize) -> Result<()> {
        let Some((partition, waiting)) = self.waiting.get_index_mut(at) else { return Ok(()) };
        if waiting.columns.is_empty() {
            return Ok(());
        }
        let Waiting { columns, bytes } = std::mem::take(waiting);
        let partition = partition.clone();
        self.waiting_bytes -= bytes;
        while self.submitted_bytes + bytes > self.sizes.waiting && !self.submitted.is_empty() {
            let encoded = self.encoding.take();
            self.write_next(encoded)?;
        }
        let encoder = self.writer.encoder();
        self.encoding.submit(move || {
            let mut part = encoder.begin();
            for columns in columns {
                // Rows of several origins; a format does not ask where they came from.
                let origin = Arc::new(Origin::columns("".into(), columns.clone()));
                part.push(&Batch::whole(columns, origin)?)?;
            }
            part.finish()
        });
        self.submitted.push_back((partition, bytes));
        self.submitted_bytes += bytes;
        Ok(())
    }

    /// Writes what was submitted first, encoded by now.
    fn write_next(&mut self, encoded: Option<Result<Encoded>>) -> Result<()> {
        match (encoded, self.submitted.pop_front()) {
            (Some(encoded), Some((partition, bytes))) => {
                self.submitted_bytes -= bytes;
                self.write(partition, encoded?)
            }
            _ => Err(Error::internal("what was encoded has no partition")),
        }
    }

    /// Has everything encoded that waits, and writes it.
    fn flush(&mut self) -> Result<()> {
        for at in 0..self.waiting.len() {
            self.encode(at)?;
        }
        while !self.submitted.is_empty() {
            let encoded = self.encoding.take();
            self.write_next(encoded)?;
        }
        Ok(())
    }

    fn write(&mut self, partition: String, encoded: Encoded) -> Result<()> {
        if let Some((partition, part)) = self.open.shift_remove_entry(&partition) {
            if self.has_room(&part, &encoded) {
                self.open.insert(partition, part);
            } else {
                self.complete(part)?;
            }
        }
        if !self.open.contains_key(&partition) {
            let part = self.begin(&partition)?;
            self.open.insert(partition.clone(), part);
            if self.open.len() > MAX_OPEN
                && let Some((_, oldest)) = self.open.shift_remove_index(0)
            {
                self.complete(oldest)?;
            }
        }
        if let Some(Part { sink: Some(sink), records, path, .. }) = self.open.get_mut(&partition) {
            *records += encoded.records;
            sink.append(encoded).map_err(|e| failed(&below(&self.name, path), e))?;
        }
        Ok(())
    }

    /// A file takes at least one piece, and no further one that takes it past the size.
    fn has_room(&self, part: &Part, next: &Encoded) -> bool {
        let written = part.sink.as_ref().map_or(0, |sink| sink.bytes_written());
        part.records == 0 || self.max_file_size.is_none_or(|max| written + next.bytes <= max)
    }

    fn begin(&mut self, partition: &str) -> Result<Part> {
        let number = self.begun.entry(partition.to_owned()).or_insert(0);
        let file = match self.mode {
            Mode::Replace => format!("part-{number:05}{}", self.end),
            Mode::Append => format!("part-{}-{number:05}{}", self.run, self.end),
        };
        *number += 1;
        let path = Path::new(partition).join(file);
        let target = self.hidden.path().join(&path);
        let writing = |e| failed(&below(&self.name, &path), Error::io("cannot create it", e));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(writing)?;
        }
        let out = BufWriter::with_capacity(32 << 10, File::create_new(&target).map_err(writing)?);
        let sink =
            self.writer.sink(Box::new(out)).map_err(|e| failed(&below(&self.name, &path), e))?;
        Ok(Part { path, sink: Some(sink), records: 0, bytes: 0 })
    }

    fn complete(&mut self, mut part: Part) -> Result<()> {
        if let Some(sink) = part.sink.take() {
            part.bytes = sink.finish().map_err(|e| failed(&below(&self.name, &part.path), e))?;
        }
        self.files.push(part);
        Ok(())
    }

    /// Renames the files into the existing folder, or puts back those it could.
    fn publish_into(&mut self) -> Result<()> {
        for (i, part) in self.files.iter().enumerate() {
            if let Err(e) = move_into(&self.hidden.path().join(&part.path), &self.path, &part.path)
            {
                for part in &self.files[..i] {
                    let _ =
                        fs::rename(self.path.join(&part.path), self.hidden.path().join(&part.path));
                }
                let name = below(&self.name, &part.path);
                return Err(Error::io(format!("cannot publish `{name}`"), e));
            }
        }
        for folder in folders(self.files.iter().map(|part| part.path.as_path())) {
            let _ = hidden::sync(&self.path.join(folder)); // it is shown by now
        }
        self.hidden.keep_folders();
        Ok(())
    }
}

impl Folder {
    fn loaded(&self) -> Loaded {
        let files: Vec<PublishedFile> = self
            .files
            .iter()
            .map(|part| PublishedFile {
                path: self.path.join(&part.path),
                records: part.records,
                bytes: part.bytes,
            })
            .collect();
        Loaded {
            inserted: files.iter().map(|file| file.records).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
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
        for (partition, columns) in pieces.pieces {
            self.gather(partition, columns)?;
        }
        while let Some(encoded) = self.encoding.take_ready() {
            self.write_next(Some(encoded))?;
        }
        self.rejected += pieces.rejects.len() as u64;
        pieces.rejects.into_iter().for_each(|reject| findings.reject(reject));
        Ok(())
    }

    fn prepare(&mut self, _: &mut Findings) -> Result<Loaded> {
        self.flush()?;
        if !self.partitioned && self.begun.is_empty() {
            let empty = self.begin("")?; // the header and the schema, as for a single file
            self.complete(empty)?;
        }
        for (_, part) in std::mem::take(&mut self.open) {
            self.complete(part)?;
        }
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        for part in &self.files {
            hidden::sync(&self.hidden.path().join(&part.path))?;
        }
        for folder in folders(self.files.iter().map(|part| part.path.as_path())) {
            hidden::sync(&self.hidden.path().join(folder))?;
        }
        refuse_what_is_not_ours(&self.name, &self.path, self.mode)?;
        self.prepared = true;
        Ok(self.loaded())
    }

    fn publish(&mut self) -> Result<Loaded> {
        if !self.prepared {
            return Err(Error::internal(format!("`{}` was published unprepared", self.name)));
        }
        if self.mode == Mode::Append && self.path.is_dir() {
            self.publish_into()?;
        } else {
            self.hidden.replace_folder(&self.path)?;
        }
        Ok(self.loaded())
    }

    fn abort(self: Box<Self>) {}
}

/// The folders of some files, the outermost (empty) one included, inner ones first.
fn folders<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<&'a Path> {
    let mut folders: Vec<&Path> =
        files.flat_map(|file| file.ancestors().skip(1)).chain([Path::new("")]).collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.dedup();
    folders
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

    use arrow_array::{ArrayRef, Int64Array, StringViewArray};
    use gristmill_format::parquet;
    use proptest::prelude::*;

    use super::super::partition::file_schema;
    use super::*;

    /// Files by path, after loading chunks of rows of these partitions.
    fn load(chunks: &[Vec<u8>], sizes: Gather, workers: usize) -> BTreeMap<PathBuf, Vec<u8>> {
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
            assert!(loader.waiting_bytes <= sizes.waiting);
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
            let sizes = Gather { group, waiting };
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
            let roomy = load(&chunks, Gather::default(), 2);
            prop_assert!(roomy.values().all(|file| rows(file).1 == 1));
            prop_assert!(groups >= roomy.len());
        }
    }
}
