//! `cargo xtask bench`: the release build side by side with its peers, on generated data.
//!
//! Rounds alternate between our side and the peers, outputs are deleted before each run, and no
//! time counts before the outputs were found equal. A ratio is the median of the ratios of the
//! rounds. Our side is a default `gristmill run`: accounts, ledger, rejects and report are on, and
//! the whole process is measured. The peers measure themselves, without the start of Python and the
//! import of their library.

mod measure;
mod options;
mod own;
mod peer;
mod server;
mod side;
mod table;
mod workload;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cargo;
use crate::data::{self, Shape};
use crate::provide;
use options::{Options, Shapes};
use peer::Peer;
use side::{Bench, Folder, Measured};
use table::Table;
use workload::{Job, Workload};

pub(crate) use options::USAGE;

/// Runs the command and prints the tables.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if options.binary.is_none() {
        cargo::run("build", &["build", "--release", "--package", "gristmill-cli"])?;
    }
    let cache = std::env::temp_dir().join("gristmill-bench");
    fs::create_dir_all(&cache)?;
    let python = (!options.alone)
        .then(provide::python)
        .transpose()
        .context("the peers are missing; `--alone` measures without them")?;
    if !options.alone && options.workloads.contains(&Workload::Sqlite) {
        provide::sqlite_shell()?;
    }
    let bench = Bench {
        binary: options.binary.clone().map_or_else(side::release_binary, Ok)?,
        against: options.against.clone(),
        python,
        folder: Folder::new(&cache)?,
        rounds: options.rounds,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let versions = peer::versions(&bench.binary, bench.python.as_deref());
    println!("{}\n", versions.join("; "));

    let mut ratios =
        Table { title: "Beside the peers", head: HEAD.to_vec(), key: 3, rows: Vec::new() };
    for &workload in &options.workloads {
        for shape in shapes(&options, workload)? {
            let rows = options.rows(workload.rows(&shape));
            eprintln!(
                "── {} {}: {}; {}",
                workload.name(),
                shape.name,
                workload.about(),
                shape.about
            );
            let from = ratios.rows.len();
            match measure(&bench, &options, workload, &shape, rows, &cache) {
                Ok(lines) => ratios.rows.extend(lines),
                Err(error) => ratios.rows.push(failed(workload, &shape, &format!("{error:#}"))),
            }
            for row in &ratios.rows[from..] {
                eprintln!("   {}", row.join("  "));
            }
        }
    }
    let mut tables = Vec::new();
    if !ratios.rows.is_empty() {
        tables.push(ratios);
    }
    let mut own = Table { title: "By itself", head: own::HEAD.to_vec(), key: 2, rows: Vec::new() };
    if options.start {
        own.rows.extend(own::start(&bench, &cache)?);
    }
    if options.growth {
        own.rows.extend(own::growth(&bench, &cache, &options)?);
    }
    if !own.rows.is_empty() {
        tables.push(own);
    }
    if options.facts || options.dimension {
        let rows = server::measured(&bench, &cache, &options)?;
        let title = "Beside a database's own programs";
        tables.push(Table { title, head: server::HEAD.to_vec(), key: 3, rows });
    }
    for table in &tables {
        println!("{}\n\n{}", table.title, table.aligned());
    }
    if options.save {
        table::save(Path::new("BENCHMARKS.md"), &tables, &versions)?;
        eprintln!("saved in BENCHMARKS.md");
    }
    Ok(())
}

const HEAD: [&str; 14] = [
    "workload",
    "shape",
    "peer",
    "rows",
    "MB",
    "ours s",
    "CPU s",
    "peak MB",
    "peer s",
    "CPU s",
    "peak MB",
    "ratio (range)",
    "CPU ratio",
    "wanted",
];

fn shapes(options: &Options, workload: Workload) -> Result<Vec<Shape>> {
    Ok(match &options.shapes {
        Shapes::Main => vec![data::shape(workload.main_shape())?],
        Shapes::All => data::shapes(),
        Shapes::One(name) => vec![data::shape(name)?],
    })
}

/// The lines of a workload on a shape: one for each peer.
fn measure(
    bench: &Bench,
    options: &Options,
    workload: Workload,
    shape: &Shape,
    rows: u64,
    cache: &Path,
) -> Result<Vec<Vec<String>>> {
    if let Some(reason) = workload.impossible(shape) {
        return Ok(vec![failed(workload, shape, &format!("n/a: {reason}"))]);
    }
    let job = Job {
        workload,
        shape,
        input: data::cached(shape, rows, workload.input_form(), &cache.join("data"))?,
        dimension: match (&shape.facts, workload) {
            (Some(facts), Workload::LookupAndSum) => {
                let dimension = (facts.dimension)();
                Some(data::cached(&dimension, dimension.rows, "csv", &cache.join("data"))?)
            }
            _ => None,
        },
        threads: bench.threads,
        infer: options.infer,
        memory: None,
    };
    let size = fs::metadata(&job.input).context("the input is gone")?.len();
    let measured = bench.side_by_side(&job)?;
    Ok(measured.iter().map(|measured| line(&job, rows, size, measured)).collect())
}

fn line(job: &Job<'_>, rows: u64, size: u64, measured: &Measured) -> Vec<String> {
    let megabytes = |bytes: u64| format!("{:.0}", bytes as f64 / 1e6);
    let mut cells = vec![
        job.workload.name().to_owned(),
        job.shape.name.to_owned(),
        measured.peer.map_or("-", Peer::name).to_owned(),
        rows.to_string(),
        megabytes(size),
        format!("{:.2}", measured.ours.seconds()),
        format!("{:.2}", measured.ours.cpu()),
        megabytes(measured.ours.peak()),
    ];
    let dash = || "-".to_owned();
    let Some(peer) = measured.peer else {
        cells.extend([dash(), dash(), dash(), dash(), dash(), dash()]);
        return cells;
    };
    if let Some(problem) = &measured.problem {
        cells.extend([dash(), dash(), dash(), dash(), dash(), short(problem)]);
        return cells;
    }
    let ratios = measured.ratios();
    let (low, high) = measure::range(ratios.iter().copied());
    let (ratio, wanted) = (measure::median(ratios), job.workload.wanted(job.shape, peer));
    let met = if ratio >= wanted { "met" } else { "MISSED" };
    let note = measured.note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
    cells.extend([
        format!("{:.2}", measured.theirs.seconds()),
        format!("{:.2}", measured.theirs.cpu()),
        megabytes(measured.theirs.peak()),
        format!("{ratio:.2} ({low:.2}–{high:.2})"),
        format!("{:.2}", measured.theirs.cpu() / measured.ours.cpu()),
        format!("≥ {wanted} {met}{note}"),
    ]);
    cells
}

/// A text that fits into a cell.
fn short(text: &str) -> String {
    let text = text.replace(['\n', '|'], " ");
    text.chars().take(140).collect()
}

/// A line without numbers.
fn failed(workload: Workload, shape: &Shape, reason: &str) -> Vec<String> {
    let mut cells = vec!["-".to_owned(); HEAD.len()];
    cells[0] = workload.name().to_owned();
    cells[1] = shape.name.to_owned();
    cells[HEAD.len() - 1] = short(reason);
    cells
}
