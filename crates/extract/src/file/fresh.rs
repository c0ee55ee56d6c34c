//! Which of the files that are there have been read before.
//!
//! The bookmark of a file, by its name, says what the file was like when a run that published had
//! read it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use gristmill_core::Result;
use gristmill_core::registry::Range;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::options::Which;
use super::paths;
use super::source::Source;

type Bookmarks = BTreeMap<String, Value>;

/// What a file was like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Looks {
    size: u64,
    /// The time of its last change, as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    /// A hash of its bytes, where it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

/// The files to read.
#[derive(Debug)]
pub(super) struct Fresh {
    /// Never empty: when nothing is to be read, one file is here for its columns.
    pub(super) sources: Vec<Source>,
    /// Whether no record of them is read.
    pub(super) columns_only: bool,
    /// What is known of files once they are read.
    pub(super) bookmarks: Vec<(String, Value)>,
    pub(super) notes: Vec<String>,
}

/// Chooses among the files that `pattern` names.
pub(super) fn choose(
    sources: Vec<Source>,
    pattern: &str,
    which: Which,
    range: &Range,
) -> Result<Fresh> {
    let all = sources.len();
    let (mut fresh, mut known, mut bookmarks) = (Vec::new(), None, Vec::new());
    let mut lost = match (which, range) {
        (Which::All, _) | (_, Range::New(_) | Range::Between { .. }) => Vec::new(),
        (_, Range::Again { after, until }) => {
            let there: HashSet<&str> = sources.iter().map(|source| &*source.name).collect();
            let names = until.keys().filter(|name| paths::names(pattern, name));
            let gone = names.filter(|name| !there.contains(name.as_str()));
            gone.filter(|name| read_then(which, name, after, until).is_some()).cloned().collect()
        }
    };
    for source in sources {
        let read = match (which, range) {
            (Which::All, _) => true,
            (_, Range::Between { from, to }) => {
                let name = &*source.name;
                from.as_deref().is_none_or(|from| name >= from)
                    && to.as_deref().is_none_or(|to| name < to)
            }
            (_, Range::Again { after, until }) => {
                match read_then(which, &source.name, after, until) {
                    None => false,
                    Some(then) => {
                        let (changed, _) = is_fresh(&source, which, Some(then))?;
                        lost.extend(changed.then(|| source.name.to_string()));
                        !changed
                    }
                }
            }
            (_, Range::New(before)) => {
                let (read, looks) = is_fresh(&source, which, looks_in(before, &source.name))?;
                let looks = looks.and_then(|looks| serde_json::to_value(looks).ok());
                bookmarks.extend(looks.map(|looks| (source.name.to_string(), looks)));
                read
            }
        };
        if read {
            fresh.push(source);
        } else {
            known = Some(source);
        }
    }
    let count = fresh.len();
    let chosen = |are: &str| format!("`{pattern}`: {count} of {all} files are {are}");
    let note = match range {
        _ if which == Which::All || count == all => None,
        Range::New(_) => Some(chosen("new or changed")),
        Range::Between { .. } => Some(chosen("in the range")),
        Range::Again { .. } => None,
    };
    lost.sort();
    let lost = (!lost.is_empty()).then(|| {
        format!(
            "what was read of `{}` is not there any more: changed since, or gone",
            lost.join("`, `")
        )
    });
    let columns_only = fresh.is_empty();
    fresh.extend(known.filter(|_| columns_only));
    let notes = note.into_iter().chain(lost).collect();
    Ok(Fresh { sources: fresh, columns_only, bookmarks, notes })
}

/// What a file looked like when a run read it that began at the bookmarks `after` and ended at
/// `until`; `None` where it did not read it.
fn read_then(which: Which, name: &str, after: &Bookmarks, until: &Bookmarks) -> Option<Looks> {
    let then = looks_in(until, name)?;
    let before = looks_in(after, name).filter(|_| which == Which::NewContent);
    before.is_none_or(|before| before.hash != then.hash).then_some(then)
}

fn looks_in(bookmarks: &Bookmarks, name: &str) -> Option<Looks> {
    bookmarks.get(name).and_then(|looks| Looks::deserialize(looks).ok())
}

/// Whether a file is to be read, and what is new to know of it.
fn is_fresh(source: &Source, which: Which, before: Option<Looks>) -> Result<(bool, Option<Looks>)> {
    let Some(mut looks) = looks(source) else { return Ok((true, None)) };
    let stamp = |looks: &Looks| (looks.size, looks.modified.clone());
    if before.as_ref().is_some_and(|before| stamp(before) == stamp(&looks)) {
        return Ok((false, None));
    }
    let mut read = true;
    if which == Which::NewContent {
        looks.hash = Some(source.hash()?);
        read = before.is_none_or(|before| before.hash != looks.hash);
    }
    Ok((read, Some(looks)))
}

/// What a file looks like; a pipe looks like nothing.
fn looks(source: &Source) -> Option<Looks> {
    let modified = source
        .modified()
        .map(|time| DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Nanos, true));
    Some(Looks { size: source.size()?, modified, hash: None })
}
