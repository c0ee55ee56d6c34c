//! One run of a command: what it took. And many of them: the median.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What a run took.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Taken {
    status: i32,
    pub(crate) seconds: f64,
    /// User and system seconds.
    pub(crate) cpu: f64,
    /// Bytes of memory that were resident at most.
    pub(crate) peak: u64,
    /// What it wrote to the standard output.
    #[serde(default)]
    pub(crate) printed: String,
    #[serde(default)]
    errors: String,
}

/// The peers' own account: the import of the library is not in it.
#[derive(Deserialize)]
struct Own {
    seconds: f64,
    cpu: f64,
}

/// Runs a command and measures it from outside.
pub(crate) fn run(python: &Path, command: &[&str]) -> Result<Taken> {
    let output = Command::new(python)
        .arg("xtask/peers/measure.py")
        .args(command)
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    let taken: Taken = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    if taken.status != 0 {
        // Ours says the error first, Python last.
        let said = taken.errors.trim();
        let line = said.lines().find(|line| line.starts_with("error")).or(said.lines().last());
        let line = line.unwrap_or("it said nothing");
        bail!("`{}` failed: {line}", command[0]);
    }
    Ok(taken)
}

impl Taken {
    /// With the time that the command itself has measured.
    pub(crate) fn by_own_account(mut self) -> Result<Self> {
        let own: Own = serde_json::from_str(&self.printed).context("the peer printed no times")?;
        (self.seconds, self.cpu) = (own.seconds, own.cpu);
        Ok(self)
    }
}

/// The middle of some numbers.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        many if many % 2 == 1 => numbers[half],
        _ => f64::midpoint(numbers[half - 1], numbers[half]),
    }
}

/// The least and the greatest of some numbers.
pub(crate) fn range(numbers: impl IntoIterator<Item = f64>) -> (f64, f64) {
    numbers.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
        (low.min(number), high.max(number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(range([3.0, 1.0, 2.0]), (1.0, 3.0));
    }
}
