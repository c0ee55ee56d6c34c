//! Columns that a table gets, and columns that become wider, for records that need them.
//!
//! A statement that changes a table commits what was done before it, and nothing takes it back. So
//! the table is changed right before the transaction of the load begins, and stays so if the load
//! fails then: new columns are null, and wider ones hold what they held. A plan changes nothing.

use arrow_schema::{DataType, Field, Schema};
use gristmill_database::mysql::types::{ColumnType, declared};
use gristmill_database::mysql::{Client, DatabaseError, Flavour};
use gristmill_database::{literal, quoted};

use super::catalogue::Existing;
use crate::changes::{SchemaChanges, wider_decimal};
use crate::server::find_column;
use crate::table::Options;

/// Seconds that others may use the table before it is changed: a source of the run itself would
/// be waited for in vain.
pub(crate) const PATIENCE: u64 = 60;

/// Changes what is known of a table's columns to what the records need, and answers what `ALTER
/// TABLE` is told.
pub(super) fn change(
    client: &Client,
    (database, name): (&str, &str),
    existing: &mut Vec<Existing>,
    options: &Options,
    schema: &Schema,
) -> Result<Vec<String>, DatabaseError> {
    let flavour = client.flavour();
    let mut clauses = Vec::new();
    let mut definitions = None;
    for field in schema.fields() {
        let Some(column) = find_column(existing, options.column_of(field.name())) else {
            let kind = kind(&declared(field, None), flavour);
            let collate = match kind.collation.as_str() {
                "" => String::new(),
                collation => format!(" COLLATE {collation}"),
            };
            let name = field.name().clone();
            clauses.push(format!("ADD COLUMN {} {}{collate}", quoted(&name), kind.name));
            existing.push(Existing { name, kind, generated: None, required: false, is_new: true });
            continue;
        };
        let wider = wider(&column.kind, field).filter(|_| {
            options.schema_changes == SchemaChanges::Widen && column.generated.is_none()
        });
        let Some(wider) = wider else { continue };
        let definitions = match &mut definitions {
            Some(definitions) => definitions,
            None => definitions.insert(Definitions::of(client, database, name)?),
        };
        let is_indexed = definitions.indexed.contains(&column.name);
        if wider.starts_with("long") && is_indexed {
            continue; // an index needs a length
        }
        let Some(rest) = definitions.behind_type(column) else { continue };
        clauses.push(format!("MODIFY COLUMN {} {wider}{rest}", quoted(&column.name)));
        let place = existing.iter().position(|other| other.name == column.name);
        if let Some(column) = place.and_then(|place| existing.get_mut(place)) {
            let ColumnType { charset, collation, .. } = column.kind.clone();
            column.kind = ColumnType { charset, collation, ..kind(&wider, flavour) };
        }
    }
    Ok(clauses)
}

/// How a table was defined: changing a type repeats all else that is said of a column.
struct Definitions {
    lines: Vec<String>,
    /// Columns that are in an index.
    indexed: Vec<String>,
}

impl Definitions {
    fn of(client: &Client, database: &str, name: &str) -> Result<Self, DatabaseError> {
        let table = format!("{}.{}", quoted(database), quoted(name));
        let shown = client.texts(&format!("SHOW CREATE TABLE {table}"))?;
        let shown = shown.into_iter().flatten().flatten().nth(1).unwrap_or_default();
        let indexed = client.texts(&format!(
            "SELECT DISTINCT column_name FROM information_schema.statistics \
             WHERE table_schema = {} AND table_name = {}",
            literal(database),
            literal(name)
        ))?;
        Ok(Self {
            lines: shown.lines().map(|line| line.trim().to_owned()).collect(),
            indexed: indexed.into_iter().flatten().flatten().collect(),
        })
    }

    /// What is said of a column behind its type.
    fn behind_type(&self, column: &Existing) -> Option<&str> {
        let start = format!("{} {}", quoted(&column.name), column.kind.name);
        let rest = self.lines.iter().find_map(|line| line.strip_prefix(&start))?;
        Some(rest.strip_suffix(',').unwrap_or(rest))
    }
}

/// What the server makes of a type that a column is declared with.
fn kind(declared: &str, flavour: Flavour) -> ColumnType {
    let name = match (declared, flavour) {
        ("boolean", _) => "tinyint(1)",
        ("json", Flavour::MariaDb) => "longtext",
        (other, _) => other,
    };
    let base = name.split(['(', ' ']).next().unwrap_or_default();
    let (charset, collation) = match base {
        "longtext" => ("utf8mb4", flavour.exact_collation()),
        _ => ("", ""),
    };
    let scale = match base {
        "time" | "datetime" => 6,
        _ => digits(name).map_or(0, |(_, scale)| scale),
    };
    ColumnType {
        base: base.to_owned(),
        name: name.to_owned(),
        charset: charset.to_owned(),
        collation: collation.to_owned(),
        length: if base.starts_with("long") { u64::from(u32::MAX) } else { 0 },
        scale,
    }
}

/// Precision and scale of a `decimal`.
fn digits(name: &str) -> Option<(u8, u8)> {
    let inside = name.strip_prefix("decimal(")?.split(')').next()?;
    let (precision, scale) = inside.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// The type that a column needs to hold all values of a field, where its own is narrower and of
/// the same sort.
fn wider(column: &ColumnType, field: &Field) -> Option<String> {
    const INTEGERS: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];
    let wanted = declared(field, None);
    let rank = |base: &str| INTEGERS.iter().position(|name| *name == base);
    let is_wider = match column.base.as_str() {
        "float" => wanted == "double",
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" => wanted == "longtext",
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" => wanted == "longblob",
        "decimal" => {
            let &DataType::Decimal128(precision, scale) = field.data_type() else { return None };
            let (digits, fraction) = digits(&column.name)?;
            let (digits, fraction) = (i32::from(digits), i32::from(fraction));
            let (whole, fraction) = wider_decimal((digits, fraction), (precision, scale))?;
            return (whole + fraction <= 65 && fraction <= 30)
                .then(|| format!("decimal({}, {fraction})", whole + fraction));
        }
        // It stands for truth.
        "tinyint" if column.name.starts_with("tinyint(1)") => false,
        base => {
            let signed = !wanted.ends_with("unsigned");
            let fits = signed || column.name.contains("unsigned");
            let wanted = rank(wanted.trim_end_matches(" unsigned"));
            fits && wanted.zip(rank(base)).is_some_and(|(wanted, is)| wanted > is)
        }
    };
    is_wider.then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_narrower_types_of_the_same_sort_become_wider() {
        let column =
            |name: &str| ColumnType { name: name.to_owned(), ..kind(name, Flavour::MySql) };
        let to = |name: &str, data_type: DataType| {
            wider(&column(name), &Field::new("c", data_type, true))
        };
        for name in ["smallint(6)", "mediumint(9)", "int(11)", "int(10) unsigned", "tinyint(4)"] {
            assert_eq!(to(name, DataType::Int64).as_deref(), Some("bigint"), "{name}");
        }
        for name in [
            "bigint(20)",
            "bigint(20) unsigned",
            "tinyint(1)",
            "double",
            "longtext",
            "date",
            "decimal(9,2)",
        ] {
            assert_eq!(to(name, DataType::Int64), None, "{name}");
        }
        assert_eq!(to("int(11)", DataType::Int16), None);
        assert_eq!(to("int(11)", DataType::UInt64), None);
        assert_eq!(to("int(10) unsigned", DataType::UInt64).as_deref(), Some("bigint unsigned"));
        assert_eq!(
            to("decimal(9,2)", DataType::Decimal128(12, 4)).as_deref(),
            Some("decimal(12, 4)")
        );
        assert_eq!(to("decimal(12,4)", DataType::Decimal128(9, 2)), None);
        assert_eq!(to("decimal(60,0)", DataType::Decimal128(38, 30)), None);
        assert_eq!(to("float", DataType::Float64).as_deref(), Some("double"));
        assert_eq!(to("varchar(9)", DataType::Utf8View).as_deref(), Some("longtext"));
        assert_eq!(to("varchar(9)", DataType::Int64), None);
    }
}
