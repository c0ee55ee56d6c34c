//! What tests and benches need from the machine beside Rust: found, or installed where it is missing.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use gristmill_scratch::server::is_root;

/// The folder for what is installed once for all clones, outside of them.
fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    folder.unwrap_or_else(env::temp_dir).join("gristmill")
}

/// The interpreter of a virtual environment with Polars, DuckDB and pyarrow in the versions of
/// `xtask/peers/requirements.txt`, made where it is missing.
pub(crate) fn python() -> Result<PathBuf> {
    environment("python", "xtask/peers/requirements.txt")
}

/// Another one, with the tools that are measured on databases.
pub(crate) fn database_tools() -> Result<PathBuf> {
    environment("python-databases", "xtask/peers/requirements-databases.txt")
}

fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)?;
    let (cache, folder) = (cache(), cache().join(name));
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Only one of several commands that find it missing makes it.
    let lock = cache.join(format!("{name}.lock"));
    let lock = File::create(lock).context("cannot lock the cache folder")?;
    lock.lock().context("cannot lock the cache folder")?;
    let python = folder.join("bin/python");
    let marker = folder.join("requirements.txt");
    if python.exists() && fs::read_to_string(&marker).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    let packages = wanted.split_whitespace().collect::<Vec<_>>().join(", ");
    eprintln!("installing {packages} in {} (once)", folder.display());
    let venv = || {
        let mut command = Command::new("python3");
        succeeds(command.args(["-m", "venv", "--clear"]).arg(&folder))
    };
    if !venv()? {
        apt_install("python3-venv")
            .context("python3 cannot make virtual environments; install python3-venv")?;
        if !venv()? {
            bail!("python3 cannot make a virtual environment in {}", folder.display());
        }
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    if !succeeds(pip.arg(requirements))? {
        bail!("pip could not install {packages}; is there a network?");
    }
    fs::write(marker, wanted)?;
    Ok(python)
}

/// SQLite's shell; as root on Debian it is installed.
pub(crate) fn sqlite_shell() -> Result<()> {
    if Command::new("sqlite3").arg("--version").output().is_ok() {
        return Ok(());
    }
    apt_install("sqlite3").context("SQLite's shell is not there; install sqlite3")
}

/// Installs a package where that is possible: on Debian, for root or whoever becomes root without
/// being asked for a password.
pub(crate) fn apt_install(package: &str) -> Result<()> {
    let can_sudo = || {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).output().is_ok_and(|output| output.status.success())
    };
    let prefix: &[&str] = if is_root() {
        &["env"]
    } else if can_sudo() {
        &["sudo", "-n", "env"]
    } else {
        bail!("only root on Debian can install it from here");
    };
    if Command::new("apt-get").arg("--version").output().is_err() {
        bail!("only root on Debian can install it from here");
    }
    eprintln!("installing {package}");
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new(prefix[0]);
        apt.args(&prefix[1..]).args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        succeeds(apt.args(arguments))
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
