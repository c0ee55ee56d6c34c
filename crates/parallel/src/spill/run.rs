//! Keys on disk, in ascending order: written once, looked up by page, merged into larger runs.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;

use crate::key::KeyHash;

/// A key, and what was noted with it.
pub(super) type Entry = (KeyHash, u64);

const ENTRY: usize = 24;
/// Entries that are read together.
const PAGE: usize = 512;
/// Bits of the filter for each key: of keys that are not there, it lets about 1 in 40 pass.
const FILTER_BITS: usize = 10;
/// What one source of a merge reads at once.
const MERGE_BUFFER: usize = 64 << 10;

/// Ascending keys in a file of their own, no two the same.
pub(super) struct Run {
    file: File,
    len: usize,
    /// The first key of each page.
    firsts: Vec<KeyHash>,
    filter: Option<Filter>,
    /// How many times its entries were merged.
    pub(super) level: u32,
}

impl Run {
    /// Writes entries, which ascend. Its filter takes at most `filter_bytes`, or is left out.
    pub(super) fn write(
        file: File,
        entries: impl Iterator<Item = io::Result<Entry>>,
        len: usize,
        level: u32,
        filter_bytes: usize,
    ) -> io::Result<Self> {
        let mut filter = Filter::new(len, filter_bytes);
        let mut firsts = Vec::with_capacity(len.div_ceil(PAGE));
        let mut out = BufWriter::with_capacity(MERGE_BUFFER, file);
        let mut written = 0usize;
        for entry in entries {
            let (key, value) = entry?;
            if written.is_multiple_of(PAGE) {
                firsts.push(key);
            }
            if let Some(filter) = &mut filter {
                filter.add(key);
            }
            out.write_all(&encode((key, value)))?;
            written += 1;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file, len: written, firsts, filter, level })
    }

    /// Runs as one. They share no key.
    pub(super) fn merge(runs: Vec<Run>, file: File, filter_bytes: usize) -> io::Result<Self> {
        let len = runs.iter().map(|run| run.len).sum();
        let level = runs.iter().map(|run| run.level).max().unwrap_or_default() + 1;
        let mut sources = runs.into_iter().map(Run::entries).collect::<io::Result<Vec<_>>>()?;
        let mut heads = Vec::with_capacity(sources.len());
        for source in &mut sources {
            heads.push(source.next().transpose()?);
        }
        let merged = std::iter::from_fn(|| {
            let present =
                heads.iter().enumerate().filter_map(|(i, head)| Some((head.as_ref()?, i)));
            let (_, least) = present.min()?;
            match sources[least].next().transpose() {
                Ok(next) => std::mem::replace(&mut heads[least], next).map(Ok),
                Err(error) => Some(Err(error)),
            }
        });
        Self::write(file, merged, len, level, filter_bytes)
    }

    /// Finds those of the keys, which ascend, that are there.
    pub(super) fn find(
        &self,
        keys: &[KeyHash],
        page: &mut Vec<u8>,
        mut found: impl FnMut(Entry),
    ) -> io::Result<()> {
        let mut loaded = usize::MAX;
        for key in keys {
            if self.filter.as_ref().is_some_and(|filter| !filter.may_have(*key)) {
                continue;
            }
            let Some(at) = self.firsts.partition_point(|first| first <= key).checked_sub(1) else {
                continue;
            };
            if at != loaded {
                let len = PAGE.min(self.len - at * PAGE);
                page.resize(len * ENTRY, 0);
                self.file.read_exact_at(page, (at * PAGE * ENTRY) as u64)?;
                loaded = at;
            }
            let (entries, _) = page.as_chunks::<ENTRY>();
            if let Ok(at) = entries.binary_search_by_key(key, |entry| decode(entry).0) {
                found(decode(&entries[at]));
            }
        }
        Ok(())
    }

    /// Bytes of its filter.
    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, |filter| filter.blocks.len() * size_of::<u64>())
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Its entries, ascending, without moving the file's own position.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { run: self, read: 0, buffer: Vec::new(), at: 0 }
    }

    fn entries(mut self) -> io::Result<Entries> {
        self.file.rewind()?;
        Ok(Entries { left: self.len, file: BufReader::with_capacity(MERGE_BUFFER, self.file) })
    }
}

/// Reads the entries of a run that stays.
pub(super) struct Reader<'a> {
    run: &'a Run,
    /// Entries that were read into the buffer so far, in all.
    read: usize,
    buffer: Vec<u8>,
    /// The next entry in the buffer.
    at: usize,
}

impl Iterator for Reader<'_> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at * ENTRY == self.buffer.len() {
            let len = (MERGE_BUFFER / ENTRY).min(self.run.len - self.read);
            if len == 0 {
                return None;
            }
            self.buffer.resize(len * ENTRY, 0);
            let from = (self.read * ENTRY) as u64;
            if let Err(error) = self.run.file.read_exact_at(&mut self.buffer, from) {
                return Some(Err(error));
            }
            self.read += len;
            self.at = 0;
        }
        let (entries, _) = self.buffer.as_chunks::<ENTRY>();
        self.at += 1;
        Some(Ok(decode(&entries[self.at - 1])))
    }
}

struct Entries {
    left: usize,
    file: BufReader<File>,
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut bytes = [0; ENTRY];
        Some(self.file.read_exact(&mut bytes).map(|()| decode(&bytes)))
    }
}

fn encode(([high, low], value): Entry) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    for (place, number) in bytes.chunks_exact_mut(8).zip([high, low, value]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; ENTRY]) -> Entry {
    let (numbers, _) = bytes.as_chunks::<8>();
    let number = |i: usize| u64::from_le_bytes(numbers[i]);
    ([number(0), number(1)], number(2))
}

/// A Bloom filter whose bits for one key are all in one word of 64.
struct Filter {
    blocks: Vec<u64>,
}

impl Filter {
    fn new(keys: usize, most_bytes: usize) -> Option<Self> {
        let words = (keys * FILTER_BITS).div_ceil(64);
        let fits = words * size_of::<u64>() <= most_bytes;
        fits.then(|| Self { blocks: vec![0; words.max(1)] })
    }

    /// The word of a key, and its bits in it. A run is ordered by the first half of the hash, the
    /// filter is asked with the second.
    fn place(&self, [_, low]: KeyHash) -> (usize, u64) {
        let block = (u128::from(low) * self.blocks.len() as u128) >> 64;
        let bits = (0..4).fold(0, |bits, i| bits | 1 << (low >> (6 * i) & 63));
        (block as usize, bits)
    }

    fn add(&mut self, key: KeyHash) {
        let (block, bits) = self.place(key);
        self.blocks[block] |= bits;
    }

    fn may_have(&self, key: KeyHash) -> bool {
        let (block, bits) = self.place(key);
        self.blocks[block] & bits == bits
    }
}
