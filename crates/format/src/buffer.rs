//! Padded buffers that are used again.
//!
//! A chunk's text is shared by its batches and their rejects. When the last of them is gone, its
//! buffer comes back for another chunk, so that the system does not have to find and clear fresh
//! memory for every one.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::simd::PAD;

/// Buffers that wait to be used again. Only those of the usual size are kept.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

/// More than are in flight with the usual number of workers would only hold memory.
const KEPT: usize = 4;

impl Pool {
    /// A pool of buffers for `size` bytes of text.
    pub(crate) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, free: Mutex::default() })
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, bytes: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() == self.size + PAD && free.len() < KEPT {
            free.push(bytes);
        }
    }
}

/// The text between what was handed out and what is yet to be read.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>, // all of it initialised, at least PAD longer than `len`
    len: usize,
    eof: bool,
    pool: Arc<Pool>,
}

impl Buffer {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { bytes: vec![0; PAD], len: 0, eof: false, pool }
    }

    /// The text, and [`PAD`] more bytes behind it that mean nothing.
    pub(crate) fn padded(&self) -> &[u8] {
        &self.bytes[..self.len + PAD]
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether nothing comes after the text.
    pub(crate) fn eof(&self) -> bool {
        self.eof
    }

    /// Reads until the text has `want` bytes or the input ends.
    pub(crate) fn fill(&mut self, input: &mut dyn Read, want: usize) -> io::Result<()> {
        if self.eof || self.len >= want {
            return Ok(());
        }
        if self.bytes.len() < want + PAD {
            let fresh = if want <= self.pool.size { self.pool.take() } else { None };
            match fresh {
                Some(mut fresh) => {
                    fresh[..self.len].copy_from_slice(&self.bytes[..self.len]);
                    self.bytes = fresh;
                }
                None => {
                    let mut fresh = vec![0; want.max(self.pool.size) + PAD];
                    fresh[..self.len].copy_from_slice(&self.bytes[..self.len]);
                    self.bytes = fresh;
                }
            }
        }
        while self.len < want {
            match input.read(&mut self.bytes[self.len..want]) {
                Ok(0) => {
                    self.eof = true;
                    break;
                }
                Ok(n) => self.len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Hands out the bytes before `cut`, with the padding behind them, and keeps the rest.
    pub(crate) fn split(&mut self, cut: usize) -> Bytes {
        let rest = self.len - cut;
        let fresh = (rest + PAD <= self.pool.size).then(|| self.pool.take()).flatten();
        let mut fresh = fresh.unwrap_or_else(|| vec![0; rest + PAD]);
        fresh[..rest].copy_from_slice(&self.bytes[cut..self.len]);
        let bytes = std::mem::replace(&mut self.bytes, fresh);
        self.len = rest;
        Bytes::from_owner(Lent { bytes, len: cut + PAD, pool: Arc::clone(&self.pool) })
    }

    /// Puts `n` times `byte` in place of the bytes from `from` to `to`, which are not fewer.
    pub(crate) fn shrink(&mut self, from: usize, to: usize, byte: u8, n: usize) {
        self.bytes[from..from + n].fill(byte);
        self.bytes.copy_within(to..self.len, from + n);
        self.len -= to - from - n;
    }

    /// Forgets the bytes before `cut`.
    pub(crate) fn skip(&mut self, cut: usize) {
        self.bytes.copy_within(cut..self.len, 0);
        self.len -= cut;
    }
}

/// A buffer that a chunk holds.
struct Lent {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}
