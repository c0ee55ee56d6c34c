//! What a source is asked to do while it decodes.

use crate::text::ColumnPlan;

/// The columns an extractor is to produce: names, types and cleaning, decided before the first
/// record is decoded. Leading clean and cast steps write themselves into it, so that a number is
/// parsed straight from the source's bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPlan {
    /// The columns, in output order.
    pub columns: Vec<ColumnPlan>,
}

impl ReadPlan {
    /// The column with this output name.
    pub fn column_mut(&mut self, name: &str) -> Option<&mut ColumnPlan> {
        self.columns.iter_mut().find(|column| column.name == name)
    }
}
