//! Loads of versions: in which order the statements of [`crate::scd2`] are run.

use crate::database::Database;
use crate::preview::Changes;
use crate::scd2::{Missing, Names, verdict};
use crate::statements::{Silent, StagedValue};

/// What a load of versions makes of a range of records.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) closed: u64,
    pub(crate) unchanged: u64,
    /// Versions that ended because no record had their key.
    pub(crate) retired: u64,
    /// Rows that the database was told to write, and did not.
    pub(crate) dropped: u64,
}

/// A load of versions: the records are judged, and nothing is changed yet.
pub(crate) struct Versions {
    end: String,
    correct: String,
    insert: String,
    count: String,
    members: String,
    /// Statements that end what is missing.
    retire: Vec<String>,
    work: String,
    /// The highest surrogate key before the load, and now.
    base: i64,
    highest: i64,
    unknown: Option<i64>,
    /// Records that change nothing, and are not among the judged ones.
    unchanged: u64,
    changes: Changes,
    silent: Silent,
}

impl Versions {
    /// Judges all records. `partition` are the columns, as in [`Names::columns`], that say what the
    /// input is complete for; `unknown` is the surrogate key of the unknown member.
    pub(crate) fn judge<D: Database>(
        database: &D,
        names: &Names,
        missing: Missing,
        partition: &[(String, StagedValue)],
        unknown: Option<i64>,
    ) -> Result<Self, D::Error> {
        let Names { table, surrogate, work, .. } = names;
        let base = highest(database, table, surrogate)?;
        database.batch(&drop_tables::<D>(work))?;
        database.batch(&names.judge())?;
        if database.number(&names.asks_history(), &[])? != 0 {
            database.batch(&names.judge_history())?;
        }
        let unchanged = match names.count_unchanged() {
            Some(count) => database.number(&count, &[])? as u64,
            None => 0,
        };
        let mut retire = Vec::new();
        if missing != Missing::Keep {
            let gone = format!("{work}gone");
            database.batch(&D::DIALECT.create_table(&gone, "sk BIGINT", "sk"))?;
            for sql in names.latest().into_iter().chain(names.parts(partition)) {
                database.batch(&sql)?;
            }
            retire = names.retire(missing, partition);
        }
        Ok(Self {
            end: names.end(),
            correct: names.correct(),
            insert: names.insert(),
            count: names.count(),
            members: names.members(),
            retire,
            work: work.clone(),
            base,
            highest: base,
            unknown,
            unchanged,
            changes: names.changes(),
            silent: names.silent,
        })
    }

    /// The versions that end or are corrected.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Loads the records of some groups, from the first to the last.
    pub(crate) fn attempt<D: Database>(
        &self,
        database: &D,
        groups: [Option<i64>; 2],
    ) -> Result<Counts, D::Error> {
        let mut counts = Counts::default();
        let mut ends = 0;
        for row in database.numbers(&self.count, &groups)? {
            let records = row[1] as u64;
            match row[0] {
                verdict::UNCHANGED => counts.unchanged = records,
                verdict::CORRECTION => counts.updated = records,
                verdict::CHANGE => (counts.closed, ends) = (records, row[2] as u64),
                verdict::NEW => counts.inserted = records,
                _ => {}
            }
        }
        let mut changed = 0;
        if counts.closed > 0 {
            changed += database.execute(&self.end, &groups)?;
        }
        if counts.updated > 0 {
            changed += database.execute(&self.correct, &groups)?;
        }
        if self.silent.updates {
            counts.dropped = (ends + counts.updated).saturating_sub(changed);
            if counts.dropped > 0 {
                return Ok(counts);
            }
        }
        let new = counts.inserted + counts.closed;
        if new > 0 {
            let parameters = [groups[0], groups[1], Some(self.highest)];
            counts.dropped += new.saturating_sub(database.execute(&self.insert, &parameters)?);
        }
        Ok(counts)
    }

    /// Takes over what an attempt did that stays.
    pub(crate) fn done(&mut self, counts: Counts) {
        self.highest += (counts.inserted + counts.closed) as i64;
    }

    /// The records of a group, and whether the database was to be changed for them.
    pub(crate) fn members<D: Database>(
        &self,
        database: &D,
        group: i64,
    ) -> Result<Vec<(i64, bool)>, D::Error> {
        let rows = database.numbers(&self.members, &[Some(group)])?;
        Ok(rows.into_iter().map(|row| (row[0], row[1] != 0)).collect())
    }

    /// Ends the versions of missing keys. Records that change nothing were perhaps never part of a
    /// range, and are counted here.
    pub(crate) fn finish<D: Database>(&mut self, database: &D) -> Result<Counts, D::Error> {
        let mut counts = Counts { unchanged: self.unchanged, ..Counts::default() };
        for (i, sql) in self.retire.iter().enumerate() {
            // The second statement has no parameters, the first two, and the third one of its own.
            let parameters: &[Option<i64>] = match i {
                0 => &[Some(self.base), self.unknown],
                1 => &[],
                _ => &[Some(self.highest)],
            };
            let changed = database.execute(sql, parameters)?;
            match i {
                0 => counts.retired = changed,
                1 if !self.silent.updates => {}
                _ => counts.dropped += counts.retired.saturating_sub(changed),
            }
        }
        if self.retire.len() > 2 {
            self.highest += counts.retired as i64;
        }
        database.batch(&drop_tables::<D>(&self.work))?;
        Ok(counts)
    }
}

/// The highest surrogate key of a table; at least 0.
pub(crate) fn highest<D: Database>(
    database: &D,
    table: &str,
    surrogate: &str,
) -> Result<i64, D::Error> {
    let sql = format!("SELECT coalesce(max({surrogate}), 0) FROM {table}");
    Ok(database.number(&sql, &[])?.max(0))
}

fn drop_tables<D: Database>(work: &str) -> String {
    let tables = ["work", "gone", "latest", "parts"];
    tables.map(|name| D::DIALECT.drop_table(&format!("{work}{name}"))).concat()
}
