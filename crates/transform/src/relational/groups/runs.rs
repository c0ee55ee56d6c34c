//! Groups in the order of their keys: in memory, on disk, and several such runs as one.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use gristmill_core::{Error, Result, Space};

use super::fold::{Layout, Long};
use super::table::{Table, front, key_words};

/// Groups in the order of their keys, each as a row: the length of its key in bytes, the key, and
/// the words. A key may come several times, one behind the other: together they are its group.
#[derive(Debug)]
pub(super) struct Run {
    /// Rows that are in memory.
    rows: Vec<u64>,
    /// The next row among them; empty at the end.
    row: Range<usize>,
    /// What is still on disk.
    stored: Option<Stored>,
}

/// A part of a file with rows.
#[derive(Debug)]
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

impl Store {
    pub(super) fn new(space: &Space) -> Result<Self> {
        let file = tempfile::tempfile_in(&space.scratch).map_err(|found| failed(space, found))?;
        Ok(Self { file: Arc::new(file), runs: Vec::new(), end: 0 })
    }

    /// Writes the groups of a table as a run.
    pub(super) fn put(&mut self, table: &Table, layout: &Layout, space: &Space) -> Result<()> {
        let start = self.end;
        let rows = table.sorted_rows(layout);
        rows.chunks(BUFFER / size_of::<u64>()).try_for_each(|rows| self.write(rows, space))?;
        self.runs.push(start..self.end);
        Ok(())
    }

    /// Writes several runs as one.
    pub(super) fn merge(&mut self, runs: Vec<Run>, layout: &Layout, space: &Space) -> Result<()> {
        let (mut rows, start) = (Vec::new(), self.end);
        let mut merge = Merge::new(runs, layout);
        while let Some(run) = merge.least() {
            rows.extend_from_slice(run.row());
            if rows.len() * size_of::<u64>() >= BUFFER {
                self.write(&rows, space)?;
                rows.clear();
            }
            merge.advance()?;
        }
        self.write(&rows, space)?;
        self.runs.push(start..self.end);
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
            let stored = Some(Stored { file, left, reads });
            let mut run = Run { rows: Vec::new(), row: 0..0, stored };
            run.advance(layout)?;
            Ok(run)
        };
        self.runs.iter().map(run).collect()
    }
}

impl Run {
    /// The groups of a table.
    pub(super) fn sorted(table: &Table, layout: &Layout) -> Result<Self> {
        let mut run = Self { rows: table.sorted_rows(layout), row: 0..0, stored: None };
        run.advance(layout)?;
        Ok(run)
    }

    fn row(&self) -> &[u64] {
        &self.rows[self.row.clone()]
    }

    /// The key of the next row, and its length in bytes.
    fn key(&self) -> (&[u64], usize) {
        let row = self.row();
        let bytes = row[0] as usize;
        (&row[1..1 + key_words(bytes)], bytes)
    }

    /// Goes on to the next row.
    fn advance(&mut self, layout: &Layout) -> Result<()> {
        let start = self.row.end;
        self.row = start..start;
        if self.has(1)? {
            let words = 1 + key_words(self.rows[self.row.start] as usize) + layout.width;
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
            let Some(Stored { file, left, reads }) = &mut self.stored else { return Ok(false) };
            let bytes = (left.end - left.start).min((*reads).max(words * 8) as u64);
            if bytes == 0 {
                return Ok(false);
            }
            let mut read = vec![0; bytes as usize];
            file.read_exact_at(&mut read, left.start).map_err(|source| {
                Error::io("cannot read groups again that were put away", source)
            })?;
            left.start += bytes;
            self.rows.drain(..self.row.start);
            self.row = 0..0;
            let (words, _) = read.as_chunks::<8>();
            self.rows.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        }
        Ok(true)
    }
}

fn failed(space: &Space, source: std::io::Error) -> Error {
    let folder = space.scratch.display();
    Error::io(format!("cannot keep what does not fit in memory in `{folder}`"), source)
        .hint("TMPDIR names another folder for temporary files; with a higher `limits.memory` less is kept there")
}

/// Runs, read together in the order of their keys.
#[derive(Debug)]
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
        let heads = runs.iter().enumerate().map(|(i, run)| (front(run.key().0), i as u32));
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
            self.heads[0].0 = front(run.key().0);
        }
        self.sink(0);
        Ok(())
    }

    #[inline]
    fn less(&self, one: usize, other: usize) -> bool {
        let ((front, run), (other_front, other_run)) = (self.heads[one], self.heads[other]);
        match front == other_front {
            false => front < other_front,
            true => self.runs[run as usize].key().0 < self.runs[other_run as usize].key().0,
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

    /// The next groups, so many or as many as have so many bytes of keys; none at the end.
    pub(super) fn groups(&mut self, most: usize, most_bytes: usize) -> Result<Groups> {
        let mut groups = Groups::default();
        while let Some(run) = self.heads.first().map(|(_, run)| &self.runs[*run as usize]) {
            let ((key, bytes), width) = (run.key(), self.layout.width);
            let words = &run.row()[1 + key.len()..];
            if groups.last.as_slice() == key && groups.len() > 0 {
                let (group, at) = (groups.len() - 1, groups.words.len() - width);
                let into = &mut groups.words[at..];
                self.layout.merge(into, words, group as u32, &mut groups.long);
            } else {
                if groups.len() >= most || groups.keys.len() >= most_bytes {
                    break;
                }
                groups.push(key, bytes, words);
            }
            self.advance()?;
        }
        Ok(groups)
    }
}

/// Groups one behind the other.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The bytes of their keys, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    pub(super) words: Vec<u64>,
    pub(super) long: Long,
    /// The key of the last of them.
    last: Vec<u64>,
}

impl Groups {
    /// Adds a group, whose key has so many bytes.
    pub(super) fn push(&mut self, key: &[u64], bytes: usize, words: &[u64]) {
        self.last.clear();
        self.last.extend_from_slice(key);
        key.iter().for_each(|word| self.keys.extend_from_slice(&word.to_be_bytes()));
        self.keys.truncate(self.keys.len() - (key.len() * 8 - bytes));
        self.ends.push(self.keys.len());
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
