//! What every extractor of the registry promises.

use gristmill_core::{ExtractorKind, Findings};
use gristmill_extract::{KINDS, file};
use gristmill_scratch::Postgres;
use saphyr_parser::{Event, Parser};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::support::{Folder, read, sqlite};

/// A source that can be read, and what it must give.
struct Case {
    folder: Folder,
    item: Value,
    /// The ids, in order.
    ids: Vec<String>,
    /// How many sources it is.
    sources: usize,
    /// What must live as long.
    _server: Option<Postgres>,
}

const ROWS: usize = 120_000;

fn cases(kind: &ExtractorKind) -> Vec<Case> {
    let ids = || (1..=ROWS).map(|id| id.to_string()).collect();
    let folder = Folder::new(&[]);
    match kind.name {
        "file" => {
            let mut id = 0;
            for name in ["a.csv", "b.csv", "c.csv"] {
                let mut text = "id,name\n".to_owned();
                for _ in 0..ROWS / 3 {
                    id += 1;
                    text.push_str(&format!(
                        "{id},a name that makes the file longer than a batch\n"
                    ));
                }
                folder.write(name, text.as_bytes());
            }
            let item = json!({"file": "*.csv"});
            vec![Case { folder, item, ids: ids(), sources: 3, _server: None }]
        }
        "table" | "query" => {
            let item = |database: &str| match kind.name {
                "table" => json!({"table": "names", "database": database}),
                _ => json!({
                    "query": "SELECT id, name FROM names ORDER BY id", "database": database
                }),
            };
            sqlite(
                &folder,
                "names.db",
                &format!(
                    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT);
                 WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT {ROWS})
                 INSERT INTO names SELECT id, 'a name that makes it longer than a batch' FROM n"
                ),
            );
            let of = |folder, database: &str, server| Case {
                folder,
                item: item(database),
                ids: ids(),
                sources: 1,
                _server: server,
            };
            let mut cases = vec![of(folder, "sqlite://names.db", None)];
            if let Some(server) = gristmill_scratch::postgres() {
                server.run(&format!(
                    "CREATE TABLE names (id int PRIMARY KEY, name text);
                     INSERT INTO names
                     SELECT id, 'a name that makes it longer than a batch'
                     FROM generate_series(1, {ROWS}) AS id ORDER BY id"
                ));
                let url = server.url().to_owned();
                cases.push(of(Folder::new(&[]), &url, Some(server)));
            }
            cases
        }
        "rows" => {
            let rows: Vec<_> = (1..=ROWS).map(|id| json!({"id": id, "name": "a name"})).collect();
            vec![Case {
                folder,
                item: json!({"rows": rows}),
                ids: ids(),
                sources: 1,
                _server: None,
            }]
        }
        other => panic!("give `{other}` a case"),
    }
}

#[test]
fn records_come_in_order_and_are_all_counted() {
    for Case { folder, item, ids, sources, _server } in KINDS.iter().flat_map(cases) {
        let read = folder.read(item).unwrap();
        assert_eq!(read.column("id"), ids);
        assert_eq!(read.sources.iter().map(|(_, records)| records).sum::<usize>(), ids.len());
        assert_eq!(read.sources.len(), sources, "each source starts once");
    }
}

/// Chunks are independent of each other: decoded in any order, on any thread.
#[test]
fn chunks_are_decoded_in_any_order() {
    for Case { folder, item, ids, _server, .. } in KINDS.iter().flat_map(cases) {
        let mut extractor = folder.open(item).unwrap();
        let plan = extractor.read_plan().unwrap();
        extractor.begin(plan).unwrap();
        let mut chunks = Vec::new();
        while let Some(chunk) = extractor.next_chunk().unwrap() {
            assert!(chunk.size() > 0);
            chunks.push(chunk);
        }
        drop(extractor);
        let mut rows = 0;
        for mut chunk in chunks.into_iter().rev() {
            let decode = std::thread::spawn(move || {
                let (mut rows, mut findings) = (0, Findings::default());
                while let Some(batch) = chunk.next_batch(&mut findings).unwrap() {
                    rows += batch.num_rows();
                }
                rows
            });
            rows += decode.join().unwrap();
        }
        assert_eq!(rows, ids.len());
    }
}

#[test]
fn a_second_opening_reads_the_same() {
    for Case { folder, item, _server, .. } in KINDS.iter().flat_map(cases) {
        let first = folder.read(item.clone()).unwrap();
        let mut extractor = folder.open(item).unwrap();
        extractor.read_plan().unwrap();
        assert_eq!(read(&mut *extractor, |_| {}).unwrap().columns, first.columns);
    }
}

#[test]
fn examples_have_no_mistakes_and_fit_the_schema() {
    for kind in KINDS {
        let item = yaml(kind.example);
        let keys: Vec<_> = item.as_object().unwrap().keys().collect();
        assert_eq!(keys[0], kind.name, "an item starts with its kind");
        assert_eq!((kind.check)(&item), []);
        let mut generator = SchemaGenerator::default();
        (kind.schema)(&mut generator);
        let definitions = Value::Object(generator.take_definitions(true));
        let known = &definitions["Options"]["properties"];
        for key in keys {
            assert!(known[key]["description"].is_string(), "{key} is not described");
        }
        assert_eq!(definitions["Options"]["additionalProperties"], json!(false));
        assert!(kind.about.ends_with('.'));
    }
}

#[test]
fn an_unknown_option_is_refused() {
    for kind in KINDS {
        let mut item = yaml(kind.example);
        item["colums"] = json!({});
        let mistakes = (kind.check)(&item);
        assert!(mistakes[0].message.contains("unknown field `colums`"), "{mistakes:?}");
    }
}

#[test]
fn options_are_written_as_they_are_read() {
    let item = yaml(file::KIND.example);
    let options: file::Options = serde_json::from_value(item).unwrap();
    let again = serde_json::to_value(&options).unwrap();
    assert_eq!(serde_json::from_value::<file::Options>(again).unwrap(), options);
}

/// A YAML text of mappings, sequences and strings.
fn yaml(text: &str) -> Value {
    enum Open {
        Mapping(Map<String, Value>, Option<String>),
        Sequence(Vec<Value>),
    }
    let mut open = Vec::new();
    for event in Parser::new_from_str(text) {
        let done = match event.unwrap().0 {
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open::Sequence(Vec::new()));
                continue;
            }
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::MappingEnd | Event::SequenceEnd => match open.pop().unwrap() {
                Open::Mapping(map, _) => Value::Object(map),
                Open::Sequence(items) => Value::Array(items),
            },
            _ => continue,
        };
        match open.last_mut() {
            None => return done,
            Some(Open::Sequence(items)) => items.push(done),
            Some(Open::Mapping(map, key)) => match key.take() {
                None => *key = Some(done.as_str().unwrap().to_owned()),
                Some(key) => drop(map.insert(key, done)),
            },
        }
    }
    panic!("{text} has no end")
}
