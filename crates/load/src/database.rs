//! What loading by statements asks of a database.

use gristmill_core::Error;

use crate::dialect::Dialect;

/// A connection that is in a transaction.
pub(crate) trait Database {
    type Error;

    const DIALECT: Dialect;

    /// Runs statements without parameters.
    fn batch(&self, sql: &str) -> Result<(), Self::Error>;

    /// Runs a statement, and answers the number of rows that it touched.
    fn execute(&self, sql: &str, parameters: &[Option<i64>]) -> Result<u64, Self::Error>;

    /// The rows of a query for numbers and truth values; nulls are 0.
    fn numbers(&self, sql: &str, parameters: &[Option<i64>]) -> Result<Vec<Vec<i64>>, Self::Error>;

    /// The rows of a query, whose values are texts.
    fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Self::Error>;

    /// Whether the transaction is still there.
    fn is_in_transaction(&self) -> bool;

    /// The database's words, where it refuses what is in the records and not the load as such.
    fn refusal(error: &Self::Error) -> Option<String>;

    /// What the database said, as an error of the run.
    fn refused(what: &str, error: Self::Error) -> Error;

    /// The only number of a query.
    fn number(&self, sql: &str, parameters: &[Option<i64>]) -> Result<i64, Self::Error> {
        let rows = self.numbers(sql, parameters)?;
        Ok(rows.first().and_then(|row| row.first()).copied().unwrap_or_default())
    }
}
