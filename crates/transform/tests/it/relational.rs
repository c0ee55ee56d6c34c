//! Steps that see their input as one table: compared with SQLite over generated tables, and with
//! themselves with little memory and other batches.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use gristmill_core::json::row_to_string;
use gristmill_core::origin::Content;
use gristmill_core::{
    Batch, BindContext, Error, ErrorKind, Findings, LeftOut, Mistake, Origin, Place, Records,
    Space, StepPlan, Turn,
};
use gristmill_transform::{Aggregate, Dedupe, Sort, Sql, SqlQuery, Window};
use proptest::prelude::*;
use rusqlite::types::ValueRef;

/// Plenty for the tables of these tests.
pub(crate) const MUCH: usize = 64 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) k: Option<String>,
    pub(crate) g: Option<i64>,
    pub(crate) x: Option<i64>,
    pub(crate) f: Option<f64>,
}

/// Keys are few, skewed and sometimes null; quarters are exact in any order of additions.
pub(crate) fn row() -> impl Strategy<Value = Row> {
    let k = prop_oneof![
        1 => Just(None),
        4 => Just(Some("a".to_owned())),
        3 => "[a-d]{1,2}".prop_map(Some),
        1 => "[a-c]{1,2} and a tail that is longer than a view".prop_map(Some),
    ];
    let g = prop_oneof![1 => Just(None), 6 => (0i64..4).prop_map(Some)];
    let x = prop_oneof![1 => Just(None), 6 => (-50i64..50).prop_map(Some)];
    let f =
        prop_oneof![1 => Just(None), 6 => (-400i32..400).prop_map(|n| Some(f64::from(n) / 4.0))];
    (k, g, x, f).prop_map(|(k, g, x, f)| Row { k, g, x, f })
}

pub(crate) fn columns(rows: &[Row]) -> RecordBatch {
    let mut k = StringViewBuilder::new();
    rows.iter().for_each(|row| k.append_option(row.k.as_deref()));
    let g: Int64Array = rows.iter().map(|row| row.g).collect();
    let x: Int64Array = rows.iter().map(|row| row.x).collect();
    let f: Float64Array = rows.iter().map(|row| row.f).collect();
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("k", DataType::Utf8View),
        field("g", DataType::Int64),
        field("x", DataType::Int64),
        field("f", DataType::Float64),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(k.finish()), Arc::new(g), Arc::new(x), Arc::new(f)];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn batch(columns: RecordBatch) -> Batch {
    let origin = Arc::new(Origin::columns("test".into(), columns.clone()));
    Batch::whole(columns, origin).unwrap()
}

/// The result of a step over batches of so many rows.
fn run(
    step: &dyn StepPlan,
    columns: &RecordBatch,
    size: usize,
    memory: usize,
) -> Result<RecordBatch, Error> {
    let given = run_with(step, columns, &[], size, memory)?;
    let schema = given.schema.clone();
    Ok(concat_batches(&schema, given.parts.iter().map(Batch::columns))?)
}

/// What a step gave.
pub(crate) struct Given {
    pub(crate) schema: SchemaRef,
    pub(crate) parts: Vec<Batch>,
    pub(crate) findings: Findings,
    pub(crate) report: Option<serde_json::Value>,
}

/// What a step with other sources gives for batches of so many rows.
pub(crate) fn run_with(
    step: &dyn StepPlan,
    columns: &RecordBatch,
    sources: &[RecordBatch],
    size: usize,
    memory: usize,
) -> Result<Given, Error> {
    run_as(step, columns, sources, size, memory, true)
}

/// The same for who hands over one batch after the other, or gives the step a table of its own.
pub(crate) fn run_as(
    step: &dyn StepPlan,
    columns: &RecordBatch,
    sources: &[RecordBatch],
    size: usize,
    memory: usize,
    table: bool,
) -> Result<Given, Error> {
    run_in(step, columns, sources, size, Space { memory, ..Space::default() }, table)
}

/// The same with other threads and another folder.
pub(crate) fn run_in(
    step: &dyn StepPlan,
    columns: &RecordBatch,
    sources: &[RecordBatch],
    size: usize,
    space: Space,
    table: bool,
) -> Result<Given, Error> {
    let sql = Sql::new();
    let references = sources.iter().map(|source| source.schema()).collect();
    let context = BindContext { references, ..BindContext::new(&sql) };
    let bound = step.bind(&columns.schema(), &context).unwrap();
    let mut step = bound.ordered.unwrap();
    let cut = |columns: &RecordBatch, name: &str| -> Vec<Batch> {
        let (mut next, columns) = (1, columns.clone());
        let parts = (0..columns.num_rows()).step_by(size);
        let parts = parts.map(|at| columns.slice(at, size.min(columns.num_rows() - at)));
        let parts = parts.map(|part| {
            let origin = Origin::columns(name.into(), part.clone());
            origin.set_place(Place { first_record: next, first_line: 1 });
            next += part.num_rows() as u64;
            Batch::whole(part, Arc::new(origin)).unwrap()
        });
        parts.collect()
    };
    let sources = sources
        .iter()
        .map(|source| -> Records { Box::new(cut(source, "other").into_iter().map(Ok)) });
    step.load(sources.collect());
    step.open(space);
    let mut findings = Findings::default();
    let mut left = Vec::new();
    for part in cut(columns, "test") {
        left.push(match &bound.local {
            Some(local) => local.apply(part, &mut findings)?,
            None => part,
        });
    }
    let (mut left, mut parts, mut ended) = (left.into_iter(), Vec::new(), false);
    if !table || step.table().is_none() {
        for part in left {
            parts.push(step.apply(part, &mut findings)?);
        }
        while let Some(part) = step.release(&mut findings)? {
            parts.push(part);
        }
        let report = step.report();
        return Ok(Given { schema: bound.output, parts, findings, report });
    }
    let table = step.table().unwrap();
    loop {
        match table.turn()? {
            Turn::Gives(part) => {
                assert_eq!(part.schema(), bound.output);
                if let Content::Archived { .. } = part.origin().content() {
                    check_provenance(&part);
                }
                parts.push(part);
            }
            Turn::Takes => {
                assert!(!ended);
                let next = left.next();
                ended = next.is_none();
                table.give(next)?;
            }
            Turn::Done => break,
        }
    }
    let LeftOut { filtered, deduplicated } = table.left_out();
    findings.filtered += filtered;
    findings.deduplicated += deduplicated;
    let report = step.report();
    Ok(Given { schema: bound.output, parts, findings, report })
}

/// Every record is still the one that it was in its source, in the columns that no step replaces.
fn check_provenance(part: &Batch) {
    let shown = part.columns().project(&[0, 1, 2]).unwrap();
    for row in 0..part.num_rows() {
        let (origin, ordinal) = part.origin().resolve(part.rows().ordinal(row)).unwrap();
        let known = row_to_string(&shown, row);
        let known = known.strip_suffix('}').unwrap();
        assert!(origin.raw(ordinal as usize).starts_with(known), "{known}");
        assert_eq!(&**origin.source(), "test");
    }
}

pub(crate) fn shown(columns: &RecordBatch) -> Vec<String> {
    (0..columns.num_rows()).map(|row| row_to_string(columns, row)).collect()
}

/// The rows as SQLite has them, each as a list of texts.
fn sqlite(rows: &[Row], query: &str) -> Vec<Vec<String>> {
    sqlite_with(&[("input", rows)], query)
}

/// The result of a query over tables.
pub(crate) fn sqlite_with(tables: &[(&str, &[Row])], query: &str) -> Vec<Vec<String>> {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    for (name, rows) in tables {
        let table = format!("CREATE TABLE {name} (k TEXT, g INTEGER, x INTEGER, f REAL)");
        database.execute_batch(&table).unwrap();
        for row in *rows {
            let insert = format!("INSERT INTO {name} VALUES (?, ?, ?, ?)");
            database.execute(&insert, (&row.k, row.g, row.x, row.f)).unwrap();
        }
    }
    let mut statement = database.prepare(query).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..width)
            .map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => "null".to_owned(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => real(number),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    ValueRef::Blob(_) => unreachable!(),
                })
            })
            .collect()
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn real(number: f64) -> String {
    format!("{number:.9}")
}

/// The rows in the same form.
pub(crate) fn texts(columns: &RecordBatch) -> Vec<Vec<String>> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    (0..columns.num_rows())
        .map(|row| {
            let text = |column: &ArrayRef| match column.data_type() {
                _ if column.is_null(row) => "null".to_owned(),
                DataType::Float64 => real(column.as_primitive::<Float64Type>().value(row)),
                _ => gristmill_core::text::value_text(column, row).unwrap(),
            };
            columns.columns().iter().map(text).collect()
        })
        .collect()
}

/// Queries that mean the same in SQLite. Each says its order, or has one of its own here.
const QUERIES: &[&str] = &[
    "SELECT k, count(*) AS n, count(x) AS xs, sum(x) AS s, min(x) AS least, max(f) AS most, avg(x) AS mean
       FROM input GROUP BY k ORDER BY k NULLS LAST",
    "SELECT k, sum(DISTINCT x) AS s, count(DISTINCT g) AS gs FROM input GROUP BY k",
    "SELECT k, g, sum(f) AS s, count(DISTINCT x) AS xs FROM input GROUP BY k, g
       ORDER BY k NULLS LAST, g NULLS LAST",
    "SELECT count(*) AS n, sum(x) AS s, max(k) AS last FROM input",
    "SELECT DISTINCT k, g FROM input ORDER BY k NULLS LAST, g NULLS LAST",
    "SELECT k, x + g AS y, CASE WHEN x > 0 THEN 'plus' ELSE 'no' END AS sign FROM input WHERE x <> 3",
    "SELECT k, x FROM input ORDER BY x DESC NULLS LAST LIMIT 5 OFFSET 2",
    "SELECT g, k, x, row_number() OVER w AS n, sum(x) OVER w AS running,
            lag(x) OVER w AS before, lead(x, 2, -1) OVER w AS behind
       FROM input WINDOW w AS (PARTITION BY g ORDER BY x NULLS LAST ROWS UNBOUNDED PRECEDING)
      ORDER BY g NULLS LAST, x NULLS LAST",
    "SELECT k, x, sum(x) OVER (PARTITION BY k) AS total, count(*) OVER () AS n
       FROM input ORDER BY k NULLS LAST, x NULLS LAST",
    "SELECT g, x, rank() OVER (PARTITION BY g ORDER BY x NULLS LAST) AS r,
            dense_rank() OVER (PARTITION BY g ORDER BY x NULLS LAST) AS d,
            avg(f) OVER (PARTITION BY g ORDER BY x NULLS LAST ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS m
       FROM input ORDER BY g NULLS LAST, x NULLS LAST",
    "SELECT a.k, a.x, b.n FROM input AS a JOIN (SELECT k, count(*) AS n FROM input GROUP BY k) AS b ON a.k = b.k",
    "SELECT a.k, a.x, b.total FROM input AS a
       LEFT JOIN (SELECT g, sum(x) AS total FROM input WHERE x > 10 GROUP BY g) AS b ON a.g = b.g",
    "SELECT k, x FROM input WHERE x > (SELECT avg(x) FROM input)",
    "SELECT k, x FROM input WHERE g IN (SELECT g FROM input WHERE x > 20)",
    "SELECT k, x FROM input AS a WHERE NOT EXISTS (SELECT 1 FROM input AS b WHERE b.g = a.g AND b.x > a.x)",
    "SELECT k FROM input WHERE x > 0 UNION ALL SELECT 'none' AS k FROM input WHERE x IS NULL",
    "WITH totals AS (SELECT k, sum(x) AS s FROM input GROUP BY k)
       SELECT k, s FROM totals WHERE s > 0 ORDER BY s, k NULLS LAST",
    "SELECT k, sum(x) AS s FROM input GROUP BY k HAVING count(*) > 2 ORDER BY k NULLS LAST",
    "SELECT k, total FROM (SELECT k, sum(f) FILTER (WHERE x > 0) AS total FROM input GROUP BY k) ORDER BY k NULLS LAST",
    "SELECT a.x AS ax, b.x AS bx FROM (SELECT x FROM input WHERE g = 1) AS a, (SELECT x FROM input WHERE g = 2) AS b
      WHERE a.x < b.x",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn queries_give_what_sqlite_gives(rows in prop::collection::vec(row(), 0..60), size in 1usize..40) {
        let table = columns(&rows);
        for query in QUERIES {
            let step = SqlQuery::new(*query);
            let ours = run(&step, &table, size, MUCH).unwrap();
            let (mut got, mut expected) = (texts(&ours), sqlite(&rows, query));
            if !query.contains("ORDER BY") || query.contains("OVER") {
                // SQLite promises no order among these.
                got.sort();
                expected.sort();
            }
            prop_assert_eq!(got, expected, "{}", query);
            // Batches of the input make no difference, not to the order either.
            let whole = run(&step, &table, usize::MAX, MUCH).unwrap();
            prop_assert_eq!(shown(&ours), shown(&whole), "{}", query);
        }
    }

    #[test]
    fn groups_are_what_sqlite_gives(rows in prop::collection::vec(row(), 0..200), size in 1usize..60) {
        let step = Aggregate::by(["g", "k"])
            .column("records", "count(*)")
            .column("xs", "count_distinct(x)")
            .column("total", "sum(x) * 2")
            .column("spread", "max(f) - min(f)")
            .column("positive", "count(*) FILTER (WHERE x > 0)");
        let ours = run(&step, &columns(&rows), size, MUCH).unwrap();
        let query = "SELECT g, k, count(*), count(DISTINCT x), sum(x) * 2, max(f) - min(f), count(*) FILTER (WHERE x > 0)
            FROM input GROUP BY g, k ORDER BY g NULLS LAST, k NULLS LAST";
        prop_assert_eq!(texts(&ours), sqlite(&rows, query));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn sorts_are_what_sqlite_gives(rows in prop::collection::vec(row(), 0..120), size in 1usize..60) {
        let table = columns(&rows);
        let step = Sort::by(["k desc", "x nulls first"]);
        let query = "SELECT * FROM input ORDER BY k DESC NULLS LAST, x NULLS FIRST, rowid";
        let expected = sqlite(&rows, query);
        prop_assert_eq!(texts(&run(&step, &table, size, MUCH).unwrap()), &expected[..]);
        let first = run(&step.limit(7), &table, size, MUCH).unwrap();
        prop_assert_eq!(texts(&first), &expected[..expected.len().min(7)]);
    }

    #[test]
    fn windows_are_what_sqlite_gives(rows in prop::collection::vec(row(), 0..120), size in 1usize..60) {
        let table = columns(&rows);
        for (step, query) in [
            (
                Window::new()
                    .partition_by(["g", "k"])
                    .order_by(["x desc"])
                    .column("n", "row_number()")
                    .column("before", "lag(x, 1, 0)")
                    .column("earliest", "first(x)")
                    .column("share", "x - min(x) OVER (PARTITION BY g)")
                    .column("f", "f * 2"),
                "SELECT k, g, x, f * 2, row_number() OVER w, lag(x, 1, 0) OVER w, first_value(x) OVER w,
                        x - min(x) OVER (PARTITION BY g)
                   FROM input WINDOW w AS (PARTITION BY g, k ORDER BY x DESC NULLS LAST, rowid) ORDER BY rowid",
            ),
            (
                Window::new()
                    .frame("rows between 2 preceding and 1 following")
                    .column("s", "sum(x)")
                    .column("n", "count(x)")
                    .column("m", "avg(f)"),
                "SELECT *, sum(x) OVER w, count(x) OVER w, avg(f) OVER w
                   FROM input WINDOW w AS (ORDER BY rowid ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) ORDER BY rowid",
            ),
            (
                Window::new().partition_by(["k"]).column("total", "sum(x)").column("k2", "max(k)"),
                "SELECT *, sum(x) OVER w, max(k) OVER w FROM input WINDOW w AS (PARTITION BY k) ORDER BY rowid",
            ),
            (
                Window::new().order_by(["g"]).column("total", "sum(x)").column("r", "rank()"),
                "SELECT *, sum(x) OVER w, rank() OVER w FROM input WINDOW w AS (ORDER BY g NULLS LAST) ORDER BY rowid",
            ),
        ] {
            let ours = run(&step, &table, size, MUCH).unwrap();
            prop_assert_eq!(texts(&ours), sqlite(&rows, query), "{}", query);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_first_of_each_key_in_an_order_is_what_sqlite_gives(
        rows in prop::collection::vec(row(), 0..120),
        size in 1usize..60,
    ) {
        let step = Dedupe::by(["k", "g"]).order_by(["x desc", "f nulls first"]);
        let given = run_with(&step, &columns(&rows), &[], size, MUCH).unwrap();
        let query = "SELECT k, g, x, f FROM (SELECT *, rowid AS r, row_number() OVER (
              PARTITION BY k, g ORDER BY x DESC NULLS LAST, f NULLS FIRST, rowid) AS n FROM input)
            WHERE n = 1 ORDER BY r";
        let whole = concat_batches(&given.schema, given.parts.iter().map(Batch::columns)).unwrap();
        prop_assert_eq!(texts(&whole), sqlite(&rows, query));
        let out = given.findings.deduplicated as usize + whole.num_rows();
        prop_assert_eq!(out, rows.len());
    }
}

/// Rows that differ enough to need memory.
pub(crate) fn many(rows: usize) -> Vec<Row> {
    (0..rows)
        .map(|n| {
            let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let text =
                format!("a key that is longer than a view, number {}", mixed % (rows as u64 / 2));
            Row {
                k: (!mixed.is_multiple_of(97)).then_some(text),
                g: Some((mixed % 7) as i64),
                x: Some(n as i64),
                f: Some((mixed % 1_000) as f64 / 4.0),
            }
        })
        .collect()
}

#[test]
fn little_memory_makes_no_difference() {
    let table = columns(&many(30_000));
    let aggregate = Aggregate::by(["k"])
        .column("records", "count(*)")
        .column("total", "sum(x)")
        .column("earliest", "first(x)")
        .column("latest", "last(x)")
        .column("all", "array_agg(g)")
        .column("most", "max(f)")
        .column("texts", "min(k)");
    let sort = SqlQuery::new("SELECT * FROM input ORDER BY f");
    let window =
        SqlQuery::new("SELECT *, row_number() OVER (PARTITION BY g ORDER BY f) AS n FROM input");
    let dedupe = Dedupe::by(["k"]).order_by(["f desc"]);
    let steps: [&dyn StepPlan; 4] = [&aggregate, &sort, &window, &dedupe];
    for (n, (step, least)) in steps.into_iter().zip([8, 8, 8, 16]).enumerate() {
        let much = run(step, &table, 1_000, 256 << 20).unwrap();
        let little = run(step, &table, 1_000, least << 20).unwrap();
        assert!(much.num_rows() > 5_000);
        let (much, little) = (shown(&much), shown(&little));
        assert_eq!(much.len(), little.len(), "step {n}");
        let differ = much.iter().zip(&little).find(|(much, little)| much != little);
        assert_eq!(differ, None, "step {n}");
    }
}

#[test]
fn too_little_memory_is_said() {
    let table = columns(&many(20_000));
    let step = Aggregate::all().column("all", "array_agg(k)");
    let error = run(&step, &table, 4_000, 64 << 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
    assert!(error.to_string().starts_with("step `aggregate` does not fit in its share"), "{error}");
}

#[test]
fn equal_records_stay_in_order_and_nulls_are_where_they_are_wanted() {
    let rows: Vec<Row> = (0..3_000)
        .map(|n| Row { k: None, g: (n % 5 != 0).then_some(n % 3), x: Some(n), f: None })
        .collect();
    let step = SqlQuery::new("SELECT g, x FROM input ORDER BY g NULLS FIRST");
    let sorted = run(&step, &columns(&rows), 700, MUCH).unwrap();
    let mut expected: Vec<(Option<i64>, i64)> =
        rows.iter().map(|row| (row.g, row.x.unwrap())).collect();
    expected.sort_by_key(|(g, _)| *g); // stable, and None is least
    let expected: Vec<Vec<String>> = expected
        .iter()
        .map(|(g, x)| vec![g.map_or("null".to_owned(), |g| g.to_string()), x.to_string()])
        .collect();
    assert_eq!(texts(&sorted), expected);
}

fn one(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()
}

#[test]
fn sums_are_exact_and_do_not_wrap() {
    let large = one("x", Arc::new(Int64Array::from(vec![i64::MAX, 5, -5])));
    let sum = Aggregate::all().column("s", "sum(x)");
    assert_eq!(shown(&run(&sum, &large, 2, MUCH).unwrap()), [r#"{"s":9223372036854775807}"#]);
    let larger = one("x", Arc::new(Int64Array::from(vec![i64::MAX, 1])));
    for step in [
        Box::new(sum) as Box<dyn StepPlan>,
        Box::new(SqlQuery::new("SELECT sum(x) OVER () AS s FROM input")),
        Box::new(SqlQuery::new(
            "SELECT sum(DISTINCT x) AS s, count(DISTINCT x + 0) AS n FROM input",
        )),
        Box::new(SqlQuery::new("SELECT x + 1 AS y FROM input")),
        Box::new(SqlQuery::new(
            "SELECT x % 2 AS odd, sum(x + 0) * 2 AS s FROM input GROUP BY x % 2",
        )),
    ] {
        let error = run(step.as_ref(), &larger, 8, MUCH).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    }
    let cents = Decimal128Array::from(vec![10, 20, 30]).with_precision_and_scale(38, 2).unwrap();
    let cents = one("x", Arc::new(cents));
    let step = Aggregate::all().column("s", "sum(x)").column("t", "sum(x * 0.5)");
    assert_eq!(shown(&run(&step, &cents, 1, MUCH).unwrap()), [r#"{"s":0.60,"t":0.300}"#]);
    let most = Decimal128Array::from(vec![10i128.pow(38) - 1; 2]);
    let most = one("x", Arc::new(most.with_precision_and_scale(38, 0).unwrap()));
    let error = run(&Aggregate::all().column("s", "sum(x)"), &most, 8, MUCH).unwrap_err();
    assert_eq!(error.to_string(), "step `aggregate`: a sum does not fit decimal(38, 0)");
}

#[test]
fn a_value_that_cannot_be_computed_ends_the_run() {
    let table = one("x", Arc::new(Int64Array::from(vec![1, 0])));
    let error = run(&SqlQuery::new("SELECT 1 / x AS y FROM input"), &table, 8, MUCH).unwrap_err();
    assert_eq!(error.to_string(), "step `sql`: division by zero");
}

#[test]
fn of_no_records_there_is_no_group_but_one_of_all() {
    let none = columns(&[]);
    let all = Aggregate::all().column("n", "count(*)").column("s", "sum(x)");
    assert_eq!(shown(&run(&all, &none, 1, MUCH).unwrap()), [r#"{"n":0,"s":null}"#]);
    let by = Aggregate::by(["k"]).column("n", "count(*)");
    assert_eq!(run(&by, &none, 1, MUCH).unwrap().num_rows(), 0);
}

#[test]
fn a_limit_leaves_the_rest_of_the_input_unread() {
    let table = columns(&many(1_000));
    let step = SqlQuery::new("SELECT x FROM input LIMIT 3");
    assert_eq!(texts(&run(&step, &table, 10, MUCH).unwrap()), [["0"], ["1"], ["2"]]);
}

#[test]
fn the_step_alone_gives_the_same() {
    let table = columns(&many(500));
    let step = SqlQuery::new("SELECT g, x * 2 AS y FROM input WHERE g > 3");
    let sql = Sql::new();
    let bound = step.bind(&table.schema(), &BindContext::new(&sql)).unwrap();
    let mut ordered = bound.ordered.unwrap();
    let mut findings = Findings::default();
    let mut given = Vec::new();
    for at in [0, 200, 400] {
        let part = table.slice(at, 200.min(500 - at));
        given.push(ordered.apply(batch(part), &mut findings).unwrap().columns().clone());
    }
    while let Some(part) = ordered.release(&mut findings).unwrap() {
        given.push(part.columns().clone());
    }
    let alone = concat_batches(&bound.output, &given).unwrap();
    assert_eq!(shown(&alone), shown(&run(&step, &table, 100, MUCH).unwrap()));
}

fn told(step: &dyn StepPlan) -> Vec<String> {
    let sql = Sql::new();
    let found = step.bind(&columns(&[]).schema(), &BindContext::new(&sql));
    let told = |mistake: &Mistake| {
        let hint = mistake.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{mistake}{hint}")
    };
    found.err().unwrap_or_default().iter().map(told).collect()
}

#[test]
fn mistakes_are_said_in_their_places() {
    let step = Aggregate::by(["k", "kk"])
        .column("e", "sum(now())")
        .column("f", "sum(x) OVER ()")
        .column("h", "summ(x)");
    assert_eq!(
        told(&step),
        [
            "columns.e: `now` changes from run to run, so the same input would not give the same output (pass the time to the run, `--param TODAY=2025-01-31`, and write DATE '${TODAY}')",
            "columns.f: `sum` looks at other records, which it cannot do here (compute it in a `window` step)",
            "columns.h: no function `summ` (did you mean `sum`?)",
            "by[1]: no column `kk` (did you mean `k`?)",
        ]
    );
    let step = Aggregate::by(["k"])
        .column("a", "sum(y)")
        .column("b", "sum(k)")
        .column("c", "x + 1")
        .column("d", "sum(k * 2)")
        .column("e", "sum(sum(x))");
    assert_eq!(
        told(&step),
        [
            "columns.a: no column `y` (the columns are `k`, `g`, `x`, `f`)",
            "columns.b: `sum` does not take a string (cast it before: CAST(… AS DOUBLE), or a `cast` step)",
            "columns.c: `x` has many values in a group (make it a key, or say which value is meant: `max(x)`, `first(x)`)",
            "columns.d: `k` is a string, and `*` computes with numbers (cast it: CAST(k AS DOUBLE), or a `cast` step before)",
            "columns.e: aggregate functions cannot stand within each other",
        ]
    );
    for (query, mistake) in [
        ("SELECT y FROM input", "no column `y` (the columns are `k`, `g`, `x`, `f`)"),
        ("SELECT x FROM inputs", "no table `inputs` (did you mean `input`?)"),
        (
            "SELECT x, f AS x FROM input",
            "`x` may be several columns (say which, `table.x`; a result column gets another name with `AS`)",
        ),
        ("SELECT x FROM", "the text ends where identifier is expected"),
        ("DELETE FROM input", "`DELETE` starts no query (a query starts with SELECT or WITH)"),
        ("SELECT x FROM input; SELECT 1", "unexpected `SELECT` after the query (write one query)"),
        (
            "SELECT nofunc(x) AS y FROM input",
            "no function `nofunc` (the functions are those of Apache DataFusion's SQL reference)",
        ),
    ] {
        assert_eq!(told(&SqlQuery::new(query)), [format!("query: {mistake}")]);
    }
    let changing = told(&SqlQuery::new("SELECT random() AS r FROM input"));
    assert!(changing[0].starts_with("query: `random` gives another value on every call"));
}
