//! `gristmill convert`: every format to every other, and back.

use gristmill_tests::Sandbox;

use crate::assert_shown;

const CSV: &str = "id,code,price,day,at,open,note\n\
    1,007,12.50,2024-01-31,2024-01-31T10:00:00,true,plain\n\
    2,008,-3,2024-02-29,2024-02-29T23:59:59.5,false,\"with, comma and \"\"quotes\"\"\"\n\
    3,010,0.1,,,,\"two\nlines\"\n";

#[test]
fn values_survive_every_format() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", CSV);
    let mut from = "in.csv".to_owned();
    for (step, to) in [
        "a.parquet",
        "b.arrow",
        "c.ndjson",
        "d.json",
        "e.csv.gz",
        "f.ndjson.zst",
        "g.csv.bz2",
        "h.parquet",
        "i.csv.lz4",
        "out.csv",
    ]
    .iter()
    .enumerate()
    {
        let ran = sandbox.run(&["convert", &from, to]);
        assert_eq!(ran.code, Some(0), "step {step}, {from} to {to}: {}", ran.stderr);
        from = (*to).to_owned();
    }
    let text = sandbox.text("out.csv");
    let lines: Vec<_> = text.split('\n').collect();
    assert_eq!(lines[0], "id,code,price,day,at,open,note");
    // 007 is a code, not a number; -3 is a number with others that have a fraction.
    assert_eq!(lines[1], "1,007,12.5,2024-01-31,2024-01-31T10:00:00,true,plain");
    assert_eq!(
        lines[2],
        "2,008,-3.0,2024-02-29,2024-02-29T23:59:59.5,false,\"with, comma and \"\"quotes\"\"\""
    );
    assert_eq!(lines[3], "3,010,0.1,,,,\"two");
}

#[test]
fn types_come_from_the_whole_input() {
    let sandbox = Sandbox::new();
    let mut text = String::from("n\n");
    for n in 0..20_000 {
        text += &format!("{n}\n");
    }
    sandbox.write("in.csv", text + "n/a\n");
    let ran = sandbox.run(&["convert", "in.csv", "out.ndjson"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines = sandbox.json_lines("out.ndjson");
    assert_eq!(lines.len(), 20_001);
    assert_eq!(lines[0]["n"], "0");
    assert_eq!(lines[20_000]["n"], "n/a");
}

#[test]
fn a_pipe_to_a_pipe() {
    let sandbox = Sandbox::new();
    let ran =
        sandbox.pipe(&["convert", "--from", "csv", "--to", "ndjson", "-", "-"], CSV.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let first = ran.stdout.lines().next().unwrap();
    assert_eq!(
        first,
        r#"{"id":1,"code":"007","price":12.5,"day":"2024-01-31","at":"2024-01-31T10:00:00","open":true,"note":"plain"}"#
    );
    assert!(!sandbox.path().join(".gristmill").exists(), "a conversion leaves no ledger behind");
}

#[test]
fn a_record_that_cannot_be_read_ends_it_unless_rejects_are_wanted() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", "a,b\n1,2\n1,2,3\n3,4\n");
    let ran = sandbox.run(&["convert", "in.csv", "out.parquet"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(!sandbox.path().join("out.parquet").exists());
    let ran = sandbox.run(&["convert", "in.csv", "out.parquet", "--rejects", "bad.ndjson"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(sandbox.json_lines("bad.ndjson")[0]["raw"], "1,2,3");
}

#[test]
fn half_a_compressed_file_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", CSV.repeat(2000));
    for ending in ["gz", "zst", "bz2", "lz4"] {
        let whole = format!("whole.csv.{ending}");
        assert_eq!(
            sandbox.run(&["convert", "--strings", "in.csv", &whole, "--rejects", "r"]).code,
            Some(0)
        );
        let mut bytes = sandbox.bytes(&whole);
        bytes.truncate(bytes.len() / 2);
        let half = format!("half.csv.{ending}");
        sandbox.write(&half, bytes);
        let ran = sandbox.run(&["convert", &half, "out.parquet"]);
        assert_eq!(ran.code, Some(1), "{ending}: {}", ran.stderr);
        assert!(ran.stderr.contains(&half), "{}", ran.stderr);
        assert!(!sandbox.path().join("out.parquet").exists());
    }
}

#[test]
fn what_cannot_be_converted_is_said_in_the_words_of_the_command() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", "a,b\n1,2\n1,2,3\n");
    for (name, code, arguments) in [
        ("input_without_a_format", 2, &["-", "out.csv"][..]),
        ("output_without_a_format", 2, &["in.csv", "out.dat"]),
        ("unknown_format", 2, &["in.csv", "out.dat", "--to", "excel"]),
        ("into_itself", 2, &["in.csv", "./in.csv"]),
        ("missing_input", 1, &["im.csv", "out.csv"]),
        ("unreadable_record", 3, &["in.csv", "out.csv"]),
    ] {
        let ran = sandbox.run(&[&["convert"], arguments].concat());
        assert_eq!(ran.code, Some(code), "{name}: {}", ran.stderr);
        assert_shown!(format!("convert_{name}"), sandbox, ran);
    }
    assert_eq!(sandbox.files(), ["in.csv"]);
}
