//! The traits that destinations implement: what workers make of batches, and what becomes of it.

use std::any::Any;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::Result;
use crate::findings::Findings;
use crate::loaded::Loaded;

/// What a worker made of a chunk for one destination.
pub struct Encoded {
    /// Records in it.
    pub records: u64,
    /// Its size in memory, in bytes.
    pub bytes: u64,
    /// What the loader that handed out the encoder expects.
    pub payload: Box<dyn Any + Send>,
}

/// Turns batches into what a destination appends. Workers share it.
pub trait Encoder: Send + Sync {
    /// Starts the encoding of one chunk.
    fn begin(&self) -> Box<dyn Part>;
}

/// One chunk being encoded by one worker.
pub trait Part: Send {
    /// Adds a batch. Its flaws are settled.
    ///
    /// # Errors
    /// When the batch cannot be encoded.
    fn push(&mut self, batch: &Batch) -> Result<()>;

    /// Completes the chunk.
    ///
    /// # Errors
    /// When the chunk cannot be encoded.
    fn finish(self: Box<Self>) -> Result<Encoded>;
}

/// What a load would change in rows that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Columns that would change, and in how many rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<(String, u64)>,
    /// The first of these rows, each in one line: its key, and each old and new value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

/// Two-phase: `append` in order, `prepare` makes all of it durable but invisible, `publish` shows it.
/// Dropping a loader that is not published aborts it.
pub trait Loader: Send {
    /// What the destination is called in messages and the report.
    fn name(&self) -> &str;

    /// Says that nothing will be published, and that [`Self::preview`] will be asked for. Called
    /// before the first `append`, if at all.
    fn plan(&mut self) {}

    /// What publishing would change in rows that are there; known once `prepare` was called.
    fn preview(&self) -> Option<Preview> {
        None
    }

    /// Things a reader of the report should know, one sentence each: how the destination itself
    /// changes. Asked once `prepare` was called.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The encoder that workers share.
    fn encoder(&self) -> Arc<dyn Encoder>;

    /// Takes the next chunk, in source order. Records that the destination refuses go to
    /// `findings`.
    ///
    /// # Errors
    /// When the destination cannot go on.
    fn append(&mut self, part: Encoded, findings: &mut Findings) -> Result<()>;

    /// Judges the records as a whole, after the last `append` and before `prepare`, a piece at a
    /// time: answers whether there may be more, so that what one piece finds can be written down
    /// before the next. `prepare` does what was not asked for here.
    ///
    /// # Errors
    /// When the destination cannot go on.
    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        let _ = findings;
        Ok(false)
    }

    /// Makes everything durable, and shows none of it. Answers what publishing will amount to, so
    /// that the books can be checked before.
    ///
    /// # Errors
    /// When the destination cannot go on.
    fn prepare(&mut self, findings: &mut Findings) -> Result<Loaded>;

    /// Whether publishing can still fail for reasons of the data, as a commit with deferred
    /// constraints can. Such destinations are published before those that only rename.
    fn commits(&self) -> bool {
        false
    }

    /// Shows everything at once, and answers what `prepare` did. After a transient error it may be called again.
    ///
    /// # Errors
    /// When it could not be shown; the old state is still there.
    fn publish(&mut self) -> Result<Loaded>;

    /// Removes every trace.
    fn abort(self: Box<Self>);
}
