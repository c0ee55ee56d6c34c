//! Files to read, said in Rust.

use std::path::Path;

use gristmill_core::{Error, ErrorKind, ExtractContext, Extractor, FieldType, Result};
use gristmill_format::{Compression, Format, csv, json};
use serde_json::Value;

use super::extractor::FileExtractor;
use super::options::{Drift, Options, Which};
use super::paths;

/// Files to read. See [`Options`] for what each setting means.
///
/// ```
/// use gristmill_core::FieldType;
/// use gristmill_extract::File;
///
/// let funds = File::new("data/funds-*.csv.gz").column("as_of_date", FieldType::Date);
/// assert_eq!(funds.options().columns["as_of_date"], FieldType::Date);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    options: Options,
}

impl File {
    /// The files that a path or a pattern names; `-` is the standard input.
    pub fn new(file: impl Into<String>) -> Self {
        Self { options: Options::new(file) }
    }

    /// A file that is there now. Relative paths start from the working directory.
    ///
    /// # Errors
    /// When there is no such file, or its name does not tell its format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let base = std::env::current_dir()
            .map_err(|error| Error::io("cannot tell the working directory", error))?;
        let path = path.as_ref().to_string_lossy();
        paths::resolve(&path, &base)?;
        let file = Self::new(path);
        file.check()?;
        Ok(file)
    }

    /// Says which of the files are read.
    #[must_use]
    pub fn read(mut self, which: Which) -> Self {
        self.options.read = which;
        self
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

    /// Declares the type of a column.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, field_type: FieldType) -> Self {
        self.options.columns.insert(name.into(), field_type);
        self
    }

    /// Gives a declared date, time or timestamp column a format; several are tried in order.
    #[must_use]
    pub fn date_format(mut self, name: impl Into<String>, format: impl Into<String>) -> Self {
        self.options.date_formats.entry(name.into()).or_default().push(format.into());
        self
    }

    /// Finds the types of undeclared string columns by reading the whole input first.
    #[must_use]
    pub fn infer(mut self) -> Self {
        self.options.infer = true;
        self
    }

    /// Says what to do when files do not have the same columns.
    #[must_use]
    pub fn drift(mut self, drift: Drift) -> Self {
        self.options.drift = drift;
        self
    }

    /// Says how CSV is read.
    #[must_use]
    pub fn csv(mut self, options: csv::ReadOptions) -> Self {
        self.options.csv = Some(options);
        self
    }

    /// Says how JSON is read.
    #[must_use]
    pub fn json(mut self, options: json::ReadOptions) -> Self {
        self.options.json = Some(options);
        self
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Opens the files.
    ///
    /// # Errors
    /// When the settings are wrong, or there is no such file.
    pub fn extractor(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        self.check()?;
        Ok(Box::new(FileExtractor::open(self.options.clone(), context)?))
    }

    fn check(&self) -> Result<()> {
        let Some(mistake) = self.options.check().into_iter().next() else { return Ok(()) };
        let error = Error::new(ErrorKind::Configuration, mistake.to_string());
        Err(match mistake.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}

impl From<File> for Value {
    /// The item that says the same in a pipeline file.
    fn from(file: File) -> Self {
        serde_json::to_value(file.options).expect("names are texts")
    }
}

impl From<Options> for File {
    fn from(options: Options) -> Self {
        Self { options }
    }
}
