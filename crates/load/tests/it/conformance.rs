//! What every loader of the registry promises.
//!
//! The kill tests start this test binary again as a child that aborts itself in the middle.

use std::path::Path;
use std::process::{Command, Stdio};

use gristmill_core::{Batch, Findings, Loader, LoaderKind};
use gristmill_load::KINDS;
use serde_json::{Map, Value, json};
use tempfile::tempdir;

use crate::support::{append, batch, context, ints, load, names, open, texts};

/// Items that write each kind of destination, and a reader of ours that says which ids are there.
struct Case {
    name: &'static str,
    item: Value,
    read: fn(&Path) -> Vec<i64>,
}

fn cases() -> Vec<Case> {
    let folder = |mode: &str| json!({"file": "out", "format": "ndjson", "partition_by": ["country"], "mode": mode});
    let table = |mode: &str| json!({"table": "t", "database": "sqlite://out.db", "mode": mode});
    let mut upsert = table("upsert");
    upsert["keys"] = json!(["id"]);
    let mut scd2 = table("scd2");
    scd2["keys"] = json!(["id"]);
    vec![
        Case { name: "single", item: json!({"file": "out.ndjson"}), read: lines },
        Case { name: "folder", item: folder("replace"), read: lines },
        Case { name: "append", item: table("append"), read: rows },
        Case { name: "replace", item: table("replace"), read: rows },
        Case { name: "upsert", item: upsert, read: rows },
        Case { name: "scd2", item: scd2, read: rows },
    ]
}

fn lines(folder: &Path) -> Vec<i64> {
    let mut ids = Vec::new();
    for name in names(folder).iter().filter(|name| !name.starts_with('.')) {
        let path = folder.join(name);
        if path.is_dir() {
            ids.extend(lines(&path));
        } else if name.ends_with(".ndjson") {
            let text = std::fs::read_to_string(path).unwrap();
            let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap();
            ids.extend(text.lines().map(id));
        }
    }
    ids
}

fn rows(folder: &Path) -> Vec<i64> {
    let path = folder.join("out.db");
    if !path.exists() {
        return Vec::new();
    }
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT id FROM t ORDER BY rowid").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn input(ids: &[i64]) -> Batch {
    let countries = ids.iter().map(|_| "DE");
    batch(1, vec![("id", ints(ids.iter().copied())), ("country", texts(countries))])
}

/// The state after an earlier run, and what the next run makes of it.
const OLD: [i64; 3] = [3, 1, 2];
const NEW: [i64; 3] = [9, 8, 3];

fn after(case: &Case) -> Vec<i64> {
    match case.name {
        "append" => [OLD, NEW].concat(),
        "upsert" => vec![1, 2, 3, 8, 9],
        "scd2" => vec![3, 1, 2, 9, 8],
        _ => NEW.to_vec(),
    }
}

fn seen(case: &Case, folder: &Path) -> Vec<i64> {
    let mut ids = (case.read)(folder);
    if case.name == "upsert" {
        ids.sort_unstable(); // the table has its own order
    }
    ids
}

fn old(case: &Case) -> Vec<i64> {
    let mut ids = OLD.to_vec();
    if case.name == "upsert" {
        ids.sort_unstable();
    }
    ids
}

fn prepare(case: &Case, folder: &Path, run: &str) -> Box<dyn Loader> {
    let input = input(&NEW);
    let mut findings = Findings::default();
    let mut loader = open(&case.item, &input.schema(), &context(folder, run)).unwrap();
    append(loader.as_mut(), &[input], &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    loader
}

/// Reads the few lines of YAML that examples are written in.
fn item_of(kind: &LoaderKind) -> Value {
    let mut item = Map::new();
    for line in kind.example.lines() {
        let (key, value) = line.split_once(": ").unwrap();
        let list = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        let value = match list {
            Some(list) => list.split(", ").map(Value::from).collect(),
            None => Value::from(value),
        };
        item.insert(key.to_owned(), value);
    }
    Value::Object(item)
}

#[test]
fn examples_have_no_mistakes() {
    for kind in KINDS {
        let item = item_of(kind);
        assert!(kind.example.starts_with(&format!("{}: ", kind.name)));
        let mistakes = (kind.check)(&item);
        assert!(mistakes.is_empty(), "{}: {mistakes:?}", kind.name);
    }
}

#[test]
fn unknown_options_are_refused() {
    for kind in KINDS {
        let mut item = item_of(kind);
        item["colour"] = "blue".into();
        let mistakes = (kind.check)(&item);
        assert!(mistakes[0].message.contains("colour"), "{}: {mistakes:?}", kind.name);
        let mut generator = schemars::SchemaGenerator::default();
        let schema = (kind.schema)(&mut generator);
        let definitions = generator.take_definitions(true);
        let schema = match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => definitions[reference.rsplit('/').next().unwrap()].clone(),
            None => schema.into(),
        };
        assert_eq!(schema["additionalProperties"], json!(false), "{}", kind.name);
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property.get("description").is_some(), "{}.{name} says nothing", kind.name);
        }
    }
}

#[test]
fn readers_see_the_old_state_until_the_new_one() {
    for case in cases() {
        let folder = tempdir().unwrap();
        load(&case.item, &[input(&OLD)], &context(folder.path(), "1")).unwrap();
        let before = names(folder.path());
        let mut loader = prepare(&case, folder.path(), "2");
        assert_eq!(seen(&case, folder.path()), old(&case), "{}", case.name);
        let loaded = loader.publish().unwrap();
        assert_eq!(loaded.inserted + loaded.updated + loaded.unchanged, 3, "{}", case.name);
        drop(loader);
        assert_eq!(seen(&case, folder.path()), after(&case), "{}", case.name);
        assert_eq!(names(folder.path()), before, "{}", case.name);
    }
}

#[test]
fn a_loader_that_is_given_up_leaves_no_trace() {
    for case in cases() {
        let folder = tempdir().unwrap();
        let schema = input(&NEW).schema();
        drop(open(&case.item, &schema, &context(folder.path(), "1")).unwrap());
        prepare(&case, folder.path(), "2").abort();
        drop(prepare(&case, folder.path(), "3"));
        assert!(names(folder.path()).is_empty(), "{}: {:?}", case.name, names(folder.path()));

        load(&case.item, &[input(&OLD)], &context(folder.path(), "4")).unwrap();
        let before = names(folder.path());
        prepare(&case, folder.path(), "5").abort();
        assert_eq!(names(folder.path()), before, "{}", case.name);
        assert_eq!(seen(&case, folder.path()), old(&case), "{}", case.name);
    }
}

#[test]
fn runs_at_the_same_time_do_not_touch_each_other() {
    for case in cases() {
        if case.item.get("table").is_some() {
            continue; // SQLite lets them write one after the other
        }
        let folder = tempdir().unwrap();
        let mut first = prepare(&case, folder.path(), "1");
        let mut second = prepare(&case, folder.path(), "2");
        let dropped = prepare(&case, folder.path(), "3");
        second.publish().unwrap();
        drop(dropped);
        assert_eq!(seen(&case, folder.path()), NEW, "{}", case.name);
        first.publish().unwrap();
        drop((first, second));
        assert_eq!(seen(&case, folder.path()), NEW, "{}", case.name);
        assert_eq!(names(folder.path()).len(), 1, "{}", case.name);
    }
}

const CHILD: &str = "GRISTMILL_TEST_CHILD";

#[test]
#[ignore = "a child of the kill tests"]
fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let [name, folder, point]: [&str; 3] = what.split('|').collect::<Vec<_>>().try_into().unwrap();
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let folder = Path::new(folder);
    let mut loader = match point {
        "opened" => open(&case.item, &input(&NEW).schema(), &context(folder, "dead")).unwrap(),
        _ => prepare(&case, folder, "dead"),
    };
    if point == "published" {
        loader.publish().unwrap();
    }
    std::process::abort();
}

fn kill(case: &Case, folder: &Path, point: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "conformance::child", "--ignored"])
        .env(CHILD, format!("{}|{}|{point}", case.name, folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.code().is_none(), "the child was to be killed by a signal, not {status}");
}

#[test]
fn a_killed_run_leaves_the_old_state_and_the_next_one_is_clean() {
    for case in cases() {
        for point in ["opened", "prepared", "published"] {
            for fresh in [true, false] {
                let folder = tempdir().unwrap();
                let before = if fresh {
                    Vec::new()
                } else {
                    load(&case.item, &[input(&OLD)], &context(folder.path(), "1")).unwrap();
                    old(&case)
                };
                kill(&case, folder.path(), point);
                let name = format!("{} {point} {fresh}", case.name);
                if point == "published" {
                    let ids = seen(&case, folder.path());
                    assert!(NEW.iter().all(|id| ids.contains(id)), "{name}: {ids:?}");
                } else {
                    assert_eq!(seen(&case, folder.path()), before, "{name}");
                }
                load(&case.item, &[input(&NEW)], &context(folder.path(), "2")).unwrap();
                assert_eq!(names(folder.path()).len(), 1, "{name}: {:?}", names(folder.path()));
                let expected = match (case.name, point, fresh) {
                    ("append", "published", true) => [NEW, NEW].concat(),
                    ("append", "published", false) => [OLD, NEW, NEW].concat(),
                    ("upsert", _, true) => vec![3, 8, 9],
                    (_, _, true) => NEW.to_vec(),
                    (_, _, false) => after(&case),
                };
                assert_eq!(seen(&case, folder.path()), expected, "{name}");
            }
        }
    }
}
