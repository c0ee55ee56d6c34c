//! `gristmill contract diff`.

use std::process::ExitCode;

use gristmill_pipeline::Status;
use gristmill_pipeline::contract::diff::{diff, table};
use gristmill_pipeline::execute::{Entered, RunOptions, State};
use serde_json::json;

use super::Done;
use super::run::cancel_on_signal;
use crate::arguments::{Contract, ContractCommand, ContractDiff, Globals};
use crate::output;
use crate::progress::Shown;

pub(crate) fn run(arguments: &Contract, globals: &Globals) -> Done {
    match &arguments.command {
        ContractCommand::Diff(diff) => run_diff(diff, globals),
    }
}

fn run_diff(arguments: &ContractDiff, globals: &Globals) -> Done {
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
    let ContractDiff { contract, data, schema, .. } = arguments;
    let compared = diff(contract, schema.as_deref(), data, &options);
    shown.clear();
    let (outcome, found) = compared?;
    let Some(found) = found else { return Ok(super::show(&outcome, globals)) };
    if globals.json {
        output::print_json(&json!({"records": outcome.report.read, "differences": found}));
    } else {
        output::print(table(contract, data, &outcome, &found));
    }
    match found.iter().any(|difference| difference.breaks) {
        true => Ok(output::code(Status::Stopped)),
        false => Ok(ExitCode::SUCCESS),
    }
}
