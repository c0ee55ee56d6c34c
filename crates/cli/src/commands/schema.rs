//! `gristmill schema` and `gristmill completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use super::Done;
use crate::arguments::Arguments;
use crate::output;

pub(crate) fn run() -> Done {
    output::print_json(&gristmill_pipeline::execute::registry().json_schema());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gristmill", &mut script);
    output::print(String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
