//! From what the user wrote to the files that are there.

use std::io;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, Pattern, PatternError};
use gristmill_core::{Error, ErrorKind, Result};

/// What stands for the standard input.
pub(super) const STDIN: &str = "-";

/// An input that exists, or did a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// What messages call it.
    pub name: Arc<str>,
    /// Where it is; `None` for the standard input.
    pub path: Option<PathBuf>,
}

const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true, // as shells do; half-written files are hidden
};

/// Whether the text is a pattern rather than a path.
pub(super) fn is_pattern(file: &str) -> bool {
    file != STDIN && file.contains(['*', '?', '['])
}

/// Whether the format cannot be told from the last part of the path, because it is a pattern.
pub(super) fn has_open_name(file: &str) -> bool {
    Path::new(file).file_name().and_then(|name| name.to_str()).is_some_and(is_pattern)
}

pub(super) fn check_pattern(file: &str) -> Result<(), PatternError> {
    if is_pattern(file) { Pattern::new(file).map(drop) } else { Ok(()) }
}

/// Whether `file` names the file that messages call `name`.
pub(super) fn names(file: &str, name: &str) -> bool {
    let matches = |pattern: Pattern| pattern.matches_with(name, MATCHING);
    file == name || is_pattern(file) && Pattern::new(file).is_ok_and(matches)
}

/// The files that `file` names, in the byte order of their paths.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none, with what is there instead.
pub(super) fn resolve(file: &str, base: &Path) -> Result<Vec<Found>> {
    if file == STDIN {
        return Ok(vec![Found { name: "stdin".into(), path: None }]);
    }
    let path = base.join(file);
    if !is_pattern(file) || path.exists() {
        return literal(file, path, base).map(|found| vec![found]);
    }
    let mut found = Vec::new();
    for path in expand(file, base)? {
        if path.is_dir() {
            continue;
        }
        let name = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into();
        found.push(Found { name, path: Some(path) });
    }
    found.sort_by(|a, b| {
        let bytes = |found: &Found| {
            found.path.as_ref().map(|path| path.as_os_str().as_encoded_bytes().to_vec())
        };
        bytes(a).cmp(&bytes(b))
    });
    if found.is_empty() { Err(nothing_matches(file, base)) } else { Ok(found) }
}

fn literal(file: &str, path: PathBuf, base: &Path) -> Result<Found> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let inside = format!("{}/*.csv", file.trim_end_matches(['/', MAIN_SEPARATOR]));
            Err(Error::new(ErrorKind::Configuration, format!("`{file}` is a folder"))
                .hint(format!("name the files in it with a pattern, for example `{inside}`")))
        }
        Ok(_) => Ok(Found { name: file.into(), path: Some(path) }),
        Err(error) => Err(unopened(file, &path, base, error)),
    }
}

/// What to do about a path that does not tell the format.
pub(super) fn no_format(file: &str) -> String {
    let say = "say `format:`: csv, json, ndjson, parquet or arrow";
    if Path::new(file).extension().is_some() {
        return say.to_owned();
    }
    let folder = file.trim_end_matches(['/', MAIN_SEPARATOR]);
    format!("{say}; if it is a folder, name the files in it, for example `{folder}/*.csv`")
}

/// The error for a file that cannot be opened.
pub(super) fn unopened(file: &str, path: &Path, base: &Path, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let error = Error::io(format!("cannot read `{file}`"), error);
    if !missing {
        return error;
    }
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let names = path.parent().map(names_in).unwrap_or_default();
    match wanted.as_deref().and_then(|wanted| closest(wanted, &names)) {
        Some(name) => error.hint(format!("did you mean `{}`?", sibling(file, name))),
        None if Path::new(file).is_relative() => error.hint(relative_to(base)),
        None => error,
    }
}

/// Where relative paths start from.
pub(crate) fn relative_to(base: &Path) -> String {
    if base.as_os_str().is_empty() {
        return "paths are relative to the current folder".to_owned();
    }
    format!("paths are relative to the pipeline file, here `{}`", base.display())
}

fn nothing_matches(file: &str, base: &Path) -> Error {
    let folder = searched(file);
    let place = base.join(&folder);
    let shown = if folder.as_os_str().is_empty() { base } else { folder.as_path() };
    let message = format!("no file matches `{file}`");
    if !place.is_dir() {
        return Error::new(ErrorKind::NotFound, message).hint(format!(
            "there is no folder `{}`; {}",
            shown.display(),
            relative_to(base)
        ));
    }
    let error = Error::new(
        ErrorKind::NotFound,
        match place.as_os_str().is_empty() {
            true => message,
            false => format!("{message} in `{}`", place.display()),
        },
    );
    let pattern = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    let mut names = names_in(&place);
    names.sort_by_cached_key(|name| (strsim::damerau_levenshtein(pattern, name), name.clone()));
    let shown: Vec<_> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => error.hint("the folder is empty"),
        n if n > shown.len() => error.hint(format!("there are {} and others", shown.join(", "))),
        1 => error.hint(format!("there is {}", shown.join(", "))),
        _ => error.hint(format!("there are {}", shown.join(", "))),
    }
}

fn expand(file: &str, base: &Path) -> Result<Vec<PathBuf>> {
    let pattern = if Path::new(file).is_absolute() {
        file.to_owned()
    } else {
        let base = Pattern::escape(&base.to_string_lossy());
        if base.is_empty() { file.to_owned() } else { format!("{base}{MAIN_SEPARATOR}{file}") }
    };
    let paths = glob::glob_with(&pattern, MATCHING).map_err(|error| {
        Error::new(ErrorKind::Configuration, format!("`{file}` is not a pattern")).caused_by(error)
    })?;
    paths
        .map(|path| {
            path.map_err(|error| {
                let what = format!("cannot look into `{}`", error.path().display());
                Error::io(what, error.into())
            })
        })
        .collect()
}

/// The part of a pattern's path that is no pattern.
fn searched(file: &str) -> PathBuf {
    let parts = Path::new(file).parent().into_iter().flat_map(Path::components);
    parts.take_while(|part| !part.as_os_str().to_str().is_some_and(is_pattern)).collect()
}

/// Names of the visible files in a folder, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| !entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The name most like `wanted`, if one is like it at all.
pub(super) fn closest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.as_str())
}

fn sibling(file: &str, name: &str) -> String {
    Path::new(file).with_file_name(name).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_from_paths() {
        assert!(is_pattern("data/*.csv") && is_pattern("a[12].csv") && !is_pattern("a.csv"));
        assert!(!is_pattern(STDIN));
        assert!(has_open_name("data/*") && !has_open_name("*/funds.dat"));
        assert_eq!(searched("data/2024-*/x/*.csv"), Path::new("data"));
        assert_eq!(searched("*.csv"), Path::new(""));
        assert!(check_pattern("a[.csv").is_err());
    }

    #[test]
    fn names_with_a_slip_are_recognised() {
        let names = ["funds-1.csv", "funds-2.csv", "regions.csv"].map(str::to_owned);
        assert_eq!(closest("fudns-2.csv", &names), Some("funds-2.csv"));
        assert_eq!(closest("Regions.CSV", &names), Some("regions.csv"));
        assert_eq!(closest("orders.json", &names), None);
    }
}
