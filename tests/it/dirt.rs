//! Every kind of dirt in `fixtures/dirt`: what is loaded, what is rejected and why, what is said.
//!
//! `UPDATE_FIXTURES=1` writes what comes out into the fixtures, to be read before it is kept.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use gristmill_tests::{Sandbox, root};

/// Runs a case and compares all that it shows with the fixture.
fn check(case: &Path) -> Vec<String> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let sandbox = Sandbox::copy(&format!("fixtures/dirt/{name}"));
    let own = case.join("pipeline.yaml");
    let shared = root().join("fixtures/dirt/pipeline.yaml");
    sandbox.write("pipeline.yaml", fs::read(own).or_else(|_| fs::read(shared)).unwrap());
    for expected in ["out.ndjson", "rejects.txt", "said.txt"] {
        let _ = fs::remove_file(sandbox.path().join(expected));
    }
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    let files = sandbox.files();
    let has = |file: &str| files.iter().any(|name| name == file);
    let mut shown = crate::shown(&sandbox, &ran);
    for (pattern, replacement) in crate::filters() {
        shown = regex::Regex::new(pattern).unwrap().replace_all(&shown, replacement).into_owned();
    }
    let outputs = [
        ("said.txt", Some(shown)),
        ("out.ndjson", has("out.ndjson").then(|| sandbox.text("out.ndjson"))),
        ("rejects.txt", has("rejects.ndjson").then(|| rejects(&sandbox))),
    ];
    let mut wrong = Vec::new();
    for (file, found) in outputs {
        let path = case.join(file);
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            match &found {
                Some(found) => fs::write(&path, found).unwrap(),
                None => drop(fs::remove_file(&path)),
            }
        }
        let expected = fs::read_to_string(&path).ok();
        if expected != found {
            wrong.push(format!("{name}/{file}: expected\n{expected:?}\nfound\n{found:?}"));
        }
    }
    wrong
}

/// Rejects as a person compares them: where, the raw text, and each reason with its value.
fn rejects(sandbox: &Sandbox) -> String {
    let mut out = String::new();
    for reject in sandbox.json_lines("rejects.ndjson") {
        let text = |key: &str| reject[key].as_str().unwrap().to_owned();
        let (source, stage) = (text("source"), text("stage"));
        let (line, record) = (&reject["line"], &reject["record"]);
        let _ = writeln!(out, "{source}:{line} record {record} ({stage}) {}", reject["raw"]);
        for error in reject["errors"].as_array().unwrap() {
            let field = error["field"].as_str().unwrap_or("record");
            let (rule, message) = (error["rule"].as_str(), error["message"].as_str());
            let (rule, message) = (rule.unwrap(), message.unwrap());
            let _ = writeln!(out, "    {field} {rule}: {message}; value {}", error["value"]);
        }
    }
    out
}

#[test]
fn every_case_comes_out_as_it_says() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(root().join("fixtures/dirt")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases += 1;
            wrong.extend(check(&path));
        }
    }
    assert!(cases >= 15, "only {cases} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_field_of_100_mb_costs_its_record() {
    let sandbox = Sandbox::new();
    let shared = root().join("fixtures/dirt/pipeline.yaml");
    sandbox.write("pipeline.yaml", fs::read(shared).unwrap());
    let mut input = File::create(sandbox.path().join("in.csv")).unwrap();
    input.write_all(b"key,name,day,amount\nK1,Ada,2024-01-31,1.50\nK2,\"").unwrap();
    let part = [b'x'; 1 << 20];
    for _ in 0..100 {
        input.write_all(&part).unwrap();
    }
    input.write_all(b"\",2024-01-31,2.50\nK3,Cy,2024-01-31,3.50\n").unwrap();
    drop(input);
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let keys: Vec<_> = sandbox.json_lines("out.ndjson").iter().map(|r| r["key"].clone()).collect();
    assert_eq!(keys, ["K1", "K3"]);
    let rejects = sandbox.json_lines("rejects.ndjson");
    assert_eq!(rejects.len(), 1);
    let reject = &rejects[0];
    assert_eq!((reject["record"].as_u64(), reject["line"].as_u64()), (Some(2), Some(3)));
    assert_eq!(reject["errors"][0]["rule"], "record_size");
    // The rejects file keeps the beginning, and says how long the record was.
    assert_eq!(reject["truncated"], true);
    assert_eq!(reject["length"].as_u64(), Some(3 + 2 + (100 << 20) + 16));
    let raw = reject["raw"].as_str().unwrap();
    assert!(raw.starts_with("K2,\"xxx") && raw.len() <= 1 << 20, "{} bytes", raw.len());
}
