//! Calls to cargo.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a cargo command and says its name first.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Result<()> {
    run_with(name, arguments, &[])
}

/// As [`run`], with environment variables.
pub(crate) fn run_with(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    eprintln!("── {name}: cargo {}", arguments.join(" "));
    let status = command()
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("cannot start cargo for {name}"))?;
    if !status.success() {
        bail!("{name} failed");
    }
    Ok(())
}

/// The cargo that runs us, without the variables that it set for us.
pub(crate) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
