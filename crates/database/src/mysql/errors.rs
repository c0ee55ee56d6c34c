//! What MariaDB and MySQL say, as an error of the run or as the reason of a reject.

use gristmill_core::{Error, ErrorKind};
use mysql::{DriverError, Error as DatabaseError};

use crate::errors::is_another_host;

/// The server's words, where it refuses what is in the records, and not the load as such: SQLSTATE
/// classes 22 (data exception), 23 (integrity constraint) and 45 (a trigger's own), and what
/// belongs there and has no class.
pub fn refusal(error: &DatabaseError) -> Option<String> {
    let DatabaseError::MySqlError(error) = error else { return None };
    // Truncated, incorrect value, a check constraint, invalid JSON, and values that are too large
    // for a row or an index.
    const OTHERS: [u16; 10] = [1265, 1292, 1366, 1411, 1525, 3819, 3140, 4025, 1118, 1713];
    let refuses = ["22", "23", "45"].iter().any(|class| error.state.starts_with(class))
        || OTHERS.contains(&error.code);
    refuses.then(|| error.message.clone())
}

/// Whether a table is not there.
pub fn is_missing(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::MySqlError(error) if error.code == 1146)
}

/// Whether the connection is gone, so that nothing is known of what was asked last.
pub fn is_lost(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::IoError(_) | DatabaseError::CodecError(_) => true,
        DatabaseError::DriverError(error) => matches!(
            error,
            DriverError::ConnectTimeout
                | DriverError::CouldNotConnect(_)
                | DriverError::PacketOutOfSync
                | DriverError::UnexpectedPacket
                | DriverError::Timeout
        ),
        // Shut down, killed, closed for silence.
        DatabaseError::MySqlError(error) => {
            matches!(error.code, 1053 | 1152 | 1159 | 1161 | 1184 | 1927 | 4031)
        }
        _ => false,
    }
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
    let outer = match error {
        DatabaseError::MySqlError(error) => outer.caused_by(error.message),
        DatabaseError::IoError(error) => outer.caused_by(error.to_string()),
        DatabaseError::DriverError(DriverError::CouldNotConnect(Some((_, cause, _)))) => {
            outer.caused_by(cause)
        }
        DatabaseError::DriverError(error) => outer.caused_by(error.to_string()),
        DatabaseError::TlsError(error) => outer.caused_by(error.to_string()),
        DatabaseError::CodecError(error) if is_about_certificate(&error) => {
            outer.caused_by(error.to_string())
        }
        // Whatever else it is may show values.
        _ => outer.caused_by("the server's answer is not understood"),
    };
    match hint {
        Some(hint) => outer.hint(hint),
        None => outer,
    }
}

fn kind(error: &DatabaseError, other: ErrorKind) -> (ErrorKind, Option<&'static str>) {
    let error = match error {
        DatabaseError::MySqlError(error) => error,
        DatabaseError::DriverError(error) => return driver(error, other),
        DatabaseError::TlsError(error) => return untrusted(&error.to_string()),
        DatabaseError::CodecError(error) if is_about_certificate(error) => {
            return untrusted(&error.to_string());
        }
        DatabaseError::IoError(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return untrusted(&error.to_string());
        }
        DatabaseError::IoError(_) | DatabaseError::CodecError(_) => {
            return (ErrorKind::Transient, Some("the connection was lost; run again"));
        }
        _ => return (other, None),
    };
    match error.code {
        1044 | 1045 | 1698 => (
            ErrorKind::Permission,
            Some("look at the user and the password: in the URL, in MYSQL_PWD, or in ~/.my.cnf"),
        ),
        1142 | 1143 | 1227 | 1370 => (
            ErrorKind::Permission,
            Some("grant the user what the message names, or let another user run the pipeline"),
        ),
        1049 => (ErrorKind::NotFound, Some("create the database, or name one that is there")),
        1146 => (
            ErrorKind::NotFound,
            Some(
                "look at the name and its upper and lower case; `database.table` names a table of another database",
            ),
        ),
        1054 | 1064 => (ErrorKind::Configuration, None),
        1021 | 1114 | 3675 => {
            (ErrorKind::Io, Some("the server's disk is full; nothing was published"))
        }
        1792 => (ErrorKind::Configuration, Some("a source is only read: write a SELECT")),
        1290 | 1836 => (
            ErrorKind::Destination,
            Some("the server is read-only, perhaps a replica: name the primary"),
        ),
        1317 | 1969 | 3024 => (
            ErrorKind::Stopped,
            Some("a statement was cancelled, or took longer than statement_timeout"),
        ),
        1040 | 1203 | 1226 => {
            (ErrorKind::Transient, Some("the server has no free connection; run again later"))
        }
        1205 | 1213 | 1020 => (
            ErrorKind::Transient,
            Some("another program holds the table; run again when it is done"),
        ),
        1153 => (
            ErrorKind::Destination,
            Some("a value is larger than the server takes: raise its max_allowed_packet"),
        ),
        1053 | 1152 | 1159 | 1161 | 1184 | 1927 | 4031 => {
            (ErrorKind::Transient, Some("the server broke the connection; run again"))
        }
        _ => (other, None),
    }
}

/// A handshake that fails comes as an answer that is none.
fn is_about_certificate(error: &impl std::error::Error) -> bool {
    error.to_string().contains("certificate")
}

fn untrusted(words: &str) -> (ErrorKind, Option<&'static str>) {
    let hint = match is_another_host(words) {
        true => {
            "the certificate is for another host: name the host as the certificate does; `sslmode=require` takes any certificate"
        }
        false => {
            "the server's certificate is not trusted: `sslrootcert=FILE` names the authority's; `sslmode=require` goes without"
        }
    };
    (ErrorKind::Permission, Some(hint))
}

fn driver(error: &DriverError, other: ErrorKind) -> (ErrorKind, Option<&'static str>) {
    match error {
        DriverError::CouldNotConnect(Some((_, _, std::io::ErrorKind::ConnectionRefused))) => (
            ErrorKind::Transient,
            Some("no server listens there: look at host and port, and whether it is running"),
        ),
        DriverError::CouldNotConnect(_) | DriverError::ConnectTimeout | DriverError::Timeout => {
            (ErrorKind::Transient, Some("look at host and port, and at the network"))
        }
        DriverError::TlsNotSupported => (
            ErrorKind::Permission,
            Some(
                "the server does not encrypt: `sslmode=disable` goes without, on a network that is trusted",
            ),
        ),
        DriverError::PacketTooLarge => (
            ErrorKind::Destination,
            Some("a value is larger than the server takes: raise its max_allowed_packet"),
        ),
        _ => (other, None),
    }
}
