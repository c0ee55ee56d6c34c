//! What is measured on a database server: ours beside what the server's own programs do.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::measure::{self, Taken};
use super::options::Options;
use super::side::Bench;
use super::workload::{Job, Workload};
use crate::data;
use crate::data::Random;
use crate::servers::{self, Durable, KINDS, Server};

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

/// So many members has the dimension of W7.
const MEMBERS: u64 = 500_000;

/// A server, and how it is asked.
struct Postgres<'a> {
    bench: &'a Bench,
    server: Server,
    folder: PathBuf,
}

/// W5 and W7.
pub(crate) fn measured(bench: &Bench, cache: &Path, options: &Options) -> Result<Vec<Vec<String>>> {
    let server = servers::start(&KINDS[0], Durable::Yes)?;
    let folder = bench.folder.join("postgres");
    fs::create_dir_all(&folder)?;
    let postgres = Postgres { bench, server, folder };
    let mut lines = vec![postgres.facts(cache, options)?];
    lines.extend(postgres.dimension(options)?);
    Ok(lines)
}

impl Postgres<'_> {
    /// W5: the main workload into a table, beside a binary copy of the rows that are valid.
    fn facts(&self, cache: &Path, options: &Options) -> Result<Vec<String>> {
        let shape = data::shape("funds")?;
        let rows = options.rows(2_000_000);
        eprintln!("── w5: {rows} records into PostgreSQL");
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
        pipeline["load"] = json!([{"table": "ours", "database": self.server.url}]);
        let file = self.folder.join("valid.bin");
        self.gristmill("w5", &pipeline, None)?;
        self.sql(&format!("\\copy ours to '{}' (format binary)", file.display()))?;
        self.sql("create table theirs (like ours)")?;
        let copy = format!("\\copy theirs from '{}' (format binary)", file.display());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            self.sql("drop table ours; truncate theirs; checkpoint")?;
            ours.push(self.gristmill("w5", &pipeline, None)?);
            self.sql("checkpoint")?;
            theirs.push(self.sql(&copy)?);
            if round == 0 {
                self.same("select * from ours", "select * from theirs")?;
            }
        }
        Ok(line(
            "w5",
            "append, judged, rejects kept",
            "`psql \\copy`, binary",
            1.15,
            &ours,
            &theirs,
        ))
    }

    /// W7: two loads of a dimension, beside the statements of a careful person.
    fn dimension(&self, options: &Options) -> Result<Vec<Vec<String>>> {
        let members = options.rows(MEMBERS);
        eprintln!("── w7: a dimension of {members} members in PostgreSQL");
        let inputs = [self.folder.join("first.csv"), self.folder.join("second.csv")];
        for (second, path) in [false, true].into_iter().zip(&inputs) {
            fs::write(path, members_of(members, second))?;
        }
        let pipeline = json!({
            "pipeline": "w7",
            "extract": [{"file": "${INPUT}", "columns": {"fee": "double"}}],
            "load": [{
                "table": "ours", "database": self.server.url, "mode": "scd2", "keys": ["code", "class"],
                "surrogate_key": "fund_key", "missing": "close",
            }],
        });
        let create = "drop table if exists ours, by_hand;
            create table by_hand (fund_key bigint generated always as identity primary key, code text, class text,
              name text, fee double precision, kind text, effective_date timestamptz, end_date timestamptz,
              is_current boolean);
            create unique index on by_hand (code, class) where is_current; checkpoint";
        let mut taken: [(Vec<Taken>, Vec<Taken>); 2] = Default::default();
        for round in 0..options.rounds {
            self.sql(create)?;
            for (input, (ours, theirs)) in inputs.iter().zip(&mut taken) {
                ours.push(self.gristmill("w7", &pipeline, Some(input))?);
                self.sql("checkpoint")?;
                theirs.push(self.by_hand(input)?);
                self.sql("checkpoint")?;
            }
            if round == 0 {
                let columns = "code, class, name, fee, kind, is_current, end_date is null";
                let rows = |table: &str| format!("select {columns} from {table}");
                self.same(&rows("ours"), &rows("by_hand"))?;
            }
        }
        let whats = ["first load", "second load: 10% changed, 1% gone, 1% new"];
        let lines = taken
            .iter()
            .zip(whats)
            .map(|((ours, theirs), what)| line("w7", what, "SQL by hand", 1.25, ours, theirs));
        Ok(lines.collect())
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

    fn sql(&self, sql: &str) -> Result<Taken> {
        // A statement that starts with a backslash is psql's own; others may be several.
        self.bench.run(&["psql", &self.server.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
    }

    fn by_hand(&self, input: &Path) -> Result<Taken> {
        let script = fs::canonicalize("xtask/peers/scd2_by_hand.sql")?;
        let command = format!(
            "psql '{}' -X -q -v ON_ERROR_STOP=1 -f '{}' < '{}'",
            self.server.url,
            script.display(),
            input.display()
        );
        self.bench.run(&["sh", "-c", &command])
    }

    /// That two queries have the same rows, however often each.
    fn same(&self, ours: &str, theirs: &str) -> Result<()> {
        let sql = format!(
            "select count(*) from (({ours} except all {theirs}) union all ({theirs} except all {ours})) as d"
        );
        let command = ["psql", &self.server.url, "-X", "-A", "-t", "-c", &sql];
        let printed = self.bench.run(&command)?.printed;
        ensure!(printed.trim() == "0", "DIFFERENT: {} rows", printed.trim());
        Ok(())
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

/// That the programs that are measured beside are there.
pub(crate) fn client() -> Result<()> {
    let found = std::process::Command::new("psql").arg("--version").output();
    found.map(drop).context("`psql` is missing; it comes with PostgreSQL")
}
