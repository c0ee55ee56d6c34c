//! The extractor: plans columns over all files, then reads them one after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_schema::{Schema, SchemaRef};
use gristmill_core::registry::{Guess, longest_record};
use gristmill_core::text::ColumnPlan;
use gristmill_core::{
    ByteSize, Chunk, Error, ErrorKind, ExtractContext, Extractor, FieldType, Findings, Prune,
    ReadPlan, Result,
};
use gristmill_format::infer::Inference;
use gristmill_format::json::{Columns, Layout, Piece, Pieces};
use gristmill_format::{Format, Reader, Sizes, csv, ipc, json, parquet};
use gristmill_parallel::{MapOptions, Memory, Pool, ordered_map};
use indexmap::IndexSet;
use serde_json::Value;

use super::columns::{Gaps, Header, combine, combine_typed, declare, gaps};
use super::fresh::{self, Fresh};
use super::options::{Options, format_name};
use super::paths;
use super::source::Source;
use crate::adapt::Adaptation;

/// Bytes of an input that columns are guessed from.
const GUESS: usize = 1 << 20;

/// Reads files, one after the other.
pub(super) struct FileExtractor {
    options: Options,
    scratch: PathBuf,
    memory: ByteSize,
    workers: usize,
    sizes: Sizes,
    sources: Vec<Source>,
    format: Format,
    stage: Stage,
    /// A reader whose header is read already, of the only input, which cannot be read twice.
    kept: Option<Box<dyn Reader>>,
    /// Number of the source that is read next.
    next: usize,
    current: Option<Current>,
    /// Bytes of the sources that are read to their end.
    done: u64,
    /// Bytes read of the current source, for readers that are given a stream.
    bytes: Arc<AtomicU64>,
    notes: IndexSet<String>,
    /// What is kept of files once they are read.
    bookmarks: Vec<(String, Value)>,
    /// Whether no file has any column.
    empty: bool,
    /// Files that lack columns which others have.
    gaps: Gaps,
    /// The leave to guess columns, and what they were guessed to be.
    guess: Option<Guess>,
    guessed: Option<Arc<Columns>>,
    /// What tells of row groups that the first step takes all of their records out.
    prune: Option<Arc<dyn Prune>>,
}

enum Stage {
    Unplanned,
    /// What typed files have in common.
    Typed(SchemaRef),
    Planned(ReadPlan),
    /// What readers are told: a plan for text, the columns of all files for typed ones.
    Reading(Option<ReadPlan>, SchemaRef),
    Over,
}

struct Current {
    reader: Box<dyn Reader>,
    adaptation: Option<Adaptation>,
}

impl FileExtractor {
    /// Finds the files and opens none.
    pub(super) fn open(mut options: Options, context: &ExtractContext) -> Result<Self> {
        let found = paths::resolve(&options.file, &context.base)?;
        let mut sources = Vec::with_capacity(found.len());
        for found in found {
            let path = found.path.as_deref().unwrap_or(options.file.as_ref());
            let format = options.format.or_else(|| Format::of_name(path)).ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    format!("cannot tell the format of `{}`", found.name),
                )
                .hint("say `format:`: csv, json, ndjson, parquet or arrow")
            })?;
            sources.push(Source::new(found, format, options.compression, &context.base)?);
        }
        let format = one_format(&sources)?;
        let Fresh { sources, columns_only, bookmarks, notes } =
            fresh::choose(sources, &options.file, options.read, &context.range)?;
        let mut sizes = Sizes::default();
        let longest = longest_record(context.memory);
        sizes.max_record = sizes.max_record.min(longest.0 as usize).max(1);
        if let Some(size) = options.csv.as_mut().and_then(|csv| csv.max_record_size.as_mut()) {
            *size = (*size).min(longest);
        }
        Ok(Self {
            options,
            scratch: context.scratch.clone(),
            memory: context.memory,
            workers: context.workers,
            sizes,
            format,
            stage: Stage::Unplanned,
            kept: None,
            next: if columns_only { sources.len() } else { 0 },
            sources,
            current: None,
            done: 0,
            bytes: Arc::default(),
            notes: notes.into_iter().collect(),
            bookmarks,
            empty: false,
            gaps: Vec::new(),
            guess: context.guess.clone(),
            guessed: None,
            prune: None,
        })
    }

    fn plan(&mut self) -> Result<Option<ReadPlan>> {
        let mut plan = match self.format {
            Format::Csv => self.csv_plan()?,
            Format::Json | Format::Ndjson => self.json_plan()?,
            Format::Parquet | Format::Arrow => {
                let mut schemas = Vec::with_capacity(self.sources.len());
                for index in 0..self.sources.len() {
                    let schema = self.reader(index, Purpose::Plan)?.begin(None)?;
                    schemas.push((Arc::clone(&self.sources[index].name), schema));
                }
                let (schema, gaps) = combine_typed(&schemas, &self.options, &mut self.notes)?;
                self.gaps = gaps;
                self.stage = Stage::Typed(schema);
                return Ok(None);
            }
        };
        self.empty = plan.columns.is_empty();
        declare(&mut plan, &self.options, &mut self.notes)?;
        self.stage = Stage::Planned(plan.clone());
        Ok(Some(plan))
    }

    fn csv_plan(&mut self) -> Result<ReadPlan> {
        let mut headers = Vec::with_capacity(self.sources.len());
        for index in 0..self.sources.len() {
            let several = self.sources.len() > 1 || self.options.infer;
            if several {
                self.sources[index].make_rereadable(&self.scratch)?;
            }
            let mut reader = self.reader(index, Purpose::Plan)?;
            let plan = reader.read_plan()?.unwrap_or(ReadPlan { columns: Vec::new() });
            headers.push(Header {
                file: Arc::clone(&self.sources[index].name),
                columns: plan.columns.into_iter().map(|column| column.source).collect(),
            });
            if !self.sources[index].is_rereadable() {
                self.kept = Some(reader);
            }
        }
        let columns = combine(&headers, &self.options, &mut self.notes)?;
        self.gaps = gaps(&headers, &columns);
        let columns = columns.into_iter().map(|name| ColumnPlan::new(name, FieldType::String));
        Ok(ReadPlan { columns: columns.collect() })
    }

    fn json_plan(&mut self) -> Result<ReadPlan> {
        if let Some(columns) = self.guess() {
            let plan = columns.plan();
            self.guessed = Some(Arc::new(columns));
            return Ok(plan);
        }
        let (pool, pass) = self.pass()?;
        let mut columns = Columns::default();
        let layout = self.layout();
        let options = self.options.json.clone().unwrap_or_default();
        for source in &mut self.sources {
            source.make_rereadable(&self.scratch)?;
            let input = source.text(&Arc::default(), |_| {})?;
            let pieces = Pieces::open(&source.name, input, layout, &options, self.sizes)?;
            for found in
                ordered_map(&pool, pass.clone(), pieces, Piece::size, |piece| piece.columns())
            {
                columns.merge(found?)?;
            }
        }
        Ok(columns.plan())
    }

    /// The columns that the beginning of the first input has, where a guess is allowed. What comes
    /// first is in the order of the whole, so that all that can be wrong is that there is more.
    /// Whatever is wrong with the beginning, reading all of it will tell.
    fn guess(&self) -> Option<Columns> {
        let guess = self.guess.as_ref().filter(|_| !self.options.infer)?;
        let source = self.sources.first()?;
        // An input that is gone once it is read could not be read again.
        if !self.sources.iter().all(Source::is_rereadable) {
            return None;
        }
        let input = source.text(&Arc::default(), |_| {}).ok()?;
        let options = self.options.json.clone().unwrap_or_default();
        let sizes = Sizes { chunk: GUESS.min(self.sizes.chunk), ..self.sizes };
        let mut pieces = Pieces::open(&source.name, input, self.layout(), &options, sizes).ok()?;
        let columns = pieces.next()?.ok()?.columns().ok()?;
        guess.make();
        Some(columns)
    }

    fn layout(&self) -> Layout {
        Layout::of(self.format).unwrap_or(Layout::Document)
    }

    /// The workers of a pass over the whole input, and what they may hold.
    fn pass(&self) -> Result<(Pool, MapOptions)> {
        let budget = usize::try_from(self.memory.0 / 6).unwrap_or(usize::MAX);
        let memory = Some(Memory::of_process(self.memory.0));
        Ok((Pool::new(self.workers)?, MapOptions { budget, memory, ..MapOptions::default() }))
    }

    /// Reads everything to find the types of undeclared text columns.
    fn infer(&mut self, plan: &mut ReadPlan) -> Result<()> {
        let (pool, pass) = self.pass()?;
        let mut inference = Inference::new(plan);
        for index in 0..self.sources.len() {
            let mut reader = self.reader(index, Purpose::Plan)?;
            reader.begin(Some(plan))?;
            let chunks = std::iter::from_fn(move || reader.next_chunk().transpose());
            let plan = plan.clone();
            for found in ordered_map(
                &pool,
                pass.clone(),
                chunks,
                |chunk| chunk.size(),
                move |mut chunk| {
                    let mut inference = Inference::new(&plan);
                    let mut findings = Findings::default();
                    while let Some(batch) = chunk.next_batch(&mut findings)? {
                        inference.observe(&batch)?;
                        findings.take_rejects();
                    }
                    Ok(inference)
                },
            ) {
                inference.merge(found?);
            }
        }
        for (column, inferred) in plan.columns.iter_mut().zip(inference.finish()) {
            if column.nested.is_none() {
                column.field_type = inferred.field_type;
            }
            self.notes.extend(inferred.note);
        }
        Ok(())
    }

    fn reader(&mut self, index: usize, purpose: Purpose) -> Result<Box<dyn Reader>> {
        let bytes = match purpose {
            // The bytes of an input that is read only once count from its beginning.
            Purpose::Plan if self.sources[index].is_rereadable() => Arc::default(),
            _ => {
                self.bytes.store(0, Ordering::Relaxed);
                Arc::clone(&self.bytes)
            }
        };
        let layout = self.layout();
        let (source, notes) = (&mut self.sources[index], &mut self.notes);
        let name = Arc::clone(&source.name);
        let mut note = |sentence| {
            notes.insert(sentence);
        };
        Ok(match self.format {
            Format::Csv => {
                let options = self.options.csv.clone().unwrap_or_default();
                let options = options.for_path(source.path());
                let input = source.text(&bytes, &mut note)?;
                Box::new(csv::Reader::open(name, input, &options, self.sizes)?)
            }
            Format::Json | Format::Ndjson => {
                let options = self.options.json.clone().unwrap_or_default();
                let input = source.text(&bytes, &mut note)?;
                let reader = json::Reader::open(name, input, layout, &options, self.sizes)?;
                match &self.guessed {
                    Some(columns) => Box::new(reader.with_guess(Arc::clone(columns))),
                    None => Box::new(reader),
                }
            }
            Format::Parquet => {
                let reader = parquet::Reader::open(name, source.file(&self.scratch, note)?)?;
                match &self.stage {
                    Stage::Reading(_, schema) => {
                        let reader = reader.with_columns_of(schema)?;
                        // Bounds are told for the columns as they come out in the end.
                        let prune = self.prune.clone().filter(|_| reader.schema() == schema);
                        Box::new(reader.with_prune(prune))
                    }
                    _ => Box::new(reader),
                }
            }
            Format::Arrow => Box::new(ipc::Reader::open(name, source.file(&self.scratch, note)?)?),
        })
    }

    fn open_next(&mut self) -> Result<Option<Current>> {
        if self.next == self.sources.len() {
            return Ok(None);
        }
        let mut reader = match self.kept.take() {
            Some(reader) => reader,
            None => self.reader(self.next, Purpose::Read)?,
        };
        let Stage::Reading(plan, schema) = &self.stage else {
            return Err(Error::internal("files were read before it was decided what is read"));
        };
        let own = reader.begin(plan.as_ref())?;
        let adaptation = Adaptation::new(&own, schema);
        Ok(Some(Current { reader, adaptation }))
    }

    fn close(&mut self, current: Current) {
        self.notes.extend(current.reader.notes());
        let source = &mut self.sources[self.next];
        source.forget_copies();
        self.done += source.size().unwrap_or_else(|| self.bytes.load(Ordering::Relaxed));
        self.bytes.store(0, Ordering::Relaxed);
        self.next += 1;
    }

    fn advance(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        loop {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match self.open_next()? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            match current.reader.next_chunk()? {
                Some(chunk) => {
                    let chunk = match &current.adaptation {
                        Some(adaptation) => adaptation.wrap(chunk),
                        None => chunk,
                    };
                    self.current = Some(current);
                    return Ok(Some(chunk));
                }
                None => self.close(current),
            }
        }
    }
}

/// What a reader is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To find columns and types.
    Plan,
    /// To hand out chunks.
    Read,
}

impl Extractor for FileExtractor {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        match &self.stage {
            Stage::Unplanned => self.plan(),
            Stage::Planned(plan) => Ok(Some(plan.clone())),
            _ => Ok(None),
        }
    }

    fn begin(&mut self, plan: Option<ReadPlan>) -> Result<SchemaRef> {
        if let Stage::Unplanned = self.stage {
            self.plan()?;
        }
        let (plan, schema) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Typed(schema) => (None, schema),
            _ => {
                let Some(mut plan) = plan else {
                    return Err(Error::internal("text files are read by a plan"));
                };
                if self.options.infer {
                    self.infer(&mut plan)?;
                }
                let fields: Vec<_> = plan.columns.iter().map(ColumnPlan::field).collect();
                (Some(plan), Arc::new(Schema::new(fields)))
            }
        };
        self.stage = Stage::Reading(plan, Arc::clone(&schema));
        Ok(schema)
    }

    fn keep(&mut self, places: &[usize]) -> Result<bool> {
        match &mut self.stage {
            Stage::Reading(None, schema) if self.format == Format::Parquet => {
                *schema = Arc::new(schema.project(places)?);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn prune(&mut self, prune: &Arc<dyn Prune>) {
        self.prune = Some(Arc::clone(prune));
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        if let Stage::Over = self.stage {
            return Ok(None);
        }
        let next = self.advance();
        if !matches!(next, Ok(Some(_))) {
            self.stage = Stage::Over;
        }
        next
    }

    fn total_bytes(&self) -> Option<u64> {
        self.sources[self.next.min(self.sources.len())..]
            .iter()
            .map(Source::size)
            .sum::<Option<u64>>()
            .map(|rest| self.done + rest)
    }

    fn bytes_read(&self) -> u64 {
        let reader = self.current.as_ref().and_then(|current| current.reader.bytes_read());
        let size = self.sources.get(self.next).and_then(Source::size).unwrap_or(u64::MAX);
        self.done + reader.unwrap_or_else(|| self.bytes.load(Ordering::Relaxed)).min(size)
    }

    fn gaps(&self) -> Vec<(Arc<str>, Vec<String>)> {
        self.gaps.clone()
    }

    fn empty(&self) -> Option<&str> {
        self.empty.then_some(match self.options.file.as_str() {
            paths::STDIN => "stdin",
            file => file,
        })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.iter().cloned().collect()
    }

    fn bookmarks(&self) -> Vec<(String, Value)> {
        self.bookmarks.clone()
    }
}

fn one_format(sources: &[Source]) -> Result<Format> {
    let Some(first) = sources.first() else {
        return Err(Error::internal("a pattern without a file was taken for one with some"));
    };
    match sources.iter().find(|source| source.format != first.format) {
        None => Ok(first.format),
        Some(other) => Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "`{}` is {} and `{}` is {}: the files of one source have one format",
                first.name,
                format_name(first.format),
                other.name,
                format_name(other.format)
            ),
        )
        .hint("narrow the pattern, or make them sources of their own")),
    }
}
