//! Profiles of files, and rules that the data satisfies.

use std::fs;
use std::path::Path;

use gristmill_pipeline::Status;
use gristmill_pipeline::contract::diff::diff;
use gristmill_pipeline::execute::{RunOptions, State, registry, run_definition};
use gristmill_pipeline::params::Params;
use gristmill_pipeline::profile::{
    foreign_key_table, foreign_keys, profile, suggest_contract, suggest_dqdl, suggest_yaml, table,
};
use gristmill_pipeline::quality::{Judgement, judge};
use gristmill_pipeline::values::{MOST, values, yaml};
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

#[test]
fn the_data_keeps_the_suggested_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("funds.csv");
    funds(&path);
    let data = path.to_str().unwrap();
    let suggested = suggest_contract(&profile(data, true, &options(2)).unwrap().1.unwrap());
    assert_snapshot!("suggested_contract", suggested);
    let contract = folder.path().join("contract.yaml");
    fs::write(&contract, &suggested).unwrap();
    let (_, found) = diff(&contract, None, data, &options(2)).unwrap();
    assert_eq!(found.unwrap(), []);
}

#[test]
fn frequent_texts_are_told_exactly_among_very_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    // 30,000 texts that come once, and some that come often, between them and at their end.
    let mut text = "user\n".to_owned();
    for i in 0..30_000 {
        text.push_str(&format!("user-{i}\n"));
        for (every, name) in [(7, "root"), (31, "admin"), (1_000, "guest"), (10_000, "rare")] {
            if i % every == 0 {
                text.push_str(&format!("{name}\n"));
            }
        }
    }
    text.push_str(&"late\n".repeat(500));
    fs::write(&path, &text).unwrap();
    let data = path.to_str().unwrap();
    let (_, one) = profile(data, false, &options(1)).unwrap();
    let (_, four) = profile(data, false, &options(4)).unwrap();
    assert_eq!(one, four);
    let column = &one.unwrap().columns[0];
    let found: Vec<(&str, u64)> =
        column.top.iter().map(|one| (one.value.as_str(), one.count)).collect();
    let count = |name: &str| text.lines().filter(|line| *line == name).count() as u64;
    // More than one of 10,001 records: those that come at least 4 times.
    let expected = ["root", "admin", "late", "guest"].map(|name| (name, count(name)));
    assert_eq!(found, expected);
    assert_eq!((column.distinct, count("rare")), (30_005, 3));
}

#[test]
fn columns_that_refer_to_keys_of_others_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let funds = file("funds.csv", "id,code,name\n1,F1,Ann\n2,F2,Bob\n3,F3,Cid\n");
    let positions = file(
        "positions.csv",
        "id,fund_id,code,quantity,owner\n1,1,F1,1,Ann\n2,3,F1,2,Dan\n3,2,F2,3,Eve\n4,,F3,1,Ann\n",
    );
    let profiles = [positions, funds].map(|data| {
        let profile = profile(&data, true, &options(1)).unwrap().1.unwrap();
        (data, profile)
    });
    let found = foreign_keys(&profiles, true, &options(1)).unwrap();
    let shown = foreign_key_table(&found).replace(&format!("{}/", folder.path().display()), "");
    assert_snapshot!(shown);
}

#[test]
fn the_values_of_a_column_are_listed_as_pivot_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.csv");
    let write = |text: &str| fs::write(&path, text).unwrap();
    let data = path.display().to_string();
    write("month,region,n\n2024-02,EU,10\n2024-01,\"no, where\",9\n2024-02,,10\n");
    let listed = |column: &str| {
        let (_, found) = values(&data, column, true, &options(2)).unwrap();
        yaml(&found.unwrap())
    };
    assert_eq!(listed("month"), "values: [\"2024-01\", \"2024-02\"]\n");
    assert_eq!(listed("region"), "values: [EU, \"no, where\"]\n");
    assert_eq!(listed("n"), "values: [9, 10]\n");
    let error = values(&data, "mnth", true, &options(1)).unwrap_err();
    assert_eq!(error.to_string(), "no column `mnth`");
    write(&(0..=MOST).fold("n\n".to_owned(), |text, n| format!("{text}{n}\n")));
    let error = values(&data, "n", true, &options(1)).unwrap_err();
    assert_eq!(error.to_string(), "`n` has 1,001 different values, and at most 1,000 are listed");
}
