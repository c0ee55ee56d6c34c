//! CSV and its relatives: tab, semicolon, any one-character delimiter.
//!
//! # What is a record
//!
//! Fields are separated by the delimiter, records by line ends: LF or CRLF, or CR in a file whose
//! first line ends in one. A field is *quoted* when its first character is the quote; it then runs
//! to the closing quote, with delimiters and line ends inside, and a doubled quote stands for one.
//! A quote anywhere else is text (`5" pipe`). Blank lines, and lines that start with the comment
//! character, are no records. A byte order mark is left out.
//!
//! An unquoted field that equals a null token (by default: an empty one) is null. A quoted one
//! never is.
//!
//! # What is rejected
//!
//! | rule | the record |
//! |---|---|
//! | `fields` | has more or fewer fields than the header. A delimiter at the end of a line counts as one more, empty field |
//! | `quote` | has text after a closing quote, or a quote that is not closed before the end of the input or within the longest record allowed |
//! | `record_size` | is longer than allowed; only its beginning is kept |
//! | `encoding` | holds bytes that are not text in the file's encoding |
//! | `nul` | holds a NUL byte, which databases and most tools refuse |
//! | `type` | has a field that is not of its column's type |
//!
//! A record with rule `quote` or `record_size` costs one line: reading resumes on the line after the
//! one on which it started, so that a stray quote does not swallow what follows. Everything else
//! is judged record by record. Where batches and chunks begin changes none of this.
//!
//! # How it is read
//!
//! [`Reader`] moves forward through the text once and cuts it into chunks at record ends. It works
//! on masks of 64 bytes and assumes that quotes open only where a field starts and close only
//! where it ends; where that does not hold, it asks the exact, byte-wise machine about
//! that one record and remembers the answer for the worker that gets the chunk. So structure is
//! decided once, and a chunk can be decoded without seeing its neighbours.
//!
//! ```
//! use gristmill_core::Findings;
//! use gristmill_format::{Reader as _, Sizes, csv};
//!
//! let text = "id,name\n1,Ada\n2,\"Grace \"\"Amazing\"\" Hopper\"\n3\n";
//! let options = csv::ReadOptions::default();
//! let input = Box::new(text.as_bytes());
//! let mut reader = csv::Reader::open("people.csv".into(), input, &options, Sizes::default())?;
//! let plan = reader.read_plan()?;
//! reader.begin(plan.as_ref())?;
//!
//! let mut findings = Findings::default();
//! let mut rows = 0;
//! while let Some(mut chunk) = reader.next_chunk()? {
//!     while let Some(batch) = chunk.next_batch(&mut findings)? {
//!         rows += batch.num_rows();
//!     }
//! }
//! assert_eq!(rows, 2);
//! assert_eq!(findings.rejects()[0].errors[0].message, "1 field where the header has 2");
//! # Ok::<(), gristmill_core::Error>(())
//! ```

mod chunk;
mod encoding;
mod exact;
mod grammar;
mod header;
mod index;
mod options;
mod reader;
mod scan;
mod sniff;
mod text;
mod write;

pub use crate::simd::Level;
pub use options::{
    Dialect, Encoding, Header, LineEnd, QuoteStyle, ReadOptions, WriteOptions, check, check_write,
};
pub use reader::Reader;
pub use write::writer;
