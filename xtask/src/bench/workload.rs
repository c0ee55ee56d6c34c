//! What is measured: a workload on a shape, as our pipeline and as the peers' job.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::peer::Peer;
use crate::data::{Kind, Shape};

/// A piece of work that both sides do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    Judge,
    CsvToNdjson,
    CsvToCsv,
    NdjsonToParquet,
    NdjsonToCsv,
    Dedupe,
    Partition,
    Sqlite,
    LookupAndSum,
}

impl Workload {
    pub(crate) const ALL: [Self; 9] = [
        Self::Judge,
        Self::CsvToNdjson,
        Self::CsvToCsv,
        Self::NdjsonToParquet,
        Self::NdjsonToCsv,
        Self::Dedupe,
        Self::Partition,
        Self::Sqlite,
        Self::LookupAndSum,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Judge => "w1",
            Self::CsvToNdjson => "w2a",
            Self::CsvToCsv => "w2b",
            Self::NdjsonToParquet => "w2c",
            Self::NdjsonToCsv => "w2d",
            Self::Dedupe => "w3",
            Self::Partition => "w4",
            Self::Sqlite => "w6",
            Self::LookupAndSum => "w8",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Judge => "CSV, cleaned, cast, judged by 5 rules, to Parquet and rejects",
            Self::CsvToNdjson => "CSV to NDJSON, typed",
            Self::CsvToCsv => "CSV to CSV, typed",
            Self::NdjsonToParquet => "NDJSON to Parquet",
            Self::NdjsonToCsv => "NDJSON to CSV",
            Self::Dedupe => "CSV, the last record of each key, order kept, to Parquet",
            Self::Partition => "CSV to Parquet, partitioned",
            Self::Sqlite => "CSV to a SQLite table",
            Self::LookupAndSum => {
                "CSV, looked up in a dimension, summed by fund and month, to Parquet"
            }
        }
    }

    pub(crate) fn peers(self) -> &'static [Peer] {
        match self {
            Self::Sqlite => &[Peer::Sqlite],
            _ => &[Peer::Polars, Peer::DuckDb],
        }
    }

    /// The shape that the ratios to reach are said for.
    pub(crate) fn main_shape(self) -> &'static str {
        if self == Self::Judge { "funds" } else { "funds-clean" }
    }

    /// How many records are measured unless said.
    pub(crate) fn rows(self, shape: &Shape) -> u64 {
        match (self, shape.name) {
            (Self::Judge, "funds") | (Self::LookupAndSum, _) => 10_000_000,
            _ => shape.rows,
        }
    }

    pub(crate) fn input_form(self) -> &'static str {
        match self {
            Self::NdjsonToParquet | Self::NdjsonToCsv => "ndjson",
            _ => "csv",
        }
    }

    fn output_form(self) -> &'static str {
        match self {
            Self::CsvToNdjson => "ndjson",
            Self::CsvToCsv | Self::NdjsonToCsv => "csv",
            _ => "parquet",
        }
    }

    /// Why it cannot be measured on a shape.
    pub(crate) fn impossible(self, shape: &Shape) -> Option<&'static str> {
        if shape.dirty && self != Self::Judge {
            return Some("the peers stop at a dirty field");
        }
        if self == Self::Partition && shape.partition.is_empty() {
            return Some("no column has few values");
        }
        if self == Self::LookupAndSum && shape.facts.is_none() {
            return Some("there is no dimension");
        }
        None
    }

    /// The ratio to reach: the peer's time over ours.
    pub(crate) fn wanted(self, shape: &Shape, peer: Peer) -> f64 {
        match (self, peer) {
            (_, Peer::Build) => 1.0,
            _ if shape.name != self.main_shape() => 1.0,
            (Self::Judge, Peer::DuckDb) => 6.0,
            (Self::Judge, _) => 3.0,
            (Self::Dedupe, _) => 1.3,
            (Self::LookupAndSum, _) => 1.2,
            (Self::Sqlite, _) => 1.25,
            _ => 1.5,
        }
    }
}

/// A workload on an input.
pub(crate) struct Job<'a> {
    pub(crate) workload: Workload,
    pub(crate) shape: &'a Shape,
    pub(crate) input: PathBuf,
    /// What the input's records are looked up in.
    pub(crate) dimension: Option<PathBuf>,
    pub(crate) threads: usize,
    /// Whether our side infers types, too, in place of being told them.
    pub(crate) infer: bool,
    /// `limits.memory`, where it is not the default.
    pub(crate) memory: Option<&'a str>,
}

impl Job<'_> {
    /// The pipeline of our side.
    pub(crate) fn pipeline(&self, output: &Path) -> Value {
        let at = |name: &str| output.join(name).display().to_string();
        let mut source = json!({"file": self.input});
        if self.infer {
            source["infer"] = json!(true);
        } else {
            source["columns"] = Value::Object(self.declared());
        }
        let load = match self.workload {
            Workload::Partition => {
                json!({"file": at("parts"), "format": "parquet", "partition_by": self.shape.partition})
            }
            Workload::Sqlite => {
                json!({"table": "data", "database": format!("sqlite://{}", at("data.db"))})
            }
            other => json!({"file": at(&format!("data.{}", other.output_form()))}),
        };
        let mut pipeline = json!({
            "pipeline": self.workload.name(),
            "extract": [source],
            "steps": self.steps(),
            "load": [load],
            "rejects": at("rejects.ndjson"),
            "report": at("report.json"),
        });
        if let Some(memory) = self.memory {
            pipeline["limits"] = json!({"memory": memory});
        }
        pipeline
    }

    /// The types of columns that are not objects or lists in the input.
    fn declared(&self) -> Map<String, Value> {
        let from_json = self.workload.input_form() == "ndjson";
        let used = |name: &str| match (self.workload, &self.shape.facts) {
            (Workload::LookupAndSum, Some(facts)) => facts.uses(name),
            _ => true,
        };
        let columns = self.shape.columns.iter().filter(|column| {
            used(&column.name())
                && (!from_json || (column.kind != Kind::Texts && !column.path.contains('.')))
        });
        columns.map(|column| (column.name(), json!(column.kind.field_type()))).collect()
    }

    fn steps(&self) -> Value {
        let shape = self.shape;
        match self.workload {
            Workload::Judge => {
                let rules: Map<_, _> = shape
                    .rules
                    .iter()
                    .map(|rule| (rule.column.to_owned(), rule.for_us()))
                    .collect();
                json!([
                    {"clean": {"trim": shape.trim, "upper": shape.upper}},
                    {"validate": {"rules": rules}},
                ])
            }
            Workload::Dedupe => json!([{"dedupe": {"keys": shape.keys, "keep": "last"}}]),
            Workload::LookupAndSum => self.shape.facts.as_ref().map_or(json!([]), |facts| {
                let month = format!("cast(date_trunc('month', {}) as date)", facts.date);
                let mut columns = Map::new();
                columns.insert("records".to_owned(), json!("count(*)"));
                columns.extend(facts.sums.iter().map(|name| {
                    (format!("total_{name}"), json!(format!("sum({name})")))
                }));
                columns.insert(format!("mean_{}", facts.mean), json!(format!("avg({})", facts.mean)));
                let by = json!([facts.key, facts.take, "month"]);
                let from = json!({"file": self.dimension});
                json!([
                    {"lookup": {"from": from, "on": facts.key, "take": facts.take, "missing": "reject"}},
                    {"derive": {"month": month}},
                    {"aggregate": {"by": by, "columns": columns}},
                ])
            }),
            Workload::NdjsonToCsv if !shape.objects().is_empty() => json!([
                {"drop": shape.lists()},
                {"flatten": {"columns": shape.objects(), "separator": "_"}},
            ]),
            _ => json!([]),
        }
    }

    /// The job of the peers and of the comparison.
    pub(crate) fn for_peers(&self) -> Value {
        let shape = self.shape;
        let columns = shape.columns.iter();
        let columns: Vec<_> = columns
            .map(|column| json!({"name": column.name(), "type": column.kind.field_type()}))
            .collect();
        let rules: Vec<_> = shape.rules.iter().map(|rule| rule.for_peers()).collect();
        let nested = self.workload == Workload::NdjsonToCsv && !shape.objects().is_empty();
        json!({
            "workload": self.workload.name(),
            "input": self.input,
            "to": self.workload.output_form(),
            "threads": self.threads,
            "columns": columns,
            "trim": shape.trim,
            "upper": shape.upper,
            "rules": rules,
            "keys": shape.keys,
            "partition": shape.partition,
            "dimension": self.dimension,
            "facts": shape.facts.as_ref().map(|facts| json!({
                "key": facts.key,
                "take": facts.take,
                "date": facts.date,
                "sums": facts.sums,
                "mean": facts.mean,
            })),
            "flatten": if nested { shape.objects() } else { Vec::new() },
            "drop": if nested { shape.lists() } else { Vec::new() },
        })
    }
}

#[cfg(test)]
mod tests {
    use gristmill_pipeline::execute::registry;
    use gristmill_pipeline::params::Params;

    use super::*;
    use crate::data;

    #[test]
    fn every_pipeline_passes_the_check() {
        for shape in &data::shapes() {
            for workload in Workload::ALL {
                if workload.impossible(shape).is_some() {
                    continue;
                }
                let input = PathBuf::from(format!("/data/in.{}", workload.input_form()));
                let job = Job {
                    workload,
                    shape,
                    input,
                    dimension: Some(PathBuf::from("/data/dimension.csv")),
                    threads: 2,
                    infer: false,
                    memory: Some("128MiB"),
                };
                let text = job.pipeline(Path::new("/data/out")).to_string();
                let path = Path::new("/data/w.json");
                if let Err(found) =
                    registry().parse(&text, path, Path::new("/data"), &Params::default())
                {
                    panic!("{} on {}: {}", workload.name(), shape.name, found.render(false));
                }
            }
        }
    }

    #[test]
    fn rules_keys_and_parts_are_about_columns_that_are_there() {
        for shape in &data::shapes() {
            let names: Vec<_> = shape.columns.iter().map(|column| column.name()).collect();
            let ruled = shape.rules.iter().map(|rule| rule.column);
            let named = [shape.trim, shape.upper, shape.keys, shape.partition].concat();
            let facts = shape.facts.iter();
            let of_facts = facts.flat_map(|f| [&[f.key, f.date, f.mean][..], f.sums].concat());
            for name in named.into_iter().chain(ruled).chain(of_facts) {
                assert!(names.iter().any(|there| there == name), "{}: {name}", shape.name);
            }
        }
    }
}
