//! A load of a table, as far as it does not matter which database the table is in: the transaction
//! that its records are merged in publishes them with its commit.

use std::sync::Arc;

use gristmill_core::{Encoded, Encoder, Error, Findings, Loaded, Loader, Preview, Result};

use crate::merge::Outcome;

/// What a database does for a load of a table. Dropped, it takes back what was not committed.
pub(crate) trait Load: Send + 'static {
    /// What the encoder makes of a chunk.
    type Chunk: 'static;

    /// The encoder that workers share.
    fn encoder(&self) -> Arc<dyn Encoder>;

    /// Says that nothing will be committed, before the first chunk.
    fn plan(&mut self) {}

    /// How the table itself changes, one sentence each.
    fn notes(&self) -> Vec<String>;

    /// Takes the next chunk, and answers the bytes of its values.
    fn take(&mut self, chunk: Self::Chunk, findings: &mut Findings) -> Result<u64>;

    /// Rejects some of the records that others of the load displace, once all are there; answers
    /// whether there may be more.
    fn settle(&mut self, findings: &mut Findings) -> Result<bool>;

    /// Merges all records, in the transaction; where that is only planned, says what it would
    /// change in rows that are there.
    fn merge(&mut self, plans: bool, findings: &mut Findings)
    -> Result<(Outcome, Option<Preview>)>;

    /// Commits the transaction, unless another load in it has.
    fn commit(&mut self) -> Result<()>;
}

/// A load going on.
struct Loading<L> {
    name: String,
    load: L,
    /// Bytes of values so far.
    bytes: u64,
    /// Whether nothing will be published, and what would change.
    plans: bool,
    preview: Option<Preview>,
    prepared: Option<Outcome>,
}

/// The load of a table in a database, by the names of both.
pub(crate) fn loader<L: Load>(table: &str, database: &str, load: L) -> Box<dyn Loader> {
    Box::new(Loading {
        name: format!("{table} in {database}"),
        load,
        bytes: 0,
        plans: false,
        preview: None,
        prepared: None,
    })
}

impl<L: Load> Loader for Loading<L> {
    fn name(&self) -> &str {
        &self.name
    }

    fn plan(&mut self) {
        self.plans = true;
        self.load.plan();
    }

    fn preview(&self) -> Option<Preview> {
        self.preview.clone()
    }

    fn notes(&self) -> Vec<String> {
        self.load.notes()
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        self.load.encoder()
    }

    fn append(&mut self, part: Encoded, findings: &mut Findings) -> Result<()> {
        let chunk = part
            .payload
            .downcast::<L::Chunk>()
            .map_err(|_| Error::internal("a table was given what another encoder made"))?;
        self.bytes += self.load.take(*chunk, findings)?;
        Ok(())
    }

    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        self.load.settle(findings)
    }

    fn prepare(&mut self, findings: &mut Findings) -> Result<Loaded> {
        while self.load.settle(findings)? {}
        let (outcome, preview) = self.load.merge(self.plans, findings)?;
        let loaded = outcome.loaded(self.bytes);
        (self.prepared, self.preview) = (Some(outcome), preview);
        Ok(loaded)
    }

    fn commits(&self) -> bool {
        true
    }

    fn publish(&mut self) -> Result<Loaded> {
        let Some(outcome) = &self.prepared else {
            return Err(Error::internal(format!("`{}` was published unprepared", self.name)));
        };
        self.load.commit()?;
        Ok(outcome.loaded(self.bytes))
    }

    fn abort(self: Box<Self>) {}
}
