//! The rows around each row that count.

use std::ops::Range;

use datafusion_common::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// All rows of the partition.
    Whole,
    /// From the first row to the last one that is equal to this one in the order.
    Peers,
    /// So many rows before this one (less than 0) or behind it; of none, to the partition's end.
    Rows(Option<i64>, Option<i64>),
}

impl Frame {
    /// The rows that count for one of so many. `ends` are the ends of the rows that are equal to each.
    pub(super) fn range(self, row: usize, rows: usize, ends: &[u32]) -> Range<usize> {
        let place =
            |offset: i64| (row as i64).saturating_add(offset).clamp(0, rows as i64) as usize;
        match self {
            Self::Whole => 0..rows,
            Self::Peers => 0..ends[row] as usize,
            Self::Rows(start, end) => {
                let start = start.map_or(0, place);
                let end = end.map_or(rows, |end| place(end.saturating_add(1)));
                start..end.max(start)
            }
        }
    }
}

/// What is made of the rows in a frame, as the frame moves on.
pub(super) trait Running {
    /// Begins with no rows.
    fn begin(&mut self);
    /// Takes rows in, by their numbers.
    fn add(&mut self, rows: &[u32]) -> Result<()>;
    /// Takes out the rows that have been in it longest.
    fn remove(&mut self, rows: &[u32]) -> Result<()>;
    /// Puts the result down, `times` times.
    fn put(&mut self, times: usize) -> Result<()>;
    /// Puts the result of no rows down.
    fn put_none(&mut self);
}

/// Moves a frame over the rows of a partition. In the order in which DataFusion does it, so that
/// doubles are added up to the same sums.
pub(super) fn run(
    frame: Frame,
    rows: &[u32],
    ends: &[u32],
    running: &mut impl Running,
) -> Result<()> {
    running.begin();
    match frame {
        Frame::Whole => {
            running.add(rows)?;
            running.put(rows.len())
        }
        Frame::Peers => {
            let mut start = 0;
            while start < rows.len() {
                let end = ends[start] as usize;
                running.add(&rows[start..end])?;
                running.put(end - start)?;
                start = end;
            }
            Ok(())
        }
        Frame::Rows(..) => {
            let mut last = 0..0;
            for row in 0..rows.len() {
                let next = frame.range(row, rows.len(), ends);
                if next.is_empty() {
                    running.remove(&rows[last])?;
                    running.put_none();
                } else {
                    running.add(&rows[last.end..next.end])?;
                    running.remove(&rows[last.start..next.start])?;
                    running.put(1)?;
                }
                last = next;
            }
            Ok(())
        }
    }
}
