//! A small expression language, so that these tests need no SQL engine: `a * b < c`, `a / b > 1`,
//! `a is not null`, over columns and numbers.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{Evaluated, Expression, ExpressionCompiler, ExpressionError, Result};

pub(crate) struct Conditions;

#[derive(Debug)]
struct Condition {
    text: String,
    columns: Vec<String>,
    data_type: DataType,
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && !["is", "not", "null"].contains(&word)
}

impl ExpressionCompiler for Conditions {
    fn compile(
        &self,
        text: &str,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn Expression>, ExpressionError> {
        let columns: Vec<String> =
            words(text).into_iter().filter(|word| is_name(word)).map(str::to_owned).collect();
        for column in &columns {
            if schema.index_of(column).is_err() {
                let start = text.find(column.as_str()).unwrap();
                return Err(ExpressionError {
                    message: format!("there is no column `{column}`"),
                    span: Some(start..start + column.len()),
                    hint: None,
                });
            }
        }
        let compares = words(text).iter().any(|word| ["<", ">", "is"].contains(word));
        let data_type = if compares { DataType::Boolean } else { DataType::Float64 };
        Ok(Arc::new(Condition { text: text.to_owned(), columns, data_type }))
    }

    fn check(&self, text: &str) -> Result<(), ExpressionError> {
        match text.find('(') {
            Some(at) if !text.contains(')') => Err(ExpressionError {
                message: "a parenthesis is not closed".to_owned(),
                span: Some(at..at + 1),
                hint: None,
            }),
            _ => Ok(()),
        }
    }
}

type Number = Result<Option<f64>, String>;

impl Condition {
    fn number(&self, words: &[&str], columns: &RecordBatch, row: usize) -> Number {
        let one = |word: &str| -> Option<f64> {
            match columns.column_by_name(word) {
                Some(column) => value_text(column, row)?.parse().ok(),
                None => word.parse().ok(),
            }
        };
        let two = |a: &str, b: &str| Some((one(a)?, one(b)?));
        match *words {
            [a] => Ok(one(a)),
            [a, "*", b] => Ok(two(a, b).map(|(a, b)| a * b)),
            [a, "/", b] => match two(a, b) {
                Some((_, 0.0)) => Err(format!("division by zero in `{}`", self.text)),
                pair => Ok(pair.map(|(a, b)| a / b)),
            },
            _ => panic!("{words:?}"),
        }
    }

    fn truth(&self, columns: &RecordBatch, row: usize) -> Result<Option<bool>, String> {
        let words = words(&self.text);
        if let [name, "is", "not", "null"] = *words {
            return Ok(Some(columns.column_by_name(name).unwrap().is_valid(row)));
        }
        let at = words.iter().position(|word| ["<", ">"].contains(word)).unwrap();
        let (a, b) = (
            self.number(&words[..at], columns, row)?,
            self.number(&words[at + 1..], columns, row)?,
        );
        let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
        Ok(Some(if words[at] == "<" { a < b } else { a > b }))
    }
}

impl Expression for Condition {
    fn text(&self) -> &str {
        &self.text
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn evaluate(&self, columns: &RecordBatch) -> Result<Evaluated> {
        let mut failures = Vec::new();
        if self.data_type == DataType::Float64 {
            let values = Arc::new(Float64Array::new_null(columns.num_rows()));
            return Ok(Evaluated { values, failures });
        }
        let values: BooleanArray = (0..columns.num_rows())
            .map(|row| {
                self.truth(columns, row).unwrap_or_else(|why| {
                    failures.push((row as u32, why));
                    None
                })
            })
            .collect();
        Ok(Evaluated { values: Arc::new(values) as ArrayRef, failures })
    }
}
