//! Mistakes between the parts of a pipeline: two that write to one place, or write where another
//! reads.

use std::path::{Component, Path, PathBuf};

use gristmill_core::Pointer;
use serde_json::Value as Json;

use super::Source;
use super::diagnostic::{Diagnostic, Line};
use super::items::{Parts, sources_of};

/// A place that the pipeline writes to.
struct Target {
    /// What messages call it.
    noun: &'static str,
    place: Place,
    at: Pointer,
}

#[derive(PartialEq)]
enum Place {
    File(PathBuf),
    /// A folder that a destination fills with files of its own.
    Folder(PathBuf),
    Table {
        database: Option<String>,
        table: String,
    },
}

/// Adds what is wrong between the parts. Only parts that name a file or a table are looked at.
pub(super) fn check(source: &Source, parts: &Parts, base: &Path, found: &mut Vec<Diagnostic>) {
    let mut targets: Vec<Target> = Vec::new();
    for item in &parts.load {
        let text = |key: &str| item.options.get(key).and_then(Json::as_str);
        let place = match (text("table"), text("file")) {
            (Some(table), _) => {
                let database = text("database").map(str::to_owned);
                Some(Place::Table { database, table: table.to_owned() })
            }
            (None, Some(path)) => {
                let folder = ["partition_by", "max_file_size"]
                    .iter()
                    .any(|key| item.options.get(*key).is_some_and(|value| *value != Json::Null));
                file(base, path).map(if folder { Place::Folder } else { Place::File })
            }
            _ => None,
        };
        if let Some(place) = place {
            let at = item.at.key(item.kind.name);
            targets.push(Target { noun: "destination", place, at });
        }
    }
    for (key, noun) in [("rejects", "rejects file"), ("report", "report")] {
        let json = source.root.get(key).map(|entry| entry.value.to_json());
        if let Some(path) = json.as_ref().and_then(Json::as_str).and_then(|path| file(base, path)) {
            let at = Pointer::root().key(key);
            targets.push(Target { noun, place: Place::File(path), at });
        }
    }
    let span = |at: &Pointer| source.root.locate(at).span();
    let line = |at: &Pointer| Line::of(&source.text, span(at).start).number;
    for (index, target) in targets.iter().enumerate() {
        let (others, noun) = (&targets[..index], target.noun);
        if let Some(first) = others.iter().find(|other| same(&other.place, &target.place)) {
            let what = if matches!(target.place, Place::Table { .. }) { "table" } else { "file" };
            let first = format!("the {} in line {}", first.noun, line(&first.at));
            let mistake = format!("{first} and this {noun} are the same {what}");
            found
                .push(Diagnostic::new(span(&target.at), mistake).hint("give it a name of its own"));
        }
        let outer = targets.iter().find(|outer| outer.at != target.at && contains(outer, target));
        if let Some(outer) = outer {
            let outer = format!("the destination in line {}", line(&outer.at));
            let mistake = format!("this {noun} lies in the folder that belongs to {outer}");
            found.push(Diagnostic::new(span(&target.at), mistake).hint("put it beside the folder"));
        }
    }
    let sources = parts.extract.iter().map(|item| (&item.options, item.at.clone()));
    let references = parts.steps.iter().flat_map(sources_of);
    for (options, at) in sources.chain(references) {
        for (path, at) in read_files(options, &at) {
            let Some(pattern) = file(base, path) else { continue };
            let reads = |place: &Place| match place {
                Place::File(path) => reads(&pattern, path),
                Place::Folder(folder) => pattern.starts_with(folder),
                Place::Table { .. } => false,
            };
            for target in targets.iter().filter(|target| reads(&target.place)) {
                let mistake =
                    format!("the {} is also read as a source in line {}", target.noun, line(&at));
                found.push(
                    Diagnostic::new(span(&target.at), mistake)
                        .hint("write to another file, or a later run reads what this one wrote"),
                );
            }
        }
    }
}

fn same(a: &Place, b: &Place) -> bool {
    match (a, b) {
        (Place::File(a) | Place::Folder(a), Place::File(b) | Place::Folder(b)) => a == b,
        _ => a == b,
    }
}

/// Whether a place lies inside the folder of another.
fn contains(outer: &Target, inner: &Target) -> bool {
    match (&outer.place, &inner.place) {
        (Place::Folder(outer), Place::File(inner) | Place::Folder(inner)) => {
            inner != outer && inner.starts_with(outer)
        }
        _ => false,
    }
}

fn read_files<'a>(options: &'a Json, at: &Pointer) -> Vec<(&'a str, Pointer)> {
    let at = at.key("file");
    match options.get("file") {
        Some(Json::String(path)) => vec![(path, at)],
        Some(Json::Array(paths)) => {
            let paths = paths.iter().filter_map(Json::as_str).enumerate();
            paths.map(|(index, path)| (path, at.index(index))).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a source with this path or pattern reads the file at `path`.
fn reads(pattern: &Path, path: &Path) -> bool {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    pattern == path
        || pattern
            .to_str()
            .and_then(|pattern| glob::Pattern::new(pattern).ok())
            .is_some_and(|pattern| pattern.matches_path_with(path, options))
}

/// The file of a path in the pipeline, without `.` and `..`; `None` for standard input and output
/// and for what is no file.
fn file(base: &Path, path: &str) -> Option<PathBuf> {
    if path == "-" || path.contains("://") {
        return None;
    }
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            part => out.push(part),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_without_dots() {
        let path = |path: &str| file(Path::new("a/b"), path);
        assert_eq!(path("./x.csv"), path("../b/x.csv"));
        assert_ne!(path("x.csv"), path("../x.csv"));
        assert_eq!(path("-"), None);
        assert_eq!(file(Path::new(""), "../x"), Some(PathBuf::from("../x")));
    }

    #[test]
    fn a_pattern_reads_what_it_matches() {
        assert!(reads(Path::new("d/*.csv"), Path::new("d/out.csv")));
        assert!(!reads(Path::new("d/*.csv"), Path::new("d/out/out.csv")));
        assert!(reads(Path::new("d/[x.csv"), Path::new("d/[x.csv")));
    }
}
