//! Generated files: the option reference and the JSON schema, from the doc comments of the options.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gristmill_pipeline::execute::registry;

/// Whether files are written or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

pub(crate) fn run(mode: Mode) -> Result<()> {
    eprintln!("── gen");
    let schema = serde_json::to_string_pretty(&registry().json_schema())? + "\n";
    let files =
        [("docs/reference.md", registry().reference()), ("docs/pipeline.schema.json", schema)];
    let mut stale = Vec::new();
    for (path, content) in files {
        let current = fs::read_to_string(path).unwrap_or_default();
        if current == content {
            continue;
        }
        match mode {
            Mode::Check => stale.push(path),
            Mode::Write => {
                let folder = Path::new(path).parent().unwrap_or(Path::new("."));
                fs::create_dir_all(folder)?;
                fs::write(path, content).with_context(|| format!("cannot write {path}"))?;
                eprintln!("wrote {path}");
            }
        }
    }
    if !stale.is_empty() {
        bail!("{} not current; run `cargo xtask gen`", stale.join(" and "));
    }
    Ok(())
}

/// Every registry entry's example must pass the check of pipeline files.
pub(crate) fn examples(findings: &mut Vec<String>) {
    for (name, problem) in registry().broken_examples() {
        findings.push(format!("the example of `{name}` does not pass the check: {problem}"));
    }
}
