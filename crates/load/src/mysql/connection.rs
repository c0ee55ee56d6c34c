//! A connection as merges use it, and how rows are sent over it.

use arrow_array::ArrayRef;
use arrow_schema::Field;
use gristmill_core::{Error, Result};
use gristmill_database::mysql::rows::Writer;
use gristmill_database::mysql::types::Form;
use gristmill_database::mysql::{Client, DatabaseError, error_of, refusal};

use crate::database::Database;
use crate::dialect::Dialect;
use crate::part::Wire;

impl Database for Client {
    type Error = DatabaseError;

    const DIALECT: Dialect = Dialect::MySql;

    fn batch(&self, sql: &str) -> Result<(), DatabaseError> {
        Client::batch(self, sql)
    }

    fn execute(&self, sql: &str, parameters: &[Option<i64>]) -> Result<u64, DatabaseError> {
        Client::execute(self, sql, parameters)
    }

    fn numbers(
        &self,
        sql: &str,
        parameters: &[Option<i64>],
    ) -> Result<Vec<Vec<i64>>, DatabaseError> {
        Client::numbers(self, sql, parameters)
    }

    fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
        Client::texts(self, sql)
    }

    /// What the server rolled back by itself it says when the savepoint is asked for.
    fn is_in_transaction(&self) -> bool {
        !self.is_closed()
    }

    fn refusal(error: &DatabaseError) -> Option<String> {
        refusal(error)
    }

    fn refused(what: &str, error: DatabaseError) -> Error {
        error_of(what, error)
    }
}

impl Wire for Form {
    type Writer<'a> = Writer<'a>;

    fn writer<'a>(
        columns: impl Iterator<Item = (&'a ArrayRef, &'a Field, Form)>,
        numbered: bool,
    ) -> Result<Writer<'a>> {
        Writer::new(columns, numbered)
    }
}
