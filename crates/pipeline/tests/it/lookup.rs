//! Records looked up in other sources, from the pipeline file to the rejects file.

use std::path::Path;

use gristmill_pipeline::execute::{Checked, RunOptions, State, check, registry, run_definition};
use gristmill_pipeline::params::Params;
use gristmill_pipeline::{File, Lookup, Output, Pipeline, Report, Status};
use insta::assert_snapshot;

const SALES: &str = "id,region,day\n1,EU,2024-01-31\n2,XX,2024-01-31\n3,NA,\n4,,2024-01-31\n";
const REGIONS: &str = "region,region_name,note\nEU,Europe,x\nNA,\"North\nAmerica\",y\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn run(folder: &Path, steps: &str, workers: usize) -> Report {
    let text = format!(
        "pipeline: p\nextract: [{{file: sales.csv, columns: {{id: int, day: date}}}}]\nsteps:\n{steps}\nload: [{{file: out.csv}}]\nrejects: rejects.ndjson\nlimits: {{memory: 128MiB}}\n"
    );
    let definition =
        registry().parse(&text, &folder.join("p.yaml"), folder, &Params::default()).unwrap();
    let options =
        RunOptions { workers: Some(workers), state: State::None, ..RunOptions::default() };
    let outcome = run_definition(&definition, &options).unwrap();
    assert!(outcome.diagnostics.is_none(), "{:?}", outcome.diagnostics);
    outcome.report
}

fn failure(files: &[(&str, &str)], steps: &str) -> String {
    let folder = folder(files);
    let report = run(folder.path(), steps, 2);
    assert_eq!(report.status, Status::Failed);
    assert!(!folder.path().join("out.csv").exists());
    report.error.unwrap().message
}

const STEP: &str = "  - lookup: {from: {file: regions.csv}, on: region, take: region_name}";

#[test]
fn records_get_their_columns_and_rejects_name_their_line() {
    let folder = folder(&[("sales.csv", SALES), ("regions.csv", REGIONS)]);
    let report = run(folder.path(), STEP, 2);
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        text("out.csv"),
        "id,region,day,region_name\n1,EU,2024-01-31,Europe\n3,NA,,\"North\nAmerica\"\n"
    );
    let rejects = text("rejects.ndjson");
    let rejects: Vec<serde_json::Value> =
        rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rejects[0]["line"], &rejects[0]["raw"]), (&3.into(), &"2,XX,2024-01-31".into()));
    assert_eq!(
        rejects[0]["errors"],
        serde_json::json!([{"field": "region", "rule": "lookup",
            "message": "`XX` is not in `regions.csv`", "value": "XX"}])
    );
    assert_eq!((rejects.len(), rejects[1]["stage"].clone()), (2, "transform".into()));
    let step = &report.steps[1];
    assert_eq!((step.metrics.records_in, step.rejected), (4, 2));
    assert_eq!(
        step.details,
        Some(serde_json::json!({"source": "regions.csv", "records": 2, "found": 2, "nothing": 2}))
    );
}

#[test]
fn the_same_bytes_for_any_number_of_workers() {
    let mut sales = String::from("id,region,day\n");
    for id in 0..60_000 {
        sales += &format!("{id},r{},2024-01-{:02}\n", id % 977, id % 28 + 1);
    }
    let regions: String = (0..900).map(|n| format!("r{n},Region {n}\n")).collect();
    let regions = format!("region,region_name\n{regions}");
    let folder = folder(&[("sales.csv", &sales), ("regions.csv", &regions)]);
    let outputs = [1, 2, 7].map(|workers| {
        let report = run(folder.path(), STEP, workers);
        assert_eq!(report.status, Status::Published, "{:?}", report.error);
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let rejects = String::from_utf8(bytes("rejects.ndjson")).unwrap().replace(&report.run, "");
        (bytes("out.csv"), rejects, report.account)
    });
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
    assert!(outputs[0].2.rejected > 4_000);
}

#[test]
fn sources_that_are_wrong_end_the_run_before_anything_is_written() {
    let failure = |regions: &str, steps: &str| {
        failure(&[("sales.csv", SALES), ("regions.csv", regions)], steps)
    };
    assert_eq!(
        failure("region,region_name\nEU,Europe\nNA,\"North\nAmerica\"\nEU,again\n", STEP),
        "`regions.csv` has several records with one key (`region`): `EU` in lines 2 and 5"
    );
    assert_eq!(
        failure("region,region_name\nEU,Europe\nNA\n", STEP),
        "line 3 of `regions.csv` cannot be read: 1 field where the header has 2"
    );
    let typed = "  - lookup: {from: {file: regions.csv, columns: {region_name: int, note: int}}, on: region, take: region_name}";
    assert_eq!(
        failure("region,region_name,note\nEU,1,not read\nNA,x,2\n", typed),
        "line 3 of `regions.csv` cannot be read: `region_name`: `x` is not an int"
    );
    let long = "x".repeat(2_000);
    let large: String = (0..20_000).map(|n| format!("{n},{long}\n")).collect();
    let large = failure(&format!("region,region_name\n{large}"), STEP);
    assert!(large.starts_with("`regions.csv` is too large to look things up in"), "{large}");
}

#[test]
fn mistakes_in_the_source_are_found_where_they_stand() {
    let mistakes = |steps: &str| {
        let text = format!(
            "pipeline: p\nextract: [{{file: a.csv}}]\nload: [{{file: b.csv}}]\nsteps:\n{steps}"
        );
        let path = Path::new("p.yaml");
        let parsed = registry().parse(&text, path, Path::new(""), &Params::default());
        parsed.map(|_| String::new()).unwrap_or_else(|found| found.to_string())
    };
    assert_snapshot!(mistakes(
        r"
  - lookup: {from: {fil: regions.csv}, on: region}
  - lookup: {from: {file: regions.csv, colums: {}}, on: region, missing: nul}
  - lookup: {from: {table: t, database: 'sqlite://w.db', cursor: {column: at}}, on: region}
  - lookup: {from: {file: b.csv}, on: region}
  - lookup: {from: {rows: [{a: x}], columns: {a: int}}, on: a}
"
    ), @r#"
    error: the destination is also read as a source in line 9
      --> p.yaml:3:15
       |
     3 | load: [{file: b.csv}]
       |               ^^^^^
       = hint: write to another file, or a later run reads what this one wrote

    error: unknown source `fil`
      --> p.yaml:6:21
       |
     6 |   - lookup: {from: {fil: regions.csv}, on: region}
       |                     ^^^ did you mean `file`?

    error: unknown key `colums`
      --> p.yaml:7:40
       |
     7 |   - lookup: {from: {file: regions.csv, colums: {}}, on: region, missing: nul}
       |                                        ^^^^^^ did you mean `columns`?
       = hint: the keys here are `file`, `read`, `format`, `compression`, `columns`, `infer`, `date_formats`, `drift`, `csv` and `json`

    error: `missing` cannot be `nul`
      --> p.yaml:7:74
       |
     7 |   - lookup: {from: {file: regions.csv, colums: {}}, on: region, missing: nul}
       |                                                                          ^^^ did you mean `null`?
       = hint: it is `reject` or `null`

    error: a step reads all records of its source, in every run
      --> p.yaml:8:58
       |
     8 |   - lookup: {from: {table: t, database: 'sqlite://w.db', cursor: {column: at}}, on: region}
       |                                                          ^^^^^^
       = hint: leave `cursor` out; a `query` can read some of the records

    error: `x` is not an int
       --> p.yaml:10:32
        |
     10 |   - lookup: {from: {rows: [{a: x}], columns: {a: int}}, on: a}
        |                                ^

    error: 6 mistakes in `p.yaml`
    "#);
}

#[test]
fn sources_that_are_not_there_are_told_together_and_with_other_mistakes() {
    let folder = folder(&[("sales.csv", SALES), ("regions.csv", REGIONS)]);
    let told = |steps: &str| {
        let text = format!(
            "pipeline: p\nextract: [{{file: sales.csv}}]\nsteps:\n{steps}\nload: [{{file: out.csv}}]\n"
        );
        let path = Path::new("p.yaml");
        let definition = registry().parse(&text, path, folder.path(), &Params::default()).unwrap();
        let Checked::Wrong(checked) = check(&definition).unwrap() else { panic!("no mistakes") };
        let options = RunOptions { state: State::None, ..RunOptions::default() };
        let outcome = run_definition(&definition, &options).unwrap();
        let told = outcome.diagnostics.unwrap().to_string();
        assert_eq!(told, checked.to_string());
        let place = folder.path().display().to_string();
        (outcome.report.status, told.replace(&place, "."))
    };
    let absent = r#"
  - lookup: {from: {file: region.csv}, on: region}
  - join: {with: {file: nowhere.csv}, on: region}
  - sql: {query: "SELECT * FROM input JOIN r USING (region)", tables: {r: {file: r.csv}}}"#;
    // The data may still come: this is no mistake in the file.
    let (status, text) = told(absent);
    assert_eq!(status, Status::Failed);
    assert_snapshot!(text, @r#"
    error: cannot read `region.csv`: No such file or directory
      --> p.yaml:5:27
       |
     5 |   - lookup: {from: {file: region.csv}, on: region}
       |                           ^^^^^^^^^^
       = hint: did you mean `regions.csv`?

    error: cannot read `nowhere.csv`: No such file or directory
      --> p.yaml:6:25
       |
     6 |   - join: {with: {file: nowhere.csv}, on: region}
       |                         ^^^^^^^^^^^
       = hint: paths are relative to the pipeline file, here `.`

    error: cannot read `r.csv`: No such file or directory
      --> p.yaml:7:82
       |
     7 |   - sql: {query: "SELECT * FROM input JOIN r USING (region)", tables: {r: {file: r.csv}}}
       |                                                                                  ^^^^^
       = hint: paths are relative to the pipeline file, here `.`

    error: 3 mistakes in `p.yaml`
    "#);
    let (status, text) = told("  - lookup: {from: {file: region.csv}, on: regio}");
    assert_eq!(status, Status::Invalid);
    assert!(text.contains("error: no column `regio`"), "{text}");
    assert!(text.contains("region.csv"), "{text}");
    let (status, text) = told(&format!("  - derive: {{x: idd + 1}}{absent}"));
    assert_eq!(status, Status::Invalid);
    assert_eq!(text.matches("error: ").count(), 5, "{text}");
    assert!(text.starts_with("error: no column `idd`"), "{text}");
}

#[test]
fn a_lookup_in_rust() {
    let folder = folder(&[("sales.csv", SALES), ("regions.csv", REGIONS)]);
    let regions = File::open(folder.path().join("regions.csv")).unwrap();
    let report = Pipeline::new("sales")
        .extract(File::open(folder.path().join("sales.csv")).unwrap())
        .step(Lookup::new(regions).on("region").take_as("name", "region_name"))
        .load(Output::create(folder.path().join("out.csv")).unwrap())
        .run()
        .unwrap();
    assert_eq!((report.account.loaded(), report.rejected), (2, 2));
    let out = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    assert!(out.starts_with("id,region,day,name\n1,EU,2024-01-31,Europe\n"), "{out}");
}

#[test]
fn texts_that_no_step_looks_at_stay_in_the_raw_text_of_rejects() {
    let sales = "id,region,note,day\n1,EU,\"a, b\",2024-01-31\n2,EU,c,yesterday\nx,NA,d,2024-02-01\n4,XX,e,2024-02-02\n5,NA,f,2024-02-03,g\n";
    let folder = folder(&[("sales.csv", sales), ("regions.csv", REGIONS)]);
    let steps = format!(
        "{STEP}\n  - filter: id < 9\n  - aggregate: {{by: [region_name], columns: {{sold: count(*)}}}}"
    );
    let report = run(folder.path(), &steps, 2);
    assert_eq!(report.status, Status::Published, "{:?}", report.error);
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(text("out.csv"), "region_name,sold\nEurope,1\n");
    // `day` is declared, so its values are checked although no step looks at it.
    let rejects = text("rejects.ndjson");
    let rejects: Vec<serde_json::Value> =
        rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let raw: Vec<_> = rejects.iter().map(|reject| reject["raw"].as_str().unwrap()).collect();
    assert_eq!(
        raw,
        ["2,EU,c,yesterday", "x,NA,d,2024-02-01", "4,XX,e,2024-02-02", "5,NA,f,2024-02-03,g"]
    );
}
