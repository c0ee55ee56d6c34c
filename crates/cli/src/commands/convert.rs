//! `gristmill convert`.

use gristmill_pipeline::convert::{Conversion, convert};
use gristmill_pipeline::execute::State;

use super::{Done, json_has_room, running, show};
use crate::arguments::{Convert, Globals};

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
    let outcome =
        running(globals, arguments.workers, State::None, |options| convert(&conversion, &options))?;
    Ok(show(&outcome, globals))
}
