//! The statements that end the versions of keys that no record has.

use super::{Missing, Names, verdict};
use crate::dialect::Absent;
use crate::statements::StagedValue;

impl Names {
    /// Puts down the latest time of all records, where they have times: when missing keys end.
    pub(crate) fn latest(&self) -> Option<String> {
        let query = format!("SELECT max({}) AS at FROM {} AS s", self.time, self.staged);
        let name = format!("{}latest", self.work);
        self.timed.then(|| self.dialect.create_table_as(&name, &query))
    }

    /// Puts down what the input is complete for: the values of these columns, each once.
    pub(crate) fn parts(&self, partition: &[(String, StagedValue)]) -> Option<String> {
        let values = partition.iter().enumerate();
        let values: Vec<String> =
            values.map(|(i, (_, staged))| format!("{} AS p{i}", staged.of("s"))).collect();
        let query = format!("SELECT DISTINCT {} FROM {} AS s", values.join(", "), self.staged);
        let name = format!("{}parts", self.work);
        (!partition.is_empty()).then(|| self.dialect.create_table_as(&name, &query))
    }

    /// Ends, and perhaps marks, the versions of keys that are missing. The parameters of the first
    /// statement are the highest surrogate key before the load and that of the unknown member; the
    /// second has none; that of the third is the highest one now.
    pub(crate) fn retire(
        &self,
        missing: Missing,
        partition: &[(String, StagedValue)],
    ) -> Vec<String> {
        let Self { dialect, table, staged, work, surrogate, effective, end, current, .. } = self;
        let (yes, no) = (dialect.truth(true), dialect.truth(false));
        let when = match self.timed {
            true => format!("(SELECT at FROM {work}latest)"),
            false => self.time.clone(),
        };
        // There may be no unknown member.
        let unknown = dialect.same(&format!("t.{surrogate}"), &dialect.parameter(2));
        let mut gone = format!("INSERT INTO {work}gone SELECT t.{surrogate} FROM {table} AS t");
        match dialect.absent() {
            Absent::Joined => {
                gone += &format!(
                    " JOIN {work}work AS w ON w.sk = t.{surrogate} WHERE w.verdict = {}",
                    verdict::MISSING
                );
                // Their key is in the input, whatever becomes of them.
                gone += &self.losers.as_ref().map_or_else(String::new, |losers| {
                    format!(
                        " AND NOT EXISTS (SELECT 1 FROM {losers} AS l JOIN {staged} AS s \
                         ON s.{} = l.seq WHERE {})",
                        dialect.row(),
                        self.same_key("t", "s")
                    )
                });
            }
            Absent::Unseen => {
                gone += &format!(
                    " WHERE t.{current} = {yes} AND {}",
                    dialect.not_among(&format!("t.{surrogate}"), "cur", &format!("{work}work"))
                );
            }
            Absent::NotStaged => {
                gone += &format!(
                    " WHERE t.{current} = {yes} AND NOT EXISTS (SELECT 1 FROM {staged} AS s WHERE {})",
                    self.same_key("t", "s")
                );
            }
        }
        gone += &format!(
            " AND t.{surrogate} <= {} AND NOT ({unknown}) AND t.{effective} < {when}",
            dialect.parameter(1)
        );
        if let Some(deleted) = &self.deleted {
            gone += &format!(" AND t.{deleted} = {no}");
        }
        if !partition.is_empty() {
            let same = partition.iter().enumerate();
            let same: Vec<String> = same
                .map(|(i, (name, _))| dialect.same(&format!("t.{name}"), &format!("p.p{i}")))
                .collect();
            gone += &format!(
                " AND EXISTS (SELECT 1 FROM {work}parts AS p WHERE {})",
                same.join(" AND ")
            );
        }
        let mut statements = vec![
            gone,
            dialect.update_listed(
                table,
                &[(end.clone(), when.clone()), (current.clone(), no.to_owned())],
                surrogate,
                &format!("{work}gone"),
            ),
        ];
        if missing == Missing::Mark {
            let values: Vec<String> =
                self.attributes.iter().map(|name| format!("t.{name}")).collect();
            statements.push(format!(
                "INSERT INTO {} SELECT {} + row_number() OVER (ORDER BY t.{surrogate}), {}, {when}, \
                 NULL, {yes}, {yes} FROM {table} AS t WHERE t.{surrogate} IN (SELECT sk FROM {work}gone) \
                 ORDER BY t.{surrogate}",
                self.target(&self.attributes),
                dialect.parameter(1),
                values.join(", ")
            ));
        }
        statements
    }
}
