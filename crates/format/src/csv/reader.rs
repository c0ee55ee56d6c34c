//! The reader: options in, chunks out.

use std::io::Read;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::{ColumnPlan, FieldSyntax};
use gristmill_core::{Chunk, Error, ErrorKind, FieldType, ReadPlan, Result};

use super::chunk::Layout;
use super::grammar::Grammar;
use super::header::{self, Head};
use super::options::{self, ReadOptions};
use crate::simd::Level;
use crate::{Reader as FormatReader, Sizes};

/// Reads one CSV file.
///
/// Holds no more of it than a chunk or the longest record allowed, whichever is larger.
pub struct Reader {
    name: Arc<str>,
    options: ReadOptions,
    sizes: Sizes,
    level: Level,
    grammar: Grammar,
    state: State,
    notes: Vec<String>,
}

enum State {
    Unopened(Box<dyn Read + Send>),
    Open(Box<Open>),
    /// At its end, or failed.
    Done,
}

/// A file whose header is read.
struct Open {
    head: Head,
    layout: Option<Arc<Layout>>,
}

impl Reader {
    /// A reader of `input`, which messages call `name`. Reads nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for options that [`super::check`] finds a mistake in.
    pub fn open(
        name: Arc<str>,
        input: Box<dyn Read + Send>,
        options: &ReadOptions,
        sizes: Sizes,
    ) -> Result<Self> {
        if let Some(mistake) = options::check(options).into_iter().next() {
            return Err(Error::new(ErrorKind::Configuration, mistake.to_string()));
        }
        let grammar = Grammar::new(options)
            .map_err(|_| Error::internal("options without mistakes have no grammar"))?;
        let max = options.max_record_size.map_or(sizes.max_record, |size| size.0 as usize);
        let sizes = Sizes {
            chunk: sizes.chunk.clamp(1, MAX_CHUNK),
            batch: sizes.batch.max(1),
            max_record: max.clamp(options::MIN_RECORD as usize, options::MAX_RECORD as usize),
        };
        let state = State::Unopened(input);
        let level = Level::detect();
        let options = options.clone();
        Ok(Self { name, options, sizes, level, grammar, state, notes: Vec::new() })
    }

    /// Reads with the instructions of this level: for tests and measurements. The result is the
    /// same with all of them.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    fn opened(&mut self) -> Result<&mut Open> {
        if matches!(self.state, State::Unopened(_))
            && let State::Unopened(input) = std::mem::replace(&mut self.state, State::Done)
        {
            let Self { name, options, grammar, sizes, notes, .. } = self;
            let head = header::read(input, name, options, *grammar, *sizes, notes)?;
            self.state = State::Open(Box::new(Open { head, layout: None }));
        }
        match &mut self.state {
            State::Open(open) => Ok(open),
            _ => Err(Error::internal("a reader was asked for columns after its end")),
        }
    }
}

impl FormatReader for Reader {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        let open = self.opened()?;
        let columns = open.head.names.iter().map(|name| ColumnPlan::new(name, FieldType::String));
        Ok(Some(ReadPlan { columns: columns.collect() }))
    }

    fn begin(&mut self, plan: Option<&ReadPlan>) -> Result<SchemaRef> {
        let whole = match plan {
            None => self.read_plan()?,
            Some(_) => None,
        };
        let plan = plan.or(whole.as_ref());
        self.opened()?;
        let State::Open(open) = &mut self.state else {
            return Err(Error::internal("a reader was begun after its end"));
        };
        let columns = plan.map(|plan| plan.columns.clone()).unwrap_or_default();
        let fields: Vec<_> = columns.iter().map(ColumnPlan::field).collect();
        let schema = Arc::new(Schema::new(fields));
        let field_of =
            |column: &ColumnPlan| open.head.names.iter().position(|n| *n == column.source);
        let labels = open.head.names.iter().map(|name| {
            let column = columns.iter().find(|column| column.source == *name);
            column.map_or_else(|| name.clone(), |column| column.name.clone())
        });
        let grammar = open.head.grammar;
        let nulls = self.options.nulls.iter().map(String::as_bytes);
        let syntax = FieldSyntax::new(grammar.quote, grammar.escape.is_some(), nulls);
        open.layout = Some(Arc::new(Layout {
            name: Arc::clone(&self.name),
            transcoded: open.head.transcoded,
            grammar,
            syntax,
            level: self.level,
            sizes: self.sizes,
            nulls: self.options.nulls.iter().map(|null| null.clone().into_bytes()).collect(),
            labels: labels.collect(),
            width: open.head.width,
            columns: columns.iter().map(|column| (column.clone(), field_of(column))).collect(),
            schema: Arc::clone(&schema),
        }));
        Ok(schema)
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let State::Open(open) = &mut self.state else { return Ok(None) };
        let Some(layout) = &open.layout else {
            return Err(Error::internal("a reader was asked for chunks before it began"));
        };
        match open.head.text.next_chunk(layout, open.head.body) {
            Ok(Some(chunk)) => {
                open.head.body = 0;
                Ok(Some(Box::new(chunk)))
            }
            other => {
                self.state = State::Done;
                other.map(|_| None)
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// The largest chunk, so that positions in it fit 32 bits.
const MAX_CHUNK: usize = 1 << 30;
