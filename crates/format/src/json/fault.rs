//! What is wrong with a record.

use gristmill_core::Reason;

/// Why a record is not a JSON object.
#[derive(Debug)]
pub(super) struct Fault {
    rule: &'static str,
    at: usize,
    message: String,
}

pub(super) type Checked<T> = Result<T, Box<Fault>>;

/// The rule that a record is an object.
pub(super) const WHOLE: &str = "object";

impl Fault {
    pub(super) fn new(rule: &'static str, at: usize, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { rule, at, message: message.into() })
    }

    /// The reason for the reject, which says where in the record the fault is, unless it is about
    /// the record as a whole.
    pub(super) fn reason(&self, record: &[u8]) -> Reason {
        if self.rule == WHOLE {
            return Reason::record(self.rule, self.message.clone());
        }
        let before = &record[..self.at.min(record.len())];
        let lines = memchr::memchr_iter(b'\n', before).count();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let place = match lines {
            0 => format!("column {column} of the record"),
            _ => format!("line {}, column {column} of the record", lines + 1),
        };
        Reason::record(self.rule, format!("{} at {place}", self.message))
    }
}
