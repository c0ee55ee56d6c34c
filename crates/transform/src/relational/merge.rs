//! Pairs of rows with the same key, of two tables on disk.

use std::sync::Arc;

use arrow_schema::SortOptions;
use datafusion_common::{JoinType, NullEquality, Result, internal_datafusion_err};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{LexOrdering, PhysicalExpr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::joins::SortMergeJoinExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use gristmill_core::Space;

use super::message;
use super::numbered::{ascending, columns, owned};
use super::piped::Rooms;
use super::run::{Execution, Source};
use super::store::Store;

/// Places of a table's hash, in two halves, and of its number.
const CODES: [usize; 3] = [0, 1, 2];

/// Starts to pair the rows of two tables, both of which begin with a hash in two columns and a
/// number. What comes of it are the numbers of both, then the other columns of the second, in the
/// order of the first's and then of the second's numbers. With `rest`, rows of the second that have
/// no pair come last, without a first number. A hash that is null is equal to none.
pub(crate) fn merged(
    step: &'static str,
    space: &Space,
    rows: usize,
    first: Arc<Store>,
    second: Arc<Store>,
    rest: bool,
) -> gristmill_core::Result<Execution> {
    let plan = plan(space, first, second, rest)
        .map_err(|found| message::running(step, space.memory, found))?;
    Execution::of(step, space, rows, plan)
}

fn plan(
    space: &Space,
    first: Arc<Store>,
    second: Arc<Store>,
    rest: bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    let rooms = Rooms::new(space.memory);
    let width = first.schema().fields().len();
    let sorted = |input: Arc<dyn ExecutionPlan>, places: &[usize]| {
        let keys = places.iter().map(|&place| ascending(input.schema().field(place).name(), place));
        let keys = LexOrdering::new(keys.collect::<Vec<_>>());
        let keys = keys.ok_or_else(|| internal_datafusion_err!("a sort without keys"))?;
        Ok::<_, datafusion_common::DataFusionError>(
            rooms.room(Arc::new(SortExec::new(keys, owned(input)))),
        )
    };
    let first = sorted(Source::Store(first).plan(None)?, &CODES)?;
    let second = sorted(Source::Store(second).plan(None)?, &CODES)?;
    let on = |place: usize| -> (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>) {
        (Arc::new(Column::new("", place)), Arc::new(Column::new("", place)))
    };
    let kind = if rest { JoinType::Right } else { JoinType::Inner };
    let sorts = vec![SortOptions::new(false, false); 2];
    let nulls = NullEquality::NullEqualsNothing;
    let joined =
        SortMergeJoinExec::try_new(first, second, vec![on(0), on(1)], None, kind, sorts, nulls)?;
    let joined = rooms.room(Arc::new(joined));
    let all = joined.schema().fields().len();
    let pairs = columns(joined, [CODES[2]].into_iter().chain(width + CODES[2]..all))?;
    sorted(pairs, &[0, 1])
}
