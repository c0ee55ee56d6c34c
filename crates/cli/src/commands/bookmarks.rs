//! `gristmill bookmarks list`, `rewind` and `reset`.

use std::fmt::Write;
use std::process::ExitCode;

use gristmill_pipeline::ledger::Bookmark;
use serde_json::Value;

use super::Done;
use crate::arguments::{Bookmarks, BookmarksCommand, Globals};
use crate::output;

pub(crate) fn run(arguments: &Bookmarks, globals: &Globals) -> Done {
    let ledger = super::ledger(&arguments.folder)?;
    match &arguments.command {
        BookmarksCommand::List { pipeline } => {
            let bookmarks = ledger.bookmarks(pipeline.as_deref())?;
            if globals.json {
                output::print_json(&bookmarks);
            } else {
                output::print(table(&bookmarks));
            }
        }
        BookmarksCommand::Rewind { run } => {
            let gone = ledger.rewind(run)?;
            output::say(globals, format!("{}\n", taken(gone, "taken back")));
        }
        BookmarksCommand::Reset { pipeline, source } => {
            let gone = ledger.reset(pipeline, source.as_deref())?;
            output::say(globals, format!("{}\n", taken(gone, "forgotten")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn taken(count: usize, done: &str) -> String {
    let noun = if count == 1 { "bookmark" } else { "bookmarks" };
    format!("{count} {noun} {done}")
}

fn table(bookmarks: &[Bookmark]) -> String {
    if bookmarks.is_empty() {
        return "no bookmarks yet\n".to_owned();
    }
    let mut out = String::new();
    for bookmark in bookmarks {
        let value = match &bookmark.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let Bookmark { pipeline, name, run, .. } = bookmark;
        let _ = writeln!(out, "{pipeline}: {name}: {value} (run {run})");
    }
    out
}
