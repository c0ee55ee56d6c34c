//! What a database says, as an error of the run or as the reason of a reject.

use std::error::Error as _;

use gristmill_core::{Error, ErrorKind};
use tokio_postgres::Error as DatabaseError;
use tokio_postgres::error::{DbError, SqlState};

/// That the database does not take what is in the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The database's own words.
    pub message: String,
    /// The row of a COPY that it stopped at, from 1, where it says so.
    pub line: Option<u64>,
}

/// Whether the database refuses what is in the records, and not the load as such: SQLSTATE classes
/// 22 (data exception), 23 (integrity constraint), 44 (check option of a view), an exception raised
/// by a trigger, a value that is too big for an index, and a text that a type does not understand.
pub fn refusal(error: &DatabaseError) -> Option<Refusal> {
    let error = error.as_db_error()?;
    let code = error.code();
    let refuses = ["22", "23", "44"].iter().any(|class| code.code().starts_with(class))
        || [SqlState::RAISE_EXCEPTION, SqlState::PROGRAM_LIMIT_EXCEEDED].contains(code)
        || misread(error);
    refuses.then(|| Refusal { message: words(error), line: error.where_().and_then(line) })
}

/// Whether a type of an extension does not understand a text. The code is that of a mistake in a
/// statement, which would have a position there; `hstore` had none of its own before PostgreSQL 16.
fn misread(error: &DbError) -> bool {
    let hstore = ["Unexpected end of string", "Syntax error near"];
    match error.code() {
        code if *code == SqlState::SYNTAX_ERROR => error.position().is_none(),
        code if *code == SqlState::INTERNAL_ERROR => {
            hstore.iter().any(|words| error.message().starts_with(words))
        }
        _ => false,
    }
}

/// The number in `COPY t, line 12, column x: "y"`, the first line of the context.
fn line(context: &str) -> Option<u64> {
    let (_, rest) = context.split_once(", line ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

fn words(error: &DbError) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {}", error.message(), detail.trim_end_matches('.')),
        None => error.message().to_owned(),
    }
}

/// Whether the connection is gone, so that nothing is known of what was asked last.
pub fn is_lost(error: &DatabaseError) -> bool {
    let code = error.code();
    error.is_closed()
        || code.is_some_and(|code| matches!(&code.code()[..2], "57" | "08"))
        || (error.as_db_error().is_none()
            && error.source().is_some_and(|cause| cause.is::<std::io::Error>()))
}

/// What the database said, as an error of the run. `what` says what was tried, and names the
/// database.
pub fn error_of(what: &str, error: DatabaseError) -> Error {
    said(what, error, ErrorKind::Destination)
}

/// As [`error_of`], where the database is a source.
pub fn read_error_of(what: &str, error: DatabaseError) -> Error {
    said(what, error, ErrorKind::Io)
}

fn said(what: &str, error: DatabaseError, other: ErrorKind) -> Error {
    let (kind, hint) = kind(&error, other);
    let outer = Error::new(kind, what);
    let outer = match error.as_db_error() {
        Some(said) => outer.caused_by(words(said)),
        None => match error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
            Some(cause) => outer.caused_by(cause.to_string()),
            None => match error.source() {
                Some(cause) => outer.caused_by(cause.to_string()),
                None => outer.caused_by(error),
            },
        },
    };
    match hint {
        Some(hint) => outer.hint(hint),
        None => outer,
    }
}

fn kind(error: &DatabaseError, other: ErrorKind) -> (ErrorKind, Option<&'static str>) {
    let Some(code) = error.code() else {
        return connection(error, other);
    };
    match code.code() {
        "28P01" | "28000" => (
            ErrorKind::Permission,
            Some(
                "look at the user and the password: in the URL, in PGPASSWORD, or in the password file",
            ),
        ),
        "3D000" => (ErrorKind::NotFound, Some("create the database, or name one that is there")),
        "42P01" => (
            ErrorKind::NotFound,
            Some(
                "look at the name and its upper and lower case; `schema.table` names a table of another schema",
            ),
        ),
        "42703" | "42601" => (ErrorKind::Configuration, None),
        "42501" => (
            ErrorKind::Permission,
            Some("grant the user what the message names, or let another user run the pipeline"),
        ),
        "53100" => (ErrorKind::Io, Some("the server's disk is full; nothing was published")),
        "25006" => (
            ErrorKind::Destination,
            Some("a source only reads; a destination must be the primary, no standby"),
        ),
        "57014" => (
            ErrorKind::Stopped,
            Some("a statement was cancelled, or took longer than statement_timeout"),
        ),
        "53300" => {
            (ErrorKind::Transient, Some("the server has no free connection; run again later"))
        }
        "40001" | "40P01" | "55P03" => (
            ErrorKind::Transient,
            Some("another program holds the table; run again when it is done"),
        ),
        code if matches!(&code[..2], "08" | "57") => {
            (ErrorKind::Transient, Some("the server broke the connection; run again"))
        }
        _ => (other, None),
    }
}

/// An error that the server did not send.
fn connection(error: &DatabaseError, other: ErrorKind) -> (ErrorKind, Option<&'static str>) {
    let Some(cause) = error.source() else {
        let lost = "the connection was lost; run again";
        return if error.is_closed() { (ErrorKind::Transient, Some(lost)) } else { (other, None) };
    };
    if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
        use std::io::ErrorKind as Io;
        return match cause.kind() {
            Io::ConnectionRefused => (
                ErrorKind::Transient,
                Some("no server listens there: look at host and port, and whether it is running"),
            ),
            Io::InvalidData | Io::InvalidInput if is_another_host(&cause.to_string()) => (
                ErrorKind::Permission,
                Some(
                    "the certificate is for another host: name the host as the certificate does; `sslmode=verify-ca` takes any name",
                ),
            ),
            Io::InvalidData | Io::InvalidInput => (
                ErrorKind::Permission,
                Some(
                    "the server's certificate is not trusted: `sslrootcert=FILE` names the authority's; `sslmode=require` goes without",
                ),
            ),
            _ => (ErrorKind::Transient, Some("look at host and port, and at the network")),
        };
    }
    if cause.to_string().contains("TLS") {
        return (
            ErrorKind::Permission,
            Some(
                "the server does not encrypt: `sslmode=disable` goes without, on a network that is trusted",
            ),
        );
    }
    if cause.to_string().contains("password") {
        return (
            ErrorKind::Permission,
            Some(
                "give the password in PGPASSWORD, in the password file, or in the URL by a parameter",
            ),
        );
    }
    (other, None)
}

/// Whether a certificate was refused for its name, by the words that say so.
pub(crate) fn is_another_host(words: &str) -> bool {
    words.contains("not valid for name") || words.contains("NotValidForName")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_copy_is_found_in_its_context() {
        assert_eq!(line("COPY dim_fund, line 12, column aum: \"x\""), Some(12));
        assert_eq!(line("COPY \"a, b\", line 7"), Some(7));
        assert_eq!(line("SQL statement \"SELECT 1\""), None);
    }
}
