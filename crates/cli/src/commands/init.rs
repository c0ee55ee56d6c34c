//! `gristmill init`.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

use gristmill_core::Error;

use super::Done;
use crate::arguments::{Globals, Init};
use crate::output;

pub(crate) fn run(arguments: &Init, globals: &Globals) -> Done {
    let Init { data, output, contract, .. } = arguments;
    let text = gristmill_pipeline::init::pipeline_for(data, output.as_deref(), *contract)?;
    let Some(path) = &arguments.output else {
        output::print(text);
        return Ok(ExitCode::SUCCESS);
    };
    let mut options = OpenOptions::new();
    options.write(true);
    if arguments.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| {
        let exists = source.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::io(format!("cannot write `{}`", path.display()), source);
        if exists { error.hint("pass --force to write over it") } else { error }
    })?;
    output::say(globals, format_args!("wrote {0}\nnext: gristmill run {0}\n", path.display()));
    Ok(ExitCode::SUCCESS)
}
