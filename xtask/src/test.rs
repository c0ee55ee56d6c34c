//! All tests: unit, integration and whole-command tests by nextest, then the doc examples.

use anyhow::{Context, Result, bail};
use gristmill_format::Level;

use crate::cargo;

/// Runs them; with filters, only the tests whose names contain one of them.
pub(crate) fn run(filters: &[&str]) -> Result<()> {
    let nextest = ensure_nextest()?;
    // The whole-command tests run the binary itself.
    cargo::run("build the command", &["build", "--package", "gristmill-cli"])?;
    let mut arguments = if nextest {
        vec!["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"]
    } else {
        vec!["test", "--workspace", "--all-targets", "--no-fail-fast", "--quiet"]
    };
    arguments.extend(filters);
    if filters.is_empty() {
        cargo::run("doc examples", &["test", "--workspace", "--doc", "--quiet"])?;
    }
    cargo::run("tests", &arguments)?;
    if filters.is_empty() {
        every_level(nextest)?;
    }
    eprintln!("no suite was skipped");
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
    if std::env::var_os("CI").is_some() {
        bail!("cargo-nextest could not be installed");
    }
    eprintln!("cargo-nextest could not be installed; `cargo test` runs the tests instead");
    Ok(false)
}
