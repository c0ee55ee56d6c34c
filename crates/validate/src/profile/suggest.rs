//! Rules that the data satisfies, for a person to choose from.

use std::fmt::Write;

use gristmill_core::FieldType;

use super::shapes::regex_of;
use super::{ColumnProfile, Profile};

/// A column has a list of allowed values when it has at most so many, each this often on average.
const MOST_OPTIONS: u64 = 20;
const TIMES_EACH: u64 = 5;

/// What a column's values have in common.
enum Common {
    /// They are among these.
    OneOf(Vec<String>),
    /// They match this pattern.
    Matches(String),
    /// They are not negative.
    NotNegative,
}

fn common(column: &ColumnProfile, records: u64) -> Option<Common> {
    let values = records - column.nulls;
    let few = column.distinct > 0
        && column.distinct <= MOST_OPTIONS
        && column.distinct * TIMES_EACH <= values;
    if column.type_name == "string" {
        if few && column.top.len() as u64 == column.distinct {
            let mut options: Vec<String> =
                column.top.iter().map(|counted| counted.value.clone()).collect();
            options.sort();
            return Some(Common::OneOf(options));
        }
        return match column.patterns.as_slice() {
            [only] if column.all_patterns && values >= TIMES_EACH && !only.value.contains('…') => {
                regex_of(&only.value).map(Common::Matches)
            }
            _ => None,
        };
    }
    column.numbers.filter(|numbers| numbers.min >= 0.0).map(|_| Common::NotNegative)
}

/// A share, rounded down so that the data has it.
fn share(column: &ColumnProfile, records: u64) -> Option<f64> {
    let share = ((records - column.nulls) as f64 / records as f64 * 100.0).floor() / 100.0;
    (column.nulls > 0 && share >= 0.5).then_some(share)
}

/// A ruleset in DQDL.
pub fn dqdl(profile: &Profile) -> String {
    let records = profile.records;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\\\""));
    let mut rules = vec![format!("RowCount >= {}", records.div_ceil(2))];
    rules.push(format!("ColumnCount = {}", profile.columns.len()));
    for column in &profile.columns {
        let name = quoted(&column.name);
        if column.is_key(records) {
            rules.push(format!("IsPrimaryKey {name}"));
        } else if column.nulls == 0 && records > 0 {
            rules.push(format!("IsComplete {name}"));
        } else if let Some(share) = share(column, records) {
            rules.push(format!("Completeness {name} >= {share}"));
        }
        // A null fails a rule about values.
        let nulls = if column.nulls > 0 { ", NULL" } else { "" };
        let known = if column.nulls > 0 {
            let name = column.name.replace('"', "\"\"");
            format!(" where {}", quoted(&format!("\"{name}\" is not null")))
        } else {
            String::new()
        };
        match common(column, records) {
            Some(Common::OneOf(options)) => {
                let options: Vec<_> = options.iter().map(|option| quoted(option)).collect();
                rules.push(format!("ColumnValues {name} in [{}{nulls}]", options.join(", ")));
            }
            Some(Common::Matches(pattern)) => {
                rules.push(format!("ColumnValues {name} matches {}{known}", quoted(&pattern)));
            }
            Some(Common::NotNegative) => rules.push(format!("ColumnValues {name} >= 0{known}")),
            None => {}
        }
    }
    format!("Rules = [\n    {}\n]\n", rules.join(",\n    "))
}

/// A contract: names, types, and which columns have a value in each record.
pub fn contract(profile: &Profile) -> String {
    let records = profile.records;
    let mut columns = String::new();
    for column in &profile.columns {
        let is_plain = column.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && column.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
                .contains(&column.name.to_ascii_lowercase().as_str());
        let name = match is_plain {
            true => column.name.clone(),
            false => format!("'{}'", column.name.replace('\'', "''")),
        };
        // Lists, structs and the like are any type to a contract.
        let is_known = column.type_name.parse::<FieldType>().is_ok();
        let quote = if column.type_name.contains(',') { "'" } else { "" };
        let field_type = is_known.then(|| format!("type: {quote}{}{quote}", column.type_name));
        let nullable = (column.nulls == 0 && records > 0).then(|| "nullable: false".to_owned());
        let said: Vec<String> = field_type.into_iter().chain(nullable).collect();
        let _ = writeln!(columns, "  {name}: {{{}}}", said.join(", "));
    }
    format!(
        "columns:\n{columns}# What becomes of a difference: evolve, freeze, quarantine_record or null_value.\n\
         policy: {{new_column: evolve, missing_column: freeze, type: quarantine_record, null: quarantine_record}}\n"
    )
}

/// Steps of a pipeline: `validate` for records, `check` for the whole.
pub fn yaml(profile: &Profile) -> String {
    let records = profile.records;
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let (mut rules, mut checks) = (String::new(), String::new());
    let _ = writeln!(checks, "        - {{measure: row_count, min: {}}}", records.div_ceil(2));
    for column in &profile.columns {
        let name = text(&column.name);
        let mut own = Vec::new();
        if column.nulls == 0 && records > 0 {
            own.push("required".to_owned());
        }
        match common(column, records) {
            Some(Common::OneOf(options)) => {
                let options: Vec<_> = options.iter().map(|option| text(option)).collect();
                own.push(format!("{{one_of: [{}]}}", options.join(", ")));
            }
            Some(Common::Matches(pattern)) => {
                own.push(format!("{{matches: {}}}", text(&format!("^{pattern}$"))));
            }
            Some(Common::NotNegative) => own.push("{min: 0}".to_owned()),
            None => {}
        }
        if !own.is_empty() {
            let _ = writeln!(rules, "        {name}: [{}]", own.join(", "));
        }
        if column.is_key(records) {
            let _ = writeln!(checks, "        - {{measure: primary_key, column: {name}}}");
        } else if let Some(share) = share(column, records) {
            let _ = writeln!(
                checks,
                "        - {{measure: completeness, column: {name}, min: {share}}}"
            );
        }
    }
    let rules = match rules.as_str() {
        "" => String::new(),
        rules => format!("  - validate:\n      rules:\n{rules}"),
    };
    format!("steps:\n{rules}  - check:\n      checks:\n{checks}")
}
