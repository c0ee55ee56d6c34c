//! The columns of several files: what they have in common, what is declared about them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use gristmill_core::text::ColumnPlan;
use gristmill_core::types::type_name;
use gristmill_core::{Error, ErrorKind, FieldType, ReadPlan, Result};
use indexmap::{IndexMap, IndexSet};

use super::options::{Drift, Options};
use super::paths::closest;

/// The names of a file's columns, in its order. Empty for a file that is empty.
pub(super) struct Header {
    pub file: Arc<str>,
    pub columns: Vec<String>,
}

/// Files that lack columns, and which.
pub(super) type Gaps = Vec<(Arc<str>, Vec<String>)>;

/// The columns to read from all files, in order of appearance. What differs from the first file
/// goes to `notes`, or is the error.
pub(super) fn combine(
    headers: &[Header],
    options: &Options,
    notes: &mut IndexSet<String>,
) -> Result<Vec<String>> {
    let mut headers = headers.iter().filter(|header| !header.columns.is_empty());
    let Some(first) = headers.next() else { return Ok(Vec::new()) };
    let base: HashSet<_> = first.columns.iter().collect();
    let mut columns: IndexSet<_> = first.columns.iter().cloned().collect();
    let mut drifts: IndexMap<Difference, Vec<&str>> = IndexMap::new();
    for header in headers {
        let own: HashSet<_> = header.columns.iter().collect();
        let difference = Difference {
            missing: first.columns.iter().filter(|name| !own.contains(name)).cloned().collect(),
            extra: header.columns.iter().filter(|name| !base.contains(name)).cloned().collect(),
        };
        if difference.missing.is_empty() && difference.extra.is_empty() {
            continue;
        }
        match options.drift {
            Drift::Error => {}
            Drift::Fill => columns.extend(difference.extra.iter().cloned()),
            Drift::Ignore => {
                let declared = |name: &&String| {
                    options.columns.keys().any(|key| key == *name || plain(key) == plain(name))
                };
                columns.extend(difference.extra.iter().filter(declared).cloned());
            }
        }
        drifts.entry(difference).or_default().push(&header.file);
    }
    if options.drift == Drift::Error && !drifts.is_empty() {
        return Err(differ(&first.file, &drifts, options));
    }
    for (difference, files) in &drifts {
        let files = file_list(files);
        if !difference.missing.is_empty() {
            let missing = name_list(&difference.missing);
            notes.insert(format!("{files} without {missing}: null there"));
        }
        let (taken, left): (Vec<_>, Vec<_>) =
            difference.extra.iter().cloned().partition(|name| columns.contains(name));
        if !taken.is_empty() {
            let taken = name_list(&taken);
            notes.insert(format!("{files} with {taken}, which `{}` does not have", first.file));
        }
        if !left.is_empty() {
            let left = name_list(&left);
            notes.insert(format!(
                "{files} with {left}, which `{}` does not have: left out",
                first.file
            ));
        }
    }
    Ok(columns.into_iter().collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Difference {
    missing: Vec<String>,
    extra: Vec<String>,
}

fn differ(first: &str, drifts: &IndexMap<Difference, Vec<&str>>, options: &Options) -> Error {
    let said = drifts.iter().take(3).map(|(difference, files)| {
        let mut parts = Vec::new();
        if !difference.missing.is_empty() {
            parts.push(format!("without {}", name_list(&difference.missing)));
        }
        if !difference.extra.is_empty() {
            parts.push(format!("with {}", name_list(&difference.extra)));
        }
        format!("{} {}", file_list(files), parts.join(" and "))
    });
    let said: Vec<_> = said.collect();
    let message = format!(
        "the files of `{}` do not have the same columns: compared with `{first}`, there is {}",
        options.file,
        said.join("; ")
    );
    Error::new(ErrorKind::Schema, message).hint(format!(
        "say `drift: fill` to read all columns, with nulls where a file has none, or `drift: \
         ignore` to read the columns of `{first}`"
    ))
}

/// Brings the schemas of typed files together; says which of them lack columns, as [`gaps`].
pub(super) fn combine_typed(
    schemas: &[(Arc<str>, SchemaRef)],
    options: &Options,
    notes: &mut IndexSet<String>,
) -> Result<(SchemaRef, Gaps)> {
    let mut fields: IndexMap<&str, (&Arc<str>, &FieldRef)> = IndexMap::new();
    for (file, schema) in schemas {
        for field in schema.fields() {
            let (other, known) = *fields.entry(field.name()).or_insert((file, field));
            if known.data_type() != field.data_type() || type_name(known) != type_name(field) {
                let message = format!(
                    "column `{}` is {} in `{other}` and {} in `{file}`",
                    field.name(),
                    type_name(known),
                    type_name(field)
                );
                return Err(Error::new(ErrorKind::Schema, message)
                    .hint("read the files as sources of their own and cast the column in each"));
            }
        }
    }
    let headers: Vec<_> = schemas
        .iter()
        .map(|(file, schema)| Header {
            file: Arc::clone(file),
            columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        })
        .collect();
    let columns = combine(&headers, options, notes)?;
    let chosen: Vec<_> = columns
        .iter()
        .filter_map(|name| fields.get(name.as_str()).map(|(_, field)| Arc::clone(field)))
        .collect();
    let gaps = gaps(&headers, &columns);
    Ok((Arc::new(Schema::new(chosen)), gaps))
}

/// Gives the plan's columns their declared types. A declared column that no file has is an error,
/// unless missing columns are filled or the files are empty; then it is null.
pub(super) fn declare(
    plan: &mut ReadPlan,
    options: &Options,
    notes: &mut IndexSet<String>,
) -> Result<()> {
    let names: Vec<_> = plan.columns.iter().map(|column| column.name.clone()).collect();
    let may_miss = options.drift != Drift::Error || names.is_empty();
    let mut missing = Vec::new();
    for (name, field_type) in &options.columns {
        let index = match find_column(&names, name) {
            Some(index) => index,
            None if may_miss => {
                if !names.is_empty() {
                    notes.insert(format!("no file has column `{name}`; it is null"));
                }
                plan.columns.push(ColumnPlan::new(name, FieldType::String));
                plan.columns.len() - 1
            }
            None => {
                missing.push(name.as_str());
                continue;
            }
        };
        let column = &mut plan.columns[index];
        column.field_type = *field_type;
        column.declared = true;
        column.nested = None;
        column.formats = options.date_formats.get(name).cloned().unwrap_or_default();
    }
    if missing.is_empty() { Ok(()) } else { Err(undeclared(&missing, &names, options)) }
}

fn undeclared(missing: &[&str], names: &[String], options: &Options) -> Error {
    let missing_names: Vec<_> = missing.iter().map(|&name| name.to_owned()).collect();
    let message = format!(
        "`{}` has no {}, which `columns` declares",
        options.file,
        name_list(&missing_names)
    );
    let mut hint = match missing.iter().find_map(|name| closest(name, names)) {
        Some(name) => format!("did you mean `{name}`? "),
        None => String::new(),
    };
    let shown: Vec<_> = names.iter().take(30).map(String::as_str).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    hint.push_str(&format!("the columns are {}{more}", shown.join(", ")));
    Error::new(ErrorKind::Schema, message).hint(hint)
}

/// The files that lack some of these columns, with those that they lack.
pub(super) fn gaps(headers: &[Header], columns: &[String]) -> Gaps {
    let headers = headers.iter().filter(|header| !header.columns.is_empty());
    let gaps = headers.map(|header| {
        let own: HashSet<_> = header.columns.iter().collect();
        let lacks = columns.iter().filter(|name| !own.contains(name)).cloned();
        (Arc::clone(&header.file), lacks.collect::<Vec<_>>())
    });
    gaps.filter(|(_, lacks)| !lacks.is_empty()).collect()
}

/// The column of this name, or the only one that differs from it by case and punctuation alone.
pub fn find_column(names: &[String], wanted: &str) -> Option<usize> {
    if let Some(index) = names.iter().position(|name| name == wanted) {
        return Some(index);
    }
    let wanted = plain(wanted);
    let mut like = names.iter().enumerate().filter(|(_, name)| plain(name) == wanted);
    match (like.next(), like.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}

/// Letters and digits of a name, in lower case: the same for every spelling.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn name_list(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    let noun = if names.len() == 1 { "column" } else { "columns" };
    format!("{noun} {}{more}", shown.join(", "))
}

fn file_list(files: &[&str]) -> String {
    match files {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first, second] => format!("`{first}` and `{second}`"),
        [first, rest @ ..] => format!("`{first}` and {} others", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_spelling_unless_two_fit() {
        let names = ["As Of Date", "aum", "AUM", "Mgmt. Fee (%)"].map(str::to_owned);
        assert_eq!(find_column(&names, "as_of_date"), Some(0));
        assert_eq!(find_column(&names, "asOfDate"), Some(0));
        assert_eq!(find_column(&names, "mgmt_fee"), Some(3));
        assert_eq!(find_column(&names, "AUM"), Some(2));
        assert_eq!(find_column(&names, "Aum"), None);
        assert_eq!(find_column(&names, "currency"), None);
    }
}
