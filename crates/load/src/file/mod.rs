//! Files: one file, a folder of parts, or the standard output.
//!
//! Everything is written under a hidden name beside the destination and published by renaming, so
//! that a reader sees the old files or the new ones. `single` writes one file, `folder` many
//! in a folder, `stdout` spools what goes to the standard output.

mod flush;
mod folder;
mod options;
mod out;
pub mod partition;
mod single;
mod stdout;

use std::path::Path;

use arrow_schema::SchemaRef;
use gristmill_core::{ByteSize, Error, LoadContext, Loader, LoaderKind, Result};
use gristmill_format::{Compression, Format, csv, parquet};
use serde_json::Value;

pub use options::{Mode, Options};

use crate::reading;

/// The registry entry.
pub const KIND: LoaderKind = LoaderKind {
    name: "file",
    about: "Writes a file, a folder of files, or the standard output.",
    example: "file: out/funds.csv.gz\nmode: replace\n",
    schema: |generator| generator.subschema_for::<Options>(),
    check: |item| reading::check(item, Options::check),
    bind: |item, schema| reading::check(item, |options: &Options| options.bind(schema)),
    published: |item, base, run| reading::options::<Options>(item)?.published(base, run),
    open: |item, schema, context| reading::options::<Options>(item)?.open(schema, context),
};

/// A file to load into, for the library: `File::create("output.json")?`.
///
/// ```
/// # use gristmill_load::File;
/// let file = File::create("out/funds.parquet")?.partition_by(["currency"]);
/// assert_eq!(file.item()["partition_by"][0], "currency");
/// assert!(File::create("out/funds.xyz").is_err());
/// # Ok::<(), gristmill_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct File {
    options: Options,
}

impl File {
    /// A path that does not say its format, or a folder. What is wrong with the settings is said
    /// when it is opened.
    pub fn new(path: impl Into<String>) -> Self {
        Self { options: Options::new(path) }
    }

    /// A file whose format and compression its name says. It is written when the run is published,
    /// and replaces what is there.
    ///
    /// # Errors
    /// When the name says no format: see [`File::new`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::with_options(Options::new(path.as_ref().to_string_lossy()))
    }

    /// A file with the options of the pipeline file.
    ///
    /// # Errors
    /// When they contradict each other; the first mistake.
    pub fn with_options(options: Options) -> Result<Self> {
        match options.check().into_iter().next() {
            Some(mistake) => Err(reading::wrong(mistake)),
            None => Ok(Self { options }),
        }
    }

    /// Says the format.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.options.format = Some(format);
        self
    }

    /// Says the compression.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options.compression = Some(compression);
        self
    }

    /// Writes a folder instead, with one folder for each value of these columns.
    #[must_use]
    pub fn partition_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.options.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Writes a folder instead, of files that do not grow beyond a size.
    #[must_use]
    pub fn max_file_size(mut self, size: ByteSize) -> Self {
        self.options.max_file_size = Some(size);
        self
    }

    /// Says what happens to what is there.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Says how CSV is written.
    #[must_use]
    pub fn csv(mut self, options: csv::WriteOptions) -> Self {
        self.options.csv = Some(options);
        self
    }

    /// Says how Parquet is written.
    #[must_use]
    pub fn parquet(mut self, options: parquet::WriteOptions) -> Self {
        self.options.parquet = Some(options);
        self
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The item of the pipeline file that says the same.
    pub fn item(&self) -> Value {
        serde_json::to_value(&self.options).unwrap_or_default()
    }

    /// Opens it for batches of this schema.
    ///
    /// # Errors
    /// When the destination cannot be written, or does not fit the schema.
    pub fn open(&self, schema: &SchemaRef, context: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
        self.options.open(schema, context)
    }
}

/// Adds the path to an error that a writer met, and what to do when the disk is full.
fn failed(path: &str, error: Error) -> Error {
    let full = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |error| {
        error.source()
    })
    .filter_map(|error| error.downcast_ref::<std::io::Error>())
    .any(|error| {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(error.kind(), StorageFull | QuotaExceeded)
    });
    let hint = match error.hint_text() {
        _ if full => Some("the disk is full; nothing was published".to_owned()),
        hint => hint.map(ToOwned::to_owned),
    };
    let outer = Error::new(error.kind(), format!("cannot write `{path}`")).caused_by(error);
    match hint {
        Some(hint) => outer.hint(hint),
        None => outer,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use gristmill_core::ErrorKind;

    use super::*;

    #[test]
    fn a_full_disk_is_said_with_the_path() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let inner = Error::io("cannot write a row group", full);
        let error = failed("out/x.parquet", Error::internal("outer").caused_by(inner));
        assert_eq!(error.to_string(), "cannot write `out/x.parquet`");
        assert!(error.hint_text().unwrap().starts_with("the disk is full"));
        let error = failed("x", Error::new(ErrorKind::Io, "no").hint("do that"));
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Io, Some("do that")));
    }
}
