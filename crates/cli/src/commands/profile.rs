//! `gristmill profile`.

use std::process::ExitCode;

use gristmill_pipeline::execute::{Entered, RunOptions, State};
use gristmill_pipeline::profile::{profile, suggest_dqdl, suggest_yaml, table};

use super::Done;
use super::run::cancel_on_signal;
use crate::arguments::{Form, Globals, Profile};
use crate::output;
use crate::progress::Shown;

pub(crate) fn run(arguments: &Profile, globals: &Globals) -> Done {
    let shown = Shown::new(globals);
    let entered = Entered::default();
    let options = RunOptions {
        workers: arguments.workers.map(usize::from),
        state: State::None,
        cancel: cancel_on_signal(globals, &entered)?,
        observer: Some(&shown),
        entered,
        plan: false,
        backfill: None,
    };
    let profiled = profile(&arguments.data, !arguments.strings, &options);
    shown.clear();
    let (outcome, profile) = profiled?;
    let Some(profile) = profile else { return Ok(super::show(&outcome, globals)) };
    match arguments.suggest {
        Some(Form::Dqdl) => output::print(suggest_dqdl(&profile)),
        Some(Form::Yaml) => output::print(suggest_yaml(&profile)),
        None if globals.json => output::print_json(&profile),
        None => output::print(table(&arguments.data, &profile)),
    }
    if outcome.report.rejected > 0 {
        let rejected = outcome.report.rejected;
        output::say(globals, format!("note: {rejected} records could not be read\n"));
    }
    Ok(ExitCode::SUCCESS)
}
