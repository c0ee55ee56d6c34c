//! The other side: Polars and DuckDB, SQLite's shell, an older build.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Polars,
    DuckDb,
    Sqlite,
    /// Another build of this project.
    Build,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Polars => "polars",
            Self::DuckDb => "duckdb",
            Self::Sqlite => "sqlite3",
            Self::Build => "other build",
        }
    }
}

/// Names and versions of everything that took part, and the machine.
pub(crate) fn versions(binary: &Path, python: Option<&Path>) -> Vec<String> {
    let said = |command: &mut Command| {
        let output = command.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let mut found = Vec::new();
    let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let own = said(Command::new(binary).arg("--version")).unwrap_or_default();
    found.push(format!("{own} ({})", commit.as_deref().unwrap_or("unknown commit")));
    if let Some(python) = python {
        let code = "import polars, duckdb, pyarrow, platform; print(f'polars {polars.__version__}, \
                    duckdb {duckdb.__version__}, pyarrow {pyarrow.__version__}, Python {platform.python_version()}')";
        found.extend(said(Command::new(python).args(["-c", code])));
    }
    if let Some(shell) = said(Command::new("sqlite3").arg("--version")) {
        found.push(format!("sqlite3 {}", shell.split(' ').next().unwrap_or_default()));
    }
    found.extend(said(Command::new("rustc").arg("--version")));
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    if let Some((_, model)) = model {
        found.push(model.to_owned());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    found.push(format!("{cores} cores"));
    found
}
