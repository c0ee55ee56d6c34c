//! Partitions that are replaced: emptied before the merge, and given back their rows if none of
//! their records could be loaded.
//!
//! What is refused is known after the merge only. Where that is all of a partition, the merge is
//! taken back and made again without the refused records, whose partition is not emptied then.

use gristmill_core::Result;

use crate::database::Database;
use crate::merge::{cannot, kept_rows};
use crate::statements::{Found, Sides, Statements};

/// Numbers in one statement.
const PIECE: usize = 1000;

/// The partitions that staged records are in.
pub(crate) struct Partitions {
    sides: Sides,
    /// How many partitions keep their rows.
    kept: i64,
}

impl Partitions {
    /// Takes out the rows of all of them.
    pub(crate) fn empty<D: Database>(database: &D, sides: Sides, table: &str) -> Result<Self> {
        let partitions = Self { sides, kept: 0 };
        partitions.delete(database, table)?;
        Ok(partitions)
    }

    /// After a merge in which these records were refused: answers the statements for another one if
    /// partitions were emptied that no record is in now, and takes the merge back.
    pub(crate) fn give_back<D: Database>(
        &mut self,
        database: &D,
        refused: &[(i64, String)],
        table: &str,
    ) -> Result<Option<Statements>> {
        if refused.is_empty() {
            return Ok(None);
        }
        let failed = |e| cannot::<D>(table, e);
        let named = self.name_refused::<D>(refused);
        database.batch(&named).map_err(failed)?;
        let kept = database.number(&self.unloaded::<D>(), &[]).map_err(failed)?;
        if kept == self.kept {
            return Ok(None);
        }
        self.kept = kept;
        let back = "ROLLBACK TO SAVEPOINT gristmill_parts; RELEASE SAVEPOINT gristmill_parts;";
        database.batch(back).and_then(|()| database.batch(&named)).map_err(failed)?;
        self.sides.losers = Some(self.refused());
        self.delete(database, table)?;
        Ok(Some(Statements::new(D::DIALECT, &self.sides, Found::Nothing)))
    }

    /// Takes out the rows of all partitions that records are in which may be loaded.
    fn delete<D: Database>(&self, database: &D, table: &str) -> Result<()> {
        let Sides { table: name, staged, work, losers, .. } = &self.sides;
        let dialect = D::DIALECT;
        let values = self.values();
        let values: Vec<String> =
            values.iter().enumerate().map(|(i, value)| format!("{value} AS p{i}")).collect();
        let columns = self.sides.columns.iter().filter(|column| column.is_part).enumerate();
        let same: Vec<String> = columns
            .map(|(i, column)| dialect.same(&format!("t.{}", column.name), &format!("p.p{i}")))
            .collect();
        let same = same.join(" AND ");
        let parts = format!("{work}parts");
        let mut query = format!("SELECT DISTINCT {} FROM {staged} AS s", values.join(", "));
        if let Some(losers) = losers {
            let row = format!("s.{}", dialect.row());
            query += &format!(" WHERE {}", dialect.not_among(&row, "seq", losers));
        }
        let sql = [
            "SAVEPOINT gristmill_parts;".to_owned(),
            dialect.drop_table(&parts),
            dialect.create_table_as(&parts, &query),
            dialect.delete(name, &format!("{parts} AS p"), &same),
        ];
        let failed = |e| cannot::<D>(table, e);
        database.batch(&sql.concat()).map_err(failed)?;
        if self.sides.silent.deletes {
            let left = format!(
                "SELECT count(*) FROM {name} AS t WHERE EXISTS (SELECT 1 FROM {parts} AS p WHERE {same})"
            );
            kept_rows(table, database.number(&left, &[]).map_err(failed)?)?;
        }
        database.batch(&dialect.drop_table(&parts)).map_err(failed)
    }

    /// The table of refused records.
    fn refused(&self) -> String {
        format!("{}refused", self.sides.work)
    }

    /// Fills it.
    fn name_refused<D: Database>(&self, refused: &[(i64, String)]) -> String {
        let table = self.refused();
        let mut sql = D::DIALECT.drop_table(&table);
        sql += &D::DIALECT.create_table(&table, "seq BIGINT", "seq");
        for piece in refused.chunks(PIECE) {
            let rows: Vec<String> = piece.iter().map(|(seq, _)| format!("({seq})")).collect();
            sql += &format!("INSERT INTO {table} VALUES {};", rows.join(", "));
        }
        sql + &D::DIALECT.analyze(&table)
    }

    /// Counts the partitions all of whose records are refused.
    fn unloaded<D: Database>(&self) -> String {
        format!(
            "SELECT count(*) FROM (SELECT 1 AS one FROM {} AS s LEFT JOIN {} AS r ON r.seq = s.{} \
             GROUP BY {} HAVING count(*) = count(r.seq)) AS u",
            self.sides.staged,
            self.refused(),
            D::DIALECT.row(),
            self.values().join(", ")
        )
    }

    /// The values that tell partitions apart, of the staging table `s`.
    fn values(&self) -> Vec<String> {
        let columns = self.sides.columns.iter().filter(|column| column.is_part);
        columns.map(|column| column.value.of("s")).collect()
    }
}
