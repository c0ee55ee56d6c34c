//! Runs put together in Rust: what is promised of every run, with parts that misbehave.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arrow_array::BooleanArray;
use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, BindContext, Bound, Error, ErrorKind, ExtractContext, Extractor, Findings, Grain,
    LoadContext, Loader, Mistake, Ratio, Result, Severity, Step, StepPlan,
};
use gristmill_extract::file::Drift;
use gristmill_parallel::Retry;
use gristmill_pipeline::run::Limits;
use gristmill_pipeline::{
    Cast, File, Filter, IntoDestination, IntoSource, Output, Pipeline, Report, Rule, Table,
    Validate,
};
use gristmill_transform::{Drop, Explode, Select};

const PEOPLE: &str = "name,age\nAda,36\nBob,17\n,40\nEve,old\nZoe,18\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn pipeline(folder: &Path) -> Pipeline {
    Pipeline::new("people").base(folder).extract(File::new("in.csv"))
}

fn balanced(report: &Report) {
    let account = report.account;
    assert_eq!(account.read, account.accounted(), "{account:?}");
    for step in &report.steps {
        let out = step.metrics.records_out + step.filtered + step.deduplicated + step.rejected;
        assert_eq!(step.metrics.records_in, out, "{step:?}");
    }
}

#[test]
fn every_record_is_in_the_account() {
    let folder = folder(&[("in.csv", PEOPLE)]);
    let report = pipeline(folder.path())
        .step(Cast::new().column("age", gristmill_core::FieldType::Int))
        .step(Validate::new().rule("name", Rule::required()))
        .step(Filter::new("age >= 18"))
        .load(Output::new("out.csv"))
        .load(Table::sqlite("out.db", "people"))
        .run()
        .unwrap();
    balanced(&report);
    let account = report.account;
    assert_eq!((account.read, account.inserted, account.filtered, account.rejected), (5, 2, 1, 2));
    assert_eq!(report.destinations.len(), 2);
    assert!(report.destinations.iter().all(|destination| destination.account.inserted == 2));
    assert_eq!(
        fs::read_to_string(folder.path().join("out.csv")).unwrap(),
        "name,age\nAda,36\nZoe,18\n"
    );
}

/// Loses the first row of each batch and says nothing.
struct Thief;

impl StepPlan for Thief {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let local: Option<Box<dyn Step>> = Some(Box::new(Thief));
        Ok(Bound { local, ordered: None, output: input.clone(), grain: Grain::Preserves })
    }
}

impl Step for Thief {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let keep = (0..batch.num_rows()).map(|row| Some(row > 0)).collect::<BooleanArray>();
        batch.filter(&keep)
    }
}

#[test]
fn a_step_that_loses_a_record_fails_the_run() {
    let folder = folder(&[("in.csv", PEOPLE)]);
    let error = pipeline(folder.path()).step(Thief).load(Output::new("out.csv")).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the account of step `step 1` does not balance: 5 in, 4 accounted for");
    assert!(!folder.path().join("out.csv").exists());
}

/// A source that cannot be reached at first.
struct Flaky {
    failures: Arc<AtomicU32>,
    kind: ErrorKind,
}

impl IntoSource for Flaky {
    fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        if self.failures.fetch_sub(1, Ordering::SeqCst) > 1 {
            return Err(Error::new(self.kind, "the source is away"));
        }
        IntoSource::open(&File::new("in.csv"), context)
    }
}

fn quick(attempts: u32) -> Retry {
    Retry { attempts, backoff: Duration::from_millis(1).into(), ..Retry::default() }
}

#[test]
fn opening_is_tried_again_only_when_it_may_help() {
    for (kind, attempts, works) in [
        (ErrorKind::Transient, 3, true),
        (ErrorKind::Transient, 2, false),
        (ErrorKind::NotFound, 3, false),
    ] {
        let folder = folder(&[("in.csv", PEOPLE)]);
        let failures = Arc::new(AtomicU32::new(3));
        let source = Flaky { failures: Arc::clone(&failures), kind };
        let outcome = Pipeline::new("people")
            .base(folder.path())
            .extract(source)
            .retry(quick(attempts))
            .load(Output::new("out.csv"))
            .run();
        assert_eq!(outcome.is_ok(), works, "{kind:?} {attempts}: {outcome:?}");
        assert_eq!(folder.path().join("out.csv").exists(), works);
    }
}

/// A destination whose publishing fails at first, and which may forget a record.
#[derive(Clone, Copy)]
struct Busy {
    failures: u32,
    forgets: u64,
}

struct BusyLoader {
    inner: Box<dyn Loader>,
    failures: u32,
    forgets: u64,
}

impl IntoDestination for Busy {
    fn open(&self, schema: &SchemaRef, context: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
        let inner = IntoDestination::open(&Output::new("out.csv"), schema, context)?;
        Ok(Box::new(BusyLoader { inner, failures: self.failures, forgets: self.forgets }))
    }
}

impl Loader for BusyLoader {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn encoder(&self) -> Arc<dyn gristmill_core::Encoder> {
        self.inner.encoder()
    }

    fn append(&mut self, part: gristmill_core::Encoded, findings: &mut Findings) -> Result<()> {
        self.inner.append(part, findings)
    }

    fn prepare(&mut self, findings: &mut Findings) -> Result<gristmill_core::Loaded> {
        let mut loaded = self.inner.prepare(findings)?;
        loaded.inserted -= self.forgets;
        Ok(loaded)
    }

    fn commits(&self) -> bool {
        true
    }

    fn publish(&mut self) -> Result<gristmill_core::Loaded> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(Error::new(ErrorKind::Transient, "the destination is busy"));
        }
        self.inner.publish()
    }

    fn abort(self: Box<Self>) {
        self.inner.abort();
    }
}

#[test]
fn publishing_is_tried_again_and_all_or_nothing() {
    for (failures, works) in [(2, true), (3, false)] {
        let folder = folder(&[("in.csv", PEOPLE)]);
        let outcome = pipeline(folder.path())
            .load(Output::new("other.csv"))
            .load(Busy { failures, forgets: 0 })
            .retry(quick(3))
            .run();
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
        // The one that can be refused goes first, so the other is not shown without it.
        for name in ["out.csv", "other.csv"] {
            assert_eq!(
                folder.path().join(name).exists(),
                works,
                "{name} after {failures} failures"
            );
        }
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, if works { 3 } else { 1 }, "nothing is left behind");
    }
}

#[test]
fn a_destination_that_loses_a_record_publishes_nothing() {
    let folder = folder(&[("in.csv", PEOPLE)]);
    let busy = Busy { failures: 0, forgets: 1 };
    let error = pipeline(folder.path()).load(busy).run().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.ends_with("does not balance: 5 in, 4 accounted for"), "{cause}");
    assert!(!folder.path().join("out.csv").exists());
}

#[test]
fn past_a_limit_nothing_is_published_and_the_rejects_are() {
    let ratio = |share| Limits { rejected_ratio: Ratio::new(share).ok(), ..Limits::default() };
    let count = |rejected| Limits { rejected: Some(rejected), ..Limits::default() };
    for (limits, works) in
        [(ratio(0.2), true), (ratio(0.19), false), (count(1), true), (count(0), false)]
    {
        let folder = folder(&[("in.csv", PEOPLE)]);
        let outcome = pipeline(folder.path())
            .step(Validate::new().rule("name", Rule::required()))
            .limits(limits.clone())
            .rejects("rejects.ndjson")
            .load(Output::new("out.csv"))
            .run();
        assert_eq!(outcome.is_ok(), works, "{limits:?}");
        assert_eq!(folder.path().join("out.csv").exists(), works);
        let rejects = fs::read_to_string(folder.path().join("rejects.ndjson")).unwrap();
        assert_eq!(rejects.lines().count(), 1);
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Stopped);
        }
    }
}

#[test]
fn a_rule_that_aborts_names_the_record() {
    let folder = folder(&[("in.csv", PEOPLE)]);
    let error = pipeline(folder.path())
        .step(Validate::new().rule("name", Rule::required().severity(Severity::Abort)))
        .load(Output::new("out.csv"))
        .run()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(
        error.to_string(),
        "record 3 (line 4) of `in.csv`: field `name`, rule `required`: is missing"
    );
    assert!(!folder.path().join("out.csv").exists());
}

#[test]
fn a_new_grain_starts_a_new_account() {
    let lines = "{\"id\":1,\"tags\":[\"a\",\"b\"]}\n{\"id\":2,\"tags\":[\"c\"]}\n{\"id\":3,\"tags\":[]}\nbroken\n";
    let folder = folder(&[("in.ndjson", lines)]);
    let report = Pipeline::new("tags")
        .base(folder.path())
        .extract(File::new("in.ndjson"))
        .step(Explode::new("tags").drop_empty())
        .step(Validate::new().rule("tags", Rule::one_of(["a", "c"])))
        .load(Output::new("out.csv"))
        .run()
        .unwrap();
    assert_eq!((report.read, report.rejected), (4, 2));
    let account = report.account;
    assert_eq!((account.read, account.inserted, account.rejected), (3, 2, 1));
    assert_eq!(account.read, account.accounted());
}

#[test]
fn chained_sources_need_not_have_their_columns_in_one_order() {
    let sources = folder(&[
        ("a.csv", "id,n,day\n1,2,2024-01-31\n"),
        (
            "b.ndjson",
            "{\"day\":\"2024-02-01\",\"id\":\"3\",\"n\":\"x\"}\n{\"n\":\"4\",\"id\":\"5\"}\n",
        ),
    ]);
    let day = || gristmill_core::FieldType::Date;
    let chain = |first: File, second: File| {
        Pipeline::new("chain")
            .base(sources.path())
            .extract(first.column("day", day()))
            .extract(second.column("day", day()))
            .step(Validate::new().rule("n", Rule::one_of(["2", "4"])))
            .load(Output::new("out.csv"))
            .run()
            .unwrap()
    };
    let written = || fs::read_to_string(sources.path().join("out.csv")).unwrap();
    let report = chain(File::new("a.csv"), File::new("b.ndjson"));
    balanced(&report);
    assert_eq!(report.rejected, 1);
    assert_eq!(written(), "id,n,day\n1,2,2024-01-31\n5,4,\n");
    let reversed = chain(File::new("b.ndjson"), File::new("a.csv"));
    assert_eq!(reversed.rejected, 1);
    assert_eq!(written(), "day,id,n\n,5,4\n2024-01-31,1,2\n");

    // A source whose reader leaves the first steps to be done afterwards.
    let base = || Pipeline::new("chain").base(sources.path());
    let to_parquet = base().extract(File::new("b.ndjson")).load(Output::new("b.parquet"));
    to_parquet.run().unwrap();
    let report = base()
        .extract(File::new("a.csv"))
        .extract(File::new("b.parquet"))
        .step(Cast::new().column("day", day()).column("n", gristmill_core::FieldType::Int))
        .load(Output::new("out.csv"))
        .run()
        .unwrap();
    balanced(&report);
    assert_eq!(report.rejected, 1);
    assert_eq!(written(), "id,n,day\n1,2,2024-01-31\n5,4,\n");
}

#[test]
fn row_groups_without_a_record_that_a_filter_keeps_are_not_read_from_parquet() {
    // Each file becomes a chunk, and each chunk a row group.
    let folder = folder(&[
        ("a.csv", "id,n,day\na,1,2024-01-31\nb,2,2024-02-01\n"),
        ("b.csv", "id,n,day\nc,3,2024-02-02\nd,4,2024-03-01\ne,,2024-03-02\n"),
    ]);
    let base = || Pipeline::new("groups").base(folder.path());
    let typed = |name: &str| {
        let file = File::new(name).column("n", gristmill_core::FieldType::Int);
        file.column("day", gristmill_core::FieldType::Date)
    };
    let both = base().extract(typed("a.csv")).extract(typed("b.csv"));
    both.load(Output::new("in.parquet")).run().unwrap();
    // The first row group stands behind the magic number.
    let path = folder.path().join("in.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..20].fill(0xFF);
    fs::write(&path, bytes).unwrap();

    let run = |condition: &str, select: &[&str]| {
        let pipeline = base().extract(File::new("in.parquet")).step(Select::new(select.to_vec()));
        pipeline.step(Filter::new(condition)).load(Output::new("out.csv")).run()
    };
    for (condition, inserted) in [
        ("n > 2", 2),
        ("n in (4, 7)", 1),
        ("n is null", 1),
        ("day between '2024-02-02' and '2024-03-01'", 2),
        ("id >= 'c' and 12 / n = 4", 1),
        ("(n = 4 or id = 'c') and day <> '2024-02-02'", 1),
    ] {
        let report = run(condition, &["day", "n", "id"]).unwrap();
        balanced(&report);
        let account = report.account;
        assert_eq!((account.read, account.inserted), (5, inserted), "{condition}");
        assert_eq!(account.filtered, 5 - inserted, "{condition}");
        let filter = report.steps.iter().find(|step| step.filtered > 0).unwrap();
        assert_eq!((filter.metrics.records_in, filter.filtered), (5, 5 - inserted));
    }
    // What may be true of a record there, and what may fail for one.
    for condition in ["n > 1", "id <> 'a'", "12 / n = 4 and n > 2", "n > 2 or 12 / n = 4"] {
        let damaged = run(condition, &["id", "n"]).unwrap_err();
        assert!(
            damaged.to_string().contains("is a damaged Parquet file"),
            "{condition}: {damaged}"
        );
    }
}

#[test]
fn what_leading_steps_leave_out_is_not_read_from_parquet() {
    let text = "{\"note\":\"x\",\"n\":1,\"id\":\"a\"}\n{\"note\":\"y\",\"n\":3,\"id\":\"b\"}\n";
    let folder = folder(&[("in.ndjson", text)]);
    let base = || Pipeline::new("columns").base(folder.path());
    base().extract(File::new("in.ndjson")).load(Output::new("in.parquet")).run().unwrap();
    // The first column stands behind the magic number.
    let path = folder.path().join("in.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..20].fill(0xFF);
    fs::write(&path, bytes).unwrap();

    let at_least_two = || Validate::new().rule("n", Rule::min(2.0));
    let run = |pipeline: Pipeline| {
        pipeline.step(at_least_two()).load(Output::new("out.csv")).rejects("rejects.ndjson").run()
    };
    let damaged = run(base().extract(File::new("in.parquet"))).unwrap_err();
    assert!(damaged.to_string().contains("`in.parquet` is a damaged Parquet file"), "{damaged}");

    let left = base().extract(File::new("in.parquet")).step(Drop::new(["note"]));
    let report = run(left.step(Select::new(["id", "n"]))).unwrap();
    balanced(&report);
    assert_eq!((report.account.read, report.account.inserted, report.rejected), (2, 1, 1));
    let written = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(written("out.csv"), "id,n\nb,3\n");
    let reject: serde_json::Value = serde_json::from_str(&written("rejects.ndjson")).unwrap();
    assert_eq!(reject["raw"], r#"{"id":"a","n":1}"#);
}

#[test]
fn sources_with_other_columns_are_united_as_the_policy_says() {
    let sources = folder(&[
        ("a.csv", "id,n\n1,2\nx,3\n"),
        ("b.ndjson", "{\"note\":\"hello\",\"id\":4,\"n\":\"5\"}\n"),
        ("c.csv", "note,id\nbye,6\n"),
    ]);
    let unite = |drift: Drift, step: bool| {
        let int = gristmill_core::FieldType::Int;
        let mut pipeline = Pipeline::new("unite").base(sources.path()).drift(drift);
        for name in ["a.csv", "b.ndjson", "c.csv"] {
            pipeline = pipeline.extract(File::new(name).column("id", int));
        }
        if step {
            pipeline = pipeline.step(Cast::new().column("n", int));
        }
        pipeline.load(Output::new("out.ndjson")).run()
    };
    let written = || fs::read_to_string(sources.path().join("out.ndjson")).unwrap();
    let report = unite(Drift::Fill, true).unwrap();
    balanced(&report);
    assert_eq!((report.sources.len(), report.rejected), (3, 1));
    assert_eq!(
        written(),
        "{\"id\":1,\"n\":2,\"note\":null}\n{\"id\":4,\"n\":5,\"note\":\"hello\"}\n{\"id\":6,\"n\":null,\"note\":\"bye\"}\n"
    );
    balanced(&unite(Drift::Ignore, false).unwrap());
    assert_eq!(
        written(),
        "{\"id\":1,\"n\":\"2\"}\n{\"id\":4,\"n\":\"5\"}\n{\"id\":6,\"n\":null}\n"
    );
    assert_eq!(unite(Drift::Error, false).unwrap_err().kind(), ErrorKind::Schema);

    let error = Pipeline::new("unite")
        .base(sources.path())
        .drift(Drift::Fill)
        .extract(File::new("a.csv"))
        .extract(File::new("b.ndjson"))
        .load(Output::new("out.ndjson"))
        .run()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sources of `extract` do not agree on `id`: it is of type string, and in source 2 of type int"
    );
}

#[test]
fn sources_are_chained_when_their_columns_agree() {
    let both =
        folder(&[("a.csv", "id,n\n1,2\n"), ("b.csv", "id,n\n3,4\n"), ("c.csv", "id,m\n5,6\n")]);
    let chain = |second: &str| {
        Pipeline::new("chain")
            .base(both.path())
            .extract(File::new("a.csv"))
            .extract(File::new(second))
            .load(Output::new("out.csv"))
            .run()
    };
    let report = chain("b.csv").unwrap();
    assert_eq!(report.sources.len(), 2);
    assert_eq!(fs::read_to_string(both.path().join("out.csv")).unwrap(), "id,n\n1,2\n3,4\n");
    let error = chain("c.csv").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.to_string().contains("source 2 lacks `n` (string) and has `m` (string)"),
        "{error}"
    );
}

#[test]
fn records_are_split_by_the_conditions_of_destinations() {
    let folder = folder(&[("in.csv", "id,amount\n1,10\n2,-5\n3,0\n4,\n5,7\n")]);
    let int = gristmill_core::FieldType::Int;
    let report = Pipeline::new("split")
        .base(folder.path())
        .extract(File::new("in.csv").column("id", int).column("amount", int))
        .load_where("amount > 0", Output::new("in.ndjson"))
        .load_where("100 / amount < 0", Output::new("out.ndjson"))
        .load(Output::new("all.ndjson"))
        .rejects("rejects.ndjson")
        .run()
        .unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("in.ndjson"), "{\"id\":1,\"amount\":10}\n{\"id\":5,\"amount\":7}\n");
    assert_eq!(read("out.ndjson"), "{\"id\":2,\"amount\":-5}\n");
    assert_eq!(read("all.ndjson").lines().count(), 5);
    let accounts: Vec<_> = report
        .destinations
        .iter()
        .map(|it| [it.account.read, it.account.inserted, it.account.filtered, it.account.rejected])
        .collect();
    assert_eq!(accounts, [[5, 2, 3, 0], [5, 1, 3, 1], [5, 5, 0, 0]]);
    assert_eq!((report.account.inserted, report.account.filtered), (2, 3));
    let rejects = read("rejects.ndjson");
    assert!(rejects.contains("division by zero in `100 / amount < 0`"), "{rejects}");
    assert_eq!((rejects.lines().count(), report.rejected), (1, 1));

    let error = Pipeline::new("split")
        .base(folder.path())
        .extract(File::new("in.csv"))
        .load_where("amount", Output::new("in.ndjson"))
        .run()
        .unwrap_err();
    assert!(error.to_string().starts_with("load[0].where: `amount` is not a condition"), "{error}");
}

/// More records than columns are guessed from, and one at the end.
fn many(last: &str) -> String {
    let mut text: String =
        (0..40_000).map(|n| format!("{{\"id\": {n}, \"city\": \"Oslo\"}}\n")).collect();
    text.push_str("{\"id\": }\n");
    text.push_str(last);
    text
}

#[test]
fn columns_are_those_of_the_whole_input_whatever_its_beginning_says() {
    for (last, expected) in [
        ("{\"id\": 7, \"city\": null}", "{\"id\":7,\"city\":null}"),
        ("{\"id\": 7.5, \"city\": \"Bergen\"}", "{\"id\":7.5,\"city\":\"Bergen\"}"),
        ("{\"late\": true, \"id\": 7}", "{\"id\":7,\"city\":null,\"late\":true}"),
    ] {
        let folder = folder(&[("in.ndjson", &many(last))]);
        let report = Pipeline::new("cities")
            .base(folder.path())
            .extract(File::new("in.ndjson"))
            .load(Output::new("out.ndjson"))
            .load(Table::sqlite("out.db", "cities"))
            .rejects("rejects.ndjson")
            .run()
            .unwrap();
        balanced(&report);
        let account = report.account;
        assert_eq!((account.read, account.inserted, account.rejected), (40_002, 40_001, 1));
        let out = fs::read_to_string(folder.path().join("out.ndjson")).unwrap();
        assert_eq!(out.lines().count(), 40_001);
        assert_eq!(out.lines().last(), Some(expected));
        let rejects = fs::read_to_string(folder.path().join("rejects.ndjson")).unwrap();
        assert_eq!(rejects.lines().count(), 1);
        let mut files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.retain(|name| !name.to_string_lossy().starts_with("out.db"));
        files.sort();
        assert_eq!(files, ["in.ndjson", "out.ndjson", "rejects.ndjson"]);
    }
}

#[test]
fn a_step_may_name_a_column_that_comes_late() {
    let folder = folder(&[("in.ndjson", &many("{\"id\": 7, \"late\": true}"))]);
    let run = |condition: &str| {
        Pipeline::new("cities")
            .base(folder.path())
            .extract(File::new("in.ndjson"))
            .step(Filter::new(condition))
            .load(Output::new("out.ndjson"))
            .run()
    };
    let report = run("late").unwrap();
    balanced(&report);
    assert_eq!((report.account.inserted, report.account.filtered), (1, 40_000));
    let error = run("never").unwrap_err();
    assert!(error.to_string().contains("never"), "{error}");
}
