//! Our side and the peers, run in turns on one job.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::measure::{self, Taken};
use super::peer::Peer;
use super::workload::Job;

/// Who takes part, and how often.
pub(crate) struct Bench {
    pub(crate) binary: PathBuf,
    pub(crate) against: Option<PathBuf>,
    /// The interpreter that has the peers; none when our side is alone.
    pub(crate) python: Option<PathBuf>,
    pub(crate) folder: Folder,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
}

/// A folder for outputs, of this process alone, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(cache: &Path) -> Result<Self> {
        let path = cache.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it would only take space in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What one side took, round by round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side(pub(crate) Vec<Taken>);

impl Side {
    pub(crate) fn seconds(&self) -> f64 {
        measure::median(self.0.iter().map(|taken| taken.seconds))
    }

    pub(crate) fn cpu(&self) -> f64 {
        measure::median(self.0.iter().map(|taken| taken.cpu))
    }

    pub(crate) fn peak(&self) -> u64 {
        self.0.iter().map(|taken| taken.peak).max().unwrap_or_default()
    }
}

/// Our side beside one peer.
pub(crate) struct Measured {
    pub(crate) peer: Option<Peer>,
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    /// Why there are no times of the peer.
    pub(crate) problem: Option<String>,
    /// What the comparison has to say.
    pub(crate) note: Option<String>,
}

impl Measured {
    /// The peer's time over ours, round by round.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        let pairs = self.theirs.0.iter().zip(&self.ours.0);
        pairs.map(|(theirs, ours)| theirs.seconds / ours.seconds).collect()
    }
}

/// The answer of the comparison.
#[derive(Deserialize)]
struct Compared {
    rows: u64,
    problem: Option<String>,
    note: Option<String>,
}

impl Bench {
    /// Compares the outputs, then measures in turns.
    pub(crate) fn side_by_side(&self, job: &Job<'_>) -> Result<Vec<Measured>> {
        fs::write(self.folder.join("job.json"), serde_json::to_vec_pretty(&job.for_peers())?)?;
        let mut peers = Vec::new();
        if self.python.is_some() {
            peers.extend_from_slice(job.workload.peers());
        }
        if self.against.is_some() {
            peers.push(Peer::Build);
        }
        self.ours(job)?;
        let mut measured = Vec::new();
        for peer in peers {
            let mut line = Measured {
                peer: Some(peer),
                ours: Side::default(),
                theirs: Side::default(),
                problem: None,
                note: None,
            };
            match self.compare(job, peer) {
                Ok(compared) => {
                    let differs = compared.problem.map(|problem| format!("DIFFERENT: {problem}"));
                    let empty = (compared.rows == 0).then(|| "EMPTY: no row to compare".to_owned());
                    line.problem = differs.or(empty);
                    line.note = compared.note;
                }
                Err(error) => line.problem = Some(format!("{error:#}")),
            }
            measured.push(line);
        }
        let mut ours = Side::default();
        for _ in 0..self.rounds {
            ours.0.push(self.ours(job)?);
            for line in &mut measured {
                let (Some(peer), None) = (line.peer, &line.problem) else { continue };
                line.theirs.0.push(self.theirs(job, peer)?);
            }
        }
        if measured.is_empty() {
            measured.push(Measured {
                peer: None,
                ours: Side::default(),
                theirs: Side::default(),
                problem: None,
                note: None,
            });
        }
        for line in &mut measured {
            line.ours = ours.clone();
        }
        Ok(measured)
    }

    /// One run of our side.
    pub(crate) fn ours(&self, job: &Job<'_>) -> Result<Taken> {
        self.gristmill(job, &self.binary, "ours")
    }

    fn gristmill(&self, job: &Job<'_>, binary: &Path, side: &str) -> Result<Taken> {
        let output = self.emptied(side)?;
        let pipeline = self.folder.join(&format!("{side}.json"));
        fs::write(&pipeline, serde_json::to_vec_pretty(&job.pipeline(&output))?)?;
        self.run(&[&text(binary), "run", &text(&pipeline), "--quiet"])
    }

    /// Measures a command of ours.
    pub(crate) fn run(&self, command: &[&str]) -> Result<Taken> {
        measure::run(self.python.as_deref().unwrap_or(Path::new("python3")), command)
    }

    fn theirs(&self, job: &Job<'_>, peer: Peer) -> Result<Taken> {
        if let (Peer::Build, Some(binary)) = (peer, &self.against) {
            return self.gristmill(job, binary, peer.name());
        }
        let python = text(self.python.as_deref().context("there is no peer")?);
        let output = text(&self.emptied(peer.name())?);
        let description = text(&self.folder.join("job.json"));
        let script = match peer {
            Peer::Polars => "xtask/peers/polars_peer.py",
            Peer::DuckDb => "xtask/peers/duckdb_peer.py",
            Peer::Sqlite | Peer::Build => {
                let import = format!(".import --csv '{}' data", text(&job.input));
                return self.run(&["sqlite3", &format!("{output}/data.db"), &import]);
            }
        };
        self.run(&[&python, script, &description, &output])?.by_own_account()
    }

    /// Runs a peer and compares what it wrote with what we wrote.
    fn compare(&self, job: &Job<'_>, peer: Peer) -> Result<Compared> {
        self.theirs(job, peer)?;
        let python =
            self.python.as_deref().context("the comparison needs the peers' environment")?;
        let output = Command::new(python)
            .arg("xtask/peers/compare.py")
            .arg(self.folder.join("job.json"))
            .arg(self.folder.join("ours"))
            .arg(self.folder.join(peer.name()))
            .arg(peer.name())
            .output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("cannot compare: {}", errors.trim().lines().last().unwrap_or_default())
        })
    }

    /// A side's output folder without anything in it.
    fn emptied(&self, side: &str) -> Result<PathBuf> {
        let folder = self.folder.join(side);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The release build's command.
pub(crate) fn release_binary() -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let binary = target.join("release").join("gristmill");
    if !binary.exists() {
        bail!("{} is not there", binary.display());
    }
    Ok(binary)
}
