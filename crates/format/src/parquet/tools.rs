//! What encoding a row group needs besides its columns, and how large its pages are.

use super::compress::Compressor;

/// Rows of a page, at most: the `parquet` crate's default, so that page indexes are of use.
pub(super) const PAGE_ROWS: usize = 20_000;
/// Bytes of a page without compression, where its values are not larger: the crate's default.
pub(super) const PAGE_BYTES: usize = 1 << 20;
/// Room before the values of a page for its levels: three bytes of bits take four at most.
pub(super) const HEAD: usize = 64 + PAGE_ROWS / 6;

/// What the columns of a row group share, and leave to those of the next one: a page that grows
/// from nothing in every row group would be moved many times.
pub(super) struct Tools {
    pub(super) compressor: Compressor,
    pub(super) levels: Vec<u8>,
    /// Pages, and ids, that nobody fills.
    idle: Vec<(Vec<u8>, Vec<u32>)>,
}

/// How many pages wait to be filled again, at most.
const MAX_IDLE: usize = 16;

impl Tools {
    pub(super) fn new(compressor: Compressor) -> Self {
        Self { compressor, levels: Vec::new(), idle: Vec::new() }
    }

    /// A page without values, and ids.
    pub(super) fn page(&mut self) -> (Vec<u8>, Vec<u32>) {
        self.idle.pop().unwrap_or_else(|| (vec![0; HEAD], Vec::new()))
    }

    pub(super) fn give_back(&mut self, mut page: Vec<u8>, mut ids: Vec<u32>) {
        if page.len() >= HEAD && page.capacity() <= PAGE_BYTES && self.idle.len() < MAX_IDLE {
            page.truncate(HEAD);
            ids.clear();
            self.idle.push((page, ids));
        }
    }
}
