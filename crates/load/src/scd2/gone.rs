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
        let mut conditions = Vec::new();
        conditions.extend(self.deleted.as_ref().map(|deleted| format!("t.{deleted} = {no}")));
        if !partition.is_empty() {
            let same = partition.iter().enumerate();
            let same: Vec<String> = same
                .map(|(i, (name, _))| dialect.same(&format!("t.{name}"), &format!("p.p{i}")))
                .collect();
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM {work}parts AS p WHERE {})",
                same.join(" AND ")
            ));
        }
        let (mut from, key, since) = match dialect.absent() {
            // The judged records have all that is asked of most of them.
            Absent::Joined => {
                // Their key is in the input, whatever becomes of them.
                conditions.extend(self.losers.as_ref().map(|losers| {
                    format!(
                        "NOT EXISTS (SELECT 1 FROM {losers} AS l JOIN {staged} AS s \
                         ON s.{} = l.seq WHERE {})",
                        dialect.row(),
                        self.same_key("t", "s")
                    )
                }));
                let join = match conditions.is_empty() {
                    true => String::new(),
                    false => format!(" JOIN {table} AS t ON t.{surrogate} = w.sk"),
                };
                conditions.push(format!("w.verdict = {}", verdict::MISSING));
                (format!("{work}work AS w{join}"), "w.sk".to_owned(), "w.till".to_owned())
            }
            absent => {
                conditions.push(format!("t.{current} = {yes}"));
                conditions.push(if absent == Absent::Unseen {
                    dialect.not_among(&format!("t.{surrogate}"), "cur", &format!("{work}work"))
                } else {
                    let same = self.same_key("t", "s");
                    format!("NOT EXISTS (SELECT 1 FROM {staged} AS s WHERE {same})")
                });
                (format!("{table} AS t"), format!("t.{surrogate}"), format!("t.{effective}"))
            }
        };
        // There may be no unknown member.
        let unknown = dialect.same(&key, &dialect.parameter(2));
        from += &format!(
            " WHERE {key} <= {} AND NOT ({unknown}) AND {since} < {when} AND {}",
            dialect.parameter(1),
            conditions.join(" AND ")
        );
        let gone = format!("INSERT INTO {work}gone SELECT {key} FROM {from}");
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
