//! The project's own commands: `cargo xtask <command>`.

mod bench;
mod cargo;
mod data;
mod fuzz;
mod generate;
mod provide;
mod scaffold;
mod servers;
mod test;
mod tidy;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
cargo xtask <command>

  ci                       what must pass before a change lands: test, format, clippy, docs, tidy, fuzz
  test [FILTER…]           all tests, or those whose names contain a filter; installs what they need
  servers [--durable]      starts the database servers of the tests and says where they are, until Ctrl-C;
                           durable ones are for measuring
  fuzz [TARGET] [--seconds N]
                           fuzzes one target of `fuzz/`, or all one after the other
  tidy                     layers, module docs, file length, registry examples, versions that agree
  gen [--check]            writes the option reference and the JSON schema (or checks that they are current)
  new <stage> <name>       a new connector or step: its file, its registry line, its test
  data SHAPE ROWS FILE     writes generated records as .csv or .ndjson, as the benches use them
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<()> {
    std::env::set_current_dir(root())?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ci"] => ci(),
        ["test", filters @ ..] => test::run(filters),
        ["servers"] => servers::keep(servers::Durable::No),
        ["servers", "--durable"] => servers::keep(servers::Durable::Yes),
        ["fuzz", options @ ..] => fuzz::run(options),
        ["tidy"] => tidy::run(),
        ["gen"] => generate::run(generate::Mode::Write),
        ["gen", "--check"] => generate::run(generate::Mode::Check),
        ["new", stage, name] => scaffold::run(stage, name),
        ["bench", options @ ..] => bench::run(options),
        ["data", shape, rows, path] => {
            let path = Path::new(path);
            let form = path.extension().and_then(OsStr::to_str).unwrap_or_default();
            let rows = rows.parse().context("ROWS is a number")?;
            data::write(&data::shape(shape)?, rows, form, path)
        }
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}{}", bench::USAGE);
            Ok(())
        }
        other => bail!("unknown command `{}`\n\n{USAGE}{}", other.join(" "), bench::USAGE),
    }
}

/// What must pass before a change lands.
fn ci() -> Result<()> {
    test::run(&[])?;
    cargo::run("format", &["fmt", "--all", "--check"])?;
    cargo::run(
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"],
    )?;
    cargo::run_with(
        "docs",
        &["doc", "--workspace", "--no-deps", "--quiet"],
        &[("RUSTDOCFLAGS", "--deny warnings")],
    )?;
    tidy::run()?;
    generate::run(generate::Mode::Check)?;
    fuzz::run(&["--seconds", "5"])
}

/// The workspace's root folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
