//! A connection as merges use it, and the rows that COPY sends over it.

use arrow_array::ArrayRef;
use arrow_schema::Field;
use gristmill_core::Error;
use gristmill_database::copy::Writer;
use gristmill_database::types::Form;
use gristmill_database::{Client, DatabaseError, error_of, refusal};

use crate::database::Database;
use crate::dialect::Dialect;
use crate::part::Wire;

impl Database for Client {
    type Error = DatabaseError;

    const DIALECT: Dialect = Dialect::Postgres;

    fn batch(&self, sql: &str) -> Result<(), DatabaseError> {
        Client::batch(self, sql)
    }

    fn execute(&self, sql: &str, parameters: &[Option<i64>]) -> Result<u64, DatabaseError> {
        Client::execute(self, sql, &bound(parameters))
    }

    fn numbers(
        &self,
        sql: &str,
        parameters: &[Option<i64>],
    ) -> Result<Vec<Vec<i64>>, DatabaseError> {
        let rows = self.query(sql, &bound(parameters))?;
        let number = |row: &gristmill_database::Row, i: usize| match row.columns()[i].type_().name()
        {
            "bool" => row.get::<_, Option<bool>>(i).map(i64::from),
            "int2" => row.get::<_, Option<i16>>(i).map(i64::from),
            "int4" => row.get::<_, Option<i32>>(i).map(i64::from),
            _ => row.get::<_, Option<i64>>(i),
        };
        let rows = rows
            .iter()
            .map(|row| (0..row.len()).map(|i| number(row, i).unwrap_or_default()).collect());
        Ok(rows.collect())
    }

    fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
        Client::texts(self, sql)
    }

    fn is_in_transaction(&self) -> bool {
        !self.is_closed()
    }

    fn refusal(error: &DatabaseError) -> Option<String> {
        refusal(error).map(|refusal| refusal.message)
    }

    fn refused(what: &str, error: DatabaseError) -> Error {
        error_of(what, error)
    }
}

fn bound(parameters: &[Option<i64>]) -> Vec<gristmill_database::Parameter<'_>> {
    parameters.iter().map(|parameter| parameter as gristmill_database::Parameter<'_>).collect()
}

impl Wire for Form {
    type Writer<'a> = Writer<'a>;

    fn writer<'a>(
        columns: impl Iterator<Item = (&'a ArrayRef, &'a Field, Form)>,
        numbered: bool,
    ) -> gristmill_core::Result<Writer<'a>> {
        Writer::new(columns, numbered)
    }
}
