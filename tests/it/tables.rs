//! Steps that see their input as one table, over several chunks: the same bytes with any memory and
//! any number of workers, and every record in the account.

use std::collections::BTreeMap;
use std::fmt::Write;

use gristmill_tests::Sandbox;

/// About 40 MB in several chunks: key, day, amount, note. A few amounts are no numbers.
fn input() -> (String, Vec<(String, Option<i64>)>) {
    let mut text = String::from("key,day,amount,note\n");
    let mut records = Vec::new();
    let note = "x".repeat(900);
    for n in 0..40_000i64 {
        let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let key = format!("k{:05}", mixed % 20_000);
        let amount = (n % 1_000 != 7).then_some(n - 20_000);
        let shown = amount.map_or("none".to_owned(), |amount| amount.to_string());
        let _ = writeln!(text, "{key},2024-02-{:02},{shown},{note}", n % 28 + 1);
        records.push((key, amount));
    }
    (text, records)
}

/// Runs a pipeline of these steps with several workers and memories; answers what it wrote.
fn run(sandbox: &Sandbox, steps: &str) -> (String, serde_json::Value) {
    let pipeline = format!(
        r"pipeline: tables
extract:
  - file: in.csv
    columns: {{day: date, amount: int}}
steps:
{steps}
load:
  - file: out/all.parquet
  - file: out/all.csv
rejects: out/rejects.ndjson
report: out/report.json
limits: {{memory: '${{MEMORY}}'}}
"
    );
    sandbox.write("tables.yaml", pipeline);
    let mut before = None;
    for (workers, memory) in [("1", "1GiB"), ("7", "128MiB"), ("2", "1GiB")] {
        let memory = format!("MEMORY={memory}");
        let command = ["run", "tables.yaml", "--quiet", "--workers", workers, "--param", &memory];
        let ran = sandbox.run(&command);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let bytes = (sandbox.bytes("out/all.parquet"), sandbox.text("out/all.csv"));
        assert!(*before.get_or_insert_with(|| bytes.clone()) == bytes, "{workers} {memory}");
    }
    (before.unwrap().1, sandbox.json("out/report.json"))
}

#[test]
fn groups_of_several_chunks() {
    let (text, records) = input();
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", &text);
    let (written, report) = run(
        &sandbox,
        "  - aggregate:
      by: [key]
      columns: {records: count(*), total: sum(amount), earliest: first(amount), longest: max(note)}
  - drop: [longest]
  - validate:
      rules: {total: {min: -1000}}",
    );
    let mut groups: BTreeMap<&str, (u64, i64, i64)> = BTreeMap::new();
    for (key, amount) in &records {
        let Some(amount) = amount else { continue };
        let group = groups.entry(key).or_insert((0, 0, *amount));
        group.0 += 1;
        group.1 += amount;
    }
    let line =
        |(key, (n, total, first)): (&&str, &(u64, i64, i64))| format!("{key},{n},{total},{first}");
    let kept = groups.iter().filter(|(_, group)| group.1 >= -1000).map(line);
    assert!(written.lines().skip(1).eq(kept));

    let rejects = sandbox.json_lines("out/rejects.ndjson");
    let low = groups.values().filter(|group| group.1 < -1000).count();
    assert!(low > 0);
    assert_eq!(rejects.len(), low + 40);
    // Records of the file that were no numbers, then groups that were too low.
    assert_eq!((&rejects[0]["source"], &rejects[0]["line"]), (&"in.csv".into(), &9.into()));
    let place = groups.values().position(|group| group.1 < -1000).unwrap();
    assert_eq!(rejects[40]["source"], "aggregate");
    assert_eq!(rejects[40]["record"], place + 1);
    let account = &report["account"];
    assert_eq!(account["read"], groups.len());
    assert_eq!(account["inserted"], groups.len() - low);
    assert_eq!(account["rejected"], low);
    assert_eq!(report["read"], records.len());
    let step = &report["steps"][1];
    assert_eq!(step["metrics"]["records_in"], records.len() - 40, "{step}");
    assert_eq!(step["metrics"]["records_out"], groups.len());
}

#[test]
fn queries_that_read_their_input_twice_or_not_to_the_end() {
    let (text, records) = input();
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", &text);
    let (written, _) = run(
        &sandbox,
        "  - sql:
      query: |
        SELECT key, amount FROM input AS a
        WHERE amount = (SELECT max(amount) FROM input AS b WHERE b.key = a.key) ORDER BY key",
    );
    let mut most: BTreeMap<&str, i64> = BTreeMap::new();
    for (key, amount) in records.iter().filter_map(|(key, amount)| Some((key, (*amount)?))) {
        let entry = most.entry(key).or_insert(amount);
        *entry = amount.max(*entry);
    }
    let lines = most.iter().map(|(key, amount)| format!("{key},{amount}"));
    assert!(written.lines().skip(1).eq(lines));

    let (written, report) =
        run(&sandbox, "  - sql: {query: 'SELECT amount + 1 AS n FROM input LIMIT 2'}");
    assert_eq!(written, "n\n-19999\n-19998\n");
    assert_eq!(report["read"], records.len());
    assert_eq!(report["rejected"], 40);
}

#[test]
fn records_that_were_sorted_are_still_themselves() {
    let (text, records) = input();
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", &text);
    let (written, report) = run(
        &sandbox,
        "  - sort: {by: [day desc, amount]}
  - window:
      partition_by: [day]
      columns: {place: row_number()}
  - validate:
      rules: {place: {min: 3}}
  - select: [day, amount, place]",
    );
    let lines: Vec<&str> = text.lines().collect();
    let mut sorted: Vec<(i64, i64, usize)> = records
        .iter()
        .enumerate()
        .filter_map(|(n, (_, amount))| Some((-(n as i64 % 28 + 1), (*amount)?, n)))
        .collect();
    sorted.sort_unstable();
    let places = sorted.chunk_by(|a, b| a.0 == b.0).flat_map(|day| day.iter().zip(1..));
    let (rejected, kept): (Vec<_>, Vec<_>) = places.partition(|(_, place)| *place < 3);
    let kept = kept
        .iter()
        .map(|((day, amount, _), place)| format!("2024-02-{:02},{amount},{place}", -day));
    assert!(written.lines().skip(1).eq(kept));
    let rejects = sandbox.json_lines("out/rejects.ndjson");
    let mut found: Vec<u64> = rejects[40..].iter().map(|r| r["line"].as_u64().unwrap()).collect();
    for reject in &rejects[40..] {
        assert_eq!(reject["source"], "in.csv");
        assert_eq!(reject["raw"], lines[reject["line"].as_u64().unwrap() as usize - 1]);
    }
    found.sort_unstable();
    let mut expected: Vec<u64> = rejected.iter().map(|((_, _, n), _)| *n as u64 + 2).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(report["account"]["read"], records.len());
    assert_eq!(report["account"]["rejected"], 40 + 56);
}
