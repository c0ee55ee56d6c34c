//! What the text formats share in writing rows: columns whose types are looked at once
//! ([`cells`]), text in blocks that are used again ([`blocks`]), and the file that it makes ([`file`]).
//!
//! Rows are written from the columns one cell after the other, by stores of fixed size into a
//! block that has room for the row; what stands behind the text written so far is overwritten by
//! the next cell.

pub(crate) mod blocks;
pub(crate) mod cells;
pub(crate) mod file;
