//! `gristmill run` and `gristmill plan`.

use std::time::Duration;

use gristmill_core::Error;
use gristmill_parallel::Cancel;
use gristmill_pipeline::execute::{Entered, RunOptions, run_definition};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Done, files, json_has_room, load, running, show};
use crate::arguments::{Globals, Run};
use crate::output::{self, Failure};

pub(crate) fn run(arguments: &Run, globals: &Globals) -> Done {
    let definition = load(&arguments.pipeline)?;
    json_has_room(globals, &files(&definition))?;
    let backfill = arguments.range.backfill();
    let outcome = running(globals, arguments.workers, arguments.state.clone().into(), |options| {
        run_definition(&definition, &RunOptions { backfill, ..options })
    })?;
    Ok(show(&outcome, globals))
}

pub(crate) fn plan(arguments: &Run, globals: &Globals) -> Done {
    let definition = load(&arguments.pipeline)?;
    let backfill = arguments.range.backfill();
    let outcome = running(globals, arguments.workers, arguments.state.clone().into(), |options| {
        run_definition(&definition, &RunOptions { plan: true, backfill, ..options })
    })?;
    Ok(show(&outcome, globals))
}

/// How long a run that was interrupted may take to clean up, where it is not waiting for input.
/// What it leaves behind then, the next run removes.
const GRACE: Duration = Duration::from_millis(500);

/// Ctrl-C and SIGTERM stop the run in good order; a second one, or a run that waits for its input,
/// ends it at once. Either way nothing is published. Once publishing has begun, it is finished.
pub(crate) fn cancel_on_signal(globals: &Globals, entered: &Entered) -> Result<Cancel, Failure> {
    let cancel = Cancel::new();
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|source| Error::io("cannot listen for signals", source))?;
    let (seen, globals, entered) = (cancel.clone(), globals.clone(), entered.clone());
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if seen.is_cancelled() {
                end(&entered);
            }
            if !seen.cancel() {
                output::say(&globals, "\nalready publishing; this is finished first\n");
                continue;
            }
            output::say(&globals, "\nstopping; nothing will be published\n");
            let entered = entered.clone();
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                end(&entered);
            });
        }
    });
    Ok(cancel)
}

fn end(entered: &Entered) -> ! {
    if let Err(error) = entered.interrupted() {
        tracing::warn!("the ledger does not know that the run was interrupted: {error}");
    }
    std::process::exit(130)
}
