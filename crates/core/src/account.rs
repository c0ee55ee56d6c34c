//! The books: what became of every record.

use serde::{Deserialize, Serialize};

/// What became of the records that entered a step, a destination or a run.
///
/// The law: `read = loaded + unchanged + filtered + deduplicated + rejected`, where
/// `loaded = inserted + updated + closed`. For a step, `inserted` counts the records it passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Records that came in.
    pub read: u64,
    /// Records written as new rows, or passed on by a step.
    pub inserted: u64,
    /// Records that changed an existing row.
    #[serde(default)]
    pub updated: u64,
    /// Records that closed a current row and opened a new version of it.
    #[serde(default)]
    pub closed: u64,
    /// Records that were already there, equal.
    #[serde(default)]
    pub unchanged: u64,
    /// Records that a filter took out.
    #[serde(default)]
    pub filtered: u64,
    /// Records dropped as duplicates of another one.
    #[serde(default)]
    pub deduplicated: u64,
    /// Records taken out with a reason.
    #[serde(default)]
    pub rejected: u64,
}

/// An account that does not balance: a bug, and the run fails on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the account of {name} does not balance: {read} in, {out} accounted for")]
pub struct Imbalance {
    /// Whose account it is.
    pub name: String,
    /// Records in.
    pub read: u64,
    /// Records accounted for.
    pub out: u64,
}

impl Account {
    /// Records that reached the destination and changed it: inserted, updated, closed and reopened.
    pub fn loaded(&self) -> u64 {
        self.inserted + self.updated + self.closed
    }

    /// Every record that the account can explain.
    pub fn accounted(&self) -> u64 {
        self.loaded() + self.unchanged + self.filtered + self.deduplicated + self.rejected
    }

    /// Checks the law.
    ///
    /// # Errors
    /// [`Imbalance`] when records in and records accounted for differ.
    pub fn check(&self, name: &str) -> Result<(), Imbalance> {
        if self.read == self.accounted() {
            return Ok(());
        }
        Err(Imbalance { name: name.to_owned(), read: self.read, out: self.accounted() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_only_when_every_record_is_explained() {
        let account = Account {
            read: 10,
            inserted: 4,
            updated: 1,
            unchanged: 1,
            filtered: 2,
            rejected: 2,
            ..Account::default()
        };
        assert_eq!(account.loaded(), 5);
        assert!(account.check("run").is_ok());
        let short = Account { read: 11, ..account };
        assert_eq!(
            short.check("run").unwrap_err().to_string(),
            "the account of run does not balance: 11 in, 10 accounted for"
        );
    }
}
