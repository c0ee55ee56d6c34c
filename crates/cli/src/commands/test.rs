//! `gristmill test`.

use std::process::ExitCode;

use gristmill_pipeline::execute::{Entered, RunOptions};
use gristmill_pipeline::testing::{run_tests, table};

use super::run::cancel_on_signal;
use super::{Done, params};
use crate::arguments::{Globals, Test};
use crate::output;

pub(crate) fn run(arguments: &Test, globals: &Globals) -> Done {
    let options = RunOptions {
        cancel: cancel_on_signal(globals, &Entered::default())?,
        ..RunOptions::default()
    };
    let results =
        run_tests(&arguments.pipeline.path, &params(&arguments.pipeline.params)?, &options)?;
    if globals.json {
        output::print_json(&results);
    } else {
        output::print(table(&results));
    }
    let passed = results.iter().all(|result| result.differences.is_empty());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
