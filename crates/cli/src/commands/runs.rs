//! `gristmill runs` and `gristmill runs show`.

use std::fmt::Write;
use std::process::ExitCode;

use gristmill_pipeline::Report;
use gristmill_pipeline::ledger::Run;
use gristmill_pipeline::report::{duration, summary, thousands};

use super::Done;
use crate::arguments::{Globals, Runs, RunsCommand};
use crate::output;

pub(crate) fn run(arguments: &Runs, globals: &Globals) -> Done {
    let ledger = super::ledger(&arguments.folder)?;
    match &arguments.command {
        Some(RunsCommand::Show { id }) => {
            let run = ledger.run(id)?;
            if globals.json {
                output::print_json(&run);
            } else {
                output::print(describe(&run));
            }
        }
        None => {
            let runs = ledger.runs(arguments.pipeline.as_deref(), arguments.limit)?;
            if globals.json {
                output::print_json(&runs);
            } else {
                output::print(table(&runs));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole report that the ledger kept, where this version understands it.
fn report(run: &Run) -> Option<Report> {
    serde_json::from_value(run.report.clone()?).ok()
}

fn table(runs: &[Run]) -> String {
    if runs.is_empty() {
        return "no runs yet\n".to_owned();
    }
    let width =
        runs.iter().map(|run| run.pipeline.chars().count()).max().unwrap_or_default().max(8);
    let mut out = format!(
        "{:<23} {:<width$} {:<11} {:>12} {:>12} {:>10} {:>9}\n",
        "run", "pipeline", "status", "read", "loaded", "rejected", "time"
    );
    for run in runs {
        let (read, loaded, rejected, time) = match report(run) {
            Some(report) => (
                thousands(report.read),
                thousands(report.account.loaded()),
                thousands(report.rejected),
                duration(report.seconds),
            ),
            None => Default::default(),
        };
        let status = run.status.to_string();
        let row = format!(
            "{:<23} {:<width$} {status:<11} {read:>12} {loaded:>12} {rejected:>10} {time:>9}",
            run.id, run.pipeline
        );
        let _ = writeln!(out, "{}", row.trim_end());
    }
    out
}

fn describe(run: &Run) -> String {
    let started = run.started.format("%Y-%m-%d %H:%M:%S UTC");
    let mut out =
        format!("run {} of {}, started {started}: {}\n\n", run.id, run.pipeline, run.status);
    if let Some(report) = report(run) {
        out.push_str(&summary(&report));
        if let Some(error) = &report.error {
            let _ = writeln!(out, "\n  error: {}", error.message);
            for cause in &error.causes {
                let _ = writeln!(out, "    because {cause}");
            }
        }
    }
    out
}
