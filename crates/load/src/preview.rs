//! What a load is about to change in rows that are there.

use gristmill_core::Preview;

use crate::database::Database;

/// Rows shown.
const SAMPLES: usize = 5;

/// Rows that a load changes, beside the records that change them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// `FROM` and `WHERE` of all of them.
    pub(crate) rows: String,
    /// The columns of the key: name, and value in SQL.
    pub(crate) keys: Vec<(String, String)>,
    /// The columns that may change.
    pub(crate) columns: Vec<Change>,
}

/// A column that may change; all but the name in SQL.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) same: String,
}

impl Changes {
    /// Counts and shows them, before they are made.
    pub(crate) fn preview<D: Database>(&self, database: &D) -> Result<Preview, D::Error> {
        if self.columns.is_empty() {
            return Ok(Preview::default());
        }
        let counts: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("sum(CASE WHEN {} THEN 0 ELSE 1 END)", column.same))
            .collect();
        let counts =
            database.numbers(&format!("SELECT {} {}", counts.join(", "), self.rows), &[])?;
        let counts = counts.into_iter().next().unwrap_or_default();
        let text = |value: &String| D::DIALECT.text(value);
        let mut values: Vec<String> = self.keys.iter().map(|(_, value)| text(value)).collect();
        for Change { old, new, same, .. } in &self.columns {
            let same = format!("CASE WHEN {same} THEN '' ELSE 'x' END");
            values.extend([same, text(old), text(new)]);
        }
        let sql = format!("SELECT {} {} LIMIT {SAMPLES}", values.join(", "), self.rows);
        let samples = database.texts(&sql)?.iter().map(|row| self.sample(row)).collect();
        let changed = self.columns.iter().zip(counts).filter(|(_, count)| *count > 0);
        let columns = changed.map(|(column, count)| (column.name.clone(), count as u64)).collect();
        Ok(Preview { columns, samples })
    }

    /// `code FND000001, class A: fee 0.0150 -> 0.0140`.
    fn sample(&self, row: &[Option<String>]) -> String {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let (keys, values) = row.split_at(self.keys.len().min(row.len()));
        let keys: Vec<String> = self
            .keys
            .iter()
            .zip(keys)
            .map(|((name, _), value)| format!("{name} {}", shown(value)))
            .collect();
        let changes: Vec<String> = self
            .columns
            .iter()
            .zip(values.chunks_exact(3))
            .filter(|(_, cells)| cells[0].as_deref() == Some("x"))
            .map(|(column, cells)| {
                format!("{} {} -> {}", column.name, shown(&cells[1]), shown(&cells[2]))
            })
            .collect();
        format!("{}: {}", keys.join(", "), changes.join(", "))
    }
}
