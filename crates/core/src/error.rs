//! The error that crosses stage boundaries: what a run cannot go on after.
//!
//! A finding about one record is a [`crate::Reject`], never an error.

use std::fmt;
use std::io;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The definition is wrong: an option, a column name, an expression. Mend the pipeline file.
    Configuration,
    /// A source, or something in it, is not there.
    NotFound,
    /// The system refused access.
    Permission,
    /// The input ends before it should (half a gzip file, a Parquet file without its footer).
    Truncated,
    /// The input as a whole is not what it says it is.
    Corrupt,
    /// Columns of several inputs, or of input and destination, do not agree.
    Schema,
    /// Something outside that may work when tried again (a busy database, a timeout).
    Transient,
    /// Reading or writing failed.
    Io,
    /// A limit or a rule with severity `abort` stopped the run.
    Stopped,
    /// The run was interrupted.
    Cancelled,
    /// The memory limit leaves no room to go on.
    Memory,
    /// The destination refused the load as a whole.
    Destination,
    /// A bug in Gristmill.
    Internal,
}

/// An error with its kind, a hint that says what to do, and its cause.
///
/// The message names the thing and states the fact, without a full stop; the cause is in
/// [`std::error::Error::source`] and not repeated in the message.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can end a run.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` saying `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// A bug: a state the code promised not to reach.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
            .hint("this is a bug in Gristmill; please report it with the pipeline and the message")
    }

    /// An input or output error while doing `what`, for example "cannot read `funds.csv`", with
    /// what to do where the system's answer tells.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            io::ErrorKind::UnexpectedEof => ErrorKind::Truncated,
            io::ErrorKind::InvalidData => ErrorKind::Corrupt,
            io::ErrorKind::TimedOut
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted => ErrorKind::Transient,
            _ => ErrorKind::Io,
        };
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                Some("run it as a user who may, or change the permissions")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("the disk is full: make room, or write to another one")
            }
            _ => None,
        };
        let error = Self::new(kind, what).caused_by(source);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds to the end of the message what else is known, for example "after 3 attempts".
    #[must_use]
    pub fn amend(mut self, more: &str) -> Self {
        self.message.push(' ');
        self.message.push_str(more);
        self
    }

    /// The messages of what led to it, outermost first, for people: without the number that the
    /// system gives an error, and without a message that says again what another said.
    pub fn causes(&self) -> Vec<String> {
        let mut said = vec![self.message.clone()];
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            let text = next.to_string();
            let text = without_number(&text);
            if !said.iter().any(|said| said.contains(text) || text.contains(said)) {
                said.push(text.to_owned());
            }
            cause = next.source();
        }
        said.split_off(1)
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether the same call may succeed when made again.
    pub fn is_transient(&self) -> bool {
        self.kind == ErrorKind::Transient
    }
}

/// `No such file or directory (os error 2)` without its end.
fn without_number(message: &str) -> &str {
    let number = |rest: &str| rest.strip_suffix(')').is_some_and(|n| n.parse::<i32>().is_ok());
    match message.rsplit_once(" (os error ") {
        Some((message, rest)) if number(rest) => message,
        _ => message,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(source: arrow_schema::ArrowError) -> Self {
        Error::internal("a column operation failed").caused_by(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_for_people() {
        let error = Error::io("cannot read `x`", io::Error::from_raw_os_error(2));
        let outer = Error::new(ErrorKind::Io, "cannot begin").caused_by(error);
        assert_eq!(outer.causes(), ["cannot read `x`", "No such file or directory"]);
        let again = Error::new(ErrorKind::Corrupt, "no database: bad header")
            .caused_by(Error::new(ErrorKind::Corrupt, "bad header"));
        assert_eq!(again.causes(), [""; 0]);
        let full = Error::io("cannot write `x`", io::ErrorKind::StorageFull.into());
        assert!(full.hint_text().is_some_and(|hint| hint.starts_with("the disk is full")));
        assert_eq!(without_number("odd (os error two)"), "odd (os error two)");
    }
}
