//! Options of the file loader, their check, and opening.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{ByteSize, LoadContext, Loader, Mistake, Pointer, Result};
use gristmill_format::json::Layout;
use gristmill_format::{Compression, Format, Writer, csv, ipc, json, parquet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::folder::{self, Folder, Plan, Sizes};
use super::partition::{can_partition, file_schema};
use super::single::Single;
use super::stdout::Stdout;
use crate::reading::{listed, wrong};

/// What happens to what is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The old file or folder is replaced.
    #[default]
    Replace,
    /// New files are added to the folder; only for a folder.
    Append,
}

/// A file, a folder of files, or the standard output.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Path of the file, relative to the pipeline file; `-` is the standard output. With
    /// `partition_by` or `max_file_size` it is a folder.
    pub file: String,
    /// Format of the file. Said by the file's name if left out. JSON has neither NaN nor infinities:
    /// they become null there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Compression of the whole file. Said by the file's name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Whether the destination is replaced or added to.
    #[serde(default)]
    pub mode: Mode,
    /// Columns whose values become folders, `column=value`, and are left out of the files. Records
    /// of a folder are gathered before they are written, at most 48 MiB over all folders. At most
    /// 64 files are open at once: with more folders than that, a folder may get several files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Begin a new file before one grows larger than this. A file holds the records of at least one
    /// stretch of the input (8 MiB of text, for example), and may be larger for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<ByteSize>,
    /// How CSV is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<csv::WriteOptions>,
    /// How Parquet is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<parquet::WriteOptions>,
    /// How Arrow files are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrow: Option<ipc::WriteOptions>,
}

const STDOUT: &str = "-";

impl Options {
    /// A path, everything else as its name says.
    pub fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            format: None,
            compression: None,
            mode: Mode::default(),
            partition_by: Vec::new(),
            max_file_size: None,
            csv: None,
            parquet: None,
            arrow: None,
        }
    }

    fn is_folder(&self) -> bool {
        !self.partition_by.is_empty() || self.max_file_size.is_some()
    }

    fn format(&self) -> Option<Format> {
        self.format.or_else(|| Format::of_name(Path::new(&self.file)))
    }

    fn compression(&self) -> Compression {
        self.compression.unwrap_or_else(|| Compression::of_name(Path::new(&self.file)))
    }

    /// What the names of files in a folder end in: what the folder's own name ends in, if that
    /// says the format.
    fn end(&self, format: Format) -> String {
        let name = self.file.trim_end_matches('/').to_ascii_lowercase();
        let path = Path::new(&name);
        let stem = match Compression::of_name(path) {
            Compression::None => path,
            _ => Path::new(path.file_stem().unwrap_or_default()),
        };
        let said = stem.extension().and_then(|extension| extension.to_str());
        let extension = match (Format::of_name(stem), said) {
            (Some(of_name), Some(said)) if of_name == format => said,
            _ => format.extension(),
        };
        let compressed = match self.compression() {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
            Compression::Bzip2 => ".bz2",
            Compression::Lz4 => ".lz4",
        };
        format!(".{extension}{compressed}")
    }

    /// Mistakes that are seen without columns.
    pub(crate) fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let at = |key: &str| Pointer::root().key(key);
        if self.file.is_empty() || self.file.contains('\0') {
            mistakes.push(Mistake::new(at("file"), "a file needs a path"));
        } else if self.file.ends_with('/') && !self.is_folder() {
            mistakes.push(
                Mistake::new(at("file"), format!("`{}` is a folder", self.file)).hint(
                    "name a file in it, or write a folder of files with `partition_by` or `max_file_size`",
                ),
            );
        } else if self.format().is_none() {
            mistakes.push(
                Mistake::new(at("file"), format!("the name `{}` says no format", self.file))
                    .hint("add `format: csv`, or json, ndjson, parquet, arrow"),
            );
        }
        if let Some(format @ (Format::Parquet | Format::Arrow)) = self.format()
            && self.compression() != Compression::None
        {
            let key = if self.compression.is_some() { "compression" } else { "file" };
            let name = format.extension();
            mistakes.push(
                Mistake::new(at(key), format!("{name} is not compressed as a whole file"))
                    .hint(format!("the compression inside is an option of `{name}:`")),
            );
        }
        if let Some(csv) = &self.csv {
            let found = csv::check_write(&csv.for_path(Path::new(&self.file))).into_iter();
            mistakes.extend(found.map(|mistake| mistake.under(&at("csv"))));
        }
        let given = [
            (Format::Csv, self.csv.is_some()),
            (Format::Parquet, self.parquet.is_some()),
            (Format::Arrow, self.arrow.is_some()),
        ];
        for (of, _) in given.into_iter().filter(|(_, given)| *given) {
            if let Some(format) = self.format().filter(|format| *format != of) {
                let key = of.extension();
                mistakes.push(
                    Mistake::new(
                        at(key),
                        format!("`{key}` has no meaning for a file in {}", format.extension()),
                    )
                    .on_key()
                    .hint("leave it out, or change `format`"),
                );
            }
        }
        if self.file == STDOUT && self.is_folder() {
            let key = if self.partition_by.is_empty() { "max_file_size" } else { "partition_by" };
            mistakes.push(
                Mistake::new(at(key), "the standard output is not a folder of files").on_key(),
            );
        } else if self.mode == Mode::Append && !self.is_folder() {
            mistakes.push(
                Mistake::new(at("mode"), "a single file cannot be appended to").hint(
                    "append to a folder, with `partition_by` or `max_file_size`, or to a table",
                ),
            );
        }
        let mut seen = HashSet::new();
        for (i, column) in self.partition_by.iter().enumerate() {
            if !seen.insert(column) {
                let at = at("partition_by").index(i);
                mistakes.push(Mistake::new(at, format!("`{column}` is named twice")));
            }
        }
        if self.max_file_size == Some(ByteSize(0)) {
            mistakes.push(Mistake::new(at("max_file_size"), "a file has more than 0 bytes"));
        }
        mistakes
    }

    /// Mistakes that are seen with the columns.
    pub(crate) fn bind(&self, schema: &SchemaRef) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let at = Pointer::root().key("partition_by");
        for (i, column) in self.partition_by.iter().enumerate() {
            match schema.field_with_name(column) {
                Err(_) => mistakes.push(
                    Mistake::new(at.index(i), format!("there is no column `{column}`")).hint(
                        format!(
                            "the columns are {}",
                            listed(schema.fields().iter().map(|f| f.name()))
                        ),
                    ),
                ),
                Ok(field) if !can_partition(field) => mistakes.push(
                    Mistake::new(at.index(i), format!("values of `{column}` cannot name folders"))
                        .hint("partition by text, numbers, truth values, dates or times"),
                ),
                Ok(_) => {}
            }
        }
        let rest = schema.fields().iter().filter(|f| !self.partition_by.contains(f.name()));
        if mistakes.is_empty() && !self.partition_by.is_empty() && rest.count() == 0 {
            mistakes.push(
                Mistake::new(at, "no column is left for the files")
                    .hint("partition columns become folders and are left out of the files"),
            );
        }
        mistakes
    }

    /// Opens the destination.
    ///
    /// # Errors
    /// When it cannot be written, or the options have a mistake.
    pub(crate) fn open(
        &self,
        schema: &SchemaRef,
        context: &LoadContext<'_>,
    ) -> Result<Box<dyn Loader>> {
        if let Some(mistake) = self.check().into_iter().chain(self.bind(schema)).next() {
            return Err(wrong(mistake));
        }
        let format = self.format().unwrap_or(Format::Csv); // checked above
        let path = context.base.join(&self.file);
        if self.file == STDOUT {
            return Ok(Box::new(Stdout::open(format, self.writer(format, schema)?)?));
        }
        if !self.is_folder() {
            let writer = self.writer(format, schema)?;
            return Ok(Box::new(Single::open(&self.file, path, context.run, writer)?));
        }
        let plan = Plan {
            name: &self.file,
            path,
            mode: self.mode,
            run: context.run,
            partition_by: &self.partition_by,
            max_file_size: self.max_file_size.map(|size| size.0),
            end: self.end(format),
            workers: context.workers,
            sizes: Sizes::default(),
        };
        let writer = self.writer(format, &file_schema(schema, &self.partition_by))?;
        Ok(Box::new(Folder::open(plan, schema, writer)?))
    }

    /// Whether a run has published, where that makes a difference: what is replaced by a later run
    /// is the same, with what came since.
    pub(crate) fn published(&self, base: &Path, run: &str) -> Result<Option<bool>> {
        match self.mode {
            Mode::Append if self.is_folder() => {
                folder::published(&base.join(&self.file), run).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn writer(&self, format: Format, schema: &SchemaRef) -> Result<Arc<dyn Writer>> {
        let columns = Arc::clone(schema);
        match format {
            Format::Csv => {
                let options = self.csv.clone().unwrap_or_default().for_path(Path::new(&self.file));
                Ok(csv::writer(columns, &options, self.compression()))
            }
            Format::Json => Ok(json::writer(columns, Layout::Document, self.compression())),
            Format::Ndjson => Ok(json::writer(columns, Layout::Lines, self.compression())),
            Format::Parquet => {
                parquet::writer(schema, self.parquet.as_ref().unwrap_or(&Default::default()))
            }
            Format::Arrow => {
                ipc::writer(schema, self.arrow.as_ref().unwrap_or(&Default::default()))
            }
        }
    }
}
