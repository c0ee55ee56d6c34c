//! All tests: unit, integration and whole-command tests by nextest, the suites that need something
//! from the machine, then the doc examples.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gristmill_format::Level;

use crate::servers::{self, Durable, KINDS, Server};
use crate::{cargo, provide};

/// Tests that need something beside Rust. They are marked `#[ignore]`, so that `cargo test` counts
/// them as ignored where it does not have it.
struct Suite {
    /// The test module, in whichever crates.
    module: &'static str,
    /// What it shows.
    about: &'static str,
    /// The environment variable that says where the needed thing is.
    variable: &'static str,
    /// Finds or installs it. What the variable says already comes first.
    provide: fn() -> Result<PathBuf>,
}

const SUITES: [Suite; 1] = [Suite {
    module: "peers",
    about: "Parquet files as pyarrow, Polars and DuckDB read them",
    variable: "GRISTMILL_PYTHON",
    provide: provide::python,
}];

impl Suite {
    /// Whether a filter is about this suite: `peers` or `peers::name`.
    fn is_named_by(&self, filter: &str) -> bool {
        filter == self.module || filter.starts_with(&format!("{}::", self.module))
    }

    fn needed(&self) -> Result<PathBuf> {
        match env::var_os(self.variable) {
            Some(given) => Ok(given.into()),
            None => (self.provide)(),
        }
    }

    fn run(&self, nextest: bool, filters: &[&str], needed: &Path) -> Result<()> {
        let mut arguments = if nextest { NEXTEST.to_vec() } else { CARGO_TEST.to_vec() };
        let module = format!("{}::", self.module);
        let mut filters: Vec<&str> =
            filters.iter().copied().filter(|filter| filter.starts_with(&module)).collect();
        if filters.is_empty() {
            filters.push(&module);
        }
        arguments.extend(["--", "--ignored"]);
        arguments.append(&mut filters);
        let needed = needed.to_str().context("its path is not UTF-8")?;
        cargo::run_with(self.about, &arguments, &[(self.variable, needed)])
    }
}

const NEXTEST: [&str; 6] =
    ["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"];
const CARGO_TEST: [&str; 5] = ["test", "--workspace", "--all-targets", "--no-fail-fast", "--quiet"];

/// Runs them; with filters, only the tests whose names contain one of them. A suite that needs
/// something runs when there is no filter, or when one names its module. Tests that need a
/// database find it by its variable, and do nothing without.
pub(crate) fn run(filters: &[&str]) -> Result<()> {
    let nextest = ensure_nextest()?;
    // The whole-command tests run the binary itself.
    cargo::run("build the command", &["build", "--package", "gristmill-cli"])?;
    let (named, plain): (Vec<&str>, Vec<&str>) = filters
        .iter()
        .copied()
        .partition(|filter| SUITES.iter().any(|suite| suite.is_named_by(filter)));
    let mut skipped = Vec::new();
    let mut suites = Vec::new();
    for suite in &SUITES {
        if filters.is_empty() || named.iter().any(|filter| suite.is_named_by(filter)) {
            match suite.needed() {
                Ok(needed) => suites.push((suite, needed)),
                Err(error) => skipped.push(format!("skipped: {}: {error:#}", suite.about)),
            }
        }
    }
    let mut servers = Vec::new();
    if filters.is_empty() || !plain.is_empty() {
        for kind in &KINDS {
            match servers::find(kind, Durable::No) {
                Ok(server) => servers.push(server),
                Err(error) => skipped.push(format!("skipped: tests with {}: {error:#}", kind.name)),
            }
        }
    }
    let outcome = run_all(nextest, filters.is_empty(), &named, &plain, &suites, &servers);
    drop(servers);
    for line in &skipped {
        eprintln!("{line}");
    }
    outcome?;
    if !skipped.is_empty() && env::var_os("CI").is_some() {
        bail!("with CI set, no suite may be skipped");
    }
    if skipped.is_empty() && filters.is_empty() {
        eprintln!("no suite was skipped");
    }
    Ok(())
}

fn run_all(
    nextest: bool,
    all: bool,
    named: &[&str],
    plain: &[&str],
    suites: &[(&Suite, PathBuf)],
    servers: &[Server],
) -> Result<()> {
    if all {
        cargo::run("doc examples", &["test", "--workspace", "--doc", "--quiet"])?;
    }
    if all || !plain.is_empty() {
        let mut arguments = if nextest { NEXTEST.to_vec() } else { CARGO_TEST.to_vec() };
        arguments.extend(plain);
        let environment: Vec<_> =
            servers.iter().map(|server| (server.variable, server.url.as_str())).collect();
        cargo::run_with("tests", &arguments, &environment)?;
    }
    for (suite, needed) in suites {
        suite.run(nextest, named, needed)?;
    }
    if all {
        every_level(nextest)?;
    }
    Ok(())
}

/// The codecs and commands that read with them once more, for each level of SIMD instructions that
/// the machine has beside the one that it uses by itself.
fn every_level(nextest: bool) -> Result<()> {
    const CODECS: &str =
        "package(gristmill-format) | (package(gristmill-tests) & test(/^(dirt|same)::/))";
    let arguments: &[&str] = if nextest {
        &["nextest", "run", "--workspace", "--status-level", "fail", "--filterset", CODECS]
    } else {
        &["test", "--workspace", "--all-targets", "--quiet", "--", "csv", "json", "dirt", "same"]
    };
    for level in Level::supported().filter(|level| *level != Level::detect()) {
        let environment = [("GRISTMILL_SIMD", level.name())];
        cargo::run_with(&format!("tests, SIMD level {}", level.name()), arguments, &environment)?;
    }
    Ok(())
}

/// Installs cargo-nextest where it is missing. Where that fails, cargo's own runner does.
fn ensure_nextest() -> Result<bool> {
    let works = |arguments: &[&str]| -> Result<bool> {
        let output = cargo::command().args(arguments).output().context("cannot start cargo")?;
        Ok(output.status.success())
    };
    if works(&["nextest", "--version"])? {
        return Ok(true);
    }
    eprintln!("cargo-nextest is missing; installing it (a few minutes, once)");
    let installed = cargo::command()
        .args(["install", "cargo-nextest", "--locked"])
        .status()
        .context("cannot start cargo")?;
    if installed.success() && works(&["nextest", "--version"])? {
        return Ok(true);
    }
    if env::var_os("CI").is_some() {
        bail!("cargo-nextest could not be installed");
    }
    eprintln!("cargo-nextest could not be installed; `cargo test` runs the tests instead");
    Ok(false)
}
