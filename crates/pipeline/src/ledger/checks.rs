//! What checks found, run by run.

use gristmill_core::{CheckResult, Gravity, Result};
use rusqlite::{Connection, named_params};

use super::{Ledger, Outcome, time_text};

/// Adds what the checks of a run found: a row for each thing that was measured.
pub(super) fn keep(connection: &Connection, run: &str, outcome: &Outcome) -> rusqlite::Result<()> {
    for check in &outcome.checks {
        let mut observed: Vec<(Option<&str>, Option<f64>)> = check
            .observed
            .iter()
            .map(|observation| (Some(observation.measure.as_str()), observation.value))
            .collect();
        if observed.is_empty() {
            observed.push((None, None));
        }
        for (measure, value) in observed {
            add(connection, run, outcome, check, measure, value)?;
        }
    }
    Ok(())
}

fn add(
    connection: &Connection,
    run: &str,
    outcome: &Outcome,
    check: &CheckResult,
    measure: Option<&str>,
    value: Option<f64>,
) -> rusqlite::Result<()> {
    let severity = match check.severity {
        Gravity::Error => "error",
        Gravity::Warn => "warn",
    };
    connection.execute(
        "INSERT INTO checks (pipeline, run, name, severity, passed, measure, value, message, judged_at)
         SELECT pipeline, id, :name, :severity, :passed, :measure, :value, :message, :at
         FROM runs WHERE id = :run",
        named_params! {
            ":name": check.name,
            ":severity": severity,
            ":passed": check.passed,
            ":measure": measure,
            ":value": value.filter(|value| !value.is_nan()), // which SQLite takes for a null
            ":message": check.message,
            ":at": time_text(outcome.ended),
            ":run": run,
        },
    )?;
    Ok(())
}

impl Ledger {
    /// The last values of a measure that runs of a pipeline have observed, the latest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn history(&self, pipeline: &str, measure: &str, last: usize) -> Result<Vec<f64>> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT max(value) FROM checks
                 WHERE pipeline = :pipeline AND measure = :measure AND value IS NOT NULL
                 GROUP BY run ORDER BY max(judged_at) DESC, run DESC LIMIT :last",
            )?;
            let last = i64::try_from(last).unwrap_or(i64::MAX);
            let params = named_params! {":pipeline": pipeline, ":measure": measure, ":last": last};
            let values = statement.query_map(params, |row| row.get(0))?;
            values.collect::<rusqlite::Result<Vec<f64>>>()
        };
        read().map_err(|error| self.failure("read", error))
    }
}

#[cfg(test)]
mod tests {
    use gristmill_core::Observation;

    use super::super::{NewRun, Status};
    use super::*;

    #[test]
    fn values_come_back_latest_first() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        for value in [Some(1.0), None, Some(f64::INFINITY), Some(3.5)] {
            let run = NewRun::of("p");
            ledger.start(&run).unwrap();
            let observed = vec![Observation { measure: "row count".to_owned(), value }];
            let check = CheckResult {
                name: "rows".to_owned(),
                passed: false,
                severity: Gravity::Warn,
                observed,
                message: Some("few".to_owned()),
                labels: [("team".to_owned(), "risk".to_owned())].into(),
            };
            let outcome = Outcome { checks: vec![check], ..Outcome::new(Status::Published, 0) };
            ledger.finish(&run.id, &outcome).unwrap();
        }
        assert_eq!(ledger.history("p", "row count", 2).unwrap(), [3.5, f64::INFINITY]);
        assert_eq!(ledger.history("p", "row count", 9).unwrap().len(), 3);
        assert_eq!(ledger.history("q", "row count", 9).unwrap(), [0.0; 0]);
    }
}
