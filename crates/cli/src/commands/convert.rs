//! `gristmill convert`.

use gristmill_pipeline::convert::{Conversion, convert};
use gristmill_pipeline::execute::{Entered, RunOptions, State};

use super::run::cancel_on_signal;
use super::{Done, json_has_room, show};
use crate::arguments::{Convert, Globals};
use crate::progress::Shown;

pub(crate) fn run(arguments: &Convert, globals: &Globals) -> Done {
    json_has_room(globals, &[&arguments.output])?;
    let conversion = Conversion {
        input: arguments.input.clone(),
        output: arguments.output.clone(),
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        infer: !arguments.strings,
        rejects: arguments.rejects.clone(),
    };
    let shown = Shown::new(globals);
    let entered = Entered::default();
    let options = RunOptions {
        workers: arguments.workers.map(usize::from),
        state: State::None,
        cancel: cancel_on_signal(globals, &entered)?,
        observer: Some(&shown),
        entered,
        plan: false,
        backfill: None,
    };
    let outcome = convert(&conversion, &options);
    shown.clear();
    Ok(show(&outcome?, globals))
}
