//! Runs that ended while they published: what became of them, and what is left of them to do.
//!
//! A database knows whether it has what a run loaded (`gristmill_loads`). Where one has it and
//! another has not, what the run read is read once more, by its bookmarks, and loaded under the same
//! id where it is missing. Whoever does that at the same time loads the same rows under the same
//! id, which a database takes once; so each record is there once however often a run is killed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use gristmill_core::Result;
use gristmill_core::registry::Range;
use gristmill_parallel::retry;
use serde_json::Value;

use crate::execute::{Attempt, Outcome, entry};
use crate::ledger::{self, Ledger, Run};
use crate::report::{Status, records_of};

/// Where the sources of a pipeline go on.
type Positions = BTreeMap<String, Value>;

/// Settles what is open of earlier runs, and answers where sources go on, or how the attempt to
/// complete one ended. A plan leaves the ledger and the destinations as they are.
///
/// # Errors
/// When a destination or the ledger does not answer.
pub(crate) fn settle(
    next: &Attempt<'_>,
    ledger: &Ledger,
    notes: &mut Vec<String>,
) -> Result<ControlFlow<Outcome, Positions>> {
    let plan = next.options.plan;
    let mut planned = Positions::new();
    for run in ledger.undecided(&next.definition.name)? {
        let id = &run.id;
        let pending = ledger.pending(id)?;
        let (has, lacks) = ask(next, id)?;
        tracing::info!(run = %id, ?has, ?lacks, "ended while it published");
        match (has.as_slice(), lacks.as_slice()) {
            ([first, ..], [other, ..]) if !pending.is_empty() => {
                let ended = format!(
                    "run {id} ended when destination {} had its records and destination {} had not",
                    first + 1,
                    other + 1
                );
                if plan {
                    notes.push(format!("{ended}: the next run completes it first"));
                    planned.extend(pending);
                    continue;
                }
                let outcome = complete(next, ledger, &run, pending, &lacks)?;
                if outcome.report.status != Status::Published {
                    return Ok(ControlFlow::Break(blamed(outcome, &ended)));
                }
                let read = records_of(outcome.report.read);
                notes.push(format!("{ended}: {read} were read again, and it has them now"));
                let said = outcome.report.notes.into_iter();
                notes.extend(said.map(|note| format!("run {id}: {note}")));
            }
            ([first, ..], others) => {
                let published = others.is_empty();
                if pending.is_empty() {
                    notes.push(doubtful(id, *first, others.first().copied()));
                }
                if !plan {
                    ledger.decide(id, published)?;
                } else if published {
                    planned.extend(pending);
                }
            }
            ([], _) if plan => {}
            ([], _) => ledger.decide(id, false)?,
        }
    }
    let mut positions = ledger.positions(&next.definition.name)?;
    positions.extend(planned);
    Ok(ControlFlow::Continue(positions))
}

/// The destinations that have the records of a run, and those that have not. Some cannot tell.
fn ask(next: &Attempt<'_>, run: &str) -> Result<(Vec<usize>, Vec<usize>)> {
    let (mut has, mut lacks) = (Vec::new(), Vec::new());
    let Attempt { definition, options, .. } = next;
    for (i, item) in definition.load.iter().enumerate() {
        let asked = retry(&definition.retry, &options.cancel, |_| {
            (item.kind.published)(&item.options, &definition.base, run)
        });
        match asked? {
            Some(true) => has.push(i),
            Some(false) => lacks.push(i),
            None => {}
        }
    }
    Ok((has, lacks))
}

/// What is said of a run whose sources keep no bookmarks, so that nobody knows what it read.
fn doubtful(run: &str, first: usize, other: Option<usize>) -> String {
    match other {
        Some(other) => format!(
            "run {run} ended when destination {} had its records and destination {} had not; its \
             sources have no `cursor` and read all, so it cannot be completed: where a destination \
             appends, what is read again is there twice",
            first + 1,
            other + 1
        ),
        None => format!(
            "run {run} had loaded its records when it ended without saying so; its sources have no \
             `cursor` and read all: where a destination appends, what is read again is there twice"
        ),
    }
}

/// Does for some destinations what a run did for the others.
fn complete(
    next: &Attempt<'_>,
    ledger: &Ledger,
    run: &Run,
    until: Positions,
    lacks: &[usize],
) -> Result<Outcome> {
    // No other run of the pipeline has published since: sources go on where they did then.
    let after = Arc::new(ledger.positions(&next.definition.name)?);
    let range = Range::Again { after, until: Arc::new(until.clone()) };
    let attempt =
        Attempt { id: &run.id, started: run.started, range, only: Some(lacks), ..next.clone() };
    let outcome = attempt.run();
    if outcome.report.status == Status::Published {
        let mut ended = ledger::Outcome { bookmarks: until, ..entry(&outcome) };
        if run.ended.is_some() {
            ended.checks.clear(); // what they found was written down then
        }
        ledger.finish(&run.id, &ended)?;
        next.options.cancel.begin_again();
    }
    Ok(outcome)
}

/// That a run failed because another one could not be completed.
fn blamed(mut outcome: Outcome, ended: &str) -> Outcome {
    if let Some(error) = &mut outcome.report.error {
        error.message = format!("{ended}, and could not be completed: {}", error.message);
        let way = "`gristmill bookmarks rewind` with its id gives it up: what it read is read \
                   again then, for all destinations";
        error.hint = Some(match error.hint.take() {
            Some(hint) => format!("{hint}; {way}"),
            None => way.to_owned(),
        });
    }
    outcome
}
