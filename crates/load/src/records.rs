//! Records that are staged: their numbers, where they stood in their sources, and which of them
//! are not loaded because others have the same key.

use std::sync::Arc;

use gristmill_core::{Error, Findings, Origin, Reason, Reject, Result, Rows, Space, Stage};

use crate::database::Database;
use crate::spool::{Spool, origin};
use crate::table::Duplicates;

/// Rejects found in one go, before they are written down.
pub(crate) const PIECE: usize = 4096;

/// What is known of staged records.
pub(crate) struct Records {
    /// None where no record can be refused: in a new table without a key.
    pub(crate) spool: Option<Spool>,
    /// Number of the last one, from 1.
    pub(crate) last: i64,
    sealed: bool,
    duplicates: Duplicates,
    /// Hashes of the keys, while there is room for all of them.
    hashes: Option<Vec<u64>>,
    room: usize,
    /// Whether there are some that are not loaded, for their key's sake.
    has_losers: bool,
    /// The last of them that was rejected.
    pub(crate) rejected: i64,
}

impl Records {
    /// None yet. With `hashed`, equal keys have equal hashes, for which there is some of the
    /// memory; without `may_refuse`, nothing is kept of where they stood.
    pub(crate) fn new(
        duplicates: Duplicates,
        may_refuse: bool,
        hashed: bool,
        space: &Space,
    ) -> Result<Self> {
        let spool = may_refuse.then(|| Spool::new(&space.scratch)).transpose();
        Ok(Self {
            spool: spool
                .map_err(|e| Error::io("cannot create a temporary file for staged records", e))?,
            last: 0,
            sealed: false,
            duplicates,
            hashes: hashed.then(Vec::new),
            room: space.memory / 8,
            has_losers: false,
            rejected: 0,
        })
    }

    /// Takes up a chunk of `rows` records, and answers the number of its first.
    pub(crate) fn add(
        &mut self,
        rows: usize,
        origins: &[(Arc<Origin>, Rows)],
        hashes: Vec<u64>,
    ) -> Result<i64> {
        if self.sealed {
            return Err(Error::internal("a table was given records after it was prepared"));
        }
        let first = self.last + 1;
        let mut next = first;
        for (origin, rows) in origins {
            if let Some(spool) = &mut self.spool {
                spool
                    .keep(next as u64, origin, rows)
                    .map_err(|e| Error::io("cannot write a temporary file of staged records", e))?;
            }
            next += rows.len() as i64;
        }
        self.last += rows as i64;
        if next != self.last + 1 {
            return Err(Error::internal("rows were staged without their origin"));
        }
        if let Some(all) = &mut self.hashes {
            all.extend(hashes);
            if all.len() > self.room {
                self.hashes = None;
            }
        }
        Ok(first)
    }

    /// Says that all are there; answers whether that was said before.
    pub(crate) fn seal(&mut self) -> bool {
        std::mem::replace(&mut self.sealed, true)
    }

    /// Whether two records may have the same key: when no two hashes are equal, none has.
    pub(crate) fn may_repeat(&mut self) -> bool {
        let Some(mut hashes) = self.hashes.take() else { return true };
        hashes.sort_unstable();
        hashes.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Whether a record with the number `seq` is not loaded, in a query with a window over its key.
    pub(crate) fn loses(&self, seq: &str, window: &str) -> String {
        match self.duplicates {
            Duplicates::Last => format!("{seq} <> max({seq}) OVER {window}"),
            Duplicates::First => format!("{seq} <> min({seq}) OVER {window}"),
            Duplicates::Reject => format!("1 <> count(*) OVER {window}"),
        }
    }

    /// Looks whether there are records in the table of those that are not loaded.
    pub(crate) fn look<D: Database>(&mut self, database: &D, losers: &str) -> Result<(), D::Error> {
        let any = format!("SELECT CASE WHEN EXISTS (SELECT 1 FROM {losers}) THEN 1 ELSE 0 END");
        self.has_losers = database.number(&any, &[])? != 0;
        Ok(())
    }

    pub(crate) fn has_losers(&self) -> bool {
        self.has_losers
    }

    /// Rejects some of the records that are not loaded; answers whether there may be more. `keys`
    /// are values of the staging table `s`.
    pub(crate) fn reject_losers<D: Database>(
        &mut self,
        database: &D,
        staged: &str,
        losers: &str,
        keys: &[String],
        findings: &mut Findings,
    ) -> Result<bool> {
        if !self.has_losers {
            return Ok(false);
        }
        let dialect = D::DIALECT;
        let values: Vec<String> = keys.iter().map(|key| dialect.text(key)).collect();
        let sql = format!(
            "SELECT {}, {} FROM {losers} AS l {} {staged} AS s ON s.{} = l.seq \
             WHERE l.seq > {} ORDER BY l.seq LIMIT {PIECE}",
            dialect.text("l.seq"),
            values.join(", "),
            dialect.join(),
            dialect.row(),
            self.rejected
        );
        let reading = |e| D::refused("cannot read staged records", e);
        let rows = database.texts(&sql).map_err(reading)?;
        for row in &rows {
            let seq = row.first().and_then(|seq| seq.as_deref()?.parse().ok());
            let seq = seq.ok_or_else(|| Error::internal("a staged record has no number"))?;
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
            let values: Vec<String> = row[1..].iter().map(shown).collect();
            self.reject(seq, &values, findings)?;
        }
        Ok(rows.len() == PIECE)
    }

    /// Rejects a record that is not loaded, whose key has these values.
    pub(crate) fn reject(
        &mut self,
        seq: i64,
        key: &[String],
        findings: &mut Findings,
    ) -> Result<()> {
        let which = match self.duplicates {
            Duplicates::Last => "the last one is loaded",
            Duplicates::First => "the first one is loaded",
            Duplicates::Reject => "none is loaded",
        };
        let key = key.join("`, `");
        let message = format!("the key `{key}` occurs more than once in this load; {which}");
        let origin = origin(&mut self.spool, seq)?;
        let errors = vec![Reason::record("duplicate_key", message)];
        findings.reject(Reject { origin, ordinal: 0, stage: Stage::Load, errors });
        self.rejected = seq;
        Ok(())
    }
}
