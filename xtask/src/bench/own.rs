//! What is measured without a peer: how fast the command starts, and how it grows.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::Result;

use super::measure::{self, Taken};
use super::options::Options;
use super::side::Bench;
use super::workload::{Job, Workload};
use crate::data;

pub(crate) const HEAD: [&str; 5] = ["workload", "what", "median", "range", "wanted"];

/// So often the command is started.
const STARTS: usize = 30;

/// W10: `--version`, and a pipeline of ten records.
pub(crate) fn start(bench: &Bench, cache: &Path) -> Result<Vec<Vec<String>>> {
    let shape = data::shape("funds-clean")?;
    let job = Job {
        workload: Workload::Judge,
        shape: &shape,
        input: data::cached(&shape, 10, "csv", &cache.join("data"))?,
        threads: bench.threads,
        dimension: None,
        infer: false,
        memory: None,
    };
    let binary = bench.binary.display().to_string();
    let version = || bench.run(&[&binary, "--version"]);
    let ten = || bench.ours(&job);
    Ok(vec![
        milliseconds("`--version`", &repeated(STARTS, version)?, 10.0),
        milliseconds("a pipeline of 10 records", &repeated(STARTS, ten)?, 40.0),
    ])
}

/// W11: W1 on the whole input and on a tenth of it, and within 128 MiB.
pub(crate) fn growth(bench: &Bench, cache: &Path, options: &Options) -> Result<Vec<Vec<String>>> {
    let shape = data::shape("funds")?;
    let rows = options.rows(Workload::Judge.rows(&shape));
    let data = cache.join("data");
    let job = |rows: u64, memory: Option<&'static str>| -> Result<Job<'_>> {
        Ok(Job {
            workload: Workload::Judge,
            shape: &shape,
            input: data::cached(&shape, rows, "csv", &data)?,
            threads: bench.threads,
            dimension: None,
            infer: false,
            memory,
        })
    };
    let (small, large, bounded) =
        (job(rows / 10, None)?, job(rows, None)?, job(rows, Some("128MiB"))?);
    eprintln!("── w11: {rows} records and a tenth of them");
    for job in [&small, &large] {
        io::copy(&mut File::open(&job.input)?, &mut io::sink())?; // into the page cache
    }
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        rounds.push([bench.ours(&small)?, bench.ours(&large)?, bench.ours(&bounded)?]);
    }
    let times: Vec<_> =
        rounds.iter().map(|[small, large, _]| large.seconds / small.seconds).collect();
    let cpu: Vec<_> = rounds.iter().map(|[small, large, _]| large.cpu / small.cpu).collect();
    let peaks: Vec<_> =
        rounds.iter().map(|[small, large, _]| large.peak as f64 / small.peak as f64).collect();
    let bounded: Vec<_> =
        rounds.iter().map(|[_, _, bounded]| bounded.peak as f64 / 1_048_576.0).collect();
    Ok(vec![
        row("w11", &format!("{rows} records, times the time of a tenth"), &times, 2, 10.5, "×"),
        row("w11", &format!("{rows} records, times the CPU time of a tenth"), &cpu, 2, 10.5, "×"),
        row(
            "w11",
            &format!("{rows} records, times the peak memory of a tenth"),
            &peaks,
            2,
            1.1,
            "×",
        ),
        row(
            "w11",
            &format!("{rows} records with `memory: 128MiB`, peak"),
            &bounded,
            0,
            128.0,
            " MiB",
        ),
    ])
}

fn repeated(times: usize, run: impl Fn() -> Result<Taken>) -> Result<Vec<f64>> {
    (0..times).map(|_| Ok(run()?.seconds * 1e3)).collect()
}

fn milliseconds(what: &str, taken: &[f64], wanted: f64) -> Vec<String> {
    row("w10", what, taken, 1, wanted, " ms")
}

fn row(
    workload: &str,
    what: &str,
    numbers: &[f64],
    digits: usize,
    wanted: f64,
    unit: &str,
) -> Vec<String> {
    let (low, high) = measure::range(numbers.iter().copied());
    let median = measure::median(numbers.iter().copied());
    let met = if median <= wanted { "met" } else { "MISSED" };
    vec![
        workload.to_owned(),
        what.to_owned(),
        format!("{median:.digits$}{unit}"),
        format!("{low:.digits$}–{high:.digits$}"),
        format!("≤ {wanted}{unit} {met}"),
    ]
}
