//! The `gristmill` command: arguments, messages, exit codes. What it does, the libraries do.

mod arguments;
mod commands;
mod logs;
mod output;
mod progress;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Globals};
use commands::Done;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::wrong(&error),
    };
    let globals = arguments.globals;
    if let Err(error) = logs::start(&globals) {
        return output::fail(&error, &globals);
    }
    let command = arguments.command;
    // The message of a panic goes into the error that it becomes; the log says where it was.
    panic::set_hook(Box::new(|panic| tracing::info!("{panic}")));
    let done = panic::catch_unwind(AssertUnwindSafe(|| run(command, &globals)));
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => output::fail(&failure, &globals),
        Err(payload) => output::bug(payload.as_ref()),
    }
}

fn run(command: Command, globals: &Globals) -> Done {
    match command {
        Command::Run(run) => commands::run::run(&run, globals),
        Command::Plan(plan) => commands::run::plan(&plan, globals),
        Command::Check(check) => commands::check::run(&check, globals),
        Command::Test(test) => commands::test::run(&test, globals),
        Command::Init(init) => commands::init::run(&init, globals),
        Command::Convert(convert) => commands::convert::run(&convert, globals),
        Command::Profile(profile) => commands::profile::run(&profile, globals),
        Command::Quality(quality) => commands::quality::run(&quality, globals),
        Command::Contract(contract) => commands::contract::run(&contract, globals),
        Command::Rejects(rejects) => commands::rejects::run(&rejects, globals),
        Command::Runs(runs) => commands::runs::run(&runs, globals),
        Command::Bookmarks(bookmarks) => commands::bookmarks::run(&bookmarks, globals),
        Command::Schema => commands::schema::run(),
        Command::Completions { shell } => commands::schema::completions(shell),
    }
}
