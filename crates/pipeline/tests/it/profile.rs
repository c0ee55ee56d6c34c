//! Profiles of files, and rules that the data satisfies.

use std::fs;
use std::path::Path;

use gristmill_pipeline::Status;
use gristmill_pipeline::execute::{RunOptions, State, registry, run_definition};
use gristmill_pipeline::params::Params;
use gristmill_pipeline::profile::{profile, suggest_dqdl, suggest_yaml, table};
use gristmill_pipeline::quality::{Judgement, judge};
use insta::assert_snapshot;

fn options(workers: usize) -> RunOptions<'static> {
    RunOptions { state: State::None, workers: Some(workers), ..RunOptions::default() }
}

/// Funds with an id, a code, a currency, a size, a day, and a note that is mostly missing.
fn funds(path: &Path) {
    let mut text = "id,code,currency,aum,day,note,it's \"odd\"\n".to_owned();
    for i in 1..=200 {
        let currency = ["USD", "EUR", "CHF"][i % 3];
        let aum = if i % 10 == 0 { String::new() } else { format!("{}.5", i * i) };
        let note = if i % 50 == 0 { "late, \"very\"" } else { "" };
        let note = if note.is_empty() {
            String::new()
        } else {
            format!("\"{}\"", note.replace('"', "\"\""))
        };
        text.push_str(&format!(
            "{i},FND{i:06},{currency},{aum},2024-0{}-15,{note},x{}\n",
            i % 9 + 1,
            i % 2
        ));
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_profile_says_what_is_in_each_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("funds.csv");
    funds(&path);
    let data = path.to_str().unwrap();
    let (_, one) = profile(data, true, &options(1)).unwrap();
    let (_, four) = profile(data, true, &options(4)).unwrap();
    assert_eq!(one, four);
    assert_snapshot!(table("funds.csv", &one.unwrap()));
}

#[test]
fn the_data_satisfies_the_suggested_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("funds.csv");
    funds(&path);
    let data = path.to_str().unwrap();
    let (_, profile) = profile(data, true, &options(2)).unwrap();
    let profile = profile.unwrap();
    let (dqdl, yaml) = (suggest_dqdl(&profile), suggest_yaml(&profile));
    assert_snapshot!("suggested_dqdl", dqdl);
    assert_snapshot!("suggested_yaml", yaml);

    let rules = folder.path().join("rules.dqdl");
    fs::write(&rules, &dqdl).unwrap();
    let judgement =
        Judgement { rules, data: data.to_owned(), references: Vec::new(), infer: true, rows: None };
    let report = judge(&judgement, &options(2)).unwrap().report;
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).collect();
    assert!(failed.is_empty() && report.checks.len() > 10, "{failed:?}");

    let text = format!(
        "pipeline: p\nextract: [{{file: funds.csv, infer: true}}]\n{yaml}load: [{{file: out.csv}}]\n"
    );
    let parsed = registry().parse(&text, Path::new("p"), folder.path(), &Params::default());
    let parsed = parsed.unwrap_or_else(|found| panic!("{found}"));
    let report = run_definition(&parsed, &options(2)).unwrap().report;
    assert_eq!((report.status, report.rejected), (Status::Published, 0), "{:?}", report.error);
}
