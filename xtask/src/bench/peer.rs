//! The other side: Polars and DuckDB in a virtual environment, SQLite's shell, an older build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

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

/// The interpreter of a virtual environment that has the peers, made where it is missing.
pub(crate) fn environment(cache: &Path) -> Result<PathBuf> {
    let requirements = Path::new("xtask/peers/requirements.txt");
    let wanted = fs::read_to_string(requirements)?;
    let folder = cache.join("venv");
    let python = folder.join("bin/python");
    let marker = folder.join("requirements.txt");
    if python.exists() && fs::read_to_string(&marker).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    eprintln!("making the peers' virtual environment in {} (once)", folder.display());
    let venv = |folder: &Path| {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(folder);
        command
    };
    if !succeeds(&mut venv(&folder))? {
        apt_install("python3-venv")
            .context("python3 cannot make virtual environments; install python3-venv")?;
        if !succeeds(&mut venv(&folder))? {
            bail!("python3 cannot make a virtual environment in {}", folder.display());
        }
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    if !succeeds(pip.arg(requirements))? {
        bail!(
            "the peers could not be installed (is there a network?); `--alone` measures without them"
        );
    }
    fs::write(marker, wanted)?;
    Ok(python)
}

/// Whether SQLite's shell is there; as root on Debian it is installed.
pub(crate) fn sqlite_shell() -> Result<()> {
    if Command::new("sqlite3").arg("--version").output().is_ok() {
        return Ok(());
    }
    apt_install("sqlite3").context("SQLite's shell is not there; install sqlite3")
}

fn apt_install(package: &str) -> Result<()> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !root || Command::new("apt-get").arg("--version").output().is_err() {
        bail!("only root on Debian can install it from here");
    }
    eprintln!("installing {package}");
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        succeeds(apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if !apt(&["update", "--quiet"])? || !apt(&["install", "--yes", "--quiet", package])? {
        bail!("apt-get could not install {package}");
    }
    Ok(())
}

/// Runs a command whose output is of interest only when it fails.
fn succeeds(command: &mut Command) -> Result<bool> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
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
