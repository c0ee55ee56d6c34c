//! `gristmill contract diff`.

use std::process::ExitCode;

use gristmill_pipeline::Status;
use gristmill_pipeline::contract::diff::{diff, table};
use gristmill_pipeline::execute::State;
use serde_json::json;

use super::{Done, running};
use crate::arguments::{Contract, ContractCommand, ContractDiff, Globals};
use crate::output;

pub(crate) fn run(arguments: &Contract, globals: &Globals) -> Done {
    match &arguments.command {
        ContractCommand::Diff(diff) => run_diff(diff, globals),
    }
}

fn run_diff(arguments: &ContractDiff, globals: &Globals) -> Done {
    let ContractDiff { contract, data, schema, workers, .. } = arguments;
    let (outcome, found) = running(globals, *workers, State::None, |options| {
        diff(contract, schema.as_deref(), data, &options)
    })?;
    let Some(found) = found else { return Ok(super::show(&outcome, globals)) };
    if globals.json {
        output::print_json(&json!({"records": outcome.report.read, "differences": found}));
    } else {
        output::print(table(contract, &output::public(data), &outcome, &found));
    }
    match found.iter().any(|difference| difference.breaks) {
        true => Ok(output::code(Status::Stopped)),
        false => Ok(ExitCode::SUCCESS),
    }
}
