//! Every example runs as it stands, and does what its first lines say.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use gristmill_tests::Sandbox;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::Connection;
use serde_json::Value;

use crate::assert_shown;

/// All records of a Parquet file, read by the Parquet crate alone.
pub(crate) fn parquet(sandbox: &Sandbox, name: &str) -> Vec<RecordBatch> {
    let file = std::fs::File::open(sandbox.path().join(name)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

pub(crate) fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn funds() {
    let sandbox = Sandbox::copy("examples/funds");
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("example_funds", sandbox, ran);

    let report = sandbox.json("out/report.json");
    let account = &report["account"];
    let loaded = rows(&parquet(&sandbox, "out/funds.parquet")) as u64;
    assert_eq!(account["inserted"], loaded);
    let database = Connection::open(sandbox.path().join("out/warehouse.db")).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(count("select count(*) from dim_fund"), loaded);
    assert_eq!(count("select count(*) from dim_fund where currency <> upper(currency)"), 0);
    assert_eq!(
        sandbox.json_lines("out/rejects.ndjson").len() as u64,
        report["rejected"].as_u64().unwrap()
    );

    // Again: the same records are there already.
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = sandbox.json("out/report.json");
    assert_eq!(report["destinations"][1]["account"]["unchanged"], loaded);
    assert_eq!(count("select count(*) from dim_fund"), loaded);
    assert_eq!(count("select count(*) from gristmill_loads"), 2);
}

#[test]
fn users() {
    let sandbox = Sandbox::copy("examples/users");
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("example_users", sandbox, ran);
    let users = sandbox.json("out/users.json");
    let users = users.as_array().unwrap();
    assert!(!users.is_empty());
    for user in users {
        assert!(user["id"].is_i64(), "{user}");
        assert!(user["email"].as_str().unwrap().contains('@'), "{user}");
        assert!(user.get("user_id").is_none());
        assert!(user["tags"].is_array() && user["address"]["city"].is_string(), "{user}");
    }
}

#[test]
fn incremental() {
    let sandbox = Sandbox::copy("examples/incremental");
    let run = |arguments: &[&str]| {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran
    };
    let report = || sandbox.json("out/report.json");
    run(&["run", "shop.yaml"]);
    let ran = run(&["run", "pipeline.yaml"]);
    assert_shown!("example_incremental", sandbox, ran);
    assert_eq!((&report()["read"], &report()["rejected"]), (&4.into(), &1.into()));
    run(&["run", "pipeline.yaml"]);
    assert_eq!(report()["read"], 0);
    run(&["run", "shop.yaml", "--param", "ORDERS=data/tuesday.csv"]);
    let plan = run(&["plan", "pipeline.yaml", "--json"]).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["read"], 3);
    run(&["run", "pipeline.yaml"]);
    let account = &report()["account"];
    assert_eq!((&account["inserted"], &account["updated"]), (&2.into(), &1.into()));
    let list = || run(&["bookmarks", "list"]).stdout;
    assert!(
        list().contains("orders of out/shop.db by updated_at: 2024-03-05T08:15:00"),
        "{}",
        list()
    );

    // A backfill leaves the bookmark alone.
    run(&["run", "pipeline.yaml", "--from", "2024-03-04", "--to", "2024-03-05"]);
    assert_eq!(report()["read"], 3);
    run(&["run", "pipeline.yaml"]);
    assert_eq!(report()["read"], 0);

    // A run that publishes nothing leaves it alone, too.
    let before = list();
    let id = before.split("(run ").nth(1).unwrap().trim_end_matches(")\n").to_owned();
    run(&["bookmarks", "rewind", &id]);
    assert!(list().contains("2024-03-04T18:00:00"), "{}", list());
    let pipeline = sandbox.text("pipeline.yaml");
    sandbox.write("strict.yaml", pipeline + "limits: {rejected: 0}\n");
    run(&["bookmarks", "reset", "orders"]);
    assert_eq!(sandbox.run(&["run", "strict.yaml"]).code, Some(3));
    assert_eq!(list(), "no bookmarks yet\n");
    run(&["run", "pipeline.yaml"]);
    assert_eq!(report()["read"], 6);
    assert_eq!(list().split(" (run").next(), before.split(" (run").next());

    // A record of a table can be mended and replayed like any other.
    let rejects = sandbox.text("out/rejects.ndjson").replace("-5.00", "5.00");
    sandbox.write("mended.ndjson", rejects);
    run(&["rejects", "replay", "mended.ndjson", "--pipeline", "pipeline.yaml"]);
    let database = Connection::open(sandbox.path().join("out/warehouse.db")).unwrap();
    let amount =
        database.query_row("SELECT amount FROM fact_orders WHERE order_id = 4", [], |row| {
            row.get::<_, String>(0)
        });
    assert_eq!(amount.unwrap(), "5.00");
    let ran = sandbox.run(&["run", "shop.yaml", "--from", "1"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("no source of `shop` has a cursor"), "{}", ran.stderr);
}

#[test]
fn chained() {
    let sandbox = Sandbox::copy("examples/chained");
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("example_chained", sandbox, ran);
    let files = sandbox.files();
    let parts: Vec<_> = files.iter().filter(|file| file.starts_with("out/sales/")).collect();
    assert!(parts.iter().all(|part| part.contains("currency=")), "{parts:?}");
    let loaded: usize = parts.iter().map(|part| rows(&parquet(&sandbox, part))).sum();
    let rejected = sandbox.json_lines("out/rejects.ndjson").len();
    assert_eq!(loaded + rejected, 1200);
    assert!(rejected > 0);
}

#[test]
fn events() {
    let sandbox = Sandbox::copy("examples/events");
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("example_events", sandbox, ran);
    let text = sandbox.text("out/events.csv");
    let header = text.lines().next().unwrap();
    assert_eq!(header, "event,at,user_id,user_country,value,items,day");
    assert!(!text.contains("view,"));
}

/// Loads the dimension month by month, and then the facts; `history` answers the keys and dates of
/// a fund's rows.
fn dim_fund_in(database: Option<&str>, history: impl Fn(&Sandbox, &str) -> String) -> Sandbox {
    let sandbox = Sandbox::copy("examples/dim_fund");
    let database = database.map(|url| format!("DATABASE={url}"));
    let run = |arguments: &[&str]| {
        let database = database.iter().flat_map(|database| ["--param", database.as_str()]);
        let ran = sandbox.run(&arguments.iter().copied().chain(database).collect::<Vec<_>>());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    };
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    // Inserted, closed and opened again, unchanged, rejected, retired.
    let expected = [[5, 0, 0, 1, 0], [1, 2, 2, 0, 1], [1, 1, 4, 0, 0]];
    for (month, expected) in ["2024-01", "2024-02", "2024-03"].into_iter().zip(expected) {
        run(&["run", "pipeline.yaml", "--param", &format!("MONTH={month}")]);
        let report = sandbox.json("out/report.json");
        let account = &report["account"];
        let counts = ["inserted", "closed", "unchanged", "rejected"].map(|n| number(&account[n]));
        assert_eq!(counts, expected[..4], "{month}");
        assert_eq!(number(&report["destinations"][0]["retired"]), expected[4], "{month}");
    }
    let history = |fund: &str| history(&sandbox, fund);
    assert_eq!(
        history("fund_code = 'FND000001' and share_class = 'A'"),
        "1 2024-01-31 2024-02-29, 6 2024-02-29 now"
    );
    assert_eq!(history("fund_code = 'FND000001' and share_class = 'B'"), "2 2024-01-31 now");
    assert_eq!(history("fund_code = 'FND000002'"), "3 2024-01-31 2024-03-31, 9 2024-03-31 now");
    assert_eq!(history("fund_code = 'FND000004'"), "5 2024-01-31 2024-02-29, 10 2024-03-31 now");
    assert_eq!(history("fund_code = 'UNKNOWN'"), "-1 0001-01-01 now");

    for inserted in [9, 0] {
        run(&["run", "facts.yaml"]);
        let report = sandbox.json("out/flow_report.json");
        assert_eq!(number(&report["account"]["inserted"]), inserted);
        assert_eq!(number(&report["account"]["rejected"]), 1);
        let details = &report["steps"][3]["details"];
        assert_eq!((number(&details["records"]), number(&details["nothing"])), (11, 2));
    }

    let ran = sandbox.run(&["run", "changes.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = sandbox.json("out/change_report.json");
    let compared = &report["steps"][1]["details"];
    let counts = ["new", "changed", "unchanged", "missing"].map(|kind| number(&compared[kind]));
    assert_eq!(counts, [1, 3, 1, 2]);
    let changed = std::fs::read_to_string(sandbox.path().join("out/changed.csv")).unwrap();
    assert!(changed.contains(",changed,management_fee,"), "{changed}");
    sandbox
}

/// Keys of the facts: valid on the day, the first row's for an early one, else the unknown member's.
const FLOWS: &str = "1 1, 2 1, 3 6, 4 2, 5 5, 6 -1, 7 10, 8 -1, 9 3";

#[test]
fn dim_fund() {
    let query = |sandbox: &Sandbox, sql: &str| {
        let database = Connection::open(sandbox.path().join("out/warehouse.db")).unwrap();
        database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let sandbox = dim_fund_in(None, |sandbox, fund| {
        let rows = format!("select * from dim_fund where {fund} order by effective_date");
        let row = "fund_key || ' ' || effective_date || ' ' || ifnull(end_date, 'now')";
        query(sandbox, &format!("select group_concat({row}, ', ') from ({rows})"))
    });
    let flows = "select group_concat(flow_id || ' ' || fund_key, ', ') \
                 from (select * from fact_flow order by flow_id)";
    assert_eq!(query(&sandbox, flows), FLOWS);
}

#[test]
fn dim_fund_in_postgres() {
    let Some(database) = gristmill_scratch::postgres() else { return };
    let query = |sql: &str| database.texts(sql).remove(0).remove(0).unwrap_or_default();
    dim_fund_in(Some(database.url()), |_, fund| {
        let row = "fund_key || ' ' || effective_date || ' ' || coalesce(end_date::text, 'now')";
        let rows = format!("string_agg({row}, ', ' order by effective_date)");
        query(&format!("select {rows} from dim_fund where {fund}"))
    });
    let flows =
        "select string_agg(flow_id || ' ' || fund_key, ', ' order by flow_id) from fact_flow";
    assert_eq!(query(flows), FLOWS);
}

#[test]
fn stdin_to_stdout() {
    let sandbox = Sandbox::copy("examples/stdin");
    let people = "name,age\nAda, 36\nBob,17\nEve,old\n\"Z, Zoe\",18\n";
    let ran = sandbox.pipe(&["run", "pipeline.yaml"], people.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "{\"name\":\"Ada\",\"age\":36}\n{\"name\":\"Z, Zoe\",\"age\":18}\n");
    let rejects = sandbox.json_lines("out/rejects.ndjson");
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0]["raw"], "Eve,old");
    assert_eq!(rejects[0]["line"], 4);
}

#[test]
fn quality() {
    let sandbox = Sandbox::copy("examples/quality");
    let positions = "data/positions.csv";
    let judged = sandbox.run(&[
        "quality",
        "check",
        "rules.dqdl",
        positions,
        "--reference",
        "funds=data/funds.csv",
    ]);
    assert_eq!(judged.code, Some(3), "{}", judged.stderr);
    assert_shown!("example_quality_check", sandbox, judged);

    let compared = sandbox.run(&["contract", "diff", "contracts/positions.yaml", positions]);
    assert_eq!(compared.code, Some(3), "{}", compared.stderr);
    assert_shown!("example_quality_contract", sandbox, compared);
    let swapped = sandbox.run(&["contract", "diff", positions, "contracts/positions.yaml"]);
    assert_eq!(swapped.code, Some(2));
    assert!(
        swapped.stderr.contains("the contract comes first, then the data"),
        "{}",
        swapped.stderr
    );

    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("example_quality", sandbox, ran);
    assert_eq!(sandbox.json("out/report.json")["checks"].as_array().unwrap().len(), 10);
    assert_eq!(rows(&parquet(&sandbox, "out/positions.parquet")), 7);

    let tested = sandbox.run(&["test", "pipeline.yaml"]);
    assert_eq!((tested.code, tested.stdout.lines().count()), (Some(0), 4), "{}", tested.stdout);

    let suggested = sandbox.run(&["profile", positions, "--suggest", "contract"]);
    sandbox.write("suggested.yaml", suggested.stdout);
    let kept = sandbox.run(&["contract", "diff", "suggested.yaml", positions, "--json"]);
    assert_eq!(kept.code, Some(0), "{}{}", kept.stdout, kept.stderr);

    // What the data satisfies is what it is then judged by.
    let rules = sandbox.run(&["profile", positions, "--suggest", "dqdl"]);
    sandbox.write("suggested.dqdl", rules.stdout);
    let judged = sandbox.run(&["quality", "check", "suggested.dqdl", positions, "--json"]);
    assert_eq!(judged.code, Some(0), "{}{}", judged.stdout, judged.stderr);
}

#[test]
fn fact_revenue() {
    let sandbox = Sandbox::copy("examples/fact_revenue");
    let ran = sandbox.run(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_shown!("example_fact_revenue", sandbox, ran);
    // Computed from the input by a program of its own, record by record.
    let mut months = BTreeMap::<(String, String), (u64, i64, i64)>::new();
    let regions: BTreeMap<_, _> = sandbox
        .text("data/funds.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<_> = line.split(',').map(str::to_owned).collect();
            (fields[0].clone(), fields[2].clone())
        })
        .collect();
    for line in sandbox.text("data/revenue.csv").lines().skip(1) {
        let [_, day, fund, amount] = line.split(',').collect::<Vec<_>>()[..] else { panic!() };
        let Some(region) = regions.get(fund) else { continue };
        let Ok(cents) = amount.replace('.', "").parse::<i64>() else { continue };
        if day != "2024-02-30" {
            let month = months.entry((region.clone(), format!("{}-01", &day[..7]))).or_default();
            *month = (month.0 + 1, month.1 + cents, month.2.max(cents));
        }
    }
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let mut expected =
        "region,month,payments,revenue,largest,revenue_to_date,month_before\n".to_owned();
    let mut before: Option<(&str, i64, i64)> = None;
    for ((region, month), &(payments, revenue, largest)) in &months {
        let same = before.filter(|(last, ..)| last == region);
        let so_far = same.map_or(0, |(_, so_far, _)| so_far) + revenue;
        let last = same.map_or(String::new(), |(.., last)| money(last));
        let (total, most, sum) = (money(revenue), money(largest), money(so_far));
        expected += &format!("{region},{month},{payments},{total},{most},{sum},{last}\n");
        before = Some((region, so_far, revenue));
    }
    assert_eq!(sandbox.text("out/revenue_by_month.csv"), expected);
    let rejected = sandbox.text("out/rejects.ndjson");
    let rules: Vec<_> = rejected
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["errors"][0]["rule"].clone())
        .collect();
    assert_eq!(rules, ["lookup", "type", "required"]);
}

#[test]
fn file_drop() {
    let sandbox = Sandbox::copy("examples/file_drop");
    let run = |arguments: &[&str]| {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout
    };
    let read = || sandbox.json("out/report.json")["read"].as_u64().unwrap();
    run(&["run", "pipeline.yaml"]);
    assert_eq!(read(), 4);
    run(&["run", "pipeline.yaml"]);
    assert_eq!(read(), 0);
    sandbox.write("in/2024-03-06.csv", sandbox.text("late/2024-03-06.csv"));
    let plan = run(&["plan", "pipeline.yaml", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&plan).unwrap()["read"], 1);
    run(&["run", "pipeline.yaml"]);
    assert_eq!(read(), 1);
    let last = sandbox.json("out/report.json")["run"].as_str().unwrap().to_owned();
    let list = run(&["bookmarks", "list"]);
    assert!(list.contains("sales: in/2024-03-06.csv: {") && list.lines().count() == 3, "{list}");
    // A backfill reads what was read, and leaves the bookmarks alone.
    run(&["run", "pipeline.yaml", "--from", "in/2024-03-05.csv", "--to", "in/2024-03-06.csv"]);
    assert_eq!((read(), run(&["bookmarks", "list"])), (2, list));
    run(&["bookmarks", "rewind", &last]);
    run(&["run", "pipeline.yaml"]);
    assert_eq!(read(), 1);
    run(&["bookmarks", "reset", "sales"]);
    run(&["run", "pipeline.yaml"]);
    assert_eq!(read(), 5);
    let warehouse = Connection::open(sandbox.path().join("out/warehouse.db")).unwrap();
    let rows: i64 =
        warehouse.query_row("SELECT count(*) FROM fact_sales", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 4);
}
