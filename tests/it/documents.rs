//! What the README shows is what happens.

use std::collections::BTreeSet;
use std::fs;

use gristmill_tests::{Sandbox, root};
use regex::Regex;

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let pattern = format!("(?ms)^```{language}\n(.*?)^```$");
    let found = Regex::new(&pattern).unwrap();
    found.captures_iter(text).map(|block| block[1].to_owned()).collect()
}

fn filtered(text: &str) -> String {
    crate::filters().into_iter().fold(text.to_owned(), |text, (pattern, replacement)| {
        Regex::new(pattern).unwrap().replace_all(&text, replacement).into_owned()
    })
}

#[test]
fn the_pipeline_passes_the_check() {
    let pipelines = blocks(&readme(), "yaml");
    assert!(!pipelines.is_empty());
    for pipeline in pipelines {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", &pipeline);
        let ran = sandbox.run(&["check", "--offline", "pipeline.yaml"]);
        assert_eq!(ran.code, Some(0), "{pipeline}\n{}", ran.stderr);
    }
}

#[test]
fn the_first_command_says_what_is_shown() {
    let readme = readme();
    let commands = blocks(&readme, "console").concat();
    assert!(commands.contains("cargo run --release -- run examples/funds/pipeline.yaml\n"));
    let sandbox = Sandbox::new();
    sandbox.add("examples/funds");
    let ran = sandbox.run(&["run", "examples/funds/pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let shown = blocks(&readme, "text");
    assert!(shown.iter().any(|block| filtered(block) == filtered(&ran.stderr)), "{}", ran.stderr);
    for output in ["funds.parquet", "warehouse.db", "rejects.ndjson", "report.json"] {
        assert!(sandbox.path().join("examples/funds/out").join(output).exists(), "{output}");
    }

    // The reject that is shown has the keys that rejects have.
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let shown: serde_json::Value = serde_json::from_str(&blocks(&readme, "json")[0]).unwrap();
    let written = &sandbox.json_lines("examples/funds/out/rejects.ndjson")[0];
    assert_eq!(keys(&shown), keys(written));
    assert_eq!(keys(&shown["errors"][0]), keys(&written["errors"][0]));
}

#[test]
fn every_command_is_there() {
    let readme = readme();
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["--help"]).stdout;
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // A line that goes on has more blanks before it.
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let commands: BTreeSet<&str> =
        commands.lines().filter(begins).filter_map(|line| line.split_whitespace().next()).collect();
    let rows: String = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for command in &commands {
        let named = rows.contains(&format!("gristmill {command}"))
            || rows.contains(&format!("`{command} "));
        assert!(named || *command == "help", "`{command}` is not in the README's table");
    }
    let mentioned = Regex::new(r"`gristmill ([a-z]+)").unwrap();
    for mention in mentioned.captures_iter(&readme) {
        assert!(commands.contains(&mention[1]), "there is no command `{}`", &mention[1]);
    }
    let options = Regex::new(r"`(--[a-z-]+)").unwrap();
    let all_help: String = commands
        .iter()
        .map(|command| sandbox.run(&[command, "--help"]).stdout)
        .chain([sandbox.run(&["rejects", "replay", "--help"]).stdout])
        .chain([sandbox.run(&["quality", "check", "--help"]).stdout])
        .collect();
    for option in options.captures_iter(&readme) {
        assert!(all_help.contains(&option[1]), "there is no option `{}`", &option[1]);
    }
}

#[test]
fn every_example_is_named_and_passes_the_check() {
    let readme = readme();
    let sandbox = Sandbox::new();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let entry = entry.unwrap();
        let name = format!("examples/{}", entry.file_name().to_string_lossy());
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
        let pipeline = entry.path().join("pipeline.yaml").display().to_string();
        let ran = sandbox.run(&["check", "--offline", &pipeline]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    for name in Regex::new(r"`(examples/[a-z]+)`").unwrap().captures_iter(&readme) {
        assert!(root().join(&name[1]).exists(), "{} is not there", &name[1]);
    }
}
