//! What is measured on databases: ours beside what their own programs do, and beside other tools.

mod place;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::{self, Taken};
use super::options::Options;
use super::side::Bench;
use super::workload::{Job, Workload};
use crate::data;
use crate::data::Random;
use place::{KINDS, Place};

pub(crate) use place::Kind;

pub(crate) const HEAD: [&str; 9] = [
    "workload",
    "what",
    "beside",
    "ours s",
    "CPU s",
    "peak MB",
    "theirs s",
    "ours / theirs (range)",
    "wanted",
];

/// Rounds of tools that take many times as long as the others.
const SLOW_ROUNDS: usize = 2;
/// So many members has the dimension of W7.
const MEMBERS: u64 = 500_000;
/// Other tools that read PostgreSQL into Parquet: their names for the script, and ours at most.
const READERS: [(&str, &str, f64); 2] =
    [("adbc", "Polars, by ADBC", 1.0), ("connectorx", "Polars, by ConnectorX", 1.0)];

/// W5 and W7 on each database.
pub(crate) fn measured(bench: &Bench, cache: &Path, options: &Options) -> Result<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| options.database.is_none_or(|only| only == *kind)) {
        let folder = bench.folder.join(kind.name());
        fs::create_dir_all(&folder)?;
        let side = Side { bench, place: Place::start(kind, &folder)?, folder };
        if options.facts {
            lines.push(side.facts(cache, options)?);
            if kind == Kind::Postgres && !options.alone {
                lines.extend(side.read(options)?);
            }
        }
        if options.dimension {
            lines.extend(side.dimension(options)?);
        }
    }
    Ok(lines)
}

/// A database, and who takes part.
struct Side<'a> {
    bench: &'a Bench,
    place: Place,
    folder: PathBuf,
}

impl Side<'_> {
    /// W5: the main workload into a table, beside the fastest way in for the rows that are valid.
    fn facts(&self, cache: &Path, options: &Options) -> Result<Vec<String>> {
        let place = &self.place;
        let shape = data::shape("funds")?;
        let rows = options.rows(2_000_000);
        eprintln!("── w5: {rows} records into {}", place.kind.name());
        let job = Job {
            workload: Workload::Judge,
            shape: &shape,
            input: data::cached(&shape, rows, "csv", &cache.join("data"))?,
            threads: self.bench.threads,
            dimension: None,
            infer: false,
            memory: None,
        };
        let mut pipeline = job.pipeline(&self.folder);
        pipeline["load"] = json!([{"table": "ours", "database": place.url}]);
        self.gristmill("w5", &pipeline, None)?;
        let file = place.export(self.bench, &self.folder)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            place.empty_facts(self.bench)?;
            place.settle(self.bench)?;
            ours.push(self.gristmill("w5", &pipeline, None)?);
            place.settle(self.bench)?;
            theirs.push(place.import(self.bench, &file)?);
            if round == 0 {
                let columns = place.columns(self.bench, "ours")?;
                place.same(self.bench, ("ours", &columns), ("theirs", &columns))?;
            }
        }
        let (beside, wanted) = place.kind.way_in();
        let what = place.kind.titled("append, judged, rejects kept");
        Ok(line("w5", &what, beside, wanted, &ours, &theirs))
    }

    /// W5 the other way round: the table to Parquet, beside other tools.
    fn read(&self, options: &Options) -> Result<Vec<Vec<String>>> {
        let python = crate::provide::database_tools()?.display().to_string();
        let at = |name: &str| self.folder.join(name).display().to_string();
        let pipeline = json!({
            "pipeline": "read",
            "extract": [{"table": "ours", "database": self.place.url}],
            "load": [{"file": at("ours.parquet")}],
        });
        let script = "xtask/peers/read_postgres.py";
        let mut ours = Vec::new();
        let mut theirs = vec![Vec::new(); READERS.len()];
        for round in 0..options.rounds {
            ours.push(self.gristmill("read", &pipeline, None)?);
            for ((tool, ..), theirs) in READERS.iter().zip(&mut theirs) {
                let file = at(&format!("{tool}.parquet"));
                let command = [&*python, script, "read", tool, &self.place.url, &file];
                theirs.push(self.bench.run(&command)?.by_own_account()?);
                if round == 0 {
                    let compare = [&*python, script, "compare", &at("ours.parquet"), &file];
                    self.bench.run(&compare).with_context(|| format!("DIFFERENT: {tool}"))?;
                }
            }
        }
        let lines = READERS.iter().zip(&theirs).map(|((_, beside, wanted), theirs)| {
            line("w5", "PostgreSQL: the table, to Parquet", beside, *wanted, &ours, theirs)
        });
        Ok(lines.collect())
    }

    /// W7: two loads of a dimension, beside the statements of a careful person, and beside dlt.
    fn dimension(&self, options: &Options) -> Result<Vec<Vec<String>>> {
        let place = &self.place;
        let members = options.rows(MEMBERS);
        eprintln!("── w7: a dimension of {members} members in {}", place.kind.name());
        let inputs = [self.folder.join("first.csv"), self.folder.join("second.csv")];
        for (second, path) in [false, true].into_iter().zip(&inputs) {
            fs::write(path, members_of(members, second))?;
        }
        let pipeline = json!({
            "pipeline": "w7",
            "extract": [{"file": "${INPUT}", "columns": {"fee": "double"}}],
            "load": [{
                "table": "ours", "database": place.url, "mode": "scd2", "keys": ["code", "class"],
                "surrogate_key": "fund_key", "missing": "close",
            }],
        });
        let dlt = (place.kind == Kind::Postgres && !options.alone)
            .then(crate::provide::database_tools)
            .transpose()?;
        let columns = ["code", "class", "name", "fee", "kind"].map(str::to_owned);
        let mut taken: [[Vec<Taken>; 3]; 2] = Default::default();
        for round in 0..options.rounds {
            place.empty_dimension(self.bench)?;
            for (input, [ours, by_hand, by_dlt]) in inputs.iter().zip(&mut taken) {
                ours.push(self.gristmill("w7", &pipeline, Some(input))?);
                place.settle(self.bench)?;
                by_hand.push(place.by_hand(self.bench, input)?);
                place.settle(self.bench)?;
                if let Some(python) = dlt.as_ref().filter(|_| round < SLOW_ROUNDS) {
                    by_dlt.push(self.dlt(python, input)?);
                    place.settle(self.bench)?;
                }
            }
            if round == 0 {
                let versions = |is_current: &str, end: &str| {
                    let more = [is_current.to_owned(), format!("{end} is null")];
                    columns.iter().cloned().chain(more).collect::<Vec<_>>()
                };
                let ours = versions("is_current", "end_date");
                place.same(self.bench, ("ours", &ours), ("by_hand", &ours))?;
                if dlt.is_some() {
                    let theirs = versions("_dlt_valid_to is null", "_dlt_valid_to");
                    place.same(self.bench, ("ours", &ours), ("dlt.members", &theirs))?;
                }
            }
        }
        let whats = ["first load", "second load: 10% changed, 1% gone, 1% new"];
        let mut lines = Vec::new();
        for ([ours, by_hand, by_dlt], what) in taken.iter().zip(whats) {
            let what = place.kind.titled(what);
            lines.push(line("w7", &what, "SQL by hand", 1.25, ours, by_hand));
            if !by_dlt.is_empty() {
                lines.push(line("w7", &what, "dlt", 0.33, ours, by_dlt));
            }
        }
        Ok(lines)
    }

    fn dlt(&self, python: &Path, input: &Path) -> Result<Taken> {
        let python = python.display().to_string();
        let (input, state) = (input.display().to_string(), self.folder.join("dlt"));
        let state = state.display().to_string();
        let command = [&*python, "xtask/peers/dlt_scd2.py", &self.place.url, &input, &state];
        self.bench.run(&command)?.by_own_account()
    }

    fn gristmill(&self, name: &str, pipeline: &Value, input: Option<&Path>) -> Result<Taken> {
        let path = self.folder.join(format!("{name}.json"));
        fs::write(&path, serde_json::to_vec_pretty(pipeline)?)?;
        let (binary, path) = (self.bench.binary.display().to_string(), path.display().to_string());
        let parameter = input.map(|input| format!("INPUT={}", input.display()));
        let mut command = vec![binary.as_str(), "run", &path, "--quiet"];
        command.extend(parameter.iter().flat_map(|parameter| ["--param", parameter]));
        self.bench.run(&command)
    }
}

fn line(
    workload: &str,
    what: &str,
    beside: &str,
    wanted: f64,
    ours: &[Taken],
    theirs: &[Taken],
) -> Vec<String> {
    let seconds = |side: &[Taken]| measure::median(side.iter().map(|taken| taken.seconds));
    let ratios: Vec<f64> =
        ours.iter().zip(theirs).map(|(ours, theirs)| ours.seconds / theirs.seconds).collect();
    let (low, high) = measure::range(ratios.iter().copied());
    let ratio = measure::median(ratios);
    let peak = ours.iter().map(|taken| taken.peak).max().unwrap_or_default();
    let met = if ratio <= wanted { "met" } else { "MISSED" };
    vec![
        workload.to_owned(),
        what.to_owned(),
        beside.to_owned(),
        format!("{:.2}", seconds(ours)),
        format!("{:.2}", measure::median(ours.iter().map(|taken| taken.cpu))),
        format!("{:.0}", peak as f64 / 1e6),
        format!("{:.2}", seconds(theirs)),
        format!("{ratio:.2} ({low:.2}–{high:.2})"),
        format!("≤ {wanted} {met}"),
    ]
}

/// The members of a dimension, as the first and as the second load have them.
fn members_of(members: u64, second: bool) -> String {
    let (mut random, mut changes) = (Random::new(11), Random::new(5));
    let gone = if second { members / 100 } else { 0 };
    let mut text = "code,class,name,fee,kind\n".to_owned();
    for i in 0..members + gone {
        let (fee, name) = (random.between(5, 250), random.below(1000));
        let changed = second && changes.below(10) == 0;
        if i < gone {
            continue;
        }
        let kind = if name % 2 == 0 { "Fixed Income" } else { "Equity" };
        let _ = writeln!(
            text,
            "FND{:06},{},Fund {name} of Growth,{:.4},{kind}",
            i / 5,
            ["A", "B", "C", "I", "R"][(i % 5) as usize],
            (fee + i64::from(changed)) as f64 / 10_000.0
        );
    }
    text
}
