//! Files, read back as they stand.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use gristmill_core::{Batch, ErrorKind, Findings};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{append, batch, context, ints, load, names, open, rejects, texts};

fn people(first_record: u64, ids: &[i64], countries: &[Option<&str>]) -> Batch {
    batch(
        first_record,
        vec![("id", ints(ids.iter().copied())), ("country", texts(countries.iter().copied()))],
    )
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_appears_whole_when_it_is_published() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("deep/out.ndjson");
    let item = json!({"file": "deep/out.ndjson"});
    let batches = [people(1, &[3, 1], &[Some("DE"), None]), people(3, &[2], &[Some("FR")])];
    let mut findings = Findings::default();
    let mut loader = open(&item, &batches[0].schema(), &context(folder.path(), "1")).unwrap();
    append(loader.as_mut(), &batches, &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    assert!(!path.exists());
    let loaded = loader.publish().unwrap();
    assert_eq!(
        read(&path),
        "{\"id\":3,\"country\":\"DE\"}\n{\"id\":1,\"country\":null}\n{\"id\":2,\"country\":\"FR\"}\n"
    );
    assert_eq!((loaded.inserted, loaded.bytes), (3, path.metadata().unwrap().len()));
    assert_eq!((&loaded.files[0].path, loaded.files[0].records), (&path, 3));
    drop(loader);
    assert_eq!(names(&folder.path().join("deep")), ["out.ndjson"]);
}

#[test]
fn an_empty_load_is_a_file_too() {
    let folder = tempdir().unwrap();
    for name in ["out.json", "out.ndjson.gz", "out.parquet", "out.arrow"] {
        let item = json!({"file": name});
        let (loaded, _) =
            load(&item, &[people(1, &[], &[])], &context(folder.path(), "1")).unwrap();
        assert_eq!(loaded.inserted, 0);
        assert!(folder.path().join(name).exists());
    }
    assert_eq!(read(&folder.path().join("out.json")).trim(), "[]");
    let item = json!({"file": "parts", "format": "ndjson", "partition_by": ["country"]});
    load(&item, &[people(1, &[], &[])], &context(folder.path(), "1")).unwrap();
    assert!(names(&folder.path().join("parts")).is_empty());
    let item = json!({"file": "sized", "format": "ndjson", "max_file_size": "1MB"});
    load(&item, &[people(1, &[], &[])], &context(folder.path(), "1")).unwrap();
    assert_eq!(names(&folder.path().join("sized")), ["part-00000.ndjson"]);
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let folder = tempdir().unwrap();
    let victim = folder.path().join("victim");
    let link = folder.path().join("out.ndjson");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &link).unwrap();
    let item = json!({"file": "out.ndjson"});
    load(&item, &[people(1, &[1], &[None])], &context(folder.path(), "1")).unwrap();
    assert_eq!(read(&victim), "precious");
    assert!(!link.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn folders_devices_and_closed_doors_are_said_when_opening() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("folder.json")).unwrap();
    fs::write(folder.path().join("file.json"), "").unwrap();
    fs::create_dir(folder.path().join("mixed")).unwrap();
    fs::write(folder.path().join("mixed/thesis.txt"), "precious").unwrap();
    let schema = people(1, &[], &[]).schema();
    for (item, what) in [
        (json!({"file": "folder.json"}), "`folder.json` is a folder"),
        (json!({"file": "/dev/null", "format": "json"}), "`/dev/null` is not a file"),
        (json!({"file": "file.json/x.json"}), "cannot create the folder"),
        (json!({"file": "file.json", "max_file_size": 9}), "`file.json` is a file"),
        (json!({"file": "mixed", "format": "json", "max_file_size": 9}), "`thesis.txt`"),
    ] {
        let error = open(&item, &schema, &context(folder.path(), "1")).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
    assert_eq!(read(&folder.path().join("mixed/thesis.txt")), "precious");
    assert!(Path::new("/dev/null").metadata().unwrap().rdev() != 0);

    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(closed.join("probe"), "").is_err() {
        // Not as root, who may write anywhere.
        let item = json!({"file": "closed/out.json"});
        let error = open(&item, &schema, &context(folder.path(), "1")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Permission);
    }
}

#[test]
fn one_path_is_not_written_twice_in_a_run() {
    let folder = tempdir().unwrap();
    let schema = people(1, &[], &[]).schema();
    let context = context(folder.path(), "1");
    let first = open(&json!({"file": "out.json"}), &schema, &context).unwrap();
    assert!(open(&json!({"file": "./out.json"}), &schema, &context).is_err());
    drop(first);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn formats_and_compressions_are_what_the_name_says() {
    let folder = tempdir().unwrap();
    for (name, magic) in [
        ("out.parquet", &b"PAR1"[..]),
        ("out.arrow", b"ARROW1"),
        ("out.json", b"["),
        ("out.ndjson.gz", b"\x1f\x8b"),
        ("out.ndjson.zst", b"\x28\xb5\x2f\xfd"),
        ("out.json.bz2", b"BZh"),
        ("out.ndjson.lz4", b"\x04\x22\x4d\x18"),
    ] {
        let input = people(1, &[1, 2], &[Some("DE"), None]);
        let item = gristmill_load::File::create(name).unwrap().item();
        load(&item, &[input], &context(folder.path(), "1")).unwrap();
        let bytes = fs::read(folder.path().join(name)).unwrap();
        assert!(bytes.starts_with(magic), "{name}: {bytes:?}");
    }
    let mut text = String::new();
    let file = fs::File::open(folder.path().join("out.ndjson.gz")).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"id\":1,\"country\":\"DE\"}\n{\"id\":2,\"country\":null}\n");
}

#[test]
fn csv_is_written_as_its_options_say() {
    let folder = tempdir().unwrap();
    let item = json!({
        "file": "out.tsv", "max_file_size": "1MB", "compression": "gzip",
        "csv": {"null": "NULL", "line_end": "crlf"},
    });
    let input = people(1, &[1, 2, 3], &[Some("a\tb"), None, Some("NULL")]);
    let (loaded, _) = load(&item, &[input], &context(folder.path(), "1")).unwrap();
    assert!(loaded.files[0].path.ends_with("out.tsv/part-00000.tsv.gz"));
    let mut text = String::new();
    let file = fs::File::open(&loaded.files[0].path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "id\tcountry\r\n1\t\"a\tb\"\r\n2\tNULL\r\n3\t\"NULL\"\r\n");

    let item = json!({"file": "empty.csv"});
    load(&item, &[people(1, &[], &[])], &context(folder.path(), "1")).unwrap();
    assert_eq!(read(&folder.path().join("empty.csv")), "id,country\n");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempdir().unwrap();
    let batches: Vec<Batch> =
        (0..50).map(|i| people(i * 2 + 1, &[i as i64, 7], &[Some("DE"), Some("FR")])).collect();
    let mut contents = Vec::new();
    for run in ["1", "2"] {
        let item = json!({
            "file": format!("out-{run}"), "format": "parquet",
            "partition_by": ["country"], "max_file_size": 900,
        });
        let (loaded, _) = load(&item, &batches, &context(folder.path(), run)).unwrap();
        let base = folder.path().join(format!("out-{run}"));
        let files = loaded.files.iter().map(|file| {
            (file.path.strip_prefix(&base).unwrap().to_owned(), fs::read(&file.path).unwrap())
        });
        contents.push(files.collect::<Vec<_>>());
    }
    assert!(contents[0].len() > 2);
    assert_eq!(contents[0], contents[1]);
}

const CHILD: &str = "GRISTMILL_TEST_STDOUT";

#[test]
#[ignore = "a child of the test of the standard output"]
fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let folder = tempdir().unwrap();
    let item = json!({"file": "-", "format": "ndjson"});
    let input = people(1, &[1, 2], &[Some("DE"), None]);
    let mut findings = Findings::default();
    let mut loader = open(&item, &input.schema(), &context(folder.path(), "1")).unwrap();
    append(loader.as_mut(), &[input], &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    if what == "publish" {
        assert_eq!(loader.publish().unwrap().inserted, 2);
    }
}

#[test]
fn the_standard_output_gets_everything_or_nothing() {
    for (what, expected) in
        [("publish", "{\"id\":1,\"country\":\"DE\"}\n{\"id\":2,\"country\":null}\n"), ("drop", "")]
    {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "file::child", "--ignored"])
            .env(CHILD, what)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let found: String =
            text.split_inclusive('\n').filter(|line| line.contains("\"id\"")).collect();
        // The test harness writes its own words, on the same line perhaps.
        let found = found.split_once('{').map_or("", |(_, rest)| rest);
        assert_eq!(found, expected.trim_start_matches('{'));
    }
}

fn partitioned(mode: &str) -> Value {
    json!({"file": "out", "format": "ndjson", "partition_by": ["country"], "mode": mode})
}

#[test]
fn records_go_into_the_folders_of_their_values() {
    let folder = tempdir().unwrap();
    let countries = [Some("DE"), None, Some("../x"), Some("DE"), Some("")];
    let batches = [people(1, &[1, 2, 3, 4, 5], &countries), people(6, &[6], &[Some("DE")])];
    let (loaded, _) =
        load(&partitioned("replace"), &batches, &context(folder.path(), "1")).unwrap();
    let out = folder.path().join("out");
    assert_eq!(
        names(&out),
        ["country=", "country=%2E.%2Fx", "country=DE", "country=__HIVE_DEFAULT_PARTITION__"]
    );
    assert_eq!(
        read(&out.join("country=DE/part-00000.ndjson")),
        "{\"id\":1}\n{\"id\":4}\n{\"id\":6}\n"
    );
    assert_eq!((loaded.inserted, loaded.files.len()), (6, 4));
    for file in &loaded.files {
        assert_eq!(read(&file.path).lines().count() as u64, file.records);
        assert_eq!(file.path.metadata().unwrap().len(), file.bytes);
    }
}

#[test]
fn replacing_a_folder_leaves_nothing_of_the_old_one() {
    let folder = tempdir().unwrap();
    for (run, country) in [("1", "DE"), ("2", "FR")] {
        let input = people(1, &[1], &[Some(country)]);
        load(&partitioned("replace"), &[input], &context(folder.path(), run)).unwrap();
    }
    assert_eq!(names(&folder.path().join("out")), ["country=FR"]);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn appending_to_a_folder_keeps_what_is_there() {
    let folder = tempdir().unwrap();
    for (run, country) in [("1", "DE"), ("2", "DE"), ("3", "FR")] {
        let input = people(1, &[1], &[Some(country)]);
        load(&partitioned("append"), &[input], &context(folder.path(), run)).unwrap();
    }
    let out = folder.path().join("out");
    assert_eq!(names(&out.join("country=DE")), ["part-1-00000.ndjson", "part-2-00000.ndjson"]);
    assert_eq!(names(&out.join("country=FR")), ["part-3-00000.ndjson"]);
    assert_eq!(names(folder.path()), ["out"]);

    // A link in the folder is not followed, and what was renamed before it goes back.
    let elsewhere = tempdir().unwrap();
    symlink(elsewhere.path(), out.join("country=XX")).unwrap();
    let input = people(1, &[1, 2], &[Some("FR"), Some("XX")]);
    assert!(load(&partitioned("append"), &[input], &context(folder.path(), "4")).is_err());
    assert!(names(elsewhere.path()).is_empty());
    assert_eq!(names(&out.join("country=FR")), ["part-3-00000.ndjson"]);
}

#[test]
fn what_a_killed_run_has_appended_is_taken_out() {
    let folder = tempdir().unwrap();
    let (out, item) = (folder.path().join("out"), partitioned("append"));
    let kind = gristmill_load::KINDS.iter().find(|kind| kind.name == "file").unwrap();
    let published = |run: &str| (kind.published)(&item, folder.path(), run).unwrap();
    let append = |run: &str, country| {
        let input = people(1, &[1], &[Some(country)]);
        load(&item, &[input], &context(folder.path(), run)).unwrap();
    };
    assert_eq!(published("1"), Some(false));
    append("1", "DE");
    // As a run leaves it that is killed when two of its three files are there.
    let hidden = folder.path().join(".out.gristmill-dead.tmp");
    for country in ["DE", "FR", "NL"] {
        let below = format!("country={country}");
        let place = if country == "FR" { &hidden } else { &out };
        fs::create_dir_all(hidden.join(&below)).unwrap();
        fs::create_dir_all(place.join(&below)).unwrap();
        fs::write(place.join(&below).join("part-dead-00000.ndjson"), "{}\n").unwrap();
    }
    assert_eq!((published("1"), published("dead")), (Some(true), Some(false)));
    append("2", "IT");
    assert_eq!(names(folder.path()), ["out"]);
    assert_eq!(names(&out), ["country=DE", "country=IT"]);
    assert_eq!(names(&out.join("country=DE")), ["part-1-00000.ndjson"]);
    // One that died when all of them were there had published.
    append("dead", "DE");
    assert_eq!(published("dead"), Some(true));
    // Who completes it after somebody else has adds nothing.
    let before = fs::read(out.join("country=DE/part-dead-00000.ndjson")).unwrap();
    append("dead", "DE");
    assert_eq!(names(&out.join("country=DE")), ["part-1-00000.ndjson", "part-dead-00000.ndjson"]);
    assert_eq!(fs::read(out.join("country=DE/part-dead-00000.ndjson")).unwrap(), before);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn a_value_too_long_for_a_folder_is_rejected() {
    let folder = tempdir().unwrap();
    let long = "x".repeat(300);
    let input = people(1, &[1, 2], &[Some(&long), Some("DE")]);
    let (loaded, findings) =
        load(&partitioned("replace"), &[input], &context(folder.path(), "1")).unwrap();
    assert_eq!(loaded.inserted, 1);
    assert_eq!((rejects(&findings)[0].0, rejects(&findings)[0].2.as_str()), (1, "partition"));
}

#[test]
fn files_stay_below_the_size() {
    let folder = tempdir().unwrap();
    let item = json!({"file": "out", "format": "ndjson", "max_file_size": 60});
    let batches: Vec<Batch> = (0..10).map(|i| people(i + 1, &[i as i64], &[Some("DE")])).collect();
    let (loaded, _) = load(&item, &batches, &context(folder.path(), "1")).unwrap();
    assert!(loaded.files.len() > 1);
    let mut all = String::new();
    for file in &loaded.files {
        assert!(file.bytes <= 60, "{file:?}");
        all += &read(&file.path);
    }
    let ids: Vec<String> = (0..10).map(|i| format!("{{\"id\":{i},\"country\":\"DE\"}}")).collect();
    assert_eq!(all.lines().collect::<Vec<_>>(), ids);
}

#[test]
fn more_partitions_than_open_files_lose_nothing() {
    let folder = tempdir().unwrap();
    // The chunk has more partitions than a worker encodes for at once, and comes back to them.
    let countries: Vec<String> = (0..600).map(|i| format!("C{}", i % 300)).collect();
    let countries: Vec<Option<&str>> = countries.iter().map(|c| Some(c.as_str())).collect();
    let batches: Vec<Batch> = (0..2)
        .map(|n| {
            let ids: Vec<i64> = (n * 600..(n + 1) * 600).collect();
            people(n as u64 * 600 + 1, &ids, &countries)
        })
        .collect();
    let schema = batches[0].schema();
    let mut loader = open(&partitioned("replace"), &schema, &context(folder.path(), "1")).unwrap();
    let mut findings = Findings::default();
    let mut part = loader.encoder().begin();
    for batch in &batches {
        part.push(batch).unwrap();
    }
    loader.append(part.finish().unwrap(), &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    assert_eq!(loader.publish().unwrap().inserted, 1200);
    let out = folder.path().join("out");
    assert_eq!(names(&out).len(), 300);
    for i in 0..300 {
        let partition = out.join(format!("country=C{i}"));
        let text: String =
            names(&partition).iter().map(|name| read(&partition.join(name))).collect();
        let ids = [i, i + 300, i + 600, i + 900].map(|id| format!("{{\"id\":{id}}}\n"));
        assert_eq!(text, ids.concat());
    }
}

#[test]
fn mistakes_are_found_without_columns() {
    let kind = &gristmill_load::file::KIND;
    for (item, at) in [
        (json!({"file": "out.xyz"}), "file"),
        (json!({"file": "-"}), "file"),
        (json!({"file": "out/"}), "file"),
        (json!({"file": "out.json", "mode": "append"}), "mode"),
        (json!({"file": "out.parquet.gz"}), "file"),
        (json!({"file": "out.parquet", "compression": "gzip"}), "compression"),
        (json!({"file": "out.json", "parquet": {}}), "parquet"),
        (json!({"file": "out.csv", "csv": {"delimiter": "::"}}), "csv.delimiter"),
        (json!({"file": "-", "format": "json", "max_file_size": 1}), "max_file_size"),
        (json!({"file": "out.json", "partition_by": ["a", "a"]}), "partition_by[1]"),
    ] {
        let mistakes = (kind.check)(&item);
        assert_eq!(mistakes.len(), 1, "{item}: {mistakes:?}");
        assert_eq!(mistakes[0].at.to_string(), at);
    }
    let schema = people(1, &[], &[]).schema();
    let item = json!({"file": "out.json", "partition_by": ["land"]});
    assert!((kind.bind)(&item, &schema)[0].hint.as_ref().unwrap().contains("`country`"));
    let item = json!({"file": "out.json", "partition_by": ["id", "country"]});
    assert_eq!((kind.bind)(&item, &schema).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Splitting by any values loses no record, mixes no two values, and keeps the order.
    #[test]
    fn partitions_hold_their_records_in_order(
        values in prop::collection::vec(prop::option::of("[a/.%= _é]{0,3}"), 1..60),
        size in 1..20usize,
    ) {
        let folder = tempdir().unwrap();
        let batches: Vec<Batch> = values
            .chunks(size)
            .enumerate()
            .map(|(n, chunk)| {
                let ids: Vec<i64> = (0..chunk.len()).map(|i| (n * size + i) as i64).collect();
                let values: Vec<Option<&str>> = chunk.iter().map(Option::as_deref).collect();
                people((n * size) as u64 + 1, &ids, &values)
            })
            .collect();
        let (loaded, _) =
            load(&partitioned("replace"), &batches, &context(folder.path(), "1")).unwrap();
        let mut expected: BTreeMap<&Option<String>, Vec<usize>> = BTreeMap::new();
        for (id, value) in values.iter().enumerate() {
            expected.entry(value).or_default().push(id);
        }
        let mut expected: Vec<Vec<usize>> = expected.into_values().collect();
        let mut found: Vec<Vec<usize>> = loaded
            .files
            .iter()
            .map(|file| {
                let text = read(&file.path);
                let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64();
                text.lines().map(|line| id(line).unwrap() as usize).collect()
            })
            .collect();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
