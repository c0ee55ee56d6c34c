//! The statements of a load of versions. Where the words of databases differ, they ask
//! [`Dialect`].

use crate::dialect::{Absent, Dialect};
use crate::preview::{Change, Changes};
use crate::statements::{Silent, StagedValue, Statements};

/// The names that statements are made of, each in the form in which SQL writes it.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) dialect: Dialect,
    /// The dimension.
    pub(crate) table: String,
    /// The staged records, numbered from 1.
    pub(crate) staged: String,
    /// What prefixes the tables that last for the load.
    pub(crate) work: String,
    pub(crate) surrogate: String,
    pub(crate) effective: String,
    pub(crate) end: String,
    pub(crate) current: String,
    /// Only where missing keys are marked.
    pub(crate) deleted: Option<String>,
    /// Columns that records give, with their staged values; keys included.
    pub(crate) columns: Vec<(String, StagedValue)>,
    /// All columns of the table but those that the load keeps.
    pub(crate) attributes: Vec<String>,
    /// The columns of the key, as in `columns`, with a collation.
    pub(crate) keys: Vec<(String, StagedValue, String)>,
    /// The columns that are compared, and whether as texts.
    pub(crate) tracked: Vec<(String, StagedValue, bool)>,
    /// A record's time: a column of the staging table `s`, or a literal.
    pub(crate) time: String,
    /// The type of times.
    pub(crate) time_type: String,
    /// Whether `time` is a column, so that a key may have several records.
    pub(crate) timed: bool,
    /// How many records are staged.
    pub(crate) records: u64,
    /// Records that are not loaded for their key's sake, if there are any.
    pub(crate) losers: Option<String>,
    /// Whether it is asked which keys are missing.
    pub(crate) asks_missing: bool,
    /// See [`crate::statements::Sides::marker`].
    pub(crate) marker: Option<String>,
    pub(crate) silent: Silent,
}

/// What is done with a record.
pub(crate) mod verdict {
    /// It lost against a record with the same key and time.
    pub(crate) const LOST: i64 = -1;
    pub(crate) const UNCHANGED: i64 = 0;
    /// The version that began at the same instant is corrected.
    pub(crate) const CORRECTION: i64 = 1;
    /// A version ends, another begins.
    pub(crate) const CHANGE: i64 = 2;
    /// A version begins where none held.
    pub(crate) const NEW: i64 = 3;
    /// The key's history has to be looked at.
    pub(crate) const HISTORY: i64 = 4;
    /// There is no record: a current row has a key that none has.
    pub(crate) const MISSING: i64 = 5;
}

impl Names {
    /// Judges every record. The parameters of the statements that follow are the first and the
    /// last group; a group is what has to stand or fall together, all records of a key.
    pub(crate) fn judge(&self) -> String {
        let Self { dialect, table, staged, work, surrogate, effective, time, .. } = self;
        let (row, join) = (dialect.row(), dialect.join());
        let current = self.is_current();
        let key = self.same_key("t", "s");
        let same = self.same_as_row("t", "s");
        let known =
            format!("EXISTS (SELECT 1 FROM {table} AS h WHERE {})", self.same_key("h", "s"));
        let joins_missing = self.joins_missing();
        // A key without a current row may have ended ones. Where new records are few among those
        // that are kept, they are asked for that together, afterwards.
        let later = dialect.absent() == Absent::Joined;
        let keeps_unchanged = dialect.absent() == Absent::Unseen;
        let judged = format!(
            "CASE {missing}WHEN t.{surrogate} IS NULL THEN {unknown} \
             WHEN t.{effective} <= {time} AND {same} THEN 0 \
             WHEN t.{effective} < {time} THEN 2 ELSE 4 END",
            missing = if joins_missing {
                format!("WHEN s.{row} IS NULL THEN {} ", verdict::MISSING)
            } else {
                String::new()
            },
            unknown = if later {
                verdict::NEW.to_string()
            } else {
                format!("CASE WHEN {known} THEN {} ELSE {} END", verdict::HISTORY, verdict::NEW)
            },
        );
        let wins = self.losers.as_ref().map_or_else(
            || "1 = 1".to_owned(),
            |losers| dialect.not_among(&format!("s.{row}"), "seq", losers),
        );
        // One join answers which keys are known and which are missing.
        let found = if joins_missing {
            format!("FULL JOIN (SELECT * FROM {table} AS t WHERE {current}) AS t ON {key}")
        } else {
            format!("LEFT JOIN {table} AS t ON {key} AND {current}")
        };
        let mut sql = self.create(
            "work",
            "grp BIGINT, seq BIGINT, at {time}, verdict INTEGER, sk BIGINT, till {time}, cur BIGINT",
            "grp, seq",
        );
        // A version that is missing has the time from which it holds there.
        let till = match joins_missing {
            true => format!("CASE WHEN s.{row} IS NULL THEN t.{effective} END"),
            false => format!("CAST(NULL AS {})", self.time_type),
        };
        let columns = |grp: &str, seq: &str, judged: &str| {
            format!(
                "{grp} AS grp, {seq} AS seq, {time} AS at, {judged} AS verdict, \
                 t.{surrogate} AS sk, {till} AS till, t.{surrogate} AS cur"
            )
        };
        let records = if self.timed {
            let keys: Vec<String> = self.keys.iter().map(|(_, staged, _)| staged.of("s")).collect();
            let window = format!("WINDOW k AS (PARTITION BY {})", keys.join(", "));
            let groups = format!("min(s.{row}) OVER k AS grp, count(*) OVER k AS n");
            if dialect == &Dialect::MySql {
                // One that names the staging table once.
                let judged = format!("CASE WHEN s.n > 1 THEN 4 ELSE {judged} END");
                format!(
                    "SELECT {} FROM (SELECT s.*, {groups} FROM {staged} AS s WHERE {wins} {window}) \
                     AS s {found}",
                    columns("s.grp", "s.seq", &judged),
                )
            } else {
                let judged = format!("CASE WHEN g.n > 1 THEN 4 ELSE {judged} END");
                format!(
                    "SELECT {} FROM (SELECT s.{row} AS seq, {groups} \
                     FROM {staged} AS s WHERE {wins} {window}) AS g \
                     {join} {staged} AS s ON s.{row} = g.seq {found}",
                    columns("g.grp", "g.seq", &judged),
                )
            }
        } else {
            let number = format!("s.{row}");
            let columns = columns(&number, &number, &judged);
            format!("SELECT {columns} FROM {staged} AS s {found} WHERE {wins}")
        };
        sql += &match dialect.absent() {
            Absent::Unseen => format!("INSERT INTO {work}work {records};"),
            Absent::Joined => {
                format!("INSERT INTO {work}work SELECT * FROM ({records}) AS j WHERE verdict <> 0;")
            }
            // A query around it would be put down in a table first.
            Absent::NotStaged => format!("INSERT INTO {work}work {records} HAVING verdict <> 0;"),
        };
        if let Some(losers) = self.losers.as_ref().filter(|_| keeps_unchanged) {
            // Their key is in the input, whatever becomes of them.
            sql += &format!(
                "INSERT INTO {work}work SELECT -s.{row}, s.{row}, NULL, {}, NULL, NULL, t.{surrogate} \
                 FROM {losers} AS l {join} {staged} AS s ON s.{row} = l.seq \
                 JOIN {table} AS t ON {key} AND {current};",
                verdict::LOST
            );
        }
        sql += &self.analyze("work");
        if later {
            sql += &format!(
                "UPDATE {work}work AS w SET verdict = {} FROM {staged} AS s \
                 WHERE s.{row} = w.seq AND w.verdict = {} AND {known};",
                verdict::HISTORY,
                verdict::NEW
            );
        }
        sql
    }

    /// Whether some history has to be looked at.
    pub(crate) fn asks_history(&self) -> String {
        format!(
            "SELECT EXISTS (SELECT 1 FROM {}work WHERE verdict = {})",
            self.work,
            verdict::HISTORY
        )
    }

    /// Judges the records whose key has history, or several records.
    pub(crate) fn judge_history(&self) -> String {
        let Self { dialect, table, staged, work, surrogate, effective, end, current, .. } = self;
        let (row, join, yes) = (dialect.row(), dialect.join(), dialect.truth(true));
        let (first, last) = (dialect.first_time(), dialect.last_time());
        // The versions that are there (kind 0) and the records (kind 1), in one line of time.
        let points = format!(
            "{}\
             INSERT INTO {work}points SELECT w.grp, coalesce(t.{effective}, {first}), 0, t.{surrogate}, \
             CASE WHEN t.{current} = {yes} THEN NULL ELSE t.{end} END \
             FROM (SELECT DISTINCT grp FROM {work}work WHERE verdict = 4) AS w \
             {join} {staged} AS s ON s.{row} = w.grp {join} {table} AS t ON {};\
             INSERT INTO {work}points SELECT grp, at, 1, seq, NULL FROM {work}work WHERE verdict = 4;{}",
            self.create(
                "points",
                "grp BIGINT, at {time}, kind INTEGER, id BIGINT, till {time}",
                "grp, at, kind, id",
            ),
            self.same_key("t", "s"),
            self.analyze("points"),
        );
        // `ends` is where the last version ends that began by then. What held just before a record
        // is what the point before it says, unless that has ended.
        // The records once more.
        let again = match dialect {
            Dialect::MySql => format!("{work}again"),
            _ => staged.clone(),
        };
        let drop = |name: &str| dialect.drop_table(&format!("{work}{name}"));
        let copied = match dialect {
            Dialect::MySql => {
                let query = format!(
                    "SELECT s.* FROM {work}work AS w {join} {staged} AS s ON s.{row} = w.seq \
                     WHERE w.verdict = 4"
                );
                drop("again")
                    + &dialect.create_table_as(&format!("{again} (PRIMARY KEY (seq))"), &query)
            }
            _ => String::new(),
        };
        let judged = format!(
            "{}\
             INSERT INTO {work}judged SELECT p.grp, p.id, p.at, \
             CASE WHEN p.pid IS NULL THEN 3 \
             WHEN p.ends <= p.at AND (p.pkind = 0 OR p.ends > p.pat) THEN 3 \
             WHEN CASE p.pkind WHEN 0 THEN {} ELSE {} END THEN 0 \
             WHEN p.pkind = 0 AND p.pat = p.at THEN 1 ELSE 2 END, p.pid, p.ends \
             FROM (SELECT grp, at, kind, id, lag(kind) OVER k AS pkind, lag(id) OVER k AS pid, \
             lag(at) OVER k AS pat, \
             max(CASE WHEN kind = 0 THEN coalesce(till, {last}) END) OVER k AS ends \
             FROM {work}points WINDOW k AS (PARTITION BY grp ORDER BY at, kind)) AS p \
             {join} {staged} AS s ON s.{row} = p.id \
             LEFT JOIN {table} AS t ON t.{surrogate} = p.pid AND p.pkind = 0 \
             LEFT JOIN {again} AS u ON u.{row} = p.pid AND p.pkind = 1 WHERE p.kind = 1;{}",
            self.create(
                "judged",
                "grp BIGINT, seq BIGINT, at {time}, verdict INTEGER, sk BIGINT, ends {time}",
                "grp, seq",
            ),
            self.same_as_row("t", "s"),
            self.same_as_record("u", "s"),
            self.analyze("judged"),
        );
        // A new version ends where the next one begins, or where the one ended that it splits.
        let placed = format!(
            "{}\
             INSERT INTO {work}placed \
             SELECT n.grp, n.id, n.at, n.verdict, \
             CASE WHEN n.verdict = 2 AND n.pkind = 0 THEN n.pid END, \
             CASE WHEN n.ends > n.at AND n.ends <> {last} AND (n.next IS NULL OR n.ends < n.next) \
             THEN n.ends ELSE n.next END, w.cur \
             FROM (SELECT grp, at, kind, id, verdict, ends, lag(kind) OVER k AS pkind, \
             lag(id) OVER k AS pid, lead(at) OVER k AS next \
             FROM (SELECT grp, at, kind, id, NULL AS verdict, NULL AS ends FROM {work}points WHERE kind = 0 \
             UNION ALL SELECT grp, at, 1, seq, verdict, ends FROM {work}judged WHERE verdict >= 2) AS line \
             WINDOW k AS (PARTITION BY grp ORDER BY at, kind)) AS n \
             {join} {work}work AS w ON w.grp = n.grp AND w.seq = n.id WHERE n.kind = 1;\
             INSERT INTO {work}placed SELECT j.grp, j.seq, j.at, j.verdict, \
             CASE WHEN j.verdict = 1 THEN j.sk END, NULL, w.cur FROM {work}judged AS j \
             {join} {work}work AS w ON w.grp = j.grp AND w.seq = j.seq WHERE j.verdict < 2;\
             DELETE FROM {work}work WHERE verdict = 4;\
             INSERT INTO {work}work SELECT * FROM {work}placed;\
             {}{}{}{}",
            self.create(
                "placed",
                "grp BIGINT, seq BIGINT, at {time}, verdict INTEGER, sk BIGINT, till {time}, cur BIGINT",
                "grp, seq",
            ),
            drop("points"),
            drop("judged"),
            drop("placed"),
            self.analyze("work"),
        );
        let done = if copied.is_empty() { String::new() } else { drop("again") };
        points + &copied + &judged + &placed + &done
    }

    /// Ends the versions that do not hold any longer.
    pub(crate) fn end(&self) -> String {
        let Self { dialect, table, work, surrogate, end, current, .. } = self;
        let set =
            [(end.clone(), "w.at".to_owned()), (current.clone(), dialect.truth(false).to_owned())];
        let condition = format!("{} AND w.verdict = 2 AND t.{surrogate} = w.sk", self.in_range());
        dialect.update(table, &set, &format!("{work}work AS w"), &condition)
    }

    /// Corrects versions that began at the instant of a record.
    pub(crate) fn correct(&self) -> String {
        let Self { dialect, table, staged, work, surrogate, .. } = self;
        let mut set: Vec<(String, String)> =
            self.columns.iter().map(|(name, staged)| (name.clone(), staged.of("s"))).collect();
        let no = dialect.truth(false);
        set.extend(self.deleted.as_ref().map(|deleted| (deleted.clone(), no.to_owned())));
        let condition = format!(
            "{} AND w.verdict = 1 AND s.{} = w.seq AND t.{surrogate} = w.sk",
            self.in_range(),
            dialect.row(),
        );
        dialect.update(table, &set, &format!("{work}work AS w, {staged} AS s"), &condition)
    }

    /// Adds the new versions, with surrogate keys from the one after the third parameter.
    pub(crate) fn insert(&self) -> String {
        let Self { dialect, staged, work, .. } = self;
        let values: Vec<String> = self.columns.iter().map(|(_, staged)| staged.of("s")).collect();
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let no = dialect.truth(false);
        format!(
            "INSERT INTO {} SELECT {} + row_number() OVER (ORDER BY w.at, w.seq), {}, w.at, w.till, \
             w.till IS NULL{} FROM {work}work AS w {} {staged} AS s ON s.{} = w.seq \
             WHERE {} AND w.verdict IN (2, 3) ORDER BY w.at, w.seq",
            self.target(&names),
            dialect.parameter(3),
            values.join(", "),
            if self.deleted.is_some() { format!(", {no}") } else { String::new() },
            dialect.join(),
            dialect.row(),
            self.in_range(),
        )
    }

    /// How many records there are of each verdict, and how many of them are about a version.
    pub(crate) fn count(&self) -> String {
        format!(
            "SELECT verdict, count(*), count(sk) FROM {}work AS w WHERE {} GROUP BY verdict",
            self.work,
            self.in_range()
        )
    }

    /// The versions that end or are corrected, beside the records that say so.
    pub(crate) fn changes(&self) -> Changes {
        let Self { dialect, table, staged, work, surrogate, .. } = self;
        let plain = |name: &String| unquoted(name);
        Changes {
            rows: format!(
                "FROM {work}work AS w {join} {staged} AS s ON s.{} = w.seq \
                 {join} {table} AS t ON t.{surrogate} = w.sk WHERE w.verdict IN (1, 2)",
                dialect.row(),
                join = dialect.join(),
            ),
            keys: self.keys.iter().map(|(name, staged, _)| (plain(name), staged.of("s"))).collect(),
            columns: self
                .tracked
                .iter()
                .map(|(name, staged, as_text)| {
                    let (old, new) = (format!("t.{name}"), staged.of("s"));
                    let same = dialect.same_value(&old, &new, *as_text);
                    Change { name: plain(name), same, old, new }
                })
                .collect(),
        }
    }

    /// How many records change nothing, and are not among the judged ones.
    pub(crate) fn count_unchanged(&self) -> Option<String> {
        let Self { dialect, records, work, .. } = self;
        let losers = self
            .losers
            .as_ref()
            .map_or_else(|| "0".to_owned(), |losers| format!("(SELECT count(*) FROM {losers})"));
        (dialect.absent() != Absent::Unseen).then(|| {
            format!(
                "SELECT {records} - {losers} - (SELECT count(*) FROM {work}work WHERE verdict <> {})",
                verdict::MISSING
            )
        })
    }

    /// Whether missing keys are among the judged records.
    pub(super) fn joins_missing(&self) -> bool {
        self.asks_missing && self.dialect.absent() == Absent::Joined
    }

    /// That a row `t` of the table is a current one.
    fn is_current(&self) -> String {
        match &self.marker {
            Some(marker) => format!("t.{marker} = 1"),
            None => format!("t.{} = {}", self.current, self.dialect.truth(true)),
        }
    }

    /// The statements for a table without versions yet, where each record begins one. Surrogate
    /// keys are the numbers of the records, behind the highest one.
    pub(crate) fn first_load(&self, highest: i64) -> Statements {
        let Self { dialect, staged, time, .. } = self;
        let row = dialect.row();
        let mut range =
            format!("s.{row} BETWEEN {} AND {}", dialect.parameter(1), dialect.parameter(2));
        if let Some(losers) = &self.losers {
            range += &format!(" AND {}", dialect.not_among(&format!("s.{row}"), "seq", losers));
        }
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let values: Vec<String> = self.columns.iter().map(|(_, staged)| staged.of("s")).collect();
        let deleted = match &self.deleted {
            Some(_) => format!(", {}", dialect.truth(false)),
            None => String::new(),
        };
        Statements::all_new(
            format!(
                "INSERT INTO {} SELECT {highest} + s.{row}, {}, {time}, NULL, {}{deleted} \
                 FROM {staged} AS s WHERE {range} ORDER BY s.{row}",
                self.target(&names),
                values.join(", "),
                dialect.truth(true),
            ),
            format!("SELECT count(*) FROM {staged} AS s WHERE {range}"),
        )
    }

    /// The records of a group, and whether the database is to be changed for them.
    pub(crate) fn members(&self) -> String {
        format!(
            "SELECT seq, verdict > 0 FROM {}work WHERE grp = {} ORDER BY seq",
            self.work,
            self.dialect.parameter(1)
        )
    }

    fn in_range(&self) -> String {
        let dialect = self.dialect;
        format!("w.grp BETWEEN {} AND {}", dialect.parameter(1), dialect.parameter(2))
    }

    /// A table that lasts for the load; `{time}` stands for the type of times.
    fn create(&self, name: &str, columns: &str, key: &str) -> String {
        let columns = columns.replace("{time}", &self.time_type);
        self.dialect.create_table(&format!("{}{name}", self.work), &columns, key)
    }

    fn analyze(&self, name: &str) -> String {
        self.dialect.analyze(&format!("{}{name}", self.work))
    }

    /// The table with the columns of a new version.
    pub(super) fn target(&self, columns: &[String]) -> String {
        let Self { table, surrogate, effective, end, current, .. } = self;
        let deleted =
            self.deleted.as_ref().map_or_else(String::new, |deleted| format!(", {deleted}"));
        format!(
            "{table} ({surrogate}, {}, {effective}, {end}, {current}{deleted}){}",
            columns.join(", "),
            self.dialect.overriding()
        )
    }

    pub(super) fn same_key(&self, row: &str, record: &str) -> String {
        let parts: Vec<String> = self
            .keys
            .iter()
            .map(|(name, staged, collation)| {
                self.dialect.same_key(&format!("{row}.{name}"), &staged.of(record), collation)
            })
            .collect();
        parts.join(" AND ")
    }

    fn same_as_row(&self, row: &str, record: &str) -> String {
        let mut parts: Vec<String> = self
            .tracked
            .iter()
            .map(|(name, staged, as_text)| {
                self.dialect.same_value(&format!("{row}.{name}"), &staged.of(record), *as_text)
            })
            .collect();
        let no = self.dialect.truth(false);
        parts.extend(self.deleted.as_ref().map(|deleted| format!("{row}.{deleted} = {no}")));
        all(&parts)
    }

    fn same_as_record(&self, one: &str, other: &str) -> String {
        let parts: Vec<String> = self
            .tracked
            .iter()
            .map(|(_, staged, as_text)| {
                self.dialect.same_value(&staged.of(one), &staged.of(other), *as_text)
            })
            .collect();
        all(&parts)
    }
}

/// A name that SQL writes in quotes, as people write it.
fn unquoted(name: &str) -> String {
    name.trim_matches('"').replace("\"\"", "\"")
}

fn all(parts: &[String]) -> String {
    if parts.is_empty() { "1 = 1".to_owned() } else { format!("({})", parts.join(" AND ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scd2::Missing;

    /// A dimension of MySQL with a document, which is cast wherever it is used.
    fn names(timed: bool, losers: bool) -> Names {
        let document =
            StagedValue { before: "CAST(", behind: " AS JSON)".into(), ..StagedValue::plain(1) };
        let (key, doc) = ("\"k\"".to_owned(), "\"doc\"".to_owned());
        Names {
            dialect: Dialect::MySql,
            table: "dim".into(),
            staged: "stage".into(),
            work: "w_".into(),
            surrogate: "id".into(),
            effective: "since".into(),
            end: "until".into(),
            current: "latest".into(),
            deleted: Some("deleted".into()),
            columns: vec![(key.clone(), StagedValue::plain(0)), (doc.clone(), document.clone())],
            attributes: vec![key.clone(), doc.clone()],
            keys: vec![(key, StagedValue::plain(0), String::new())],
            tracked: vec![(doc, document, false)],
            time: if timed { "s.c2" } else { "'2025-01-01'" }.into(),
            time_type: "DATETIME(6)".into(),
            timed,
            records: 1,
            losers: losers.then(|| "losers".to_owned()),
            asks_missing: true,
            marker: Some("mark".into()),
            silent: Silent::default(),
        }
    }

    #[test]
    fn mysql_is_asked_what_it_understands() {
        for (timed, losers) in [(false, false), (false, true), (true, false), (true, true)] {
            let names = names(timed, losers);
            let part = [("\"part\"".to_owned(), StagedValue::plain(3))];
            let changes = names.changes();
            let mut all = vec![
                names.judge(),
                names.judge_history(),
                names.end(),
                names.correct(),
                names.insert(),
                names.count(),
                names.first_load(0).insert,
                format!("SELECT {} {}", changes.columns[0].new, changes.rows),
            ];
            all.extend(names.latest().into_iter().chain(names.parts(&part)));
            all.extend(names.count_unchanged());
            all.extend(names.retire(Missing::Mark, &part));
            let all: Vec<&str> = all.iter().flat_map(|sql| sql.split(';')).collect();
            let casts = all.iter().filter(|sql| sql.contains("CAST(s.c1 AS JSON)")).count();
            assert!(casts >= 4, "{casts}");
            for sql in all {
                assert!(!sql.contains(".CAST("), "{sql}");
                // A statement may name a temporary table once, and knows no full join.
                for table in
                    ["stage", "losers", "w_work", "w_gone", "w_parts", "w_points", "w_judged"]
                {
                    let named = sql.split(|c: char| !c.is_alphanumeric() && c != '_');
                    let named = named.filter(|word| *word == table).count();
                    assert!(named <= 1, "{table}: {sql}");
                }
                assert!(!sql.contains("FULL JOIN") && !sql.contains(" IS NOT DISTINCT "), "{sql}");
            }
        }
    }
}
