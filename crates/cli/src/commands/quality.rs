//! `gristmill quality check`.

use gristmill_core::{Error, ErrorKind};
use gristmill_pipeline::Status;
use gristmill_pipeline::execute::State;
use gristmill_pipeline::quality::{Judgement, judge, table};

use super::{Done, running};
use crate::arguments::{Globals, Quality, QualityCheck, QualityCommand};
use crate::output;

pub(crate) fn run(arguments: &Quality, globals: &Globals) -> Done {
    match &arguments.command {
        QualityCommand::Check(check) => run_check(check, globals),
    }
}

fn run_check(arguments: &QualityCheck, globals: &Globals) -> Done {
    let reference = |text: &String| match text.split_once('=') {
        Some((name, data)) => Ok((name.to_owned(), data.to_owned())),
        None => Err(Error::new(ErrorKind::Configuration, format!("`{text}` is no NAME=DATA"))
            .hint("write `--reference regions=regions.csv`")),
    };
    let judgement = Judgement {
        rules: arguments.rules.clone(),
        data: arguments.data.clone(),
        references: arguments.references.iter().map(reference).collect::<Result<_, _>>()?,
        infer: !arguments.strings,
        rows: arguments.rows.clone(),
    };
    let state = arguments.folder.clone().map_or(State::None, State::Folder);
    let outcome =
        running(globals, arguments.workers, state, |options| judge(&judgement, &options))?;
    let report = &outcome.report;
    let judged = matches!(report.status, Status::Published | Status::Stopped);
    if !judged {
        return Ok(super::show(&outcome, globals));
    }
    if globals.json {
        output::print_json(report);
    } else {
        output::print(table(&output::public(&judgement.data), &outcome));
    }
    // With --rows, rules that fail let the records be written.
    let failed = report.checks.iter().any(|check| !check.passed);
    let failed = failed && arguments.rows.is_some();
    Ok(output::code(if failed { Status::Stopped } else { report.status }))
}
