//! The `gristmill` command: arguments, messages, exit codes. What it does, the libraries do.

mod arguments;
mod commands;
mod logs;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let globals = arguments.globals;
    if let Err(error) = logs::start(&globals) {
        return output::fail(&error, &globals);
    }
    let done = match arguments.command {
        Command::Run(run) => commands::run::run(&run, &globals),
        Command::Check(check) => commands::check::run(&check, &globals),
        Command::Init(init) => commands::init::run(&init, &globals),
        Command::Convert(convert) => commands::convert::run(&convert, &globals),
        Command::Rejects(rejects) => commands::rejects::run(&rejects, &globals),
        Command::Runs(runs) => commands::runs::run(&runs, &globals),
        Command::Schema => commands::schema::run(),
        Command::Completions { shell } => commands::schema::completions(shell),
    };
    match done {
        Ok(code) => code,
        Err(error) => output::fail(&error, &globals),
    }
}
