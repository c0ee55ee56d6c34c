//! What the command says, and where: data on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use gristmill_core::Error;
use gristmill_pipeline::Status;
use gristmill_pipeline::definition::LoadError;

use crate::arguments::Globals;

/// What ends the command without a report.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The pipeline file is wrong.
    Load(LoadError),
    /// Anything else.
    Error(Error),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Failure::Load(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// Says why, and gives the exit code.
pub(crate) fn fail(failure: &Failure, globals: &Globals) -> ExitCode {
    let error = match failure {
        Failure::Load(LoadError::Mistakes(diagnostics)) => {
            if globals.json {
                print_json(
                    &serde_json::json!({"status": "invalid", "mistakes": diagnostics.to_json()}),
                );
            } else {
                let _ = write!(stderr(), "{}", diagnostics.render(colour()));
            }
            return ExitCode::from(2);
        }
        Failure::Load(LoadError::Io(error)) | Failure::Error(error) => error,
    };
    say_error(&error.to_string(), &causes(error), error.hint_text());
    // What is wrong before anything has run is wrong with the command.
    ExitCode::from(2)
}

/// `error: message: cause` and the hint below it.
pub(crate) fn say_error(message: &str, causes: &[String], hint: Option<&str>) {
    let mut text = message.to_owned();
    for cause in causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    let (bold, plain) = if colour() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(stderr(), "{bold}error{plain}: {text}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr(), "  hint: {hint}");
    }
}

/// The messages of an error's causes, outermost first.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        causes.push(next.to_string());
        cause = next.source();
    }
    causes
}

/// A message for the person at the terminal.
pub(crate) fn say(globals: &Globals, text: impl Display) {
    if !globals.quiet {
        let _ = write!(stderr(), "{text}");
    }
}

/// Data for standard output. A reader that has gone away ends the command without a word.
pub(crate) fn print(text: impl Display) {
    let mut out = stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        say_error("cannot write to standard output", &[error.to_string()], None);
    }
}

/// JSON for standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(text + "\n"),
        Err(error) => say_error("cannot write JSON", &[error.to_string()], None),
    }
}

/// Whether messages are coloured.
pub(crate) fn colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// The exit code of a run.
pub(crate) fn code(status: Status) -> ExitCode {
    ExitCode::from(status.exit_code())
}
