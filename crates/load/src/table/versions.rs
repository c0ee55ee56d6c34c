//! The options of mode `scd2`: what they mean together, and mistakes in them.

use arrow_schema::{DataType, Schema, SchemaRef};
use gristmill_core::{Mistake, Pointer};
use serde_json::Value;

use super::Options;
use crate::reading::no_column;
use crate::scd2::{Missing, Scope, VersionColumns};

impl Options {
    /// The name of the column with surrogate keys.
    pub(crate) fn surrogate(&self) -> String {
        self.surrogate_key.clone().unwrap_or_else(|| format!("{}_key", self.table))
    }

    /// The columns that the load keeps in mode `scd2`.
    pub(crate) fn kept(&self) -> Vec<String> {
        let VersionColumns { effective_date, end_date, is_current, is_deleted } =
            self.version_columns.clone();
        let mut kept = vec![self.surrogate(), effective_date, end_date, is_current];
        kept.extend((self.missing == Missing::Mark).then_some(is_deleted));
        kept
    }

    /// Whether a column of the records is the time from when on they hold, and kept as such only.
    pub(crate) fn is_time(&self, column: &str) -> bool {
        self.effective.as_deref() == Some(column)
            && column.eq_ignore_ascii_case(&self.version_columns.effective_date)
    }

    /// The field with that time.
    pub(crate) fn time(&self, schema: &Schema) -> Option<usize> {
        let time = self.effective.as_ref()?;
        schema.fields().iter().position(|field| field.name() == time)
    }

    /// The name of a field's column: in a dimension, the time may be kept in the column for it only.
    pub(crate) fn column_of<'a>(&'a self, field: &'a str) -> &'a str {
        if self.is_time(field) { &self.version_columns.effective_date } else { field }
    }

    /// Whether the change of a column makes a new version.
    pub(crate) fn tracks(&self, column: &str) -> bool {
        let is = |other: &String| other.as_str() == column;
        if self.track.is_empty() {
            !self.keys.iter().chain(&self.effective).any(is)
        } else {
            self.track.iter().any(is)
        }
    }

    /// Mistakes in what only `scd2` understands.
    pub(super) fn check_versions(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        for (i, column) in self.track.iter().enumerate() {
            if self.keys.contains(column) {
                let message = format!("`{column}` is a key: a record with another one is another");
                mistakes.push(Mistake::new(at("track").index(i), message).hint("leave it out"));
            }
        }
        if let Scope::Partition(columns) = &self.scope {
            if self.missing == Missing::Keep {
                mistakes.push(
                    Mistake::new(at("scope"), "nothing is missing with `missing: keep`")
                        .on_key()
                        .hint("add `missing: close` or `missing: mark`, or leave it out"),
                );
            }
            if columns.is_empty() {
                mistakes.push(
                    Mistake::new(at("scope").key("partition"), "a partition needs columns")
                        .hint("write `scope: full` when the input is complete"),
                );
            }
        }
        let kept = self.kept();
        for (i, column) in kept.iter().enumerate() {
            if kept[..i].iter().any(|other| other.eq_ignore_ascii_case(column)) {
                let message = format!("`{column}` is the name of two columns that the load keeps");
                mistakes.push(Mistake::new(at("version_columns"), message));
            }
        }
        if let Some(member) = &self.unknown_member {
            let surrogate = self.surrogate();
            if member.get(&surrogate).and_then(Value::as_i64).is_none() {
                mistakes.push(
                    Mistake::new(
                        at("unknown_member"),
                        format!("the unknown member needs a number for `{surrogate}`"),
                    )
                    .hint(format!("add `{surrogate}: -1`")),
                );
            }
            for (column, value) in member {
                let at = at("unknown_member").key(column);
                if kept[1..].iter().any(|kept| kept.eq_ignore_ascii_case(column)) {
                    mistakes.push(Mistake::new(at, format!("`{column}` is kept by the load")));
                } else if value.is_array() || value.is_object() {
                    mistakes.push(Mistake::new(at, "a column takes one value"));
                }
            }
        }
        mistakes
    }

    /// Mistakes in what only `scd2` understands, that are seen with the columns.
    pub(super) fn bind_versions(&self, schema: &SchemaRef) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let mut named: Vec<(Pointer, &String)> = Vec::new();
        let partition = match &self.scope {
            Scope::Partition(columns) => &columns[..],
            Scope::Full => &[],
        };
        let track = at("track");
        named.extend(self.track.iter().enumerate().map(|(i, c)| (track.clone().index(i), c)));
        let scope = at("scope").key("partition");
        named.extend(partition.iter().enumerate().map(|(i, c)| (scope.clone().index(i), c)));
        named.extend(self.effective.iter().map(|column| (at("effective"), column)));
        let mut mistakes: Vec<Mistake> = named
            .into_iter()
            .filter(|(_, column)| !names.contains(column))
            .map(|(at, column)| no_column(at, column, &names))
            .collect();
        for field in schema.fields() {
            let is_kept = self.kept().iter().any(|kept| kept.eq_ignore_ascii_case(field.name()));
            if is_kept && !self.is_time(field.name()) {
                mistakes.push(
                    Mistake::new(
                        at("mode"),
                        format!("`{}` is a column that the load keeps itself", field.name()),
                    )
                    .hint("rename it with `map`, or give the kept one another name"),
                );
            }
            let is_time = self.effective.as_ref() == Some(field.name());
            let may_be_time =
                matches!(field.data_type(), DataType::Date32 | DataType::Timestamp(..));
            if is_time && !may_be_time {
                mistakes.push(
                    Mistake::new(
                        at("effective"),
                        format!("`{}` holds neither dates nor timestamps", field.name()),
                    )
                    .hint("declare its type, or `cast` it"),
                );
            }
        }
        mistakes
    }
}
