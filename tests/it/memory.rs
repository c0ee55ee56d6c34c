//! `limits.memory` holds, whatever the input is like: the peak of the whole process stays below it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use gristmill_tests::Sandbox;
use serde_json::Value;

const LIMIT: u64 = 128 << 20;

/// What the command takes more when it is not optimised, as it is here: it is three times as large,
/// and resident in part.
const UNOPTIMISED: u64 = if cfg!(debug_assertions) { 16 << 20 } else { 0 };

/// The same again where a query is planned, whose code is most of the command's.
const PLANNED: u64 = UNOPTIMISED;

/// Runs a pipeline from `in.EXT` to each destination of its own, in one run each, and answers the
/// last report.
fn run(sandbox: &Sandbox, input: &str, columns: &str, destinations: &[&str], memory: u64) -> Value {
    run_within(memory, sandbox, input, columns, destinations, memory)
}

/// As [`run`], with a peak of up to `allowed` bytes.
fn run_within(
    allowed: u64,
    sandbox: &Sandbox,
    input: &str,
    columns: &str,
    destinations: &[&str],
    memory: u64,
) -> Value {
    let mut report = Value::Null;
    for destination in destinations {
        let pipeline = format!(
            "pipeline: bounded\nextract: [{{file: {input}{columns}}}]\nload: [{destination}]\n\
             rejects: rejects.ndjson\nreport: report.json\nlimits: {{memory: {memory}, workers: 4}}\n"
        );
        sandbox.write("p.yaml", &pipeline);
        let ran = sandbox.run(&["run", "p.yaml"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        report = sandbox.json("report.json");
        let peak = report["peak_memory_bytes"].as_u64().unwrap();
        assert!(peak <= allowed + UNOPTIMISED, "{input} to {destination} took {} MiB", peak >> 20);
    }
    report
}

fn file(sandbox: &Sandbox, name: &str, write: impl FnOnce(&mut BufWriter<File>)) {
    let mut out = BufWriter::new(File::create(sandbox.path().join(name)).unwrap());
    write(&mut out);
    out.flush().unwrap();
}

const FILES: [&str; 3] = ["{file: out.parquet}", "{file: out.csv}", "{file: out.ndjson}"];
const TABLE: &str = "{table: t, database: 'sqlite://out.db', mode: replace}";

#[test]
fn of_many_rejects() {
    let sandbox = Sandbox::new();
    file(&sandbox, "in.csv", |out| {
        writeln!(out, "id,name,amount").unwrap();
        for id in 0..600_000 {
            let amount = if id % 2 == 0 { "1.5" } else { "oops" };
            writeln!(out, "{id},name number {},{amount}", id % 977).unwrap();
        }
    });
    let columns = ", columns: {amount: double}";
    let report = run(&sandbox, "in.csv", columns, &["{file: out.parquet}"], LIMIT);
    assert_eq!(report["rejected"], 300_000);
}

#[test]
fn of_many_columns() {
    let sandbox = Sandbox::new();
    let row = |row: usize, key: bool| {
        let mut text = String::new();
        for column in 0..5_000 {
            if column > 0 {
                text.push(',');
            }
            if key {
                let _ = write!(text, "\"c{column}\":");
            }
            let _ = write!(text, "{}", (row * 7_919 + column * 31) % 100_000);
        }
        text
    };
    file(&sandbox, "in.csv", |out| {
        let names: Vec<_> = (0..5_000).map(|column| format!("c{column}")).collect();
        writeln!(out, "{}", names.join(",")).unwrap();
        (0..600).for_each(|at| writeln!(out, "{}", row(at, false)).unwrap());
    });
    file(&sandbox, "in.ndjson", |out| {
        (0..300).for_each(|at| writeln!(out, "{{{}}}", row(at, true)).unwrap());
    });
    // What a column costs however few its values, 5,000 times over in each chunk, is not counted.
    for input in ["in.csv", "in.ndjson"] {
        run_within(2 * LIMIT, &sandbox, input, "", &FILES, LIMIT);
    }
}

#[test]
fn of_long_records_and_one_that_is_too_long() {
    let sandbox = Sandbox::new();
    let long = "lorem ipsum dolor ".repeat(333_000); // 6 MB
    file(&sandbox, "in.csv", |out| {
        writeln!(out, "id,text").unwrap();
        for id in 0..8 {
            // One has 30 MB.
            let text = long.repeat(if id == 5 { 5 } else { 1 });
            writeln!(out, "{id},\"{text}\"").unwrap();
        }
    });
    let mut destinations = FILES.to_vec();
    destinations.push(TABLE);
    let report = run(&sandbox, "in.csv", "", &destinations, LIMIT);
    assert_eq!(report["read"], 8);
    assert_eq!(report["rejected"], 1);
    let notes = report["notes"].as_array().unwrap();
    let note = notes.iter().find_map(|note| note.as_str().filter(|note| note.contains("limits")));
    let note = note.unwrap();
    assert!(note.starts_with("records longer than 6.4 MiB were rejected"), "{note}");
}

#[test]
fn of_a_document_in_one_line_and_the_same_bytes_with_more_memory() {
    let sandbox = Sandbox::new();
    file(&sandbox, "in.json", |out| {
        write!(out, "[").unwrap();
        for id in 0..300_000 {
            let comma = if id > 0 { "," } else { "" };
            let tag = id % 5;
            let name = id % 977;
            write!(out, "{comma}{{\"id\":{id},\"name\":\"name {name}\",\"tags\":[\"a\",\"b{tag}\"],\"sub\":{{\"x\":{id},\"y\":null}}}}").unwrap();
        }
        write!(out, "]").unwrap();
    });
    let load = ["{file: out.parquet}, {file: out.ndjson}"];
    run(&sandbox, "in.json", "", &load, LIMIT);
    let read = |name| sandbox.bytes(name);
    let few = [read("out.parquet"), read("out.ndjson")];
    run(&sandbox, "in.json", "", &load, 1 << 30);
    assert!(few == [read("out.parquet"), read("out.ndjson")], "memory changed the output");
}

#[test]
fn of_steps_that_remember_and_the_same_bytes_with_more_memory() {
    let sandbox = Sandbox::new();
    file(&sandbox, "in.csv", |out| {
        writeln!(out, "id,key,amount,note").unwrap();
        for id in 0..350_000u64 {
            let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let (key, amount) = (mixed % 60_000, mixed % 1_000);
            writeln!(
                out,
                "{id},key number {key},{amount}.5,a note on {mixed} that takes some room"
            )
            .unwrap();
        }
    });
    for step in [
        "window: {partition_by: [key], order_by: [amount, id], columns: {total: sum(amount), before: lag(note)}}",
        "dedupe: {keys: [key], keep: last}",
    ] {
        let columns = format!(", columns: {{id: int, amount: double}}}}]\nsteps: [{{{step}}}]\n#");
        let to = ["{file: out.parquet}"];
        run_within(LIMIT + PLANNED, &sandbox, "in.csv", &columns, &to, LIMIT);
        let little = sandbox.bytes("out.parquet");
        run(&sandbox, "in.csv", &columns, &to, 1 << 30);
        assert!(little == sandbox.bytes("out.parquet"), "memory changed the output of {step}");
    }
}

#[test]
fn too_little_is_a_mistake() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", "a\n1\n");
    for command in ["check", "run"] {
        sandbox.write(
            "p.yaml",
            "pipeline: p\nextract: [{file: in.csv}]\nload: [{file: out.csv}]\nlimits: {memory: 1B}\n",
        );
        let ran = sandbox.run(&[command, "p.yaml"]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains("no run fits into 1 B"), "{}", ran.stderr);
        assert!(ran.stderr.contains("give it 128 MiB or more"), "{}", ran.stderr);
    }
}
