//! What the compiler does not check: layers, module docs, file length, versions, registry examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

/// What each crate of the workspace may depend on within the workspace. Dependencies point down.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("format", &["core"]),
    ("database", &["core"]),
    ("parallel", &["core"]),
    ("extract", &["core", "format", "database", "parallel"]),
    ("validate", &["core", "parallel"]),
    ("transform", &["core", "parallel"]),
    ("load", &["core", "format", "database", "parallel"]),
    ("pipeline", &["core", "format", "parallel", "extract", "validate", "transform", "load"]),
    ("cli", &["core", "parallel", "pipeline"]),
    // Of tests only: no crate may depend on it otherwise.
    ("scratch", &["database"]),
];

/// Crates whose users must not pay for these packages.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("core", &["datafusion", "rusqlite", "parquet", "tokio"]),
    ("format", &["datafusion", "rusqlite"]),
    ("database", &["datafusion", "rusqlite", "parquet"]),
    ("parallel", &["datafusion", "rusqlite", "parquet"]),
    ("extract", &["datafusion"]),
    ("validate", &["datafusion", "rusqlite", "parquet"]),
    ("transform", &["rusqlite"]),
    ("load", &["datafusion"]),
];

/// Packages of which the graph holds one version.
const ONE_VERSION: &[&str] = &["arrow-schema", "arrow-array", "parquet", "libsqlite3-sys"];

/// A file beyond this many lines without its tests asks to be split.
const MAX_LINES: usize = 500;

pub(crate) fn run() -> Result<()> {
    eprintln!("── tidy");
    let mut findings = Vec::new();
    layers(&mut findings)?;
    let mut sources = Vec::new();
    for folder in ["crates", "xtask", "tests"] {
        rust_files(Path::new(folder), &mut sources)?;
    }
    for path in &sources {
        let text = fs::read_to_string(path)?;
        module_docs(path, &text, &mut findings);
        length(path, &text, &mut findings);
    }
    fixtures(&mut findings)?;
    crate::generate::examples(&mut findings);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    bail!("{} untidy places", findings.len())
}

/// Edges between our crates, packages kept out of some, and packages of which there is one version.
fn layers(findings: &mut Vec<String>) -> Result<()> {
    let output = cargo::command()
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let graph = Graph::new(&metadata);
    // `cargo run` must know what to run: the README's first command depends on it.
    if graph.default_members != ["gristmill-cli"] {
        findings.push("`default-members` in Cargo.toml must be the command alone".to_owned());
    }
    for (name, allowed) in LAYERS {
        let package = format!("gristmill-{name}");
        for dependency in graph.normal(&package) {
            let Some(inner) = dependency.strip_prefix("gristmill-") else { continue };
            if !allowed.contains(&inner) {
                findings.push(format!("crates/{name} depends on `{inner}`, which is not below it"));
            }
        }
    }
    for member in graph.members.iter().filter_map(|name| name.strip_prefix("gristmill-")) {
        if !LAYERS.iter().any(|(name, _)| *name == member) && member != "tests" {
            findings.push(format!("crates/{member} has no layer in xtask/src/tidy.rs"));
        }
    }
    for (name, packages) in KEPT_OUT {
        let below = graph.below(&format!("gristmill-{name}"));
        for package in *packages {
            let found = below.iter().find(|below| {
                *below == package || (*package == "datafusion" && below.starts_with("datafusion-"))
            });
            if let Some(found) = found {
                findings.push(format!("crates/{name} pulls in `{found}`"));
            }
        }
    }
    for package in ONE_VERSION {
        let versions = graph.versions.get(*package).map_or(0, BTreeSet::len);
        if versions > 1 {
            findings.push(format!("the graph holds {versions} versions of `{package}`"));
        }
    }
    Ok(())
}

/// Normal dependencies by package name.
struct Graph {
    members: BTreeSet<String>,
    default_members: Vec<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
    versions: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn new(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut names = BTreeMap::new();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            let name = text(&package["name"]);
            versions.entry(name.clone()).or_default().insert(text(&package["version"]));
            names.insert(text(&package["id"]), name);
        }
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = names.get(&text(&node["id"])).cloned().unwrap_or_default();
            for dependency in list(&node["deps"]) {
                let normal =
                    list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
                if normal && let Some(to) = names.get(&text(&dependency["pkg"])) {
                    edges.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        let named = |key: &str| {
            let ids = list(&metadata[key]);
            ids.iter().filter_map(|id| names.get(&text(id)).cloned()).collect::<Vec<_>>()
        };
        let members = named("workspace_members").into_iter().collect();
        let default_members = named("workspace_default_members");
        Self { members, default_members, edges, versions }
    }

    fn normal(&self, package: &str) -> BTreeSet<String> {
        self.edges.get(package).cloned().unwrap_or_default()
    }

    fn below(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![package.to_owned()];
        while let Some(next) = open.pop() {
            for dependency in self.normal(&next) {
                if found.insert(dependency.clone()) {
                    open.push(dependency);
                }
            }
        }
        found
    }
}

fn module_docs(path: &Path, text: &str, findings: &mut Vec<String>) {
    let is_test = path.components().any(|part| part.as_os_str() == "tests");
    if !is_test && !text.starts_with("//!") {
        findings.push(format!("{} does not open with `//!`", path.display()));
    }
}

fn length(path: &Path, text: &str, findings: &mut Vec<String>) {
    if path.components().any(|part| part.as_os_str() == "tests") {
        return;
    }
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if lines > MAX_LINES {
        findings.push(format!("{} has {lines} lines without its tests; split it", path.display()));
    }
}

/// Every topic of fixtures says where its data is from.
fn fixtures(findings: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir("fixtures")? {
        let path = entry?.path();
        if path.is_dir() && !path.join("README.md").exists() {
            findings
                .push(format!("{} has no README.md saying where the data is from", path.display()));
        }
    }
    Ok(())
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut entries: Vec<_> = entries.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
