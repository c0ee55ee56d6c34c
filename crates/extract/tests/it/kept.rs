//! Tables of which only some columns are read.

use gristmill_core::{Extractor, Findings};
use serde_json::{Value, json};

use crate::support::{Folder, sqlite};

/// The values of all columns as text, row by row; how many values were unfit, and bytes were read.
fn rows(extractor: &mut dyn Extractor) -> (Vec<Vec<Option<String>>>, usize, u64) {
    let (mut rows, mut flaws) = (Vec::new(), 0);
    let mut findings = Findings::default();
    while let Some(mut chunk) = extractor.next_chunk().unwrap() {
        while let Some(batch) = chunk.next_batch(&mut findings).unwrap() {
            flaws += batch.flaws().len();
            let columns = batch.columns().columns();
            rows.extend((0..batch.num_rows()).map(|row| {
                columns.iter().map(|column| gristmill_core::text::value_text(column, row)).collect()
            }));
        }
    }
    (rows, flaws, extractor.bytes_read())
}

/// Reads `id`, `n` with a value that does not fit, a long text, and `d`.
fn reads_what_is_kept(folder: &Folder, database: &str) {
    let item = json!({"table": "t", "database": database, "columns": {"d": "decimal(9, 2)"}});
    let mut whole = folder.open(item.clone()).unwrap();
    whole.begin(None).unwrap();
    let (all, flaws, bytes) = rows(whole.as_mut());
    assert!(flaws == 1 && all.len() >= 300, "{database}: {flaws}");
    for places in [&[3, 0][..], &[2], &[0, 2, 3]] {
        let mut some = folder.open(item.clone()).unwrap();
        let schema = some.begin(None).unwrap();
        assert!(some.keep(places).unwrap());
        let (kept, flaws, fewer) = rows(some.as_mut());
        let expected: Vec<Vec<_>> = all
            .iter()
            .map(|row| places.iter().map(|place| row[*place].clone()).collect())
            .collect();
        assert!(kept == expected, "{database}: {places:?} of {schema}");
        assert_eq!(flaws, 0, "the value that does not fit is not read");
        assert!(fewer < bytes && (places.contains(&2) || fewer < bytes / 10), "{fewer} of {bytes}");
    }
    let keeps = |item: &Value, places: &[usize]| {
        let mut extractor = folder.open(item.clone()).unwrap();
        extractor.begin(None).unwrap();
        extractor.keep(places).unwrap().then(|| (rows(extractor.as_mut()), extractor.bookmarks()))
    };
    // No column is no statement, and a query is what it is.
    assert_eq!(keeps(&item, &[]), None);
    let query = json!({"query": "SELECT id, d FROM t", "database": database});
    assert_eq!(keeps(&query, &[0]), None);
    let mut cursor = item.clone();
    cursor["cursor"] = json!({"column": "id", "start": 290});
    // What a cursor leaves has no order here.
    if database.starts_with("mysql") {
        assert_eq!(keeps(&cursor, &[0, 3]), None);
        return;
    }
    // It needs its column.
    let ((last, ..), bookmarks) = keeps(&cursor, &[0, 3]).unwrap();
    assert_eq!(last[0], [Some("290".to_owned()), Some("290.50".to_owned())], "{database}");
    assert_eq!(bookmarks.len(), 1);
    assert_eq!(keeps(&cursor, &[3]), None);
}

#[test]
fn records_of_sqlite_stay_in_the_order_of_the_table() {
    let folder = Folder::new(&[]);
    sqlite(
        &folder,
        "x.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT); CREATE INDEX i ON t (s);
         INSERT INTO t VALUES (1, 'c'), (2, 'a'), (3, 'b')",
    );
    let mut source = folder.open(json!({"table": "t", "database": "sqlite://x.db"})).unwrap();
    source.begin(None).unwrap();
    let places = if source.keep(&[1]).unwrap() { 0 } else { 1 };
    let (rows, ..) = rows(source.as_mut());
    let texts: Vec<_> = rows.iter().map(|row| row[places].as_deref().unwrap()).collect();
    assert_eq!(texts, ["c", "a", "b"]);
}

/// By several connections, and with a column that comes as text.
#[test]
fn postgres_reads_what_is_kept() {
    let Some(database) = gristmill_scratch::postgres() else { return };
    database.run(
        r#"CREATE TABLE t (id int, n date, "the ""text" text, d numeric);
           ALTER TABLE t ALTER "the ""text" SET STORAGE PLAIN;
           INSERT INTO t SELECT n, CASE n WHEN 7 THEN 'infinity' ELSE date '2025-01-01' END,
               repeat('a', 2000), n + 0.5 FROM generate_series(1, 5000) AS n"#,
    );
    reads_what_is_kept(&Folder::new(&[]), database.url());
}

/// In the order of the key, though an index on what is kept has another one.
#[test]
fn mysql_reads_what_is_kept() {
    let Some(database) = gristmill_scratch::mysql() else { return };
    database.run(
        r#"SET sql_mode = '';
           CREATE TABLE t (id int PRIMARY KEY, n date, `the "text` text, d decimal(65, 2), KEY (d)) ENGINE = InnoDB;
           INSERT INTO t WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 900)
               SELECT n, IF(n = 7, '0000-00-00', '2025-01-01'), repeat('a', 2000), n * 7 % 31 + 0.5 FROM n"#,
    );
    let folder = Folder::new(&[]);
    reads_what_is_kept(&folder, database.url());
    // By several connections, too; a table without a key has no order.
    let item = json!({"table": "t", "database": database.url(), "connections": 3});
    let (mut all, mut some) = (folder.open(item.clone()).unwrap(), folder.open(item).unwrap());
    all.begin(None).unwrap();
    some.begin(None).unwrap();
    assert!(some.keep(&[3]).unwrap());
    let (all, some) = (rows(all.as_mut()).0, rows(some.as_mut()).0);
    assert_eq!(some, all.into_iter().map(|mut row| row.split_off(3)).collect::<Vec<_>>());
    database.run("SET sql_mode = ''; ALTER TABLE t DROP PRIMARY KEY");
    let item = json!({"table": "t", "database": database.url()});
    let mut source = folder.open(item).unwrap();
    source.begin(None).unwrap();
    assert!(!source.keep(&[3]).unwrap());
}
