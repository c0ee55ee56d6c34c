//! Text ⇄ typed values: the one place where a date, a number or a truth value is read from text
//! or written as text.
//!
//! A CSV decoder pushes the bytes of a field straight into a [`ColumnBuilder`]; a cast step pushes
//! the strings of a column; both get the same values and the same failures. [`write_value`] is the
//! way back, for CSV, for JSON and for messages.
//!
//! The order of cleaning is: trim, then compare with the null tokens, then change case, then fill
//! the default, then parse.

mod builder;
mod clean;
mod display;
mod fields;
mod fill;
mod fixed;
mod memo;
pub mod parse;
pub mod print;
#[cfg(target_arch = "x86_64")]
mod sse2;
mod texts;
mod word;

pub use builder::{ColumnBuilder, ValueError};
pub use clean::{Case, Clean};
pub use display::{value_text, write_value};
pub use fields::FieldSyntax;
pub use texts::SharedText;

use arrow_schema::{Field, FieldRef};

use crate::types::FieldType;

/// How one column is read: where it comes from, what it is called, its type and its cleaning.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPlan {
    /// The field's name in the source.
    pub source: String,
    /// The column's name.
    pub name: String,
    /// Its type.
    pub field_type: FieldType,
    /// Whether the type was declared; an undeclared one may be inferred.
    pub declared: bool,
    /// What is done to the text before it is parsed.
    pub clean: Clean,
    /// `strftime` formats tried in order for dates, times and timestamps; ISO 8601 when empty.
    pub formats: Vec<String>,
    /// For a source with nested values: the list or struct that the column is, in place of
    /// `field_type`, which is then [`FieldType::Json`]. A cast or a declared type resets it.
    pub nested: Option<FieldRef>,
}

impl ColumnPlan {
    /// A column of this type, read as it stands.
    pub fn new(name: impl Into<String>, field_type: FieldType) -> Self {
        let name = name.into();
        Self {
            source: name.clone(),
            name,
            field_type,
            declared: false,
            clean: Clean::default(),
            formats: Vec::new(),
            nested: None,
        }
    }

    /// Whether every text is a value of it, so that no record is rejected for this column.
    pub fn takes_any_text(&self) -> bool {
        self.nested.is_some()
            || self.field_type == FieldType::String
            || (self.field_type == FieldType::Json && !self.declared)
    }

    /// The Arrow field that the column becomes.
    pub fn field(&self) -> Field {
        match &self.nested {
            Some(nested) => nested.as_ref().clone().with_name(&self.name),
            None => self.field_type.field(&self.name),
        }
    }
}
