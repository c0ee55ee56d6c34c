//! `gristmill check`.

use std::process::ExitCode;

use gristmill_pipeline::execute::{Checked, check};

use super::{Done, load};
use crate::arguments::{Check, Globals};
use crate::output::{self, Failure};

pub(crate) fn run(arguments: &Check, globals: &Globals) -> Done {
    let definition = load(&arguments.pipeline)?;
    let columns = if arguments.offline {
        None
    } else {
        match check(&definition).map_err(Failure::Source)? {
            Checked::Fits(columns) => Some(columns),
            Checked::Wrong(diagnostics) => {
                return Err(gristmill_pipeline::definition::LoadError::Mistakes(diagnostics).into());
            }
        }
    };
    if globals.json {
        let columns = columns.as_ref().map(|columns| {
            let pairs = columns.iter().map(|(name, kind)| (name.clone(), kind.clone().into()));
            pairs.collect::<serde_json::Map<_, _>>()
        });
        output::print_json(&serde_json::json!({"status": "valid", "columns": columns}));
        return Ok(ExitCode::SUCCESS);
    }
    output::say(globals, format_args!("{}: no mistakes\n", arguments.pipeline.path.display()));
    if let Some(columns) = columns {
        output::say(globals, format_args!("it loads these columns:\n"));
        let width = columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, kind) in columns {
            output::say(globals, format_args!("  {name:width$}  {kind}\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
