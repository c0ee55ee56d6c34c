//! Rows in SQLite's record format: <https://sqlite.org/fileformat2.html#record_format>.

use super::Encoding;

/// One row being written down, value by value. It is used again for the next row.
#[derive(Debug, Default)]
pub(crate) struct Record {
    encoding: Encoding,
    /// Type and length of each value.
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Record {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.header.clear();
        self.body.clear();
    }

    pub(crate) fn null(&mut self) {
        self.header.push(0);
    }

    pub(crate) fn int(&mut self, value: i64) {
        // The fewest of 0, 1, 2, 3, 4, 6 and 8 bytes that hold it.
        let (code, length) = match value {
            0 => (8, 0),
            1 => (9, 0),
            -0x80..=0x7f => (1, 1),
            -0x8000..=0x7fff => (2, 2),
            -0x80_0000..=0x7f_ffff => (3, 3),
            -0x8000_0000..=0x7fff_ffff => (4, 4),
            -0x8000_0000_0000..=0x7fff_ffff_ffff => (5, 6),
            _ => (6, 8),
        };
        self.header.push(code);
        self.body.extend_from_slice(&value.to_be_bytes()[8 - length..]);
    }

    /// A number that is not NaN: SQLite has none.
    pub(crate) fn real(&mut self, value: f64) {
        self.header.push(7);
        self.body.extend_from_slice(&value.to_be_bytes());
    }

    /// Text in UTF-8, kept in the encoding of the database.
    pub(crate) fn text(&mut self, text: &[u8]) {
        let start = self.body.len();
        let units = || String::from_utf8_lossy(text);
        match self.encoding {
            Encoding::Utf8 => self.body.extend_from_slice(text),
            Encoding::Utf16Le => {
                self.body.extend(units().encode_utf16().flat_map(u16::to_le_bytes))
            }
            Encoding::Utf16Be => {
                self.body.extend(units().encode_utf16().flat_map(u16::to_be_bytes))
            }
        }
        put_varint(&mut self.header, 13 + 2 * (self.body.len() - start) as u64);
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        put_varint(&mut self.header, 12 + 2 * bytes.len() as u64);
        self.body.extend_from_slice(bytes);
    }

    /// Bytes that the values take, without their types.
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The row's bytes: first the header with its length, then the values.
    pub(crate) fn bytes<'a>(&'a self, prefix: &'a mut Vec<u8>) -> [&'a [u8]; 3] {
        // The length counts itself.
        let length = (1..).find(|&n| varint_len((self.header.len() + n) as u64) == n).unwrap_or(1);
        prefix.clear();
        put_varint(prefix, (self.header.len() + length) as u64);
        [prefix, &self.header, &self.body]
    }
}

/// Bytes that a number takes as a variable-length integer.
pub(crate) fn varint_len(number: u64) -> usize {
    (1..9).find(|&n| number >> (7 * n) == 0).unwrap_or(9)
}

/// Writes a variable-length integer: seven bits a byte, the high ones first; a ninth byte has eight.
pub(crate) fn put_varint(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(number as u8);
        return;
    }
    let length = varint_len(number);
    let (high, last) = if length == 9 { (number >> 8, number as u8) } else { (number, 0) };
    let sevens = if length == 9 { 8 } else { length };
    for i in (0..sevens).rev() {
        let more = if i > 0 || length == 9 { 0x80 } else { 0 };
        out.push((high >> (7 * i)) as u8 & 0x7f | more);
    }
    if length == 9 {
        out.push(last);
    }
}
