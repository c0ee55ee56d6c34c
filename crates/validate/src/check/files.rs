//! Files as a whole: their sizes, times and contents.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use gristmill_core::check::FileFacts;
use gristmill_core::{CheckContext, Error, ErrorKind, Result};
use md5::Digest as _;
use sha1::Digest as _;

use super::evaluate::LastValues;
use super::expect::{Expect, Verdict};
use super::metric::{Checksum, FileChoice, FileTest};

/// The share of files for which the test holds; none where there is no file.
///
/// # Errors
/// When a file cannot be looked at.
pub(super) fn share(
    path: Option<&str>,
    choice: &FileChoice,
    test: &FileTest,
    context: &dyn CheckContext,
) -> Result<Option<f64>> {
    let files = chosen(context.files(path)?, choice)?;
    let past = LastValues { context, measure: "" };
    let mut all = files.len();
    let passes = |expect: &Expect, value: f64| -> Result<bool> {
        Ok(matches!(expect.judge(value, &past)?, Verdict::Passed))
    };
    let mut passed = 0;
    match test {
        FileTest::Size(expect) => {
            for file in &files {
                passed += usize::from(passes(expect, file.size as f64)?);
            }
        }
        FileTest::Modified(expect) => {
            for file in &files {
                let at = file.modified.timestamp_micros() as f64 / 1e6;
                passed += usize::from(passes(expect, at)?);
            }
        }
        FileTest::Unique => {
            let mut by_content: BTreeMap<u128, usize> = BTreeMap::new();
            for file in &files {
                *by_content.entry(content(&file.path)?).or_default() += 1;
            }
            passed = by_content.values().filter(|files| **files == 1).count();
        }
        FileTest::Sum(algorithm, sums) => {
            for file in &files {
                let own = checksum(&file.path, *algorithm)?;
                passed += usize::from(sums.iter().any(|sum| sum.eq_ignore_ascii_case(&own)));
            }
        }
        FileTest::Same(other) => {
            let others = chosen(context.files(Some(other))?, choice)?;
            let mine = by_name(&files, path);
            let theirs = by_name(&others, Some(other));
            // Two files are compared whatever they are called.
            let pairs: Vec<_> = match (files.as_slice(), others.as_slice()) {
                ([one], [another]) => vec![(one, another)],
                _ => {
                    let mut pairs = Vec::new();
                    for (name, file) in &mine {
                        pairs.extend(theirs.get(name).map(|other| (*file, *other)));
                    }
                    pairs
                }
            };
            all = mine.len() + theirs.len() - pairs.len();
            for (one, another) in pairs {
                let same =
                    one.size == another.size && content(&one.path)? == content(&another.path)?;
                passed += usize::from(same);
            }
        }
    }
    Ok((all > 0).then(|| passed as f64 / all as f64))
}

fn chosen(mut files: Vec<FileFacts>, choice: &FileChoice) -> Result<Vec<FileFacts>> {
    if let Some(pattern) = &choice.pattern {
        let pattern = regex::Regex::new(pattern)
            .map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))?;
        files.retain(|file| pattern.is_match(&file.path));
    }
    if let Some(recent) = choice.recent {
        files.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.path.cmp(&b.path)));
        files.truncate(recent);
    }
    Ok(files)
}

/// Files by their names below a folder.
fn by_name<'a>(files: &'a [FileFacts], folder: Option<&str>) -> BTreeMap<&'a str, &'a FileFacts> {
    let folder = folder.unwrap_or_default().trim_end_matches('/');
    let name = |file: &'a FileFacts| {
        let below = file.path.rfind(folder).map(|at| &file.path[at + folder.len()..]);
        let below = below.filter(|_| !folder.is_empty()).map(|name| name.trim_start_matches('/'));
        let last = Path::new(&file.path).file_name().and_then(|name| name.to_str());
        (below.or(last).unwrap_or(&file.path), file)
    };
    files.iter().map(name).collect()
}

/// Goes over a file's content.
fn each(path: &str, mut part: impl FnMut(&[u8])) -> Result<()> {
    let failed = |error| Error::io(format!("cannot read `{path}`"), error);
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            read => part(&buffer[..read]),
        }
    }
}

/// The hash of a file's content.
fn content(path: &str) -> Result<u128> {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    each(path, |part| hash.update(part))?;
    Ok(hash.digest128())
}

/// The checksum of a file in hexadecimal digits.
fn checksum(path: &str, algorithm: Checksum) -> Result<String> {
    Ok(match algorithm {
        Checksum::Md5 => {
            let mut sum = md5::Md5::new();
            each(path, |part| sum.update(part))?;
            hexadecimal(&sum.finalize())
        }
        Checksum::Sha1 => {
            let mut sum = sha1::Sha1::new();
            each(path, |part| sum.update(part))?;
            hexadecimal(&sum.finalize())
        }
        Checksum::Sha256 => {
            let mut sum = sha2::Sha256::new();
            each(path, |part| sum.update(part))?;
            hexadecimal(&sum.finalize())
        }
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
