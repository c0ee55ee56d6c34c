//! PostgreSQL tables: what is special about them. What all databases share is tested with each.

use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Float64Array};
use gristmill_core::Findings;
use serde_json::json;

use crate::support::{append, batch, context, ints, load, open, people, rejects, texts};
use crate::warehouse::Warehouse;

#[test]
fn an_existing_table_gets_values_of_its_own_types() {
    let Some(warehouse) = Warehouse::postgres() else { return };
    let setup = "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN code AS varchar(3) CHECK (value <> 'bad');
        CREATE SCHEMA s; CREATE TABLE s.\"T x\" (u uuid, m mood, c code, n numeric(6, 1), i int, r real, j json,
        net inet, list int[], d date, note text DEFAULT 'kept', ch char(4))";
    warehouse.run(setup);
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.3, 1e4]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", texts(["A0EEBC999C0B4EF8BB6D6BB9BD380A11", "x"])),
        ("m", texts(["glad", "glad"])),
        ("c", texts(["abc", "b"])),
        ("n", Arc::clone(&doubles)),
        ("i", texts(["7", "8"])),
        ("r", doubles),
        ("j", texts(["{\"a\": 1}", "1"])),
        ("net", texts(["10.0.0.1", "::1"])),
        ("list", texts(["{1,2}", "{}"])),
        ("d", texts(["2025-01-31", "2025-01-31"])),
        ("CH", texts(["a", "b"])),
    ];
    let input = [batch(1, columns)];
    for (run, mode) in [("1", "append"), ("2", "replace")] {
        let mut item = warehouse.append_to("s.T x");
        item["mode"] = mode.into();
        let (loaded, findings) = load(&item, &input, &context(warehouse.folder(), run)).unwrap();
        assert_eq!(loaded.inserted, 1);
        assert_eq!(rejects(&findings)[0].3, "it is not a uuid");
        let rows = warehouse.lines("SELECT * FROM s.\"T x\"");
        let line = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 glad abc 0.3 7 0.3 {\"a\": 1} 10.0.0.1 {1,2} 2025-01-31 kept a   ";
        assert_eq!(rows, [line]);
    }
}

const REFUSING: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE parent (id int PRIMARY KEY);
    INSERT INTO parent VALUES (1);
    CREATE TABLE t (
        id int PRIMARY KEY CHECK (id < 100), name varchar(5) NOT NULL, parent int REFERENCES parent,
        late int REFERENCES parent DEFERRABLE INITIALLY DEFERRED, mood mood, doc jsonb, n numeric(5, 2));
    INSERT INTO t VALUES (5, 'there', 1);
    CREATE FUNCTION shy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no shy people'; END $$;
    CREATE TRIGGER shy BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.name = 'shy') EXECUTE FUNCTION shy();";

#[test]
fn refused_records_are_rejected_with_the_databases_words() {
    let ids = [1, 100, 2, 5, 3, 4, 6, 7, 8, 9, 10, 11, i64::MAX, 12];
    let mut names = ids.map(|_| Some("a"));
    (names[2], names[4], names[6], names[9]) = (None, Some("shy"), Some("too long"), Some("\0"));
    let one = |at: usize, odd: Option<i64>| {
        ints((0..14).map(move |i| if i == at { odd } else { Some(1) }))
    };
    let word = |at: usize, odd: &'static str, even: &'static str| {
        texts((0..14).map(move |i| if i == at { odd } else { even }))
    };
    let decimals = (0..14).map(|i| if i == 11 { 1_005 } else { 1_250 }).collect::<Vec<i128>>();
    let decimals: ArrayRef =
        Arc::new(Decimal128Array::from(decimals).with_precision_and_scale(9, 3).unwrap());
    let columns = |late: i64| -> Vec<(&str, ArrayRef)> {
        vec![
            ("id", ints(ids)),
            ("name", texts(names)),
            ("parent", one(5, Some(2))),
            ("late", one(10, Some(late))),
            ("mood", word(7, "angry", "glad")),
            ("doc", word(8, "{", "{}")),
            ("n", Arc::clone(&decimals)),
        ]
    };
    let said = [
        (2, "check constraint"),
        (3, "null value in column \"name\""),
        (
            4,
            "duplicate key value violates unique constraint \"t_pkey\": Key (id)=(5) already exists",
        ),
        (5, "no shy people"),
        (6, "is not present in table \"parent\""),
        (7, "value too long for type character varying(5)"),
        (8, "invalid input value for enum mood: \"angry\""),
        (9, "invalid input syntax for type json"),
        (10, "invalid byte sequence"),
        (11, "is not present in table \"parent\""),
        (12, "fewer digits"),
        (13, "too large"),
    ];
    for staged in [false, true] {
        let Some(warehouse) = Warehouse::postgres() else { return };
        warehouse.run(REFUSING);
        // With other tables, a deferred reference is judged at the commit.
        let input = batch(1, columns(if staged { 1 } else { 3 }));
        let context = context(warehouse.folder(), "1");
        // A second table in the run, so that records are staged first.
        let other = staged.then(|| {
            let input = people(1, &[], &[]);
            open(&warehouse.append_to("other"), &input.schema(), &context).unwrap()
        });
        let (loaded, findings) = load(&warehouse.append_to("t"), &[input], &context).unwrap();
        drop(other);
        let mut found = rejects(&findings);
        found.sort();
        let expected = said.iter().filter(|(record, _)| !staged || *record != 11);
        for ((record, raw, _, message), (number, words)) in found.iter().zip(expected) {
            assert_eq!((*record, raw.as_str()), (*number, format!("record {number}").as_str()));
            assert!(message.contains(words), "{message}, not {words}");
        }
        if staged {
            assert_eq!((found.len(), loaded.inserted), (11, 3));
        } else {
            assert_eq!((found.len(), loaded.inserted), (12, 2));
            assert_eq!(warehouse.lines("SELECT id FROM t ORDER BY id"), ["1", "5", "12"]);
        }
    }
}

#[test]
fn a_load_that_is_given_up_between_chunks_leaves_nothing() {
    let Some(warehouse) = Warehouse::postgres() else { return };
    let input = people(1, &[Some(1)], &[Some("a")]);
    load(
        &warehouse.append_to("t"),
        std::slice::from_ref(&input),
        &context(warehouse.folder(), "1"),
    )
    .unwrap();
    warehouse.run("ALTER TABLE t ADD PRIMARY KEY (id)");
    for item in [warehouse.append_to("t"), warehouse.upsert_to("t", &["id"])] {
        let new = people(1, &[Some(2)], &[Some("b")]);
        let mut loader = open(&item, &new.schema(), &context(warehouse.folder(), "2")).unwrap();
        append(loader.as_mut(), &[new], &mut Findings::default()).unwrap();
        loader.abort();
        assert_eq!(warehouse.lines("SELECT name FROM t"), ["a"]);
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(warehouse.lines(locks), ["0"]);
    }
}

#[test]
fn rules_policies_and_triggers_of_partitions_drop_nothing_in_silence() {
    const RETURNS_NULL: &str = "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RETURN NULL; END $$;";
    for (table, upsert) in [
        ("CREATE RULE no AS ON INSERT TO t WHERE NEW.id = 2 DO INSTEAD NOTHING", false),
        ("CREATE RULE no AS ON UPDATE TO t DO INSTEAD NOTHING", true),
        (
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY all_seen ON t USING (TRUE);
             CREATE POLICY one_changed ON t AS RESTRICTIVE FOR UPDATE USING (id <> 1)",
            true,
        ),
        (
            "CREATE TABLE part PARTITION OF t FOR VALUES FROM (2) TO (9);
             CREATE TRIGGER no BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION drops()",
            false,
        ),
        (
            "CREATE TABLE child () INHERITS (t); INSERT INTO child TABLE t; DELETE FROM ONLY t;
             CREATE TRIGGER no BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION drops()",
            true,
        ),
    ] {
        let Some(warehouse) = Warehouse::postgres() else { return };
        let partitioned = table.contains("PARTITION OF");
        let by = if partitioned { "PARTITION BY RANGE (id)" } else { "" };
        warehouse.run(RETURNS_NULL);
        warehouse.run(&format!("CREATE TABLE t (id int PRIMARY KEY, name text) {by}"));
        if partitioned {
            warehouse.run("CREATE TABLE first PARTITION OF t FOR VALUES FROM (0) TO (2)");
        }
        warehouse.run(&format!("INSERT INTO t VALUES (1, 'old'); {table}"));
        // Policies are not for superusers.
        let role = format!("reader_{}", std::process::id());
        warehouse.run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT CREATE, USAGE ON SCHEMA public TO {role}"
        ));
        let mut item = warehouse.upsert_to("t", &["id"]);
        item["database"] = warehouse.url().replace("gristmill@", &format!("{role}@")).into();
        let input = people(1, &[Some(if upsert { 1 } else { 2 })], &[Some("new")]);
        let loaded = load(&item, &[input], &context(warehouse.folder(), "1"));
        warehouse.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        let error = loaded.err().unwrap();
        assert!(error.to_string().contains("took no notice of 1 records"), "{table}: {error}");
        assert_eq!(warehouse.lines("SELECT name FROM t"), ["old"], "{table}");
    }
}

#[test]
fn partitions_of_another_type_are_refused_when_opening() {
    let Some(warehouse) = Warehouse::postgres() else { return };
    warehouse.run("CREATE TABLE t (id int, name date)");
    let mut item = warehouse.append_to("t");
    (item["mode"], item["partition_by"]) = ("delete_insert".into(), json!(["id"]));
    let input = batch(1, vec![("id", texts(["1"])), ("name", texts(["2025-01-01"]))]);
    let error = open(&item, &input.schema(), &context(warehouse.folder(), "1")).err().unwrap();
    assert!(error.to_string().contains("keeps the key `id` as integer"), "{error}");
    assert!(error.hint_text().unwrap().starts_with("`cast` it"));
}

#[test]
fn types_of_extensions_take_their_texts() {
    let Some(warehouse) = Warehouse::postgres() else { return };
    let there =
        "SELECT count(*) FROM pg_available_extensions WHERE name IN ('hstore', 'citext', 'ltree')";
    if warehouse.lines(there) != ["3"] {
        return;
    }
    warehouse.run(
        "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
         CREATE TABLE t (id int PRIMARY KEY, tags hstore, name citext, path ltree)",
    );
    let item = json!({"table": "t", "database": warehouse.url(), "mode": "upsert", "keys": ["id"]});
    let input = |tags: [&'static str; 3], names: [&'static str; 3]| {
        let columns = vec![
            ("id", ints([1, 2, 3])),
            ("tags", texts(tags)),
            ("name", texts(names)),
            ("path", texts(["a.b", "a", "a.c"])),
        ];
        [batch(1, columns)]
    };
    let no_path = batch(4, vec![("id", ints([4])), ("path", texts(["a..b"]))]);
    let (loaded, findings) = load(&item, &[no_path], &context(warehouse.folder(), "0")).unwrap();
    assert_eq!((loaded.inserted, findings.rejects().len()), (0, 1));
    let first = input(["a=>1, b=>2", "", "a=>"], ["Ann", "Bob", "Cid"]);
    let (loaded, findings) = load(&item, &first, &context(warehouse.folder(), "1")).unwrap();
    assert_eq!((loaded.inserted, findings.rejects().len()), (2, 1));
    // The same in other words is no change; a name in other letters is one, as they are kept.
    let second = input(["b=>2, a=>1", "x=>NULL", "a=>3"], ["Ann", "Bob", "Cid"]);
    let (loaded, _) = load(&item, &second, &context(warehouse.folder(), "2")).unwrap();
    assert_eq!((loaded.inserted, loaded.updated, loaded.unchanged), (1, 1, 1));
    let rows = warehouse.lines("SELECT id, tags, name, path FROM t ORDER BY id");
    assert_eq!(
        rows,
        [r#"1 "a"=>"1", "b"=>"2" Ann a.b"#, r#"2 "x"=>NULL Bob a"#, r#"3 "a"=>"3" Cid a.c"#]
    );
}

#[test]
fn two_addresses_of_one_database_do_not_wait_for_each_other() {
    let Some(warehouse) = Warehouse::postgres() else { return };
    let input = batch(1, vec![("id", ints([1]))]);
    let context = context(warehouse.folder(), "1");
    let mut findings = Findings::default();
    let urls = [warehouse.url().to_owned(), warehouse.url().replace("127.0.0.1", "localhost")];
    let mut loaders = [0, 1].map(|i| {
        let item = json!({"table": format!("t{i}"), "database": urls[i]});
        open(&item, &input.schema(), &context).unwrap()
    });
    // None of them commits before all are prepared, and the first one makes the table of loads.
    loaders[0].prepare(&mut findings).unwrap();
    let error = loaders[1].prepare(&mut findings).unwrap_err();
    assert!(error.is_transient() && error.hint_text().unwrap().contains("one URL"), "{error:?}");
}
