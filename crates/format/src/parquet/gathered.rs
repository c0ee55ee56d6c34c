//! The bytes of a column chunk, gathered from its pages without a copy of them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Bytes in pieces, one behind the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    pieces: VecDeque<Bytes>,
    len: usize,
}

/// Gathers what is written.
#[derive(Debug, Default)]
pub(super) struct Gather {
    gathered: Gathered,
    /// What is written next, or a part of it: kept as it is when it comes in one piece.
    pub(super) expected: Bytes,
    /// What came otherwise, behind the pieces.
    rest: Vec<u8>,
}

impl Gather {
    /// All that was written.
    pub(super) fn finish(mut self) -> Gathered {
        self.end_piece();
        self.gathered
    }

    fn end_piece(&mut self) {
        if !self.rest.is_empty() {
            self.gathered.pieces.push_back(std::mem::take(&mut self.rest).into());
        }
    }
}

impl Write for Gather {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::ptr::eq(bytes, &*self.expected) {
            self.end_piece();
            self.gathered.pieces.push_back(std::mem::take(&mut self.expected));
        } else {
            self.rest.extend_from_slice(bytes);
        }
        self.gathered.len += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Read for Gathered {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(piece) = self.pieces.front_mut().filter(|_| read < out.len()) {
            let n = piece.len().min(out.len() - read);
            piece.copy_to_slice(&mut out[read..read + n]);
            read += n;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.len -= read;
        Ok(read)
    }
}

impl Length for Gathered {
    fn len(&self) -> u64 {
        self.len as u64
    }
}

impl ChunkReader for Gathered {
    type T = Self;

    fn get_read(&self, start: u64) -> Result<Self> {
        let mut rest = self.clone();
        let skipped = io::copy(&mut rest.by_ref().take(start), &mut io::sink())?;
        if skipped < start {
            return Err(ParquetError::EOF(format!("{start} is behind {} bytes", self.len)));
        }
        Ok(rest)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(length);
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} on are not there")));
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..9),
            (start, length) in (0..200usize, 0..200usize),
        ) {
            let (mut gather, mut all) = (Gather::default(), Vec::new());
            for (piece, expected) in &pieces {
                let piece = Bytes::from(piece.clone());
                if *expected {
                    gather.expected = piece.clone();
                }
                gather.write_all(&piece).unwrap();
                all.extend_from_slice(&piece);
            }
            let gathered = gather.finish();
            prop_assert_eq!(gathered.len(), all.len());
            let mut read = Vec::new();
            gathered.get_read(0).unwrap().read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &all);
            let part = gathered.get_bytes(start as u64, length).ok();
            prop_assert_eq!(part.as_deref(), all.get(start..start + length));
        }
    }
}
