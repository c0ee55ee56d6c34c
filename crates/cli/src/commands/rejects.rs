//! `gristmill rejects` and `gristmill rejects replay`.

use std::process::ExitCode;

use gristmill_pipeline::execute::registry;
use gristmill_pipeline::rejects::{replay, summarise};

use super::{Done, files, json_has_room, params, running, show};
use crate::arguments::{Globals, Rejects, RejectsCommand, Replay};
use crate::output;

pub(crate) fn run(arguments: &Rejects, globals: &Globals) -> Done {
    match (&arguments.command, &arguments.file) {
        (Some(RejectsCommand::Replay(arguments)), _) => run_again(arguments, globals),
        (None, Some(file)) => {
            let summary = summarise(file)?;
            if globals.json {
                output::print_json(&summary);
            } else {
                output::print(summary);
            }
            Ok(ExitCode::SUCCESS)
        }
        (None, None) => Ok(ExitCode::from(2)), // clap asks for one of them
    }
}

fn run_again(arguments: &Replay, globals: &Globals) -> Done {
    let definition = registry().load(&arguments.pipeline, &params(&arguments.params)?)?;
    match &arguments.into {
        Some(into) => json_has_room(globals, &[&into.to_string_lossy()])?,
        None => json_has_room(globals, &files(&definition))?,
    }
    let outcome = running(globals, None, arguments.state.clone().into(), |options| {
        replay(&arguments.file, definition, arguments.into.as_deref(), &options)
    })?;
    Ok(show(&outcome, globals))
}
