//! How a file or a table differs from a contract.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use arrow_schema::SchemaRef;
use gristmill_core::registry::Range;
use gristmill_core::types::type_name;
use gristmill_core::{Error, ErrorKind, ExtractContext, FieldType, Pointer, Result};
use gristmill_extract::file::find_column;
use serde::Serialize;

use super::{Agreed, Agreement, Contract, NullWay, Policy, Way};
use crate::definition::{LoadError, SourceContract, yaml_to_json};
use crate::execute::{Outcome, RunOptions, registry, run_definition};
use crate::params::Params;
use crate::quality::{definition, discard, source};
use crate::report::{RejectTally, Status, thousands};
use crate::run::Limits;
use crate::scratch::Scratch;

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A column that the contract does not have.
    NewColumn,
    /// A column that is not there.
    MissingColumn,
    /// Values that are not of the type of their column.
    Type,
    /// Nulls where none may be.
    Null,
}

/// How data differ from a contract in one respect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about.
    pub kind: Kind,
    /// The column.
    pub column: String,
    /// Whether it breaks the contract: its policy does not let it pass.
    pub breaks: bool,
    /// What differs.
    pub message: String,
    /// The records that it is found in, where it is found in some only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
}

/// Reads an input in full and compares it with the contract in a file, which may be a pipeline. No
/// differences are told where the run failed, as the outcome says.
///
/// # Errors
/// When the contract cannot be read, or the input not be opened.
pub fn diff(
    contract: &Path,
    schema: Option<&str>,
    data: &str,
    options: &RunOptions<'_>,
) -> Result<(Outcome, Option<Vec<Difference>>), LoadError> {
    let contract = match is_pipeline(contract) {
        true => of_pipeline(contract)?,
        false => super::read_file(contract, schema)?,
    };
    let agreement = Agreement::new(&contract, Policy::default());
    let mut definition = definition("contract", &source(data, false)?, &[])?;
    discard(&mut definition);
    let columns = Columns::of(&definition.extract[0])?;
    let mut found = columns.compare(&agreement);
    // Everything passes or is rejected, and what is rejected is counted.
    let policy = Policy {
        new_column: Some(Way::Evolve),
        missing_column: Some(Way::NullValue),
        field_type: Some(Way::QuarantineRecord),
        null: Some(NullWay::QuarantineRecord),
    };
    let contract = Contract { policy, ..contract };
    let at = Pointer::root();
    definition.contracts = vec![Some(SourceContract { contract, at })];
    let outcome = run_definition(&definition, options)?;
    if outcome.report.status != Status::Published {
        return Ok((outcome, None));
    }
    values(&agreement, &columns, &outcome.report.rejected_by, &mut found);
    Ok((outcome, Some(found)))
}

fn is_pipeline(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    yaml_to_json(&text).is_ok_and(|document| document.get("extract").is_some())
}

/// The contract of a pipeline: the only one that its sources have.
fn of_pipeline(path: &Path) -> Result<Contract, LoadError> {
    let definition = registry().load(path, &Params::from_environment())?;
    let mut contracts: Vec<Contract> = Vec::new();
    for SourceContract { contract, .. } in definition.contracts.iter().flatten() {
        if !contracts.contains(contract) {
            contracts.push(contract.clone());
        }
    }
    let name = path.display();
    let wrong = |message: String, hint: &str| {
        Err(Error::new(ErrorKind::Configuration, message).hint(hint).into())
    };
    match (contracts.len(), contracts.pop()) {
        (1, Some(Contract { file: Some(file), schema, policy, .. })) => {
            let contract = super::read_file(&definition.base.join(file), schema.as_deref())?;
            Ok(Contract { policy: policy.or(contract.policy), ..contract })
        }
        (1, Some(contract)) => Ok(contract),
        (_, None) => wrong(
            format!("the sources of the pipeline `{name}` have no contract"),
            "`gristmill profile DATA --suggest contract` writes one for a data file",
        ),
        (many, Some(_)) => wrong(
            format!("the sources of the pipeline `{name}` have {many} contracts"),
            "put the one that is meant into a file, `contract: {file: …}`, and give that",
        ),
    }
}

/// Differences as a person reads them.
pub fn table(contract: &Path, data: &str, outcome: &Outcome, found: &[Difference]) -> String {
    let (contract, records) = (contract.display(), thousands(outcome.report.read));
    let mut out = match found {
        [] => format!("{data} keeps the contract {contract}: {records} records\n"),
        _ => format!("{data} differs from the contract {contract}: {records} records\n\n"),
    };
    let width = found.iter().map(|one| one.column.chars().count()).max().unwrap_or(0);
    for Difference { column, breaks, message, .. } in found {
        let word = if *breaks { "breaks " } else { "allowed" };
        let _ = writeln!(out, "  {word}  {column:<width$}  {message}");
    }
    let broken = found.iter().filter(|one| one.breaks).count();
    match (found.len(), broken) {
        (0, _) => {}
        (1, 0) => out.push_str("\nits policy lets the difference pass\n"),
        (_, 0) => out.push_str("\nits policy lets all of them pass\n"),
        (all, broken) => {
            let _ = writeln!(out, "\n{broken} of {all} differences break the contract");
        }
    }
    let unread = outcome.report.rejected_by.iter().filter(|tally| !is_judged(tally));
    let unread: u64 = unread.map(|tally| tally.records).sum();
    if unread > 0 {
        let _ =
            writeln!(out, "{} records could not be read and were not judged", thousands(unread));
    }
    out
}

fn is_judged(tally: &RejectTally) -> bool {
    tally.field.is_some() && matches!(tally.rule.as_str(), "type" | "not_null")
}

/// The columns of an input, as it has them.
struct Columns {
    names: Vec<String>,
    /// Of inputs with types: these.
    types: Option<SchemaRef>,
    /// Files that lack some, and which.
    gaps: Vec<(std::sync::Arc<str>, Vec<String>)>,
    is_empty: bool,
}

impl Columns {
    fn of(item: &crate::definition::Item<gristmill_core::ExtractorKind>) -> Result<Self> {
        let scratch = Scratch::new()?;
        let context = ExtractContext {
            base: std::path::PathBuf::new(),
            scratch: scratch.path().to_owned(),
            memory: Limits::default().memory,
            workers: crate::run::cores(),
            range: Range::default(),
            guess: None,
        };
        let mut options = item.options.clone();
        if let (Some(options), "file") = (options.as_object_mut(), item.kind.name) {
            options.insert("drift".to_owned(), "fill".into());
        }
        let mut extractor = (item.kind.open)(&options, &context)?;
        let (names, types) = match extractor.read_plan()? {
            Some(plan) => (plan.columns.into_iter().map(|column| column.source).collect(), None),
            None => {
                let schema = extractor.begin(None)?;
                let names = schema.fields().iter().map(|field| field.name().clone()).collect();
                (names, Some(schema))
            }
        };
        let is_empty = extractor.empty().is_some();
        Ok(Self { names, types, gaps: extractor.gaps(), is_empty })
    }

    /// New and missing columns.
    fn compare(&self, agreement: &Agreement) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut known = vec![false; self.names.len()];
        for Agreed { name, .. } in &agreement.columns {
            let at = find_column(&self.names, name);
            if let Some(at) = at {
                known[at] = true;
            }
            let lacks = self
                .gaps
                .iter()
                .filter(|(_, lacks)| at.is_some_and(|at| lacks.contains(&self.names[at])));
            let lacks: Vec<_> = lacks.map(|(file, _)| format!("`{file}`")).collect();
            let message = match (at, lacks.as_slice()) {
                (None, _) if self.is_empty => continue,
                (None, _) => "is missing".to_owned(),
                (Some(_), []) => continue,
                (Some(_), [one]) => format!("is missing in {one}"),
                (Some(_), [first, others @ ..]) => {
                    format!("is missing in {first} and {} more files", others.len())
                }
            };
            found.push(Difference {
                kind: Kind::MissingColumn,
                column: name.clone(),
                breaks: matches!(agreement.missing_column, Way::Freeze | Way::QuarantineRecord),
                message,
                records: None,
            });
        }
        for (name, _) in self.names.iter().zip(known).filter(|(_, known)| !known) {
            found.push(Difference {
                kind: Kind::NewColumn,
                column: name.clone(),
                breaks: matches!(agreement.new_column, Way::Freeze | Way::QuarantineRecord),
                message: "is not in the contract".to_owned(),
                records: None,
            });
        }
        found
    }

    /// The type that a column has in the input, where it has another than the agreed one.
    fn other_type(&self, name: &str, agreed: FieldType) -> Option<String> {
        let field = self.types.as_ref()?.field(find_column(&self.names, name)?);
        (FieldType::of(field) != Some(agreed)).then(|| type_name(field))
    }
}

/// Values that are not of their type, and nulls where none may be.
fn values(
    agreement: &Agreement,
    columns: &Columns,
    tallies: &[RejectTally],
    found: &mut Vec<Difference>,
) {
    for Agreed { name, column } in &agreement.columns {
        let at = find_column(&columns.names, name);
        let spelled = at.map_or(name, |at| &columns.names[at]);
        let of_rule = |rule: &str| {
            tallies.iter().find(|tally| {
                let field = tally.field.as_ref();
                tally.rule == rule && field.is_some_and(|field| field == name || field == spelled)
            })
        };
        let place = |tally: &RejectTally| match tally.line {
            Some(line) => format!("{}:{line}", tally.source),
            None => format!("record {} of {}", tally.record, tally.source),
        };
        let records = |tally: &RejectTally| match tally.records {
            1 => "1 record".to_owned(),
            many => format!("{} records", thousands(many)),
        };
        let other = column.field_type.and_then(|agreed| columns.other_type(name, agreed));
        let wrong = of_rule("type");
        let agreed = column.field_type.map(|agreed| agreed.to_string()).unwrap_or_default();
        let message = match (wrong, other) {
            (None, None) => None,
            (None, Some(other)) => {
                Some(format!("is of type {other}, and {agreed} in the contract; every value fits"))
            }
            (Some(tally), other) => {
                let own = other
                    .map(|other| format!("is of type {other}, and {agreed} in the contract; "));
                Some(format!(
                    "{}in {}, {} ({})",
                    own.unwrap_or_default(),
                    records(tally),
                    tally.example,
                    place(tally)
                ))
            }
        };
        found.extend(message.map(|message| Difference {
            kind: Kind::Type,
            column: name.clone(),
            breaks: wrong.is_some()
                && matches!(agreement.field_type, Way::Freeze | Way::QuarantineRecord),
            message,
            records: wrong.map(|tally| tally.records),
        }));
        found.extend(of_rule("not_null").map(|tally| Difference {
            kind: Kind::Null,
            column: name.clone(),
            breaks: agreement.null != NullWay::Evolve,
            message: format!("is null in {} ({})", records(tally), place(tally)),
            records: Some(tally.records),
        }));
    }
}
