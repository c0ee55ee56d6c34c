//! `gristmill profile`.

use std::process::ExitCode;

use gristmill_core::{Error, ErrorKind};
use gristmill_pipeline::execute::{Outcome, RunOptions, State};
use gristmill_pipeline::profile::{
    ForeignKey, Profile, foreign_key_table, foreign_keys, profile, suggest_contract, suggest_dqdl,
    suggest_yaml, table,
};
use gristmill_pipeline::values::{values, yaml};
use serde_json::json;

use super::{Done, running};
use crate::arguments::{Form, Globals, Profile as Arguments};
use crate::output;

pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Done {
    if let Some(column) = &arguments.values {
        return list(arguments, column, globals);
    }
    let profiled =
        running(globals, arguments.workers, State::None, |options| read(arguments, &options))?;
    let Read { profiles, foreign_keys, rejected, failed } = profiled;
    if let Some(outcome) = failed {
        return Ok(super::show(&outcome, globals));
    }
    let each = |text: &dyn Fn(&str, &Profile) -> String| {
        let texts = profiles.iter().map(|(data, profile)| text(&output::public(data), profile));
        output::print(texts.collect::<Vec<_>>().join("\n"));
    };
    match arguments.suggest {
        Some(Form::Dqdl) => each(&|_, profile| suggest_dqdl(profile)),
        Some(Form::Contract) => each(&|_, profile| suggest_contract(profile)),
        Some(Form::Yaml) => each(&|_, profile| suggest_yaml(profile)),
        None if globals.json => match profiles.as_slice() {
            [(_, profile)] => output::print_json(profile),
            many => {
                let inputs = many.iter().map(
                    |(data, profile)| json!({"data": output::public(data), "profile": profile}),
                );
                let inputs: Vec<_> = inputs.collect();
                output::print_json(&json!({"inputs": inputs, "foreign_keys": foreign_keys}));
            }
        },
        None => {
            each(&|data, profile| table(data, profile));
            if profiles.len() > 1 {
                output::print(foreign_key_table(&foreign_keys));
            }
        }
    }
    if rejected > 0 {
        output::say(globals, format!("note: {rejected} records could not be read\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the values of a column.
fn list(arguments: &Arguments, column: &str, globals: &Globals) -> Done {
    let [data] = arguments.data.as_slice() else {
        let error =
            Error::new(ErrorKind::Configuration, "the values of a column are those of one input");
        return Err(error.hint("give one file or table").into());
    };
    let (outcome, found) = running(globals, arguments.workers, State::None, |options| {
        values(data, column, !arguments.strings, &options)
    })?;
    match found {
        None => return Ok(super::show(&outcome, globals)),
        Some(found) if globals.json => output::print_json(&found),
        Some(found) => output::print(yaml(&found)),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Read {
    profiles: Vec<(String, Profile)>,
    foreign_keys: Vec<ForeignKey>,
    rejected: u64,
    /// What could not be read.
    failed: Option<Outcome>,
}

/// Profiles every input; with several, finds what refers to what.
fn read(arguments: &Arguments, options: &RunOptions<'_>) -> Result<Read, Error> {
    let infer = !arguments.strings;
    let mut read = Read::default();
    for data in &arguments.data {
        let (outcome, profile) = profile(data, infer, options)?;
        let Some(profile) = profile else {
            read.failed = Some(outcome);
            return Ok(read);
        };
        read.rejected += outcome.report.rejected;
        read.profiles.push((data.clone(), profile));
    }
    if read.profiles.len() > 1 && arguments.suggest.is_none() {
        read.foreign_keys = foreign_keys(&read.profiles, infer, options)?;
        for ForeignKey { data, references, .. } in &mut read.foreign_keys {
            (*data, *references) = (output::public(data), output::public(references));
        }
    }
    Ok(read)
}
