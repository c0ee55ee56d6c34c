//! Contracts: what the records of a source were agreed to be, judged as they are read.
//!
//! A contract stands in the pipeline or in a file. [`Agreement`] is what both become; `read` holds a source to
//! it, and `diff` tells how a file or a table differs from it.

pub mod diff;
mod judge;
mod odcs;
mod options;
mod read;

use std::fs;
use std::path::Path;

use gristmill_core::{Error, ErrorKind, FieldType};

pub use options::{Column, Contract, NullWay, Policy, Said, Way};
pub(crate) use options::{check, said_twice};
pub(crate) use read::Contracted;

use crate::definition::{Diagnostics, LoadError, read_options, yaml_to_json};

/// A contract, read and checked, with a policy for everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Its columns.
    pub columns: Vec<Agreed>,
    /// What becomes of a column that it does not have.
    pub new_column: Way,
    /// What becomes of a column that is not there.
    pub missing_column: Way,
    /// What becomes of a value that is not of its type.
    pub field_type: Way,
    /// What becomes of a null where none may be.
    pub null: NullWay,
}

/// What was agreed about a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub column: Column,
}

impl Agreement {
    /// The agreement that a contract is; its file, relative to `base`, is read.
    ///
    /// # Errors
    /// When the file cannot be read or has mistakes.
    pub fn open(contract: &Contract, base: &Path) -> Result<Self, LoadError> {
        match &contract.file {
            None => Ok(Self::new(contract, Policy::default())),
            Some(file) => {
                let read = read_file(&base.join(file), contract.schema.as_deref())?;
                Ok(Self::new(&read, contract.policy))
            }
        }
    }

    fn new(contract: &Contract, over: Policy) -> Self {
        let policy = over.or(contract.policy);
        let columns = contract.columns.iter();
        let agreed = |(name, column): (&String, &Column)| Agreed {
            name: name.clone(),
            column: column.clone(),
        };
        Self {
            columns: columns.map(agreed).collect(),
            new_column: policy.new_column.unwrap_or(Way::Evolve),
            missing_column: policy.missing_column.unwrap_or(Way::Freeze),
            field_type: policy.field_type.unwrap_or(Way::QuarantineRecord),
            null: policy.null.unwrap_or(NullWay::QuarantineRecord),
        }
    }
}

impl Agreed {
    /// The type that it has to have.
    fn field_type(&self) -> Option<FieldType> {
        self.column.field_type
    }
}

/// Reads the file of a contract.
///
/// # Errors
/// When it cannot be read or has mistakes.
pub fn read_file(path: &Path, schema: Option<&str>) -> Result<Contract, LoadError> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Error::io(format!("cannot read the contract `{name}`"), error)
            .hint("`gristmill profile DATA --suggest contract` writes one for a data file")
    })?;
    let document = yaml_to_json(&text).unwrap_or_default();
    if document.is_string() || document.is_array() {
        let wrong = format!("`{name}` is no contract");
        let hint = "one begins with `columns:`; on the command line, the contract comes first, then the data";
        return Err(Error::new(ErrorKind::Configuration, wrong).hint(hint).into());
    }
    if document.get("extract").is_some() {
        let wrong = format!("`{name}` is a pipeline, no contract");
        let hint =
            "put what stands under its `contract:` into a file, and name that in both places";
        return Err(Error::new(ErrorKind::Configuration, wrong).hint(hint).into());
    }
    if odcs::is_one(&document) {
        return Ok(odcs::read(&document, schema)
            .map_err(|wrong| Diagnostics::of_file(path, &text, wrong))?);
    }
    if let Some(schema) = schema {
        let wrong = format!(
            "there is no entry `{schema}`: `{name}` is no data contract of the Open Data Contract Standard"
        );
        return Err(Error::new(ErrorKind::Configuration, wrong).hint("leave `schema` out").into());
    }
    let contract = read_options::<Contract>(&text, path, "the contract", Contract::check)?;
    if let Some(file) = &contract.file {
        let wrong = format!("a contract's file names another one, `{}`", file.display());
        return Err(Diagnostics::of_file(path, &text, wrong).into());
    }
    Ok(contract)
}
