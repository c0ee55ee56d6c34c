//! Dimensions of type 2, judged by a slow model of one key at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array};
use chrono::{DateTime, Days, NaiveDate};
use gristmill_core::{Batch, ErrorKind, Findings, LoadContext, Loaded};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{batch, context, ints, load, open, rejects, texts};
use crate::warehouse::Warehouse;

/// A record: key, value, day from when on it holds.
type Record = (Option<i64>, Option<i64>, Option<i32>);

/// Key, value, first day, last day, whether it is current, whether it is deleted.
type Row = (i64, Option<i64>, String, Option<String>, bool, bool);

fn item(warehouse: &Warehouse, timed: bool, missing: &str) -> Value {
    let mut item = json!({
        "table": "dim", "database": warehouse.url(), "mode": "scd2", "keys": ["k"],
        "track": ["v"], "missing": missing,
    });
    if timed {
        item["effective"] = "day".into();
    }
    item
}

fn batches(records: &[Record], size: usize) -> Vec<Batch> {
    let chunks: Vec<&[Record]> =
        if records.is_empty() { vec![records] } else { records.chunks(size).collect() };
    let make = |(n, chunk): (usize, &&[Record])| {
        let days: ArrayRef = Arc::new(chunk.iter().map(|r| r.2).collect::<Date32Array>());
        let columns = vec![
            ("k", ints(chunk.iter().map(|r| r.0))),
            ("v", ints(chunk.iter().map(|r| r.1))),
            ("part", ints(chunk.iter().map(|r| r.0.map(|k| k % 2)))),
            ("day", days),
        ];
        batch((n * size) as u64 + 1, columns)
    };
    chunks.iter().enumerate().map(make).collect()
}

fn day(number: i32) -> String {
    let epoch = NaiveDate::default();
    epoch.checked_add_days(Days::new(number as u64)).unwrap().to_string()
}

/// The start of a run.
fn start(run: usize) -> String {
    format!("{}T00:00:00.000000Z", day(run as i32))
}

fn load_on(
    warehouse: &Warehouse,
    run: usize,
    item: &Value,
    batches: &[Batch],
) -> gristmill_core::Result<(Loaded, Findings)> {
    let name = run.to_string();
    let started = DateTime::from_timestamp(86_400 * run as i64, 0).unwrap();
    load(item, batches, &LoadContext { started, ..context(warehouse.folder(), &name) })
}

fn rows(warehouse: &Warehouse, marked: bool) -> Vec<Row> {
    let deleted = if marked { "is_deleted" } else { "is_current AND NOT is_current" };
    let [from, to] = ["effective_date", "end_date"].map(|column| warehouse.iso(column));
    let sql = format!(
        "SELECT k, v, {from}, {to}, is_current, {deleted} FROM dim \
         WHERE dim_key > 0 ORDER BY k, effective_date"
    );
    let truth = |text: &Option<String>| matches!(text.as_deref(), Some("1" | "t"));
    let row = |row: Vec<Option<String>>| {
        let number = |i: usize| row[i].as_ref().map(|text| text.parse().unwrap());
        let from = row[2].clone().unwrap();
        (number(0).unwrap(), number(1), from, row[3].clone(), truth(&row[4]), truth(&row[5]))
    };
    warehouse.rows(&sql).into_iter().map(row).collect()
}

#[derive(Debug, Clone)]
struct Version {
    from: String,
    to: Option<String>,
    value: Option<i64>,
    deleted: bool,
}

/// What one record at a time makes of one key at a time.
#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<i64, Vec<Version>>,
}

impl Model {
    fn apply(&mut self, key: i64, at: String, value: Option<i64>, loaded: &mut Loaded) {
        let versions = self.keys.entry(key).or_default();
        let next = versions.partition_point(|version| version.from <= at);
        let mut new = Version { from: at.clone(), to: None, value, deleted: false };
        let follows = versions.get(next).map(|version| version.from.clone());
        let before = next.checked_sub(1).map(|i| &mut versions[i]);
        match before {
            Some(version) if version.to.as_ref().is_none_or(|to| *to > at) => {
                if version.value == value && !version.deleted {
                    loaded.unchanged += 1;
                } else if version.from == at {
                    (version.value, version.deleted) = (value, false);
                    loaded.updated += 1;
                } else {
                    new.to = version.to.replace(at);
                    versions.insert(next, new);
                    loaded.closed += 1;
                }
            }
            _ => {
                new.to = follows;
                versions.insert(next, new);
                loaded.inserted += 1;
            }
        }
    }

    fn retire(
        &mut self,
        at: &str,
        missing: &str,
        there: impl Fn(i64) -> bool,
        loaded: &mut Loaded,
    ) {
        for (&key, versions) in &mut self.keys {
            let Some(last) = versions.last_mut() else { continue };
            let gone = last.to.is_none() && last.from.as_str() < at && !there(key);
            if missing == "keep" || !gone || last.deleted {
                continue;
            }
            last.to = Some(at.to_owned());
            let copy = Version { from: at.to_owned(), to: None, deleted: true, ..last.clone() };
            if missing == "mark" {
                versions.push(copy);
            }
            loaded.retired += 1;
        }
    }

    /// One load; answers what it amounts to, and which records are rejected.
    fn load(
        &mut self,
        records: &[Record],
        run: usize,
        timed: bool,
        missing: &str,
        partition: bool,
    ) -> (Loaded, Vec<u64>) {
        let mut loaded = Loaded::default();
        let mut winners = BTreeMap::new();
        let mut rejected = Vec::new();
        let mut there = BTreeSet::new();
        for (n, (key, value, number)) in (1..).zip(records) {
            let at = if timed { number.map(day) } else { Some(start(run)) };
            let (Some(key), Some(at)) = (key, at) else {
                rejected.push(n);
                continue;
            };
            there.insert(*key);
            rejected.extend(winners.insert((at, *key), (n, *value)).map(|(n, _)| n));
        }
        rejected.sort_unstable();
        let last = winners.keys().last().map(|(at, _)| at.clone());
        for ((at, key), (_, value)) in winners {
            self.apply(key, at, value, &mut loaded);
        }
        if let Some(at) = if timed { last } else { Some(start(run)) } {
            let parts: BTreeSet<i64> = there.iter().map(|key| key % 2).collect();
            let is_there = |key| there.contains(&key) || (partition && !parts.contains(&(key % 2)));
            self.retire(&at, missing, is_there, &mut loaded);
        }
        (loaded, rejected)
    }

    fn rows(&self) -> Vec<Row> {
        let versions =
            self.keys.iter().flat_map(|(key, versions)| versions.iter().map(move |v| (*key, v)));
        versions
            .map(|(key, v)| (key, v.value, v.from.clone(), v.to.clone(), v.to.is_none(), v.deleted))
            .collect()
    }
}

/// Every key has one current version at most, versions do not overlap, and leave no gap unless
/// keys may end.
fn check(rows: &[Row], may_end: bool) {
    for pair in rows.windows(2) {
        let [one, next] = pair else { continue };
        if one.0 == next.0 {
            let end = one.3.as_ref().unwrap_or_else(|| panic!("{one:?} does not end"));
            assert!(if may_end { end <= &next.2 } else { end == &next.2 }, "{one:?} {next:?}");
        }
    }
    for row in rows {
        assert!(row.3.as_ref().is_none_or(|end| *end > row.2), "{row:?} ends before it begins");
        assert_eq!(row.4, row.3.is_none(), "{row:?}");
    }
}

/// Fewer cases where there is a server between.
fn config(warehouse: &Warehouse) -> ProptestConfig {
    let cases = warehouse.either(["32", "12", "12"]).parse().unwrap();
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let key = prop::option::weighted(0.97, 0..6i64);
    let day = prop::option::weighted(0.97, 0..12i32);
    prop::collection::vec((key, prop::option::weighted(0.8, 0..3i64), day), 0..30)
}

fn any_sequence_of_loads_gives_what_the_model_gives(warehouse: &Warehouse) {
    let runs = prop::collection::vec((records(), 1..9usize), 1..5);
    let missing = prop::sample::select(vec!["keep", "close", "mark"]);
    let mut runner = TestRunner::new(config(warehouse));
    let all = (runs, any::<bool>(), missing, any::<bool>());
    let outcome = runner.run(&all, |(runs, timed, missing, partition)| {
        warehouse.run("DROP TABLE IF EXISTS dim; DROP TABLE IF EXISTS gristmill_loads");
        let mut item = item(warehouse, timed, missing);
        let partition = partition && missing != "keep";
        if partition {
            item["scope"] = json!({"partition": ["part"]});
        }
        let mut model = Model::default();
        for (run, (records, size)) in (1..).zip(&runs) {
            let (mut loaded, findings) =
                load_on(warehouse, run, &item, &batches(records, *size)).unwrap();
            loaded.bytes = 0;
            let mut rejected: Vec<u64> = rejects(&findings).iter().map(|r| r.0).collect();
            rejected.sort_unstable();
            prop_assert_eq!(
                (loaded, rejected),
                model.load(records, run, timed, missing, partition)
            );
            let rows = rows(warehouse, missing == "mark");
            check(&rows, missing == "close");
            prop_assert_eq!(rows, model.rows());
        }
        // Loading the last input again changes nothing: it says nothing new.
        if let Some((records, size)) = runs.last() {
            let (again, _) =
                load_on(warehouse, runs.len() + 1, &item, &batches(records, *size)).unwrap();
            if timed {
                prop_assert_eq!((again.inserted, again.closed), (0, 0));
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

/// It does not matter in how many loads records come, as long as none comes late.
fn one_load_is_as_good_as_many(one: &Warehouse) {
    let many = &one.another().unwrap();
    let mut runner = TestRunner::new(config(one));
    let outcome = runner.run(&(records(), 1..9usize), |(records, size)| {
        one.run("DROP TABLE IF EXISTS dim; DROP TABLE IF EXISTS gristmill_loads");
        many.run("DROP TABLE IF EXISTS dim; DROP TABLE IF EXISTS gristmill_loads");
        let last: BTreeMap<_, _> =
            records.iter().filter(|r| r.2.is_some()).map(|r| ((r.2, r.0), r.1)).collect();
        let records: Vec<Record> = last.into_iter().map(|((day, k), v)| (k, v, day)).collect();
        let batches = batches(&records, size);
        load_on(one, 1, &item(one, true, "keep"), &batches).unwrap();
        let item = item(many, true, "keep");
        for (run, chunk) in batches.into_iter().enumerate() {
            load_on(many, run, &item, &[chunk]).unwrap();
        }
        prop_assert_eq!(rows(one, false), rows(many, false));
        Ok(())
    });
    outcome.unwrap();
}

/// Loads one after the other, each a list of `key value` with the run's day, and the rows after.
struct Scenario {
    name: &'static str,
    missing: &'static str,
    loads: &'static [&'static [(i64, i64)]],
    /// Key, value, day from, day to, deleted.
    rows: &'static [(i64, i64, i32, Option<i32>, bool)],
}

/// What dbt's snapshots (`check` strategy, `hard_deletes` ignored, invalidated and new record) and
/// dlt's scd2 strategy promise.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a changed row ends and begins again",
        missing: "keep",
        loads: &[&[(1, 10), (2, 20)], &[(1, 11), (2, 20)]],
        rows: &[(1, 10, 1, Some(2), false), (1, 11, 2, None, false), (2, 20, 1, None, false)],
    },
    Scenario {
        name: "a value that comes back is a version of its own",
        missing: "keep",
        loads: &[&[(1, 10)], &[(1, 11)], &[(1, 10)]],
        rows: &[(1, 10, 1, Some(2), false), (1, 11, 2, Some(3), false), (1, 10, 3, None, false)],
    },
    Scenario {
        name: "hard deletes are ignored",
        missing: "keep",
        loads: &[&[(1, 10), (2, 20)], &[(1, 10)]],
        rows: &[(1, 10, 1, None, false), (2, 20, 1, None, false)],
    },
    Scenario {
        name: "hard deletes are invalidated, and a restored row is a new version",
        missing: "close",
        loads: &[&[(1, 10), (2, 20)], &[(1, 10)], &[(1, 10)], &[(1, 10), (2, 20)]],
        rows: &[(1, 10, 1, None, false), (2, 20, 1, Some(2), false), (2, 20, 4, None, false)],
    },
    Scenario {
        name: "hard deletes are marked once, and a restored row ends the mark",
        missing: "mark",
        loads: &[&[(1, 10), (2, 20)], &[(1, 10)], &[(1, 10)], &[(1, 10), (2, 20)]],
        rows: &[
            (1, 10, 1, None, false),
            (2, 20, 1, Some(2), false),
            (2, 20, 2, Some(4), true),
            (2, 20, 4, None, false),
        ],
    },
    Scenario {
        name: "retired and inserted again with another value",
        missing: "close",
        loads: &[&[(1, 10)], &[(2, 20)], &[(1, 11), (2, 20)]],
        rows: &[(1, 10, 1, Some(2), false), (1, 11, 3, None, false), (2, 20, 2, None, false)],
    },
];

fn scenarios_of_others_come_out_as_they_promise(warehouse: &Warehouse) {
    for scenario in SCENARIOS {
        warehouse.run("DROP TABLE IF EXISTS dim; DROP TABLE IF EXISTS gristmill_loads");
        let item = item(warehouse, false, scenario.missing);
        for (run, records) in (1..).zip(scenario.loads) {
            let records: Vec<Record> =
                records.iter().map(|(k, v)| (Some(*k), Some(*v), None)).collect();
            load_on(warehouse, run, &item, &batches(&records, 2)).unwrap();
        }
        let time = |day: i32| start(day as usize);
        let expected: Vec<Row> = scenario
            .rows
            .iter()
            .map(|&(k, v, from, to, deleted)| {
                (k, Some(v), time(from), to.map(time), to.is_none(), deleted)
            })
            .collect();
        let marked = scenario.missing == "mark";
        assert_eq!(rows(warehouse, marked), expected, "{}", scenario.name);
    }
}

fn keys_whose_concatenations_collide_stay_apart(warehouse: &Warehouse) {
    let mut item = item(warehouse, false, "keep");
    item["keys"] = json!(["a", "b"]);
    let input = |values: [i64; 2]| {
        batch(1, vec![("a", texts(["x", "xy"])), ("b", texts(["yz", "z"])), ("v", ints(values))])
    };
    load_on(warehouse, 1, &item, &[input([1, 2])]).unwrap();
    let (loaded, _) = load_on(warehouse, 2, &item, &[input([1, 3])]).unwrap();
    assert_eq!((loaded.closed, loaded.unchanged), (1, 1));
}

fn a_hand_made_table_keeps_its_names_and_its_other_columns(warehouse: &Warehouse) {
    warehouse.run(warehouse.either([
        "CREATE TABLE dim (
            id INTEGER PRIMARY KEY, K INTEGER, v INTEGER, part INTEGER, day TEXT, note TEXT,
            valid_from TEXT, valid_to TEXT, latest INTEGER);
         CREATE UNIQUE INDEX one ON dim (k) WHERE latest = 1;
         INSERT INTO dim VALUES
            (40, 1, 10, 1, NULL, 'mine', '1970-01-01T00:00:00.000000Z', NULL, 1),
            (41, 2, 20, 0, NULL, 'yours', '1970-01-01T00:00:00.000000Z', NULL, 1);",
        "CREATE TABLE dim (
            id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"K\" smallint, v numeric(9, 2), part int,
            day date, note varchar(9) DEFAULT 'none', valid_from timestamp, valid_to timestamp,
            latest boolean);
         CREATE UNIQUE INDEX one ON dim (\"K\") WHERE latest;
         INSERT INTO dim OVERRIDING SYSTEM VALUE VALUES
            (40, 1, 10, 1, NULL, 'mine', '1970-01-01', NULL, TRUE),
            (41, 2, 20, 0, NULL, 'yours', '1970-01-01', NULL, TRUE);",
        "CREATE TABLE dim (
            id int AUTO_INCREMENT PRIMARY KEY, K smallint, v decimal(9, 2), part int,
            day date, note varchar(9) DEFAULT 'none', valid_from datetime, valid_to datetime,
            latest boolean, only_latest int AS (nullif(latest, 0)) INVISIBLE,
            UNIQUE KEY one (k, only_latest));
         INSERT INTO dim VALUES
            (40, 1, 10, 1, NULL, 'mine', '1970-01-01', NULL, TRUE),
            (41, 2, 20, 0, NULL, 'yours', '1970-01-01', NULL, TRUE);",
    ]));
    let mut item = item(warehouse, false, "mark");
    item["surrogate_key"] = "id".into();
    item["version_columns"] =
        json!({"effective_date": "valid_from", "end_date": "valid_to", "is_current": "latest"});
    let input = batches(&[(Some(1), Some(11), None)], 1);
    let error = load_on(warehouse, 3, &item, &input).err().unwrap();
    assert!(error.to_string().contains("has no `is_deleted`"), "{error}");
    item["missing"] = "close".into();
    let (loaded, _) = load_on(warehouse, 3, &item, &input).unwrap();
    assert_eq!((loaded.closed, loaded.retired), (1, 1));
    let [from, to] = ["valid_from", "valid_to"].map(|column| {
        let iso = warehouse.iso(column);
        format!("substr({iso}, 1, 10)")
    });
    let value = warehouse.either(["v", "v::int", "cast(v AS int)"]);
    let latest = "CASE WHEN latest = latest AND latest THEN 1 ELSE 0 END";
    let sql = format!("SELECT id, {value}, note, {from}, {to}, {latest} FROM dim ORDER BY id");
    let rows = warehouse.lines(&sql);
    let none = warehouse.either(["-", "none", "none"]);
    assert_eq!(
        rows,
        [
            "40 10 mine 1970-01-01 1970-01-04 0",
            "41 20 yours 1970-01-01 1970-01-04 0",
            format!("42 11 {none} 1970-01-04 - 1").as_str(),
        ]
    );
}

fn documents_are_compared(warehouse: &Warehouse) {
    let kept = "is_current boolean, CONSTRAINT current_only UNIQUE (k, is_current_or_null)";
    let marker = "is_current_or_null boolean GENERATED ALWAYS AS (CASE WHEN is_current THEN 1 END)";
    let marked = format!("{marker}, {kept}");
    let index = "CREATE UNIQUE INDEX one ON dim (k) WHERE is_current";
    let columns = warehouse.either([
        "dim_key INTEGER PRIMARY KEY, k INTEGER, doc TEXT, day TEXT, effective_date TEXT, end_date TEXT",
        "dim_key int PRIMARY KEY, k int, doc json, day date, effective_date date, end_date date",
        "dim_key int PRIMARY KEY, k int, doc json, day date, effective_date date, end_date date",
    ]);
    let rest = warehouse.either(["is_current INTEGER", "is_current boolean", &marked]);
    let of_sqlite = format!("{index} = 1");
    let index = warehouse.either([&of_sqlite, index, "SELECT 1"]);
    warehouse.run(&format!("CREATE TABLE dim ({columns}, {rest}); {index}"));
    let mut item = item(warehouse, true, "keep");
    item["track"] = json!(["doc"]);
    let input = |records: &[(i64, &'static str, i32)]| {
        let days: ArrayRef = Arc::new(records.iter().map(|r| Some(r.2)).collect::<Date32Array>());
        let docs = texts(records.iter().map(|r| r.1));
        [batch(1, vec![("k", ints(records.iter().map(|r| r.0))), ("doc", docs), ("day", days)])]
    };
    let (one, two) = (r#"{"a": 1}"#, r#"{"a": 2}"#);
    let first = input(&[(1, one, 1), (1, one, 2), (1, two, 3), (2, one, 1)]);
    let (loaded, _) = load_on(warehouse, 1, &item, &first).unwrap();
    assert_eq!((loaded.inserted, loaded.closed, loaded.unchanged), (2, 1, 1));
    let second = input(&[(1, two, 4), (2, two, 4)]);
    let (loaded, _) = load_on(warehouse, 2, &item, &second).unwrap();
    assert_eq!((loaded.closed, loaded.unchanged), (1, 1));
    let current = "SELECT k, doc FROM dim WHERE is_current ORDER BY k";
    assert_eq!(warehouse.lines(current), [format!("1 {two}"), format!("2 {two}")]);
}

fn errors_say_the_statement_that_helps(warehouse: &Warehouse) {
    let input = batches(&[(Some(1), Some(10), None)], 1);
    let mut never = item(warehouse, false, "keep");
    never["create"] = "never".into();
    let refused = |item: &Value| {
        open(item, &input[0].schema(), &context(warehouse.folder(), "1")).err().unwrap()
    };
    warehouse.run("CREATE TABLE other (x INTEGER)");
    let run = |error: &gristmill_core::Error| {
        let (_, statement) = error.hint_text().unwrap().split_once("run: ").unwrap();
        warehouse.run(statement);
    };
    run(&refused(&never));
    warehouse.run(warehouse.either([
        "DROP INDEX dim_current",
        "DROP INDEX dim_current",
        "ALTER TABLE dim DROP INDEX current, DROP INDEX version, DROP COLUMN is_current_or_null",
    ]));
    let error = refused(&never);
    assert_eq!(error.kind(), ErrorKind::Schema);
    run(&error);
    let (loaded, _) = load_on(warehouse, 1, &never, &input).unwrap();
    assert_eq!(loaded.inserted, 1);
}

#[test]
fn days_do_not_sort_among_instants() {
    let warehouse = &Warehouse::sqlite().unwrap();
    let input = batches(&[(Some(1), Some(10), None)], 1);
    load_on(warehouse, 1, &item(warehouse, false, "keep"), &input).unwrap();
    let context = context(warehouse.folder(), "1");
    let error = open(&item(warehouse, true, "keep"), &input[0].schema(), &context).err().unwrap();
    assert!(error.to_string().contains("does not sort"), "{error}");
}

pub(crate) fn what_the_table_refuses_of_a_key_is_rejected_and_other_keys_are_loaded(
    warehouse: &Warehouse,
) {
    let item = item(warehouse, true, "keep");
    let records = |v: i64| -> Vec<Record> {
        (0..20)
            .flat_map(|k| [(Some(k), Some(1), Some(1)), (Some(k), Some(k % v), Some(5))])
            .collect()
    };
    load_on(warehouse, 1, &item, &batches(&records(1), 7)).unwrap();
    warehouse.run(warehouse.either([
        "CREATE TRIGGER no BEFORE INSERT ON dim WHEN NEW.v = 3 BEGIN SELECT RAISE(ABORT, 'no threes'); END",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no threes'; END $$;
         CREATE TRIGGER no BEFORE INSERT ON dim FOR EACH ROW WHEN (NEW.v = 3) EXECUTE FUNCTION no()",
        "CREATE TRIGGER no BEFORE INSERT ON dim FOR EACH ROW
         IF NEW.v = 3 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no threes'; END IF",
    ]));
    let (loaded, findings) = load_on(warehouse, 2, &item, &batches(&records(4), 7)).unwrap();
    let found = rejects(&findings);
    assert!(found.is_empty(), "corrections are no inserts: {found:?}");
    assert_eq!(loaded.updated, 15);
    let late: Vec<Record> = (0..20).map(|k| (Some(k), Some(k % 4), Some(9))).collect();
    let late: Vec<Record> =
        late.into_iter().map(|(k, v, d)| (k, v.map(|v| (v + 1) % 4), d)).collect();
    let (loaded, findings) = load_on(warehouse, 3, &item, &batches(&late, 7)).unwrap();
    let found = rejects(&findings);
    let numbers: Vec<u64> = found.iter().map(|reject| reject.0).collect();
    assert_eq!(numbers, [3, 7, 11, 15, 19]);
    assert!(found.iter().all(|reject| reject.3 == "no threes"));
    assert_eq!(loaded.closed, 15);
    check(&rows(warehouse, false), false);
}

fn the_unknown_member_is_there_once_and_never_missing(warehouse: &Warehouse) {
    let mut item = item(warehouse, true, "close");
    item["unknown_member"] = json!({"dim_key": -1, "k": -1, "v": null});
    for run in 1..3 {
        let records = [(Some(run as i64), Some(1), Some(run))];
        load_on(warehouse, run as usize, &item, &batches(&records, 1)).unwrap();
    }
    let sql = "SELECT count(*) FROM dim WHERE dim_key = -1 AND is_current AND end_date IS NULL \
               AND effective_date = '0001-01-01'";
    assert_eq!(warehouse.lines(sql), ["1"]);
    let keys = "SELECT dim_key FROM dim ORDER BY 1";
    assert_eq!(warehouse.lines(keys), ["-1", "1", "2"]);
}

on!(sqlite, postgres, mysql: [
    any_sequence_of_loads_gives_what_the_model_gives,
    one_load_is_as_good_as_many,
    scenarios_of_others_come_out_as_they_promise,
    keys_whose_concatenations_collide_stay_apart,
    a_hand_made_table_keeps_its_names_and_its_other_columns,
    documents_are_compared,
    errors_say_the_statement_that_helps,
    what_the_table_refuses_of_a_key_is_rejected_and_other_keys_are_loaded,
    the_unknown_member_is_there_once_and_never_missing,
]);

#[test]
fn mistakes_are_said_before_anything_is_read() {
    let kind = gristmill_load::table::KIND;
    let warehouse = Warehouse::sqlite().unwrap();
    let schema = batches(&[], 1)[0].schema();
    for (key, value, what) in [
        ("keys", json!([]), "scd2 needs keys"),
        ("track", json!(["k"]), "`k` is a key"),
        ("track", json!(["x"]), "no column `x`"),
        ("effective", json!("v"), "neither dates nor timestamps"),
        ("scope", json!({"partition": ["part"]}), "nothing is missing"),
        ("surrogate_key", json!("v"), "`v` is a column that the load keeps"),
        ("surrogate_key", json!("End_Date"), "two columns"),
        ("unknown_member", json!({"v": 1}), "needs a number for `dim_key`"),
        ("mode", json!("append"), "`keys` has no meaning in mode `append`"),
    ] {
        let mut item = item(&warehouse, false, "keep");
        item.as_object_mut().unwrap().remove("missing");
        item[key] = value;
        let mut mistakes = (kind.check)(&item);
        mistakes.extend((kind.bind)(&item, &schema));
        let found = mistakes.iter().any(|mistake| mistake.message.contains(what));
        assert!(found, "{key}: {mistakes:?}");
    }
}
