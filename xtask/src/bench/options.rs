//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::server;
use super::workload::Workload;
use crate::data;

/// What the usage says.
pub(crate) const USAGE: &str = "\
  bench [WORKLOAD…]        measures the release build beside Polars, DuckDB and SQLite's shell
        WORKLOAD           w1, w2 (w2a w2b w2c w2d), w3, w4, w5 and w7 (PostgreSQL, MariaDB,
                           SQLite), w6, w8, w10 (start), w11 (growth), or all
        --shape SHAPE      funds, funds-clean, events, wide, long-text, unicode, distinct, or all
        --rows N           so many records in place of the workload's own number
        --scale SHARE      that share of the workload's own number
        --rounds N         so many alternating rounds (5)
        --database NAME    w5 and w7 on this one only: postgresql, mariadb or sqlite
        --infer            our side finds the types itself, in place of being told them
        --alone            without peers
        --against FILE     another gristmill binary as one more peer
        --binary FILE      measures this binary, and builds none
        --save             writes the table into BENCHMARKS.md
";

/// Which shapes of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shapes {
    /// The one that the workload's ratio is said for.
    Main,
    All,
    One(String),
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) start: bool,
    pub(crate) growth: bool,
    /// W5 and W7, on databases.
    pub(crate) facts: bool,
    pub(crate) dimension: bool,
    /// The only one of their databases to measure.
    pub(crate) database: Option<server::Kind>,
    pub(crate) shapes: Shapes,
    pub(crate) rows: Option<u64>,
    /// Of the workload's own number of records, where `rows` is not said.
    pub(crate) scale: f64,
    pub(crate) rounds: usize,
    pub(crate) infer: bool,
    pub(crate) alone: bool,
    pub(crate) against: Option<PathBuf>,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) save: bool,
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            workloads: Vec::new(),
            start: false,
            growth: false,
            facts: false,
            dimension: false,
            database: None,
            shapes: Shapes::Main,
            rows: None,
            scale: 1.0,
            rounds: 5,
            infer: false,
            alone: false,
            against: None,
            binary: None,
            save: false,
        };
        let mut named = false;
        let mut words = arguments.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` takes a value"));
            match word {
                "--shape" => options.shapes = shapes(value()?)?,
                "--rows" => {
                    options.rows =
                        Some(value()?.replace('_', "").parse().context("--rows takes a number")?);
                }
                "--scale" => {
                    options.scale = value()?.parse().context("--scale takes a number")?;
                    if options.scale.is_nan() || options.scale <= 0.0 {
                        bail!("--scale takes a number above 0");
                    }
                }
                "--rounds" => {
                    options.rounds = value()?.parse().context("--rounds takes a number")?;
                    if options.rounds == 0 {
                        bail!("--rounds takes a number of at least 1");
                    }
                }
                "--database" => options.database = Some(server::Kind::named(value()?)?),
                "--infer" => options.infer = true,
                "--alone" => options.alone = true,
                "--against" => options.against = Some(value()?.into()),
                "--binary" => options.binary = Some(value()?.into()),
                "--save" => options.save = true,
                name if !name.starts_with('-') => {
                    options.add(name)?;
                    named = true;
                }
                other => bail!("unknown option `{other}`\n\n{USAGE}"),
            }
        }
        if !named {
            options.add("all")?;
        }
        Ok(options)
    }

    /// The number of records to measure, where it is this many by itself.
    pub(crate) fn rows(&self, usual: u64) -> u64 {
        self.rows.unwrap_or((usual as f64 * self.scale).ceil() as u64)
    }

    fn add(&mut self, name: &str) -> Result<()> {
        let found = Workload::ALL.into_iter().filter(|workload| {
            name == "all"
                || workload.name() == name
                || (name == "w2" && workload.name().starts_with("w2"))
        });
        let before = self.workloads.len();
        self.workloads.extend(found);
        self.start |= matches!(name, "w10" | "all");
        self.growth |= matches!(name, "w11" | "all");
        self.facts |= matches!(name, "w5" | "all");
        self.dimension |= matches!(name, "w7" | "all");
        if self.workloads.len() == before && !matches!(name, "w5" | "w7" | "w10" | "w11") {
            bail!("unknown workload `{name}`\n\n{USAGE}");
        }
        Ok(())
    }
}

fn shapes(name: &str) -> Result<Shapes> {
    if name == "all" {
        return Ok(Shapes::All);
    }
    Ok(Shapes::One(data::shape(name)?.name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_and_options_may_stand_in_any_order() {
        let options =
            Options::parse(&["w2", "--rows", "10_000", "w10", "--shape", "wide"]).unwrap();
        let names: Vec<_> = options.workloads.iter().map(|workload| workload.name()).collect();
        assert_eq!(names, ["w2a", "w2b", "w2c", "w2d"]);
        assert_eq!(options.rows(2_000_000), 10_000);
        assert!(options.start && !options.growth);
        assert_eq!(options.shapes, Shapes::One("wide".to_owned()));
        let options = Options::parse(&["w7", "--database", "mariadb"]).unwrap();
        assert_eq!(options.database, Some(server::Kind::MariaDb));
        assert!(options.dimension && !options.facts && options.workloads.is_empty());
    }

    #[test]
    fn the_scale_is_a_share_of_the_usual_number() {
        assert_eq!(Options::parse(&["--scale", "0.25"]).unwrap().rows(2_000_000), 500_000);
        assert_eq!(Options::parse(&[]).unwrap().rows(2_000_000), 2_000_000);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in [
            ["w99"].as_slice(),
            &["--shape", "round"],
            &["--rounds", "0"],
            &["w7", "--database", "oracle"],
            &["--scale", "0"],
            &["--rows"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
