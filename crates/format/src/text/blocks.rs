//! Text in blocks that are used again.
//!
//! A part of a text file has some megabytes. In one piece they would be moved as the piece grows,
//! and their memory would be given back to the system and asked for again with every part: the
//! pages that the kernel clears would cost as much as the text.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_core::Result;

use crate::Compression;

/// Bytes of a block. Text that is shorter takes a smaller one.
const BLOCK: usize = 256 << 10;
/// Bytes that a block starts with.
const LEAST: usize = 16 << 10;
/// Bytes that are left for long texts when a row begins, so that few rows make a block grow.
const SPARE: usize = 8 << 10;
/// Sizes of blocks that are kept for later: a block grows with a row that is too long for it, and
/// takes no row that begins behind its usual size.
const KEPT: std::ops::RangeInclusive<usize> = BLOCK..=2 * BLOCK;
/// How many of them are kept.
const MAX_IDLE: usize = 128;

/// Blocks that wait to be used again, shared by the encoders and the sinks of a writer.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| vec![0; BLOCK])
    }

    /// Takes the blocks of a text that is written.
    pub(crate) fn give_back(&self, text: Text) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = text.blocks.into_iter().filter(|(block, _)| KEPT.contains(&block.len()));
        let room = MAX_IDLE.saturating_sub(idle.len());
        idle.extend(fit.map(|(block, _)| block).take(room));
    }
}

/// Text that is complete.
pub(crate) struct Text {
    /// Blocks, and how many of their bytes are text.
    blocks: Vec<(Vec<u8>, usize)>,
}

impl Text {
    pub(crate) fn len(&self) -> usize {
        self.blocks.iter().map(|(_, len)| len).sum()
    }

    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        self.blocks.iter().try_for_each(|(block, len)| out.write_all(&block[..*len]))
    }
}

/// Text being written.
pub(crate) struct TextWriter {
    pool: Arc<Pool>,
    full: Vec<(Vec<u8>, usize)>,
    /// The block being written to, of which every byte is initialised.
    open: Vec<u8>,
    at: usize,
}

impl TextWriter {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, full: Vec::new(), open: Vec::new(), at: 0 }
    }

    /// Where the text ends in the open block. Whoever goes on from there says by
    /// [`Self::set_end`] where it stopped.
    pub(crate) fn end(&self) -> usize {
        self.at
    }

    pub(crate) fn set_end(&mut self, at: usize) {
        self.at = at;
    }

    /// The block in which the text ends at `at` or is to go on, and where, with room for
    /// `need` bytes.
    #[inline(always)]
    pub(crate) fn room(&mut self, at: usize, need: usize) -> (&mut Vec<u8>, usize) {
        let need = need + SPARE;
        let is_full = self.open.len() - at < need || at >= BLOCK;
        let at = if is_full { self.turn(at, need) } else { at };
        (&mut self.open, at)
    }

    #[cold]
    fn turn(&mut self, at: usize, need: usize) -> usize {
        if self.open.len() < BLOCK || at == 0 {
            let len = match at + need {
                need if need <= BLOCK => need.max(2 * self.open.len()).clamp(LEAST, BLOCK),
                need => need,
            };
            self.open.resize(len, 0);
            return at;
        }
        let mut next = self.pool.take();
        if next.len() < need {
            next.resize(need, 0);
        }
        self.full.push((std::mem::replace(&mut self.open, next), at));
        0
    }

    /// The text, each byte of it compressed as one member; nothing if there is none.
    pub(crate) fn finish(mut self, compression: Compression) -> Result<Text> {
        if self.at > 0 {
            self.full.push((self.open, self.at));
        }
        let text = Text { blocks: self.full };
        if compression == Compression::None || text.len() == 0 {
            return Ok(text);
        }
        let mut whole = Vec::with_capacity(text.len());
        text.blocks.iter().for_each(|(block, len)| whole.extend_from_slice(&block[..*len]));
        self.pool.give_back(text);
        let packed = compression.compress(&whole)?;
        let len = packed.len();
        Ok(Text { blocks: vec![(packed, len)] })
    }
}

/// Makes room for `need` bytes from `at` on, in the middle of a row.
#[inline(always)]
pub(crate) fn extend(block: &mut Vec<u8>, at: usize, need: usize) {
    if block.len() - at < need {
        grow(block, at + need);
    }
}

#[cold]
fn grow(block: &mut Vec<u8>, len: usize) {
    block.resize(len.max(block.len() + block.len() / 4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_row_sizes_is_written_whole() {
        let pool = Arc::new(Pool::default());
        for _ in 0..2 {
            let mut expected = Vec::new();
            let mut text = TextWriter::new(Arc::clone(&pool));
            let mut at = text.end();
            let sizes = [1, 5000, 3, 300_000, 0, 70_000, 260_000, 1].into_iter().cycle();
            let sizes = sizes.take(40).chain([20_000; 80]);
            for (row, size) in sizes.enumerate() {
                let bytes = vec![row as u8; size];
                let (block, start) = text.room(at, 40);
                extend(block, start, size + 40);
                block[start..start + size].copy_from_slice(&bytes);
                expected.extend(bytes);
                at = start + size;
            }
            text.set_end(at);
            let text = text.finish(Compression::None).unwrap();
            let mut out = Vec::new();
            text.write_to(&mut out).unwrap();
            assert!(out == expected && text.len() == out.len());
            pool.give_back(text);
        }
        assert!(pool.0.lock().unwrap().iter().all(|block| KEPT.contains(&block.len())));
        assert!(!pool.0.lock().unwrap().is_empty());
    }

    #[test]
    fn rows_of_long_texts_leave_blocks_that_are_used_again() {
        let pool = Arc::new(Pool::default());
        let mut text = TextWriter::new(Arc::clone(&pool));
        let mut at = text.end();
        for _ in 0..200 {
            let (block, start) = text.room(at, 40);
            extend(block, start, 60_000 + 40);
            at = start + 10_000;
        }
        text.set_end(at);
        let text = text.finish(Compression::None).unwrap();
        assert_eq!(text.len(), 2_000_000);
        assert!(text.blocks.iter().all(|(block, _)| block.len() <= 2 * BLOCK));
    }

    #[test]
    fn short_text_takes_a_short_block() {
        let mut text = TextWriter::new(Arc::default());
        let (_, at) = text.room(0, 100);
        text.set_end(at + 1);
        assert_eq!(text.open.len(), LEAST);
        assert_eq!(text.finish(Compression::None).unwrap().len(), 1);
        let empty = TextWriter::new(Arc::default()).finish(Compression::Gzip).unwrap();
        assert_eq!(empty.len(), 0);
    }
}
