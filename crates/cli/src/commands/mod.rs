//! One module a command. Each answers with an exit code.

pub(crate) mod bookmarks;
pub(crate) mod check;
pub(crate) mod contract;
pub(crate) mod convert;
pub(crate) mod init;
pub(crate) mod profile;
pub(crate) mod quality;
pub(crate) mod rejects;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod test;

use std::path::Path;
use std::process::ExitCode;

use gristmill_core::{Error, ErrorKind};
use gristmill_pipeline::Definition;
use gristmill_pipeline::execute::{Entered, Outcome, RunOptions, STATE_FOLDER, State, registry};
use gristmill_pipeline::ledger::Ledger;
use gristmill_pipeline::params::Params;
use gristmill_pipeline::report::{Status, summary};

use crate::arguments::{Globals, PipelineFile};
use crate::output::{self, Failure};
use crate::progress::Shown;
use run::cancel_on_signal;

/// The result of a command.
pub(crate) type Done = Result<ExitCode, Failure>;

/// Reads and checks a pipeline file.
fn load(file: &PipelineFile) -> Result<Definition, Failure> {
    Ok(registry().load(&file.path, &params(&file.params)?)?)
}

/// Calls what runs pipelines: progress is shown meanwhile, and signals stop it.
fn running<T, E: Into<Failure>>(
    globals: &Globals,
    workers: Option<u16>,
    state: State,
    run: impl FnOnce(RunOptions<'_>) -> Result<T, E>,
) -> Result<T, Failure> {
    let shown = Shown::new(globals);
    let entered = Entered::default();
    let options = RunOptions {
        workers: workers.map(usize::from),
        state,
        cancel: cancel_on_signal(globals, &entered)?,
        observer: Some(&shown),
        entered,
        ..RunOptions::default()
    };
    let result = run(options);
    shown.clear();
    result.map_err(Into::into)
}

/// The ledger in a folder, as people write it: `.gristmill` is the one beside the pipelines here.
fn ledger(folder: &Path) -> Result<Ledger, Failure> {
    if let Some(ledger) = Ledger::open_existing(folder)? {
        return Ok(ledger);
    }
    let here = std::env::current_dir().unwrap_or_default();
    let message = if folder == Path::new(STATE_FOLDER) {
        format!("no pipeline has run in `{}`: there is no ledger", here.display())
    } else {
        format!("there is no ledger in `{}`", here.join(folder).display())
    };
    Err(Error::new(ErrorKind::NotFound, message)
        .hint("call it in the folder of the pipeline file, or say where the ledger is with --state")
        .into())
}

/// Parameters given on the command line, with the environment behind them.
fn params(arguments: &[String]) -> Result<Params, Failure> {
    let params = Params::from_environment();
    Ok(arguments.iter().try_fold(params, |params, argument| params.argument(argument))?)
}

/// Refuses to write the report where records go.
fn json_has_room(globals: &Globals, destinations: &[&str]) -> Result<(), Failure> {
    if globals.json && destinations.contains(&"-") {
        let message = "the standard output takes the records, so `--json` has no room there";
        return Err(Error::new(ErrorKind::Configuration, message)
            .hint(
                "write the report to a file, with `report:` in the pipeline, or the records to one",
            )
            .into());
    }
    Ok(())
}

/// The files that a pipeline writes.
fn files(definition: &Definition) -> Vec<&str> {
    let items = definition.load.iter();
    items.filter_map(|item| item.options.get("file").and_then(|file| file.as_str())).collect()
}

/// Shows how a run ended: the report as JSON, or the summary and the error.
fn show(outcome: &Outcome, globals: &Globals) -> ExitCode {
    let report = &outcome.report;
    // Who interrupted a run, or stopped reading, knows.
    let known = outcome.reader_gone || report.status == Status::Interrupted;
    if globals.json {
        output::print_json(report);
    } else if report.status != Status::Invalid && !outcome.reader_gone {
        output::say(globals, summary(report));
        if report.error.is_some() && !known {
            output::say(globals, "\n");
        }
    }
    if let Some(diagnostics) = &outcome.diagnostics {
        output::say_mistakes(diagnostics);
    } else if let Some(failure) = report.error.as_ref().filter(|_| !known) {
        output::say_error(&failure.message, &failure.causes, failure.hint.as_deref());
    }
    output::code(report.status)
}
