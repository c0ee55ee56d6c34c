//! Measurements of the release build on generated data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{cargo, funds};

/// About as many records of the funds CSV as make a megabyte.
const RECORDS_PER_MB: u64 = 11_000;

pub(crate) fn run(options: &[&str]) -> Result<()> {
    let (name, options) = match options.split_first() {
        Some((name, options)) if !name.starts_with("--") => (*name, options),
        _ => ("growth", options),
    };
    let rows = match options {
        [] => None,
        ["--rows", rows] => Some(rows.parse().context("--rows takes a number")?),
        other => bail!("unknown options `{}`", other.join(" ")),
    };
    cargo::run("build", &["build", "--release", "--package", "gristmill-cli"])?;
    println!(
        "{:>12} {:>10} {:>9} {:>12} {:>12} {:>10}",
        "records", "input", "seconds", "records/s", "peak memory", "rejected"
    );
    match name {
        "growth" => {
            for megabytes in [10, 100, 1000] {
                measure(megabytes * RECORDS_PER_MB)?;
            }
            Ok(())
        }
        "w1" => measure(rows.unwrap_or(10_000_000)),
        other => bail!("unknown bench `{other}`; there are growth and w1"),
    }
}

/// Runs the main path over so many records, and prints what the run says of itself.
fn measure(rows: u64) -> Result<()> {
    let folder = std::env::temp_dir().join("gristmill-bench");
    let output = folder.join("out");
    fs::create_dir_all(&folder)?;
    let input = folder.join(format!("funds-{rows}.csv"));
    if !input.exists() {
        let unfinished = input.with_extension("tmp");
        funds::write(rows, &unfinished)?;
        fs::rename(&unfinished, &input)?;
    }
    if output.exists() {
        fs::remove_dir_all(&output)?;
    }
    let status = Command::new(binary()?)
        .args(["run", "xtask/bench/w1.yaml", "--quiet"])
        .arg("--state")
        .arg(folder.join("state"))
        .arg("--param")
        .arg(format!("INPUT={}", input.display()))
        .arg("--param")
        .arg(format!("OUTPUT={}", output.display()))
        .status()
        .context("cannot start the release build")?;
    if !status.success() {
        bail!("the run failed");
    }
    let report: Value = serde_json::from_slice(&fs::read(output.join("report.json"))?)?;
    let number = |name: &str| report[name].as_f64().unwrap_or_default();
    let records = number("read");
    if records as u64 != rows {
        bail!("{rows} records were written and {records} read");
    }
    let size = fs::metadata(&input)?.len();
    println!(
        "{:>12} {:>7} MB {:>9.2} {:>12.0} {:>9.0} MB {:>10}",
        records,
        size / 1_000_000,
        number("seconds"),
        records / number("seconds"),
        number("peak_memory_bytes") / 1e6,
        number("rejected"),
    );
    Ok(())
}

fn binary() -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let binary = Path::new(&target).join("release").join("gristmill");
    if !binary.exists() {
        bail!("{} is not there", binary.display());
    }
    Ok(binary)
}
