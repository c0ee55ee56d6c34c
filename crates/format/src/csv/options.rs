//! What a pipeline can say about a CSV file. The doc comments are the reference text.

use std::path::Path;

use gristmill_core::{ByteSize, Mistake, Pointer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar::{self, Grammar};
use crate::Compression;

/// How a CSV file is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CsvRead")]
pub struct ReadOptions {
    /// The character between fields; `tab` for a tab. By default a tab in `.tsv` files, `|` in
    /// `.psv` files and a comma everywhere else.
    pub delimiter: Option<String>,
    /// The character around fields that hold delimiters, quotes or line ends; `null` for none.
    pub quote: Option<String>,
    /// A character that takes the next one literally inside of quotes, for example `\`. A doubled
    /// quote stands for one with or without it.
    pub escape: Option<String>,
    /// Whether the first record holds the names of the columns.
    pub header: Header,
    /// Names of the columns, for a file without a header or in place of the header's names.
    pub names: Vec<String>,
    /// A character that makes a line a comment when it is the line's first.
    pub comment: Option<String>,
    /// Lines to skip at the start of the file, before the header. Quotes do not count there.
    pub skip_rows: u64,
    /// Texts that mean null when a field is exactly that and not quoted, compared before any
    /// cleaning. Say `[]` for none.
    pub nulls: Vec<String>,
    /// The encoding of the text.
    pub encoding: Encoding,
    /// Whether delimiter and quote are as said here or guessed from the first part of the file.
    pub dialect: Dialect,
    /// The longest record that is read; a longer one is rejected. 16 MiB unless said.
    pub max_record_size: Option<ByteSize>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: Some("\"".to_owned()),
            escape: None,
            header: Header::default(),
            names: Vec::new(),
            comment: None,
            skip_rows: 0,
            nulls: vec![String::new()],
            encoding: Encoding::default(),
            dialect: Dialect::default(),
            max_record_size: None,
        }
    }
}

impl ReadOptions {
    /// These options for a file of this name: the delimiter is taken from it unless it is said.
    #[must_use]
    pub fn for_path(&self, path: &Path) -> Self {
        let mut options = self.clone();
        if options.delimiter.is_none() {
            options.delimiter = delimiter_of_name(path);
        }
        options
    }
}

/// Whether a file has a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// The first record holds the names of the columns.
    #[default]
    Present,
    /// There is no header.
    Absent,
}

/// Where delimiter and quote come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// From the options.
    #[default]
    Fixed,
    /// Guessed from the first 64 KiB: the delimiter among comma, semicolon, tab and `|`, the quote
    /// among `"` and `'`. The report says what was found; where nothing tells, the options hold.
    Auto,
}

/// The encoding of a text. A byte order mark of the encoding is left out in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// UTF-16 where a byte order mark says so, else UTF-8.
    #[default]
    Auto,
    /// UTF-8.
    Utf8,
    /// UTF-16 in the order that the byte order mark says; little-endian without one.
    Utf16,
    /// UTF-16, little-endian.
    Utf16le,
    /// UTF-16, big-endian.
    Utf16be,
    /// ISO 8859-1: every byte is the character of that number.
    Latin1,
    /// ISO 8859-15, Latin 1 with the euro sign.
    Latin9,
    /// Windows code page 1250, Central European.
    Windows1250,
    /// Windows code page 1251, Cyrillic.
    Windows1251,
    /// Windows code page 1252, Western European: what Excel calls ANSI.
    Windows1252,
    /// Shift_JIS, Japanese.
    ShiftJis,
    /// EUC-KR, Korean.
    EucKr,
    /// GB 18030, Chinese; GBK and GB 2312 are parts of it.
    Gb18030,
    /// Big5, Chinese.
    Big5,
}

/// How a CSV file is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CsvWrite")]
pub struct WriteOptions {
    /// The character between fields; `tab` for a tab. By default a tab in `.tsv` files, `|` in
    /// `.psv` files and a comma everywhere else.
    pub delimiter: Option<String>,
    /// Which fields are quoted. Nulls never are.
    pub quote: QuoteStyle,
    /// Whether the first record holds the names of the columns.
    pub header: Header,
    /// How lines end.
    pub line_end: LineEnd,
    /// What is written for a null. A text that happens to be the same is quoted, so that both are
    /// told apart when the file is read again.
    pub null: String,
}

impl WriteOptions {
    /// These options for a file of this name: the delimiter is taken from it unless it is said.
    #[must_use]
    pub fn for_path(&self, path: &Path) -> Self {
        let mut options = self.clone();
        if options.delimiter.is_none() {
            options.delimiter = delimiter_of_name(path);
        }
        options
    }
}

/// Which fields are quoted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuoteStyle {
    /// Fields that would be read differently without.
    #[default]
    Necessary,
    /// Every field that is not null.
    Always,
    /// Every field that is not null and not a number.
    NonNumeric,
}

/// How lines end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineEnd {
    /// A line feed.
    #[default]
    Lf,
    /// A carriage return and a line feed, as RFC 4180 has it.
    Crlf,
}

/// Mistakes in options for reading that their schema cannot express.
pub fn check(options: &ReadOptions) -> Vec<Mistake> {
    let mut mistakes = Grammar::new(options).err().unwrap_or_default();
    let at = |key: &str| Pointer::root().key(key);
    if let Some(size) = options.max_record_size
        && !(MIN_RECORD..=MAX_RECORD).contains(&size.0)
    {
        mistakes.push(
            Mistake::new(at("max_record_size"), format!("a record cannot be limited to {size}"))
                .hint("write a size between 64 bytes and 1GiB"),
        );
    }
    for (index, name) in options.names.iter().enumerate() {
        let at = at("names").index(index);
        if name.is_empty() {
            mistakes.push(Mistake::new(at, "a column needs a name"));
        } else if options.names[..index].contains(name) {
            mistakes.push(Mistake::new(at, format!("there is a column `{name}` already")));
        }
    }
    mistakes
}

/// Mistakes in options for writing that their schema cannot express.
pub fn check_write(options: &WriteOptions) -> Vec<Mistake> {
    let at = |key: &str| Pointer::root().key(key);
    let mut mistakes = Vec::new();
    match grammar::delimiter(options.delimiter.as_deref()) {
        Ok(b'"') => mistakes.push(Mistake::new(at("delimiter"), "the delimiter cannot be a quote")),
        Ok(_) => {}
        Err(message) => mistakes.push(Mistake::new(at("delimiter"), message)),
    }
    if options.null.contains(['"', '\n', '\r']) {
        mistakes.push(
            Mistake::new(at("null"), "the text for nulls cannot hold a quote or a line end")
                .hint("nulls are written without quotes, to tell them from text"),
        );
    } else if let Ok(delimiter) = grammar::delimiter(options.delimiter.as_deref())
        && options.null.as_bytes().contains(&delimiter)
    {
        mistakes.push(Mistake::new(at("null"), "the text for nulls cannot hold the delimiter"));
    }
    mistakes
}

/// The least and the most that a record may be limited to, in bytes.
pub(super) const MIN_RECORD: u64 = 64;
pub(super) const MAX_RECORD: u64 = 1 << 30;

fn delimiter_of_name(path: &Path) -> Option<String> {
    let path = match Compression::of_name(path) {
        Compression::None => path,
        _ => Path::new(path.file_stem()?),
    };
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "tsv" => Some("tab".to_owned()),
        "psv" => Some("|".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(options: &str) -> Vec<String> {
        let options: ReadOptions = serde_json::from_str(options).unwrap();
        check(&options).iter().map(Mistake::to_string).collect()
    }

    #[test]
    fn every_mistake_is_named_at_its_place() {
        assert_eq!(messages("{}"), [""; 0]);
        assert_eq!(messages(r#"{"delimiter": "tab", "quote": null}"#), [""; 0]);
        assert_eq!(
            messages(
                r#"{"delimiter": "||", "quote": "“", "comment": "", "max_record_size": 3,
                    "names": ["a", "", "a"]}"#
            ),
            [
                "delimiter: `||` is not one character",
                "quote: `“` is not an ASCII character",
                "comment: there is no character",
                "max_record_size: a record cannot be limited to 3 B",
                "names[1]: a column needs a name",
                "names[2]: there is a column `a` already",
            ]
        );
        assert_eq!(
            messages(r#"{"delimiter": "\"", "comment": "\"", "quote": null, "escape": "x"}"#),
            [
                "comment: the comment and the delimiter are both `\"`",
                "escape: an escape means something only inside of quotes, and there is no quote",
            ]
        );
        assert_eq!(
            messages(r#"{"delimiter": "\n"}"#),
            ["delimiter: a line end cannot be a delimiter"]
        );
    }

    #[test]
    fn the_name_gives_the_delimiter_unless_it_is_said() {
        let delimiter = |name: &str, said: Option<&str>| {
            let options = ReadOptions { delimiter: said.map(str::to_owned), ..Default::default() };
            options.for_path(Path::new(name)).delimiter
        };
        assert_eq!(delimiter("a.TSV", None).as_deref(), Some("tab"));
        assert_eq!(delimiter("a.tsv.gz", None).as_deref(), Some("tab"));
        assert_eq!(delimiter("a.psv", None).as_deref(), Some("|"));
        assert_eq!(delimiter("a.tsv", Some(";")).as_deref(), Some(";"));
        assert_eq!(delimiter("a.csv", None), None);
    }

    #[test]
    fn what_would_not_be_read_again_is_refused_for_writing() {
        let options = WriteOptions {
            delimiter: Some("\"".into()),
            null: "a\nb".into(),
            ..WriteOptions::default()
        };
        assert_eq!(check_write(&options).len(), 2);
        assert_eq!(check_write(&WriteOptions { null: "NULL".into(), ..Default::default() }), []);
    }
}
