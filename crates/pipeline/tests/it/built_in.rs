//! The kinds that exist, as a pipeline file names them.

use std::path::Path;

use gristmill_pipeline::execute::registry;
use gristmill_pipeline::params::Params;
use insta::assert_snapshot;

fn mistakes(steps: &str) -> String {
    let text = format!(
        "pipeline: p\nextract: [{{file: a.csv}}]\nload: [{{file: b.csv}}]\nsteps:\n{steps}"
    );
    let parsed = registry().parse(&text, Path::new("p.yaml"), Path::new(""), &Params::default());
    parsed.map(|_| String::new()).unwrap_or_else(|found| found.to_string())
}

#[test]
fn every_example_parses() {
    for kind in registry().steps {
        let example = kind.example.trim_end().replace('\n', "\n    ");
        assert_eq!(mistakes(&format!("  - {example}\n")), "", "{}", kind.name);
    }
}

#[test]
fn an_unknown_option_of_any_step_is_refused_at_its_place() {
    for kind in registry().steps {
        let found = mistakes(&format!("  - {}: {{zzz: {{yyy: 1}}, zzzz: [[]]}}\n", kind.name));
        assert!(found.starts_with("error: "), "{}: {found}", kind.name);
    }
}

#[test]
fn mistakes_in_the_design_document_s_steps() {
    assert_snapshot!(mistakes(
        r#"
  - clean: {names: snakecase, trim: al, uper: [fund_code], nulls: ["", 0]}
  - validate:
      rules:
        fund_code: [required, {matchs: '^FND\d{6}$'}, matches]
        as_of_date: requird
        aum: [required, {min: zero}]
        currency: {one_of: USD}
        management_fee: {between: [0.05]}
        isin: {matches: '^[A-Z{2}$'}
      record_rules:
        - {name: fee_cap, exp: "management_fee * aum < 1e9"}
        - {name: fee_cap, expr: "management_fee * aum < "}
      unique: fund_code
      on_failure: rejct
  - derive: {management_fee_pct: "management_fee *"}
  - filter: "aum >"
  - cast: {aum: decimal(18 2), day: {type: date, formats: 5}}
"#
    ), @r#"
    error: `names` cannot be `snakecase`
      --> p.yaml:6:20
       |
     6 |   - clean: {names: snakecase, trim: al, uper: [fund_code], nulls: ["", 0]}
       |                    ^^^^^^^^^ did you mean `snake_case`?
       = hint: it is `keep` or `snake_case`

    error: `trim` cannot be `al`
      --> p.yaml:6:37
       |
     6 |   - clean: {names: snakecase, trim: al, uper: [fund_code], nulls: ["", 0]}
       |                                     ^^ did you mean `all`?
       = hint: it is `all` or `none`

    error: unknown key `uper`
      --> p.yaml:6:41
       |
     6 |   - clean: {names: snakecase, trim: al, uper: [fund_code], nulls: ["", 0]}
       |                                         ^^^^ did you mean `upper`?
       = hint: the keys here are `names`, `trim`, `upper`, `lower`, `nulls` and `default`

    error: unknown key `matchs`
      --> p.yaml:9:32
       |
     9 |         fund_code: [required, {matchs: '^FND\d{6}$'}, matches]
       |                                ^^^^^^ did you mean `matches`?

    error: `matches` needs a value
      --> p.yaml:9:55
       |
     9 |         fund_code: [required, {matchs: '^FND\d{6}$'}, matches]
       |                                                       ^^^^^^^
       = hint: write `{matches: …}`

    error: `as_of_date` cannot be `requird`
       --> p.yaml:10:21
        |
     10 |         as_of_date: requird
        |                     ^^^^^^^ did you mean `required`?
        = hint: it is `required` or `unique`

    error: `one_of` takes a list, not the text `USD`
       --> p.yaml:12:28
        |
     12 |         currency: {one_of: USD}
        |                            ^^^
        = hint: write a list: `[USD]`

    error: `between` takes exactly 2 items, not 1
       --> p.yaml:13:26
        |
     13 |         management_fee: {between: [0.05]}
        |                          ^^^^^^^

    error: unknown key `exp`
       --> p.yaml:16:27
        |
     16 |         - {name: fee_cap, exp: "management_fee * aum < 1e9"}
        |                           ^^^ did you mean `expr`?
        = hint: the keys here are `name`, `expr`, `severity` and `message`

    error: `on_failure` cannot be `rejct`
       --> p.yaml:19:19
        |
     19 |       on_failure: rejct
        |                   ^^^^^ did you mean `reject`?
        = hint: it is `reject`, `warn` or `abort`

    error: the text ends where an expression is expected
       --> p.yaml:20:34
        |
     20 |   - derive: {management_fee_pct: "management_fee *"}
        |                                  ^^^^^^^^^^^^^^^^^^

    error: the text ends where an expression is expected
       --> p.yaml:21:13
        |
     21 |   - filter: "aum >"
        |             ^^^^^^^

    error: `decimal(18 2)` is not a decimal
       --> p.yaml:22:17
        |
     22 |   - cast: {aum: decimal(18 2), day: {type: date, formats: 5}}
        |                 ^^^^^^^^^^^^^
        = hint: write decimal(precision, scale), for example decimal(18, 2)

    error: `formats` takes a list, not the number `5`
       --> p.yaml:22:59
        |
     22 |   - cast: {aum: decimal(18 2), day: {type: date, formats: 5}}
        |                                                           ^
        = hint: write a list: `[5]`

    error: 14 mistakes in `p.yaml`
    "#);
}
#[test]
fn links_of_the_reference_lead_somewhere() {
    let reference = registry().reference();
    let links: Vec<_> =
        reference.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.contains(&"load-table-mode") && links.contains(&"steps"));
    for link in links {
        let anchor = format!("<a id=\"{link}\"></a>");
        assert_eq!(reference.matches(&anchor).count(), 1, "{link}");
    }
}

const DESIGN: &str = r#"
pipeline: dim_fund
extract:
  - file: data/funds-*.csv.gz
    columns:
      as_of_date: date
      aum: decimal(18, 2)
      management_fee: double
      is_active: bool
steps:
  - clean: {names: snake_case, trim: all, upper: [fund_code, currency], nulls: ["", "n/a"]}
  - validate:
      rules:
        fund_code: [required, {matches: '^FND\d{6}$'}]
        as_of_date: required
        aum: [required, {min: 0}]
        currency: {one_of: [USD, EUR, GBP, JPY, CHF]}
        management_fee: {between: [0, 0.05]}
      record_rules:
        - {name: fee_cap, expr: "management_fee * aum < 1e9"}
      unique: [[fund_code, share_class, as_of_date]]
      on_failure: reject
  - derive: {management_fee_pct: "management_fee * 100"}
load:
  - table: dim_fund
    database: sqlite://warehouse.db
    mode: upsert
    keys: [fund_code, share_class]
  - file: out/funds.parquet
rejects: out/rejects.ndjson
limits: {memory: 1GiB, workers: 4, rejected_ratio: 0.05}
retry: {attempts: 3, backoff: 1s, factor: 2}
"#;

#[test]
fn the_pipeline_of_the_design_is_read() {
    let params = Params::default();
    let parsed = registry().parse(DESIGN, Path::new("p.yaml"), Path::new(""), &params);
    let definition = parsed.unwrap();
    let names: Vec<_> = definition.steps.iter().map(|step| step.kind.name).collect();
    assert_eq!(names, ["clean", "validate", "derive"]);
    assert_eq!(definition.plans(registry().expressions.as_ref()).unwrap().len(), 3);
}

#[test]
fn any_misspelt_key_of_it_is_found_where_it_stands() {
    let mut checked = 0;
    for (number, line) in DESIGN.lines().enumerate() {
        let Some((key, _)) = line.split_once(':') else { continue };
        let key = key.trim_start_matches([' ', '-', '{']);
        // Names of columns are the user's own.
        if ["as_of_date", "aum", "management_fee", "is_active", "fund_code", "currency"]
            .contains(&key)
        {
            continue;
        }
        let misspelt = DESIGN.replacen(line, &line.replacen(key, &format!("{key}q"), 1), 1);
        let parsed =
            registry().parse(&misspelt, Path::new("p.yaml"), Path::new(""), &Params::default());
        let found = parsed.expect_err(key);
        let at_line = found
            .items()
            .iter()
            .find(|item| found.position(item).is_some_and(|(line, _)| line == number + 1));
        let label = at_line.and_then(|item| item.label.clone()).unwrap_or_default();
        assert_eq!(label, format!("did you mean `{key}`?"), "{found}");
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn the_condition_of_a_destination_is_checked_where_it_stands() {
    let text = "pipeline: p\nextract: [{file: a.csv}]\nload:\n  - {file: b.csv, where: amount > 0}\n  - {file: c.csv, where: amount >}\n  - {table: t, database: 'sqlite://x.db', were: amount < 0}\n";
    let parse =
        |text: &str| registry().parse(text, Path::new("p.yaml"), Path::new(""), &Params::default());
    let found = parse(text).unwrap_err().to_string();
    assert!(
        found.contains("p.yaml:5:26") && found.contains("the text ends where an expression"),
        "{found}"
    );
    assert!(found.contains("did you mean `where`?"), "{found}");
    let fine: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    let definition = parse(&fine).unwrap();
    assert_eq!(definition.conditions, [Some("amount > 0".to_owned())]);
    assert_eq!(definition.load[0].options, serde_json::json!({"file": "b.csv"}));
    let schema = registry().json_schema();
    let keys = |kind: usize| {
        let at = schema["properties"]["load"]["items"]["anyOf"][kind]["$ref"]
            .as_str()
            .unwrap()
            .to_owned();
        schema["$defs"][at.rsplit('/').next().unwrap()]["properties"]["where"]["type"].clone()
    };
    assert_eq!((keys(0), keys(1)), ("string".into(), "string".into()));
    let reference = registry().reference();
    let (_, destinations) = reference.split_once("## Destinations").unwrap();
    assert_eq!(destinations.matches("| `where` | text |").count(), registry().loaders.len());
}
