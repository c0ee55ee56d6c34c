//! Steps that see their input as one table, run by Apache DataFusion.
//!
//! Each of them writes a query over the table `input`. [`query`] plans it when the step is bound, so
//! that names, types and the columns of the result are known before the first record; [`physical`]
//! makes it something that runs, and [`run`] runs it. What is usual is done without it, by [`groups`]
//! and [`windows`]. What holds:
//!
//! - **One thread, one partition.** The plan runs on the thread that sees the batches in source
//!   order, and asks for the next one when it needs it: nothing waits in a queue. While it works,
//!   workers decode the batches that come next. So a result does not depend on how many there are.
//! - **Order is defined.** Groups come in the order of their keys, a sort keeps the order of what
//!   is equal, a join keeps that of its left side, and everything else that of its input.
//! - **Memory is bounded.** Operators take memory from a pool of the step's share, and write to the
//!   run's temporary folder what does not fit.
//! - **Numbers do not wrap.** Sums and arithmetic that leave their type end the run.

mod catalog;
mod functions;
mod groups;
mod merge;
mod message;
mod numbered;
mod parallel;
mod partitions;
mod physical;
mod piped;
mod query;
mod run;
mod stage;
mod step;
mod store;
mod sum;
mod windows;
mod write;

pub(crate) use functions::SetFunctions;
pub(crate) use groups::bound as grouped;
pub(crate) use merge::merged;
pub(crate) use numbered::{ROW, with_row};
pub(crate) use query::{Query, Table};
pub(crate) use run::{Execution, Progress};
pub(crate) use step::Tables;
pub(crate) use store::{Store, Writer};
pub(crate) use windows::{Place, Windows};
pub(crate) use write::{
    column, expression, input, named, over, planned, quoted, reads, select, statement,
};

/// The name of the table that a step gets.
pub(crate) const INPUT: &str = "input";
