//! Fuzzing: the targets of `fuzz/` on the stable compiler, with libFuzzer and coverage but without
//! sanitizers. They are compiled apart, once more with everything below them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// The targets, and where the texts that they begin with are: every file below, which gets this
/// many bytes that a target takes as settings.
const TARGETS: [(&str, &[&str], usize); 5] = [
    ("csv_index", &["fixtures/csv"], 3),
    ("csv_decode", &["fixtures/csv", "fixtures/dirt"], 4),
    ("json_decode", &["fixtures/json"], 3),
    ("numbers", &[], 0),
    ("parquet_pages", &["fixtures/csv"], 3),
];

/// What the `numbers` target begins with.
const NUMBERS: [&str; 14] = [
    "0",
    "-9223372036854775808",
    "9223372036854775808",
    "+12.50",
    "1e-7",
    "2.2250738585072014e-308",
    "1.7976931348623157e308",
    "1e999",
    "nan",
    "-inf",
    "0.1e+3",
    "2024-02-29",
    "23:59:60",
    "2024-12-31T23:59:59.999999+05:30",
];

/// What the compiler and LLVM are told for libFuzzer to see which code an input reaches.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs `[TARGET] [--seconds N]`, 60 seconds each where nothing is said.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let (mut name, mut seconds) = (None, 60u32);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--seconds" => {
                let number = options.next().context("--seconds takes a number")?;
                seconds = number.parse().context("--seconds takes a number")?;
            }
            target if TARGETS.iter().any(|(known, ..)| *known == target) => name = Some(target),
            other => {
                let known = TARGETS.map(|(known, ..)| known).join(", ");
                bail!("no fuzz target `{other}`: there are {known}");
            }
        }
    }
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = std::path::absolute(folder.join("fuzz"))?;
    // With a `--target`, the flags are not for build scripts.
    let host = host()?;
    let folder_text = folder.to_str().context("the target folder's name is not UTF-8")?;
    cargo::run_with(
        "fuzz targets",
        &[
            "build",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--release",
            "--quiet",
            "--bins",
            "--target",
            &host,
            "--target-dir",
            folder_text,
        ],
        &[("RUSTFLAGS", COVERAGE)],
    )?;
    for (target, texts, settings) in TARGETS {
        if name.is_none_or(|name| name == target) {
            let corpus = folder.join("corpus").join(target);
            seed(&corpus, texts, settings).context("cannot write the seeds")?;
            let binary = folder.join(&host).join("release").join(target);
            fuzz(target, &binary, &corpus, seconds)?;
        }
    }
    Ok(())
}

/// Fuzzes one target. What it finds new stays in the corpus for the next time.
fn fuzz(target: &str, binary: &Path, corpus: &Path, seconds: u32) -> Result<()> {
    eprintln!("── fuzz {target}: {seconds} s");
    let findings = corpus.with_file_name(format!("{target}-findings/"));
    fs::create_dir_all(&findings)?;
    let output = Command::new(binary)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-verbosity=0"])
        .arg(corpus)
        .output()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    bail!(
        "{target} found an input that breaks it; run `{} FILE` to see it again",
        binary.display()
    );
}

/// Puts the fixtures into the corpus, each with two settings: pieces of a few bytes, and large ones.
fn seed(corpus: &Path, folders: &[&str], settings: usize) -> Result<()> {
    fs::create_dir_all(corpus)?;
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for folder in folders {
        files(Path::new(folder), &mut texts)?;
    }
    if folders.is_empty() {
        texts.extend(NUMBERS.map(|text| text.as_bytes().to_vec()));
    }
    for (i, text) in texts.iter().enumerate() {
        for setting in [3u8, 128] {
            let mut bytes = vec![setting; settings];
            bytes.extend_from_slice(text);
            fs::write(corpus.join(format!("seed-{i}-{setting}")), bytes)?;
        }
    }
    Ok(())
}

fn files(folder: &Path, texts: &mut Vec<Vec<u8>>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            files(&entry.path(), texts)?;
        } else {
            texts.push(fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The machine's target triple.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}
