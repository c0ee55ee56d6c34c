//! The most likely mistakes, and the messages that come out.

use gristmill_tests::Sandbox;

use crate::assert_shown;

const DATA: &str =
    "fund_code,as_of_date,aum\nFND000001,2024-01-31,10.50\nFND000002,2024-01-31,20.25\n";

/// A pipeline over [`DATA`] with one thing changed.
fn pipeline(from: &str, to: &str) -> Sandbox {
    const GOOD: &str = r"pipeline: funds
extract:
  - file: funds.csv
    columns:
      as_of_date: date
      aum: decimal(18, 2)
steps:
  - clean: {trim: all}
  - validate:
      rules:
        fund_code: [required, {matches: '^FND\d{6}$'}]
        aum: {min: 0}
  - derive:
      aum_eur: aum * 1.1
load:
  - file: out/funds.parquet
";
    assert!(GOOD.contains(from), "`{from}` is not in the pipeline");
    let sandbox = Sandbox::new();
    sandbox.write("funds.csv", DATA);
    sandbox.write("funds.yaml", GOOD.replace(from, to));
    sandbox
}

macro_rules! mistake {
    ($name:ident, $from:expr, $to:expr) => {
        #[test]
        fn $name() {
            let sandbox = pipeline($from, $to);
            let ran = sandbox.run(&["run", "funds.yaml"]);
            assert_ne!(ran.code, Some(0), "{}", ran.stderr);
            assert!(!sandbox.path().join("out/funds.parquet").exists());
            assert_shown!(concat!("mistake_", stringify!($name)), sandbox, ran);
        }
    };
}

mistake!(wrong_key, "columns:", "colums:");
mistake!(wrong_step, "- derive:", "- derrive:");
mistake!(wrong_type_name, "as_of_date: date", "as_of_date: dat");
mistake!(wrong_value_type, "load:", "limits: {workers: four}\nload:");
mistake!(missing_load, "load:\n  - file: out/funds.parquet\n", "");
mistake!(missing_source, "- file: funds.csv", "- file: fund.csv");
mistake!(empty_glob, "- file: funds.csv", "- file: data/*.csv");
mistake!(source_is_a_folder, "- file: funds.csv", "- file: .");
mistake!(missing_column_in_rules, "aum: {min: 0}", "amount: {min: 0}");
mistake!(declared_column_missing, "aum: decimal(18, 2)", "amu: decimal(18, 2)");
mistake!(unknown_column_in_expression, "aum * 1.1", "amu * 1.1");
mistake!(bad_expression, "aum * 1.1", "aum * * 1.1");
mistake!(unknown_function, "aum * 1.1", "rond(aum)");
mistake!(bad_regex, r"'^FND\d{6}$'", r"'^FND(\d{6}$'");
mistake!(number_rule_on_a_string, "      aum: decimal(18, 2)\n", "");
mistake!(unknown_rule, "{min: 0}", "{minimum: 0}");
mistake!(undefined_parameter, "out/funds.parquet", "${OUT}/funds.parquet");
mistake!(unknown_format, "out/funds.parquet", "out/funds.dat");
mistake!(
    type_cut_off_at_its_comma,
    "- clean: {trim: all}",
    "- clean: {trim: all}\n  - cast: {aum: decimal(18, 2)}"
);
mistake!(tab_in_yaml, "  - clean:", "\t- clean:");
mistake!(missing_colon, "pipeline: funds", "pipeline funds");
mistake!(duplicate_key, "as_of_date: date", "as_of_date: date\n      as_of_date: string");
mistake!(
    upsert_without_keys,
    "- file: out/funds.parquet",
    "- {table: t, database: 'sqlite://x.db', mode: upsert}"
);
mistake!(
    paths_without_their_key,
    "load:\n  - file: out/funds.parquet",
    "load: out/funds.parquet\nlimits: {memory: 1GiB}"
);
mistake!(unknown_database, "- file: out/funds.parquet", "- {table: t, database: 'oracle://x'}");
mistake!(
    same_output_twice,
    "- file: out/funds.parquet",
    "- file: out/funds.parquet\n  - file: out/funds.parquet"
);
mistake!(output_over_input, "- file: out/funds.parquet", "- file: funds.csv");
mistake!(
    several_at_once,
    "steps:\n  - clean: {trim: all}",
    "stepps: []\nsteps:\n  - clean: {trim: al}"
);

#[test]
fn no_pipeline_file() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["run", "nowhere.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("mistake_no_pipeline_file", sandbox, ran);
}

#[test]
fn data_instead_of_a_pipeline() {
    let sandbox = Sandbox::new();
    sandbox.write("funds.csv", DATA);
    let ran = sandbox.run(&["run", "funds.csv"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("mistake_data_instead_of_a_pipeline", sandbox, ran);
}

#[test]
fn unused_parameter() {
    let sandbox = pipeline("out/funds.parquet", "${OUT:-out}/funds.parquet");
    let ran = sandbox.run(&["run", "funds.yaml", "--param", "OTU=elsewhere"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("mistake_unused_parameter", sandbox, ran);
}

#[test]
fn unwritable_output() {
    // A file where the folder should be: refused to any user, root too.
    let sandbox = pipeline("out/funds.parquet", "out/funds.parquet");
    sandbox.write("out", "in the way");
    let ran = sandbox.run(&["run", "funds.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert_shown!("mistake_unwritable_output", sandbox, ran);
}

#[test]
fn half_a_gzip_file() {
    let sandbox = pipeline("- file: funds.csv", "- file: funds.csv.gz");
    let whole: &[u8] =
        &[0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x4b, 0x2b, 0xcd, 0x4b, 0x89];
    sandbox.write("funds.csv.gz", whole);
    let ran = sandbox.run(&["run", "funds.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert_shown!("mistake_half_a_gzip_file", sandbox, ran);
}

#[test]
fn unknown_command_and_option() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["rum", "funds.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("mistake_unknown_command", sandbox, ran);
    let ran = sandbox.run(&["run", "funds.yaml", "--worker", "2"]);
    assert_eq!(ran.code, Some(2));
    assert_shown!("mistake_unknown_option", sandbox, ran);
}
