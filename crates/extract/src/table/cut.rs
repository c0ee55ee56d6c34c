//! Rows that come in pieces of any size, cut where they would be if they had come in one.
//!
//! Several connections read ranges of a table, which end anywhere. Chunks make row groups, so that
//! their ends are to be seen in a file, and must not tell how many connections there were.

use std::ops::Range;
use std::sync::Arc;

use super::cells::{Piece, Rows};

/// Some rows of a piece, one at least.
#[derive(Debug)]
pub(super) struct Part {
    piece: Arc<Piece>,
    rows: Range<usize>,
}

/// Pieces on their way to be chunks.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// What the next chunk has so far, and its size.
    parts: Vec<Part>,
    size: usize,
    /// Rows that were not looked at.
    rest: Option<Part>,
}

impl Cut {
    /// Takes the next piece, once [`Cut::next`] answers that more is needed.
    pub(super) fn push(&mut self, piece: Piece) {
        let rows = 0..piece.len();
        self.rest = (!rows.is_empty()).then(|| Part { piece: Arc::new(piece), rows });
    }

    /// The rows up to the first one that makes them this large.
    pub(super) fn next(&mut self, size: usize) -> Option<Vec<Part>> {
        let mut rest = self.rest.take()?;
        let wanted = size.saturating_sub(self.size);
        if rest.size() < wanted {
            self.size += rest.size();
            self.parts.push(rest);
            return None;
        }
        let row = rest.row(wanted);
        if row < rest.rows.end {
            self.rest = Some(Part { piece: Arc::clone(&rest.piece), rows: row..rest.rows.end });
            rest.rows.end = row;
        }
        self.parts.push(rest);
        self.last()
    }

    /// What is left, once nothing comes any more.
    pub(super) fn last(&mut self) -> Option<Vec<Part>> {
        self.size = 0;
        let parts = std::mem::take(&mut self.parts);
        (!parts.is_empty()).then_some(parts)
    }
}

impl Part {
    /// Memory that its rows take.
    pub(super) fn size(&self) -> usize {
        self.until(self.rows.end)
    }

    fn until(&self, row: usize) -> usize {
        self.piece.size_of(row) - self.piece.size_of(self.rows.start)
    }

    /// The row behind the first one that makes the rows before it this large.
    fn row(&self, size: usize) -> usize {
        let (mut low, mut high) = (self.rows.start + 1, self.rows.end);
        while low < high {
            let middle = low.midpoint(high);
            match self.until(middle) >= size {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        low
    }
}

/// The rows of all parts as one piece. One that is whole stays as it is.
pub(super) fn joined(mut parts: Vec<Part>) -> Arc<Piece> {
    if let [part] = parts.as_slice()
        && part.rows == (0..part.piece.len())
    {
        return parts.remove(0).piece;
    }
    let mut rows = Rows::default();
    for part in &parts {
        rows.extend(&part.piece, part.rows.clone());
    }
    Arc::new(rows.take())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table::cells::Cell;

    const SIZE: usize = 400;

    /// Rows of two columns, those of `pieces` in one piece each.
    fn pieces(rows: &[String], pieces: &[usize]) -> Vec<Piece> {
        let mut left = rows.iter().enumerate();
        let mut all = Vec::new();
        for count in pieces.iter().copied().chain([rows.len()]) {
            let mut piece = Rows::default();
            for (number, text) in left.by_ref().take(count) {
                let start = piece.begin();
                piece.cells.push(Cell::Int(number as i64));
                piece.text(text.as_bytes());
                piece.end(start, 2, 30);
            }
            all.push(piece.take());
        }
        all
    }

    fn chunks(pieces: Vec<Piece>) -> Vec<String> {
        let (mut cut, mut chunks) = (Cut::default(), Vec::new());
        for piece in pieces {
            cut.push(piece);
            while let Some(parts) = cut.next(SIZE) {
                chunks.push(parts);
            }
        }
        chunks.extend(cut.last());
        chunks.into_iter().map(|parts| format!("{:?}", joined(parts))).collect()
    }

    proptest! {
        /// Some texts are longer than a record may be.
        #[test]
        fn where_pieces_end_does_not_show(
            rows in proptest::collection::vec("[a-z]{0,35}", 0..80),
            ends in proptest::collection::vec(0_usize..20, 0..12),
        ) {
            let whole = chunks(pieces(&rows, &[]));
            prop_assert!(whole.len() * SIZE <= rows.len() * 80 + SIZE);
            prop_assert_eq!(chunks(pieces(&rows, &ends)), whole);
        }
    }
}
