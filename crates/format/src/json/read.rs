//! The reader: cuts on one thread, hands out chunks that workers decode.

use std::io::Read;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{Chunk, Error, ReadPlan, Result};

use super::cut::Cutter;
use super::decode::{Decoder, Text};
use super::discover::Columns;
use super::{Layout, ReadOptions};
use crate::Sizes;

/// Reads one JSON input.
pub struct Reader {
    name: Arc<str>,
    cutter: Cutter,
    sizes: Sizes,
    columns: Option<Columns>,
    guess: Option<Arc<Columns>>,
    decoder: Option<Arc<Decoder>>,
    first: bool,
    ended: bool,
}

impl Reader {
    /// A reader of `input`, which is decompressed already. Reads nothing yet.
    ///
    /// # Errors
    /// When the options do not fit the layout.
    pub fn open(
        name: Arc<str>,
        input: Box<dyn Read + Send>,
        layout: Layout,
        options: &ReadOptions,
        sizes: Sizes,
    ) -> Result<Self> {
        let cutter = Cutter::new(&name, input, layout, options, sizes)?;
        Ok(Self {
            name,
            cutter,
            sizes,
            columns: None,
            guess: None,
            decoder: None,
            first: true,
            ended: false,
        })
    }

    /// The columns that [`super::discover`] found in this input, and in others that are read with
    /// it.
    #[must_use]
    pub fn with_columns(mut self, columns: Columns) -> Self {
        self.columns = Some(columns);
        self
    }

    /// The columns that the beginning of the first input has. A chunk fails where one of its
    /// records shows that the columns of all are others.
    #[must_use]
    pub fn with_guess(mut self, columns: Arc<Columns>) -> Self {
        self.guess = Some(columns);
        self
    }
}

impl crate::Reader for Reader {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        match &self.columns {
            Some(columns) => Ok(Some(columns.plan())),
            None => {
                Err(Error::internal(format!("the columns of `{}` were not discovered", self.name)))
            }
        }
    }

    fn begin(&mut self, plan: Option<&ReadPlan>) -> Result<SchemaRef> {
        let discovered = match plan {
            Some(_) => None,
            None => self.read_plan()?,
        };
        let plan = plan.or(discovered.as_ref());
        let columns = plan.map(|plan| plan.columns.clone()).unwrap_or_default();
        let plan = ReadPlan { columns };
        let guess = self.guess.clone();
        let decoder = Decoder::new(Arc::clone(&self.name), &plan, guess, self.sizes);
        let schema = Arc::clone(decoder.schema());
        self.decoder = Some(Arc::new(decoder));
        Ok(schema)
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        if self.ended {
            return Ok(None);
        }
        let Some(decoder) = &self.decoder else {
            return Err(Error::internal(format!("`{}` was read before it was begun", self.name)));
        };
        let decoder = Arc::clone(decoder);
        self.ended = true; // unless there is a chunk: after an error nothing comes either
        let Some(cut) = self.cutter.next()? else {
            return Ok(None);
        };
        self.ended = false;
        let first = std::mem::replace(&mut self.first, false);
        Ok(Some(Box::new(Text::new(decoder, cut, first))))
    }

    fn notes(&self) -> Vec<String> {
        if self.ended && self.first {
            return vec![format!("`{}` is empty", self.name)];
        }
        if self.cutter.bom() {
            return vec![format!(
                "`{}` begins with a byte order mark, which is left out",
                self.name
            )];
        }
        Vec::new()
    }
}
