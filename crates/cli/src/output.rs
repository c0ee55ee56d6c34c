//! What the command says, and where: data on standard output, everything else on standard error.

use std::any::Any;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use gristmill_core::{Error, ErrorKind};
use gristmill_pipeline::Status;
use gristmill_pipeline::definition::{Diagnostics, LoadError};
use gristmill_pipeline::params::Secrets;

use crate::arguments::Globals;

/// What ends the command without a report.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The pipeline file is wrong.
    Load(LoadError),
    /// A source cannot be read.
    Source(Error),
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
    let (status, code) = match failure {
        // What is wrong before anything has run is wrong with the command.
        Failure::Load(_) | Failure::Error(_) => ("invalid", 2),
        // As a run says it.
        Failure::Source(error) if error.kind() == ErrorKind::Configuration => ("invalid", 2),
        Failure::Source(error) if error.kind() == ErrorKind::Stopped => ("stopped", 3),
        Failure::Source(_) => ("failed", 1),
    };
    let error = match failure {
        Failure::Load(LoadError::Mistakes(diagnostics)) => {
            if globals.json {
                let mut value = diagnostics.to_json();
                value["status"] = "invalid".into();
                print_json(&value);
            }
            say_mistakes(diagnostics);
            return ExitCode::from(code);
        }
        Failure::Load(LoadError::Io(error)) | Failure::Source(error) | Failure::Error(error) => {
            error
        }
    };
    let message = public(&error.to_string());
    let causes: Vec<String> = error.causes().iter().map(|cause| public(cause)).collect();
    let hint = error.hint_text().map(public);
    if globals.json {
        let error = serde_json::json!({"message": message, "causes": causes, "hint": hint});
        print_json(&serde_json::json!({"status": status, "error": error}));
    }
    say_error(&message, &causes, hint.as_deref());
    ExitCode::from(code)
}

/// Says what is wrong with the arguments, or the help that they ask for.
pub(crate) fn wrong(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let public = public(&text);
    if public == text {
        error.exit();
    }
    let _ = write!(stderr(), "{public}");
    ExitCode::from(2)
}

/// A text that may quote an argument, without the passwords that stand in URLs among these.
pub(crate) fn public(text: &str) -> String {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    Secrets::of_text(&arguments.join("\n")).redact(text)
}

/// Mistakes in a pipeline file, each with its place.
pub(crate) fn say_mistakes(diagnostics: &Diagnostics) {
    let _ = writeln!(stderr(), "{}", diagnostics.render(colour()));
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

/// Says that the command itself is broken.
pub(crate) fn bug(payload: &(dyn Any + Send)) -> ExitCode {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let error = Error::internal("the command panicked");
    let said = text.map(str::to_owned).into_iter().collect::<Vec<_>>();
    say_error(&error.to_string(), &said, error.hint_text());
    ExitCode::FAILURE
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
        && error.kind() != io::ErrorKind::BrokenPipe
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
