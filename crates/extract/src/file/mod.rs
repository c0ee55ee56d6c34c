//! Files: one, several by a pattern, or the standard input.
//!
//! The files of a pattern are chained in the byte order of their paths and opened when their turn
//! comes; only their headers are read ahead, so that columns that differ between them are known
//! before the first record is. Compression is told by a file's first bytes, whatever its name says.

mod builder;
mod columns;
mod extractor;
mod fresh;
mod options;
mod paths;
mod source;

use gristmill_core::{Error, ErrorKind, ExtractorKind};

pub use builder::File;
pub use columns::find_column;
pub use options::{Drift, Options, Which};
pub(crate) use paths::relative_to;

/// The registry's entry.
pub const KIND: ExtractorKind = ExtractorKind {
    name: "file",
    about: "Reads records from files: CSV, JSON, NDJSON, Parquet or Arrow, plain or compressed.",
    example: "file: data/funds-*.csv.gz\n\
              columns:\n  as_of_date: date\n  aum: decimal(18, 2)\n\
              date_formats: {as_of_date: [\"%Y-%m-%d\", \"%d.%m.%Y\"]}\n\
              drift: fill\n",
    schema: |generator| generator.subschema_for::<Options>(),
    check: options::check_value,
    open: |value, context| {
        let options: Options = serde_json::from_value(value.clone()).map_err(|error| {
            Error::new(ErrorKind::Configuration, "the options of `file` cannot be read")
                .caused_by(error)
        })?;
        Ok(Box::new(extractor::FileExtractor::open(options, context)?))
    },
};
