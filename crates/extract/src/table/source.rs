//! What is read, and where: common to all databases.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use gristmill_core::{Error, ErrorKind, FieldType, Mistake, Pointer, Result};
use gristmill_database::{Address, mysql, quoted};
use indexmap::IndexMap;

use super::cursor::Cursor;

/// The records that a pipeline asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) database: Database,
    pub(super) relation: Relation,
    pub(super) columns: IndexMap<String, FieldType>,
    pub(super) cursor: Option<Cursor>,
    /// How many connections may read at the same time.
    pub(super) connections: Option<NonZeroUsize>,
}

/// A database that can be read.
#[derive(Debug)]
pub(super) enum Database {
    Postgres(Box<Address>),
    MySql(Box<mysql::Address>),
    /// The path as it was written.
    Sqlite(PathBuf),
}

impl Database {
    pub(super) fn parse(url: &str) -> Result<Self, Mistake> {
        let at = || Pointer::root().key("database");
        let wrong = |message: &str, hint: &str| Err(Mistake::new(at(), message).hint(hint));
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => {
                let address = Address::parse(url).map_err(|mistake| mistake.under(&at()))?;
                Ok(Database::Postgres(Box::new(address)))
            }
            Some(("mysql" | "mariadb", _)) => {
                let address = mysql::Address::parse(url).map_err(|mistake| mistake.under(&at()))?;
                Ok(Database::MySql(Box::new(address)))
            }
            Some(("sqlite", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                let example = "write it like sqlite://warehouse.db";
                if path.is_empty() || path.ends_with('/') || path.contains('\0') {
                    return wrong("the URL names no file", example);
                }
                if path == ":memory:" {
                    return wrong("a database in memory has nothing to read", example);
                }
                if path.contains('?') {
                    return wrong("parameters in a SQLite URL are not understood", example);
                }
                Ok(Database::Sqlite(path.into()))
            }
            // The rest of the URL may hold a password, and stays out of the message.
            Some((scheme, _)) => wrong(
                &format!("`{scheme}` is not a kind of database that this build reads"),
                "it knows postgres://user@host/name, mysql://user@host/name and sqlite://warehouse.db",
            ),
            None => wrong("a database is a URL", "write it like postgres://user@host/name"),
        }
    }
}

/// A table or a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// How messages and rejects call it.
    pub(super) name: Arc<str>,
    /// A statement that gives its records.
    pub(super) select: String,
    /// The columns of a table that it names.
    pub(super) columns: String,
    /// The table's name as SQL writes it; `None` for a query, which may be anything.
    pub(super) table: Option<String>,
}

/// The length up to which a query is its own name.
const NAME: usize = 60;

impl Relation {
    pub(super) fn table(name: &str) -> Result<Self, Mistake> {
        let Some(parts) = parts(name) else {
            return Err(Mistake::new(Pointer::root().key("table"), "a table needs a name")
                .hint("write it like funds, or sales.funds for one of another schema"));
        };
        let quoted: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
        let table = quoted.join(".");
        let select = format!("SELECT * FROM {table}");
        Ok(Self { name: name.into(), select, columns: "*".to_owned(), table: Some(table) })
    }

    /// The same table with these columns only; `None` for a query.
    pub(super) fn keep(&self, columns: &[&str]) -> Option<Self> {
        let table = self.table.clone()?;
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let columns = columns.join(", ");
        let select = format!("SELECT {columns} FROM {table}");
        Some(Self { name: Arc::clone(&self.name), select, columns, table: Some(table) })
    }

    pub(super) fn query(sql: &str) -> Result<Self, Mistake> {
        let select = sql.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        if select.is_empty() || select.contains('\0') {
            return Err(Mistake::new(Pointer::root().key("query"), "a query needs a statement")
                .hint("write it like SELECT code, aum FROM funds ORDER BY code"));
        }
        let words = select.split_whitespace().collect::<Vec<_>>().join(" ");
        let name: String = match words.char_indices().nth(NAME) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None => words,
        };
        Ok(Self {
            name: name.into(),
            select: select.to_owned(),
            columns: String::new(),
            table: None,
        })
    }
}

/// The parts of a name between its dots, those in double quotes without them; `None` where there
/// is nothing between two.
fn parts(name: &str) -> Option<Vec<String>> {
    if name.contains('\0') {
        return None;
    }
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let part = parts.last_mut()?;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            '"' if quoted || part.is_empty() => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => part.push(other),
        }
    }
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// The declared type of each column, where one is declared.
///
/// # Errors
/// When a column is not there, or two have one name.
pub(super) fn declared(
    relation: &Relation,
    names: &[String],
    columns: &IndexMap<String, FieldType>,
) -> Result<Vec<Option<FieldType>>> {
    let name = &relation.name;
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Schema, format!("`{name}` has no columns")));
    }
    for (i, column) in names.iter().enumerate() {
        if names[..i].contains(column) {
            let message = format!("`{name}` has two columns `{column}`");
            return Err(Error::new(ErrorKind::Schema, message)
                .hint("give one of them another name: SELECT …, b.id AS other_id"));
        }
    }
    if let Some(missing) = columns.keys().find(|column| !names.contains(column)) {
        let message = format!("`{name}` has no column `{missing}`, which `columns` declares");
        return Err(Error::new(ErrorKind::Schema, message)
            .hint(format!("its columns are {}", names.join(", "))));
    }
    Ok(names.iter().map(|column| columns.get(column).copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_by_its_parts() {
        let select = |name| Relation::table(name).map(|relation| relation.select).ok();
        assert_eq!(select("Funds").as_deref(), Some(r#"SELECT * FROM "Funds""#));
        assert_eq!(select("s.a b").as_deref(), Some(r#"SELECT * FROM "s"."a b""#));
        assert_eq!(select(r#"s."a.b""#).as_deref(), Some(r#"SELECT * FROM "s"."a.b""#));
        assert_eq!(select(r#"x"; DROP"#).as_deref(), Some(r#"SELECT * FROM "x""; DROP""#));
        for wrong in ["", ".", "a.", "\"a", "a\0b"] {
            assert_eq!(select(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_query_is_called_by_its_beginning() {
        let query = Relation::query(" SELECT a,\n  b FROM t ; \n").unwrap();
        assert_eq!((&*query.name, &*query.select), ("SELECT a, b FROM t", "SELECT a,\n  b FROM t"));
        let long = Relation::query(&format!("SELECT {}", "ä".repeat(100))).unwrap();
        assert_eq!(long.name.chars().count(), NAME + 1);
        assert!(Relation::query(" ; ").is_err());
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_it() {
        for url in [
            "oracle://ann:s3cret@db/x",
            "mysql://ann:s3cret@db",
            "s3cret",
            "sqlite:",
            "sqlite://:memory:",
        ] {
            let mistake = Database::parse(url).unwrap_err();
            assert!(!format!("{mistake:?}").contains("s3cret"));
            assert_eq!(mistake.at, Pointer::root().key("database"));
        }
    }
}
