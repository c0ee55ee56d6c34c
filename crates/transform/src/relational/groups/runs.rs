//! Groups in the order of their keys: in memory, on disk, and several such runs as one.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use gristmill_core::{Error, Result, Space};

use super::fold::{Layout, Long};

/// Groups in the order of their keys, each as a row: the length of its key in bytes, the key, and
/// the words. A key may come several times, one behind the other: together they are its group.
pub(super) struct Run {
    /// Rows that are in memory.
    rows: Vec<u64>,
    /// The next row among them; empty at the end.
    row: Range<usize>,
    /// What is not in `rows` yet.
    rest: Rest,
}

/// Rows that follow.
enum Rest {
    Stored(Stored),
    /// Makes the next ones; none at the end.
    Made(Box<dyn FnMut() -> Result<Vec<u64>> + Send>),
}

/// A part of a file with rows.
struct Stored {
    file: Arc<File>,
    left: Range<u64>,
    /// Bytes that are read at once.
    reads: usize,
}

/// Runs in a file without a name, one behind the other.
#[derive(Debug)]
pub(super) struct Store {
    file: Arc<File>,
    runs: Vec<Range<u64>>,
    end: u64,
}

/// Bytes that are written at once.
const BUFFER: usize = 64 << 10;
/// The first word of a row: bytes of the key, and above them those of its texts.
const KEY: u64 = u32::MAX as u64;

/// Groups of a batch, and bytes of the texts of their keys.
pub(super) fn most() -> (usize, usize) {
    (8192, 1 << 20)
}

/// Begins a row with a key, whose texts have so many bytes. Keys are in words, the first byte
/// highest and zeros behind the last, so that they compare as their bytes do. No key begins another.
pub(super) fn append_key(rows: &mut Vec<u64>, key: &[u8], text: usize) {
    rows.push(key.len() as u64 | (text as u64) << 32);
    let (whole, rest) = key.as_chunks::<8>();
    rows.extend(whole.iter().map(|word| u64::from_be_bytes(*word)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        rows.push(u64::from_be_bytes(last));
    }
}

/// Words of a key in the row that begins with this one.
fn key_words(first: u64) -> usize {
    ((first & KEY) as usize).div_ceil(8)
}

impl Store {
    pub(super) fn new(space: &Space) -> Result<Self> {
        let file = tempfile::tempfile_in(&space.scratch).map_err(|found| failed(space, found))?;
        Ok(Self { file: Arc::new(file), runs: Vec::new(), end: 0 })
    }

    /// Writes the rows that `next` makes, until there are none, as a run.
    pub(super) fn put(
        &mut self,
        space: &Space,
        mut next: impl FnMut() -> Result<Vec<u64>>,
    ) -> Result<()> {
        let start = self.end;
        loop {
            let rows = next()?;
            if rows.is_empty() {
                break;
            }
            rows.chunks(BUFFER / size_of::<u64>()).try_for_each(|rows| self.write(rows, space))?;
        }
        self.runs.push(start..self.end);
        Ok(())
    }

    /// Makes one run of all.
    pub(super) fn merge(&mut self, reads: usize, layout: &Layout, space: &Space) -> Result<()> {
        let mut merged = Self::new(space)?;
        let mut merge = Merge::new(self.runs(reads, layout)?, layout);
        merged.put(space, || {
            let mut rows = Vec::new();
            while rows.len() * size_of::<u64>() < BUFFER
                && let Some(run) = merge.least()
            {
                rows.extend_from_slice(run.row());
                merge.advance()?;
            }
            Ok(rows)
        })?;
        *self = merged;
        Ok(())
    }

    fn write(&mut self, rows: &[u64], space: &Space) -> Result<()> {
        let mut bytes = Vec::with_capacity(size_of_val(rows));
        rows.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        self.file.write_all_at(&bytes, self.end).map_err(|found| failed(space, found))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The runs, each of which reads so many bytes at once.
    pub(super) fn runs(&self, reads: usize, layout: &Layout) -> Result<Vec<Run>> {
        let run = |place: &Range<u64>| {
            let (file, left) = (Arc::clone(&self.file), place.clone());
            Run::new(Rest::Stored(Stored { file, left, reads }), layout)
        };
        self.runs.iter().map(run).collect()
    }
}

impl Run {
    fn new(rest: Rest, layout: &Layout) -> Result<Self> {
        let mut run = Self { rows: Vec::new(), row: 0..0, rest };
        run.advance(layout)?;
        Ok(run)
    }

    /// Rows that `next` makes, until there are none.
    pub(super) fn made(
        next: impl FnMut() -> Result<Vec<u64>> + Send + 'static,
        layout: &Layout,
    ) -> Result<Self> {
        Self::new(Rest::Made(Box::new(next)), layout)
    }

    fn row(&self) -> &[u64] {
        &self.rows[self.row.clone()]
    }

    /// The key of the next row.
    fn key(&self) -> &[u64] {
        let row = self.row();
        &row[1..1 + key_words(row[0])]
    }

    /// Goes on to the next row.
    fn advance(&mut self, layout: &Layout) -> Result<()> {
        let start = self.row.end;
        self.row = start..start;
        if self.has(1)? {
            let words = 1 + key_words(self.rows[self.row.start]) + layout.width;
            if !self.has(words)? {
                return Err(Error::internal("a group was cut off"));
            }
            self.row.end = self.row.start + words;
        }
        Ok(())
    }

    /// Whether there are so many words more, which are in memory then.
    #[inline]
    fn has(&mut self, words: usize) -> Result<bool> {
        while self.rows.len() - self.row.start < words {
            let more = match &mut self.rest {
                Rest::Stored(stored) => stored.read(words * size_of::<u64>())?,
                Rest::Made(next) => next()?,
            };
            if more.is_empty() {
                return Ok(false);
            }
            self.rows.drain(..self.row.start);
            self.row = 0..0;
            self.rows.extend(more);
        }
        Ok(true)
    }
}

impl Stored {
    /// The next words, so many bytes at least if there are.
    fn read(&mut self, least: usize) -> Result<Vec<u64>> {
        let bytes = (self.left.end - self.left.start).min(self.reads.max(least) as u64);
        let mut read = vec![0; bytes as usize];
        self.file
            .read_exact_at(&mut read, self.left.start)
            .map_err(|source| Error::io("cannot read groups again that were put away", source))?;
        self.left.start += bytes;
        let (words, _) = read.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }
}

fn failed(space: &Space, source: std::io::Error) -> Error {
    let folder = space.scratch.display();
    Error::io(format!("cannot keep what does not fit in memory in `{folder}`"), source)
        .hint("TMPDIR names another folder for temporary files; with a higher `limits.memory` less is kept there")
}

/// Runs, read together in the order of their keys.
pub(super) struct Merge {
    runs: Vec<Run>,
    /// The first words of the next key of each run that has one, and its number: a heap, the least
    /// key first.
    heads: Vec<([u64; 2], u32)>,
    layout: Layout,
}

impl Merge {
    pub(super) fn new(runs: Vec<Run>, layout: &Layout) -> Self {
        let runs: Vec<Run> = runs.into_iter().filter(|run| !run.row.is_empty()).collect();
        let heads = runs.iter().enumerate().map(|(i, run)| (front(run.key()), i as u32));
        let heads = heads.collect();
        let mut merge = Self { runs, heads, layout: layout.clone() };
        (0..merge.heads.len() / 2).rev().for_each(|at| merge.sink(at));
        merge
    }

    /// The run with the least key.
    fn least(&self) -> Option<&Run> {
        self.heads.first().map(|(_, run)| &self.runs[*run as usize])
    }

    fn advance(&mut self) -> Result<()> {
        let Some((_, number)) = self.heads.first().copied() else { return Ok(()) };
        let run = &mut self.runs[number as usize];
        run.advance(&self.layout)?;
        if run.row.is_empty() {
            run.rows = Vec::new();
            self.heads.swap_remove(0);
        } else {
            self.heads[0].0 = front(run.key());
        }
        self.sink(0);
        Ok(())
    }

    #[inline]
    fn less(&self, one: usize, other: usize) -> bool {
        let ((front, run), (other_front, other_run)) = (self.heads[one], self.heads[other]);
        match front == other_front {
            false => front < other_front,
            true => self.runs[run as usize].key() < self.runs[other_run as usize].key(),
        }
    }

    /// Moves a head down to where it belongs.
    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heads.len() {
                return;
            }
            let least =
                if right < self.heads.len() && self.less(right, left) { right } else { left };
            if !self.less(least, at) {
                return;
            }
            self.heads.swap(at, least);
            at = least;
        }
    }

    /// The groups that are given next; none at the end.
    pub(super) fn groups(&mut self) -> Result<Merged> {
        let (most, most_bytes) = most();
        let (mut groups, none) = (Merged::default(), Long::default());
        while let Some(run) = self.least() {
            let (key, width) = (run.key(), self.layout.width);
            let words = &run.row()[1 + key.len()..];
            if groups.last.as_slice() == key && groups.len() > 0 {
                let (group, at) = (groups.len() - 1, groups.words.len() - width);
                let into = (&mut groups.words[at..], group as u32, &mut groups.long);
                self.layout.merge(into, (words, 0, &none));
            } else {
                if groups.len() >= most || groups.text >= most_bytes {
                    break;
                }
                groups.push(key, run.row()[0], words);
            }
            self.advance()?;
        }
        Ok(groups)
    }
}

/// The first words of a key: keys that differ in them are in their order.
fn front(key: &[u64]) -> [u64; 2] {
    [key.first().copied().unwrap_or_default(), key.get(1).copied().unwrap_or_default()]
}

/// Groups one behind the other.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The bytes of their keys, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    pub(super) words: Vec<u64>,
    pub(super) long: Long,
    /// The key of the last of them.
    last: Vec<u64>,
    /// Bytes of the texts of their keys.
    text: usize,
}

impl Merged {
    /// Adds a group, whose row begins with this word.
    fn push(&mut self, key: &[u64], first: u64, words: &[u64]) {
        self.last.clear();
        self.last.extend_from_slice(key);
        key.iter().for_each(|word| self.keys.extend_from_slice(&word.to_be_bytes()));
        self.keys.truncate(self.keys.len() - (key.len() * 8 - (first & KEY) as usize));
        self.ends.push(self.keys.len());
        self.text += (first >> 32) as usize;
        self.words.extend_from_slice(words);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.keys[start..*end])
    }
}
