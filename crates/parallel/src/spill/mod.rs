//! What does not fit in memory: keys and batches that wait on disk.
//!
//! | to | use |
//! |---|---|
//! | know at once whether a key was seen before, and with what | [`Seen`] |
//! | know afterwards which record was the last with its key | [`Lasts`] |
//! | count how many times each key came, or have values in their order | [`Counts`] |
//! | hold batches back, with their provenance, and give them again in order | [`HeldBatches`] |
//!
//! Each takes a [`Space`]: what it holds in memory stays below `memory`, the rest is in files
//! without a name in `scratch`, of which the system frees itself even when the process is killed.
//! What they answer is the same for any amount of memory.

mod archive;
mod counts;
mod held;
mod lasts;
mod run;
mod seen;

use std::fs::File;
use std::io;

use gristmill_core::{Error, Result, Space};

pub use archive::Provenance;
pub use counts::Counts;
pub use held::HeldBatches;
pub use lasts::Lasts;
pub use seen::Seen;

/// A file that has no name.
fn file(space: &Space) -> Result<File> {
    tempfile::tempfile_in(&space.scratch).map_err(|source| failed(space, source))
}

fn failed(space: &Space, source: io::Error) -> Error {
    let folder = space.scratch.display();
    Error::io(format!("cannot keep what does not fit in memory in `{folder}`"), source).hint(
        "TMPDIR names another folder for temporary files; with a higher `limits.memory` less is kept there",
    )
}
