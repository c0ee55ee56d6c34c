//! Table pages: rows laid out as SQLite keeps them, by the worker that encodes them.
//!
//! The pages of one chunk know neither their place in the staging file nor the numbers of their
//! rows. Row numbers have a fixed width and page numbers are listed, so that both are filled in
//! when the chunk's turn has come. See <https://sqlite.org/fileformat2.html#b_tree_pages>.

use super::record::{Record, put_varint, varint_len};

/// Size of a page of the staging file.
pub(crate) const PAGE: usize = 16 << 10;
/// Bytes of a row number: seven bits in each.
const NUMBER: usize = 5;
/// The highest row number that fits.
pub(crate) const MAX_ROWS: u64 = (1 << (7 * NUMBER as u32)) - 1;
/// Bytes before the cell pointers of a leaf.
const LEAF_HEADER: usize = 8;
/// A row with more bytes than that goes on in overflow pages.
const MAX_LOCAL: usize = PAGE - 35;
const MIN_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;
/// Bytes of a row in an overflow page, after the number of the next one.
const OVERFLOW: usize = PAGE - 4;

/// Whole pages, with the rows of one chunk.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    bytes: Vec<u8>,
    /// The leaves among the pages, with their number of rows.
    leaves: Vec<(u32, u32)>,
    /// Where page numbers are written that count from this chunk's first page.
    links: Vec<usize>,
    /// Start of the leaf being filled.
    leaf: usize,
    /// Where its cells start: they grow from the end of the page towards the pointers.
    content: usize,
    prefix: Vec<u8>,
}

impl Pages {
    /// Adds a row.
    pub(crate) fn push(&mut self, record: &Record) {
        let mut prefix = std::mem::take(&mut self.prefix);
        let parts = record.bytes(&mut prefix);
        self.push_parts(&parts);
        self.prefix = prefix;
    }

    fn push_parts(&mut self, parts: &[&[u8]; 3]) {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let local = local_len(payload);
        let link = if local < payload { 4 } else { 0 };
        let size = varint_len(payload as u64) + NUMBER + local + link;
        let rows = self.rows_of_leaf();
        if self.leaves.is_empty() || LEAF_HEADER + 2 * (rows + 1) + size > self.content {
            self.close();
            self.leaf = self.bytes.len();
            self.bytes.resize(self.leaf + PAGE, 0);
            self.content = PAGE;
            self.leaves.push(((self.leaf / PAGE) as u32, 0));
        }
        self.content -= size;
        let rows = self.rows_of_leaf();
        let pointer = self.leaf + LEAF_HEADER + 2 * rows;
        self.bytes[pointer..pointer + 2].copy_from_slice(&(self.content as u16).to_be_bytes());
        if let Some((_, rows)) = self.leaves.last_mut() {
            *rows += 1;
        }
        let mut at = self.leaf + self.content;
        at += put_varint_at(&mut self.bytes[at..], payload as u64) + NUMBER;
        if link == 0 {
            for part in parts {
                self.bytes[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
        } else {
            self.overflow(&parts.concat(), local, at);
        }
    }

    /// Writes a row of which `local` bytes stay in the leaf, at `at`.
    fn overflow(&mut self, payload: &[u8], local: usize, at: usize) {
        self.bytes[at..at + local].copy_from_slice(&payload[..local]);
        let mut link = at + local;
        for piece in payload[local..].chunks(OVERFLOW) {
            let page = self.bytes.len();
            self.bytes.resize(page + PAGE, 0);
            self.bytes[link..link + 4].copy_from_slice(&((page / PAGE) as u32).to_be_bytes());
            self.links.push(link);
            self.bytes[page + 4..page + 4 + piece.len()].copy_from_slice(piece);
            link = page;
        }
    }

    fn rows_of_leaf(&self) -> usize {
        self.leaves.last().map_or(0, |(_, rows)| *rows as usize)
    }

    /// Writes the header of the leaf being filled.
    pub(crate) fn close(&mut self) {
        let Some((_, rows)) = self.leaves.last() else { return };
        let header = leaf_header(*rows as u16, self.content);
        self.bytes[self.leaf..self.leaf + LEAF_HEADER].copy_from_slice(&header);
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.leaves.iter().map(|(_, rows)| u64::from(*rows)).sum()
    }

    /// Number of pages.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / PAGE
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the closed pages their place: rows are numbered from `first`, and `number` tells the
    /// page numbers. Answers each leaf's page number and last row.
    pub(crate) fn place(&mut self, first: u64, number: impl Fn(u32) -> u32) -> Vec<(u32, u64)> {
        for &link in &self.links {
            let Some(bytes) = self.bytes[link..].first_chunk_mut::<4>() else { continue };
            *bytes = number(u32::from_be_bytes(*bytes)).to_be_bytes();
        }
        let mut next = first;
        let mut placed = Vec::with_capacity(self.leaves.len());
        for &(page, rows) in &self.leaves {
            let leaf = &mut self.bytes[page as usize * PAGE..][..PAGE];
            for row in 0..rows as usize {
                let pointer = LEAF_HEADER + 2 * row;
                let mut at = usize::from(u16::from_be_bytes([leaf[pointer], leaf[pointer + 1]]));
                while leaf[at] & 0x80 != 0 {
                    at += 1; // the length of the row
                }
                leaf[at + 1..at + 1 + NUMBER].copy_from_slice(&fixed_varint(next));
                next += 1;
            }
            placed.push((number(page), next - 1));
        }
        placed
    }
}

/// How many bytes of a row stay in its leaf.
fn local_len(payload: usize) -> usize {
    if payload <= MAX_LOCAL {
        return payload;
    }
    let local = MIN_LOCAL + (payload - MIN_LOCAL) % OVERFLOW;
    if local <= MAX_LOCAL { local } else { MIN_LOCAL }
}

fn leaf_header(rows: u16, content: usize) -> [u8; LEAF_HEADER] {
    let [rows_high, rows_low] = rows.to_be_bytes();
    let [content_high, content_low] = (content as u16).to_be_bytes();
    [13, 0, 0, rows_high, rows_low, content_high, content_low, 0]
}

/// A leaf without rows.
pub(crate) fn empty_leaf() -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..LEAF_HEADER].copy_from_slice(&leaf_header(0, PAGE));
    page
}

/// A variable-length integer in more bytes than it may need, which readers accept.
pub(crate) fn fixed_varint(number: u64) -> [u8; NUMBER] {
    let mut bytes = [0; NUMBER];
    for (i, byte) in bytes.iter_mut().rev().enumerate() {
        *byte = (number >> (7 * i)) as u8 & 0x7f | if i > 0 { 0x80 } else { 0 };
    }
    bytes
}

fn put_varint_at(out: &mut [u8], number: u64) -> usize {
    if number < 0x80 {
        out[0] = number as u8;
        return 1;
    }
    let mut bytes = Vec::with_capacity(9);
    put_varint(&mut bytes, number);
    out[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}
