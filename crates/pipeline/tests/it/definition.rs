//! The pipeline file: what is accepted, and that every mistake is shown at its place.

use std::path::Path;

use gristmill_core::{ByteSize, Mistake, Pointer};
use gristmill_pipeline::definition::{Definition, Diagnostics};
use gristmill_pipeline::params::Params;
use insta::assert_snapshot;
use proptest::prelude::*;

use crate::kinds::registry;

fn parse_with(text: &str, params: &Params) -> Result<Definition, Diagnostics> {
    registry().parse(text, Path::new("p.yaml"), Path::new("data"), params)
}

fn parse(text: &str) -> Result<Definition, Diagnostics> {
    parse_with(text, &Params::default())
}

fn mistakes(text: &str) -> String {
    parse(text).expect_err("the pipeline has a mistake").to_string()
}

/// A pipeline without mistakes but for `rest`.
fn with(rest: &str) -> String {
    format!("pipeline: p\nextract: [{{file: in.csv}}]\nload: [{{file: out.csv}}]\n{rest}")
}

const GOOD: &str = r#"
pipeline: dim_fund            # a comment
description: Funds of the day
extract:
  - file: data/funds-*.csv.gz
    format: csv
    columns: {aum: "decimal(18, 2)", as_of_date: date}
    delimiter: ";"
steps:
  - validate:
      rules:
        fund_code: [required, {matches: '^FND\d{6}$'}]
        fee: {between: [0, 0.05]}
  - derive: {pct: "fee * 100"}
load:
  - table: dim_fund
    database: sqlite://${DB:-warehouse.db}
    mode: upsert
    keys: [fund_code]
  - file: out/funds.parquet
rejects: out/rejects.ndjson
limits: {memory: 256MiB, workers: ${WORKERS}, rejected_ratio: 0.05}
retry: {attempts: 2, backoff: 10ms}
"#;

#[test]
fn a_good_pipeline_is_read_in_full() {
    let params = Params::default().with("WORKERS", "4");
    let definition = parse_with(GOOD, &params).unwrap();
    assert_eq!(definition.name, "dim_fund");
    assert_eq!(definition.base, Path::new("data"));
    assert_eq!(definition.extract[0].kind.name, "file");
    assert_eq!(definition.steps[1].options, serde_json::json!({"pct": "fee * 100"}));
    assert_eq!(definition.steps[1].at.to_string(), "steps[1].derive");
    assert_eq!(definition.load[0].options["database"], "sqlite://warehouse.db");
    assert_eq!(definition.limits.memory, ByteSize(256 << 20));
    assert_eq!(definition.limits.workers, Some(4));
    assert_eq!(definition.retry.attempts, 2);
    assert_eq!(definition.rejects.as_deref(), Some(Path::new("out/rejects.ndjson")));
    assert_eq!(definition.plans(registry().expressions.as_ref()).unwrap().len(), 2);
}

#[test]
fn limits_have_defaults() {
    let definition = parse(&with("")).unwrap();
    assert_eq!(definition.limits.memory, ByteSize(1 << 30));
    assert_eq!(definition.limits.workers, None);
    assert_eq!(definition.retry.attempts, 3);
}

#[test]
fn the_same_document_as_json_checks_the_same() {
    let value = parse_with(GOOD, &Params::default().with("WORKERS", "4")).unwrap();
    let json = serde_json::json!({
        "pipeline": "dim_fund",
        "extract": [{"file": value.extract[0].options["file"], "columns": {"x": "int", "y": "itn"}}],
        "steps": [{"derive": {"a": "b *"}}],
        "load": [{"table": "t", "database": "sqlite://x"}],
    });
    let compact = mistakes(&serde_json::to_string(&json).unwrap());
    let tabbed = mistakes(&serde_json::to_string_pretty(&json).unwrap().replace("  ", "\t"));
    let yaml = mistakes(
        "pipeline: dim_fund\nextract:\n- file: data/funds-*.csv.gz\n  columns: {x: int, y: itn}\n\
         steps:\n- derive: {a: b *}\nload:\n- {table: t, database: sqlite://x}\n",
    );
    let messages = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("error")).map(str::to_owned).collect()
    };
    assert_eq!(messages(&compact), messages(&yaml));
    assert_eq!(messages(&tabbed), messages(&yaml));
    assert_eq!(messages(&yaml).len(), 3);
}

#[test]
fn later_mistakes_get_their_lines_too() {
    let params = Params::default().with("WORKERS", "4");
    let definition = parse_with(GOOD, &params).unwrap();
    let at = definition.steps[1].at.clone();
    let column = Mistake::new(Pointer::root().key("pct"), "there is no column `fee`").span(0..3);
    let whole = Mistake::new(Pointer::root().key("pct"), "key").on_key();
    assert_snapshot!(definition.diagnose(&at, vec![column, whole]), @r#"
    error: key
       --> p.yaml:14:14
        |
     14 |   - derive: {pct: "fee * 100"}
        |              ^^^

    error: there is no column `fee`
       --> p.yaml:14:20
        |
     14 |   - derive: {pct: "fee * 100"}
        |                    ^^^

    error: 2 mistakes in `p.yaml`
    "#);
}

#[test]
fn wrong_key() {
    let text = "pipeline: p\nextract:\n  - file: a.csv\n    colums: {x: int}\nload: [{file: b}]\n";
    assert_snapshot!(mistakes(text), @r"
    error: unknown key `colums`
      --> p.yaml:4:5
       |
     4 |     colums: {x: int}
       |     ^^^^^^ did you mean `columns`?
       = hint: the keys here are `file`, `format`, `columns`, `infer`, `delimiter`, `partition_by`, `nulls` and `contract`
    ");
}

#[test]
fn wrong_key_at_the_top() {
    assert_snapshot!(mistakes(&with("limit: {workers: 4}")), @r"
    error: unknown key `limit`
      --> p.yaml:4:1
       |
     4 | limit: {workers: 4}
       | ^^^^^ did you mean `limits`?
       = hint: the keys here are `pipeline`, `description`, `extract`, `drift`, `contract`, `steps`, `load`, `rejects`, `report`, `limits`, `retry` and `tests`
    ");
}

#[test]
fn wrong_step() {
    assert_snapshot!(mistakes(&with("steps:\n  - dervie: {a: b}\n")), @r"
    error: unknown step `dervie`
      --> p.yaml:5:5
       |
     5 |   - dervie: {a: b}
       |     ^^^^^^ did you mean `derive`?
       = hint: the steps are `derive` and `validate`
    ");
}

#[test]
fn two_steps_in_one_item() {
    assert_snapshot!(mistakes(&with("steps:\n  - derive: {a: b}\n    validate: {}\n")), @r"
    error: one item has two steps, `derive` and `validate`
      --> p.yaml:6:5
       |
     6 |     validate: {}
       |     ^^^^^^^^
       = hint: begin each step with its own `- `
    ");
}

#[test]
fn options_not_indented_under_their_step() {
    assert_snapshot!(mistakes(&with("steps:\n  - validate:\n    rules: {a: required}\n")), @r"
    error: `rules` cannot stand beside `validate`
      --> p.yaml:6:5
       |
     6 |     rules: {a: required}
       |     ^^^^^
       = hint: indent the options of `validate` further than `validate`
    ");
}

#[test]
fn step_without_options() {
    assert_snapshot!(mistakes(&with("steps:\n  - validate\n  - derive:\n  - 5\n")), @r"
    error: `validate` needs its options
      --> p.yaml:5:5
       |
     5 |   - validate
       |     ^^^^^^^^
       = hint: write `- validate: …`

    error: `derive` takes a mapping, not nothing
      --> p.yaml:6:5
       |
     6 |   - derive:
       |     ^^^^^^
       = hint: indent its keys below it, or leave it out

    error: an item of `steps` takes a mapping, not the number `5`
      --> p.yaml:7:5
       |
     7 |   - 5
       |     ^
       = hint: write `- derive: …`

    error: 3 mistakes in `p.yaml`
    ");
}

#[test]
fn wrong_type() {
    assert_snapshot!(mistakes(&with("limits: {workers: four}")), @r"
    error: `workers` takes an integer, not the text `four`
      --> p.yaml:4:19
       |
     4 | limits: {workers: four}
       |                   ^^^^
    ");
}

#[test]
fn words_that_mean_nothing() {
    let text =
        "pipeline: p\nextract: [{file: a.csv, nulls: [\"\", NULL]}]\nload: [{file: b.csv}]\n";
    assert_snapshot!(mistakes(text), @r#"
    error: an item of `nulls` takes a text, not nothing
      --> p.yaml:2:37
       |
     2 | extract: [{file: a.csv, nulls: ["", NULL]}]
       |                                     ^^^^
       = hint: quote it: `"NULL"`; without quotes it means nothing
    "#);
}

#[test]
fn numbers_and_texts() {
    let text = "pipeline: 2024\nextract: [{file: a.csv, nulls: [0, n/a, 2024-01-01]}]\n\
                load: [{file: b, infer: yes}]\nlimits: {workers: '4', rejected_ratio: 5}\n";
    assert_snapshot!(mistakes(text), @r#"
    error: `pipeline` takes a text, not the number `2024`
      --> p.yaml:1:11
       |
     1 | pipeline: 2024
       |           ^^^^
       = hint: quote it: `"2024"`

    error: an item of `nulls` takes a text, not the number `0`
      --> p.yaml:2:33
       |
     2 | extract: [{file: a.csv, nulls: [0, n/a, 2024-01-01]}]
       |                                 ^
       = hint: quote it: `"0"`

    error: `infer` takes `true` or `false`, not the text `yes`
      --> p.yaml:3:25
       |
     3 | load: [{file: b, infer: yes}]
       |                         ^^^
       = hint: write `true`

    error: `workers` takes an integer, not the text `4`
      --> p.yaml:4:19
       |
     4 | limits: {workers: '4', rejected_ratio: 5}
       |                   ^^^
       = hint: write it without quotes: `4`

    error: `rejected_ratio` cannot be 5: 1 is the most
      --> p.yaml:4:40
       |
     4 | limits: {workers: '4', rejected_ratio: 5}
       |                                        ^

    error: 5 mistakes in `p.yaml`
    "#);
}

#[test]
fn missing_keys() {
    assert_snapshot!(mistakes("extract: []\nload:\n  - table: t\n"), @r"
    error: `extract` takes at least 1 item, not 0
      --> p.yaml:1:1
       |
     1 | extract: []
       | ^^^^^^^

    error: the key `pipeline` is missing
      --> p.yaml:1:1
       |
     1 | extract: []
       | ^^^^^^^
       = hint: `pipeline`: The name of the pipeline, in reports and in the ledger: letters, digits, `_`, `-` and `.`, beginning with a letter or a digit

    error: the key `database` is missing
      --> p.yaml:3:5
       |
     3 |   - table: t
       |     ^^^^^
       = hint: `database`: The database's URL

    error: 3 mistakes in `p.yaml`
    ");
}

#[test]
fn a_mapping_where_a_list_belongs() {
    assert_snapshot!(mistakes("pipeline: p\nextract:\n  file: a.csv\nload: [{file: b}]\n"), @r"
    error: `extract` takes a list, not a mapping
      --> p.yaml:2:1
       |
     2 | extract:
       | ^^^^^^^
       = hint: begin each item with `- `
    ");
}

#[test]
fn no_source_and_an_unknown_destination() {
    let text = "pipeline: p\nextract:\n  - format: csv\nload:\n  - tabel: x\n";
    assert_snapshot!(mistakes(text), @r"
    error: this item names no source
      --> p.yaml:3:5
       |
     3 |   - format: csv
       |     ^^^^^^
       = hint: one of its keys is `file`

    error: unknown destination `tabel`
      --> p.yaml:5:5
       |
     5 |   - tabel: x
       |     ^^^^^ did you mean `table`?

    error: 2 mistakes in `p.yaml`
    ");
}

#[test]
fn unknown_variants() {
    let text = "pipeline: p\nextract: [{file: a, format: cvs}]\n\
                load: [{table: t, database: d, mode: upset}]\nsteps:\n  - validate:\n      rules:\n        \
                a: requird\n        b: [{mathces: x}, matches]\n        c: {required: true}\n        \
                d: {between: [1]}\n        e: {min: 1, max: 2}\n        f: 5\n";
    assert_snapshot!(mistakes(text), @r"
    error: `format` cannot be `cvs`
      --> p.yaml:2:29
       |
     2 | extract: [{file: a, format: cvs}]
       |                             ^^^ did you mean `csv`?
       = hint: it is `csv`, `ndjson` or `fixed`

    error: `mode` cannot be `upset`
      --> p.yaml:3:38
       |
     3 | load: [{table: t, database: d, mode: upset}]
       |                                      ^^^^^ did you mean `upsert`?
       = hint: it is `append`, `replace` or `upsert`

    error: `a` cannot be `requird`
      --> p.yaml:7:12
       |
     7 |         a: requird
       |            ^^^^^^^ did you mean `required`?
       = hint: it is `required`, `matches`, `min`, `between` or `one_of`

    error: unknown key `mathces`
      --> p.yaml:8:14
       |
     8 |         b: [{mathces: x}, matches]
       |              ^^^^^^^ did you mean `matches`?
       = hint: the keys here are `matches`, `min`, `between`, `one_of` and `required`

    error: `matches` needs a value
      --> p.yaml:8:27
       |
     8 |         b: [{mathces: x}, matches]
       |                           ^^^^^^^
       = hint: write `{matches: …}`

    error: `required` takes no value
      --> p.yaml:9:13
       |
     9 |         c: {required: true}
       |             ^^^^^^^^
       = hint: write `required` alone

    error: `between` takes exactly 2 items, not 1
       --> p.yaml:10:13
        |
     10 |         d: {between: [1]}
        |             ^^^^^^^

    error: `max` cannot stand beside `min`
       --> p.yaml:11:21
        |
     11 |         e: {min: 1, max: 2}
        |                     ^^^
        = hint: `e` takes one key

    error: `f` takes `required`, a mapping or a list, not the number `5`
       --> p.yaml:12:12
        |
     12 |         f: 5
        |            ^
        = hint: write a list: `[5]`

    error: 9 mistakes in `p.yaml`
    ");
}

#[test]
fn too_little_memory() {
    assert_snapshot!(mistakes(&with("limits: {memory: 127MiB}\n")), @r"
    error: no run fits into 127 MiB
      --> p.yaml:4:18
       |
     4 | limits: {memory: 127MiB}
       |                  ^^^^^^
       = hint: give it 128 MiB or more
    ");
    assert!(parse(&with("limits: {memory: 128MiB}\n")).is_ok());
}

#[test]
fn wrong_field_type_and_sizes() {
    let text = "pipeline: p\nextract: [{file: a, columns: {x: strng, y: decimal, z: 5}}]\n\
                load: [{file: b}]\nlimits: {memory: lots}\nretry: {backoff: 1 parsec}\n";
    assert_snapshot!(mistakes(text), @r#"
    error: `strng` is not a type
      --> p.yaml:2:34
       |
     2 | extract: [{file: a, columns: {x: strng, y: decimal, z: 5}}]
       |                                  ^^^^^ did you mean `string`?
       = hint: the types are string, bool, int, double, decimal(p,s), date, time, timestamp, timestamptz, json, binary

    error: a decimal needs its digits
      --> p.yaml:2:44
       |
     2 | extract: [{file: a, columns: {x: strng, y: decimal, z: 5}}]
       |                                            ^^^^^^^
       = hint: write decimal(18, 2)

    error: `z` takes a text, not the number `5`
      --> p.yaml:2:56
       |
     2 | extract: [{file: a, columns: {x: strng, y: decimal, z: 5}}]
       |                                                        ^
       = hint: quote it: `"5"`

    error: `lots` is not a size
      --> p.yaml:4:18
       |
     4 | limits: {memory: lots}
       |                  ^^^^
       = hint: write it like 64MiB or 1.5GB

    error: `1 parsec` is not a length of time
      --> p.yaml:5:18
       |
     5 | retry: {backoff: 1 parsec}
       |                  ^^^^^^^^
       = hint: write it like 500ms, 1s, 2m or 1h

    error: 5 mistakes in `p.yaml`
    "#);
}

#[test]
fn two_mistakes_at_once_in_the_order_of_the_file() {
    let text = "pipeline: my pipe\nextract: [{file: a, delimiter: '::'}]\nlod: []\n";
    assert_snapshot!(mistakes(text), @r"
    error: `pipeline` cannot be `my pipe`
      --> p.yaml:1:11
       |
     1 | pipeline: my pipe
       |           ^^^^^^^
       = hint: The name of the pipeline, in reports and in the ledger: letters, digits, `_`, `-` and `.`, beginning with a letter or a digit.

    error: `delimiter` takes one character, not `::`
      --> p.yaml:2:32
       |
     2 | extract: [{file: a, delimiter: '::'}]
       |                                ^^^^

    error: unknown key `lod`
      --> p.yaml:3:1
       |
     3 | lod: []
       | ^^^ did you mean `load`?
       = hint: the keys here are `pipeline`, `description`, `extract`, `drift`, `contract`, `steps`, `load`, `rejects`, `report`, `limits`, `retry` and `tests`

    error: 3 mistakes in `p.yaml`
    ");
}

#[test]
fn bad_expression() {
    assert_snapshot!(mistakes(&with("steps:\n  - derive: {pct: \"fee * \"}\n")), @r#"
    error: a value is missing after the operator
      --> p.yaml:5:24
       |
     5 |   - derive: {pct: "fee * "}
       |                        ^
    "#);
}

#[test]
fn bad_expression_over_several_lines() {
    assert_snapshot!(mistakes(&with("steps:\n  - derive:\n      pct: |\n        fee\n        * rate /\n")), @r"
    error: a value is missing after the operator
      --> p.yaml:8:16
       |
     8 |         * rate /
       |                ^
    ");
}

#[test]
fn bad_pattern() {
    let rest = "steps:\n  - validate: {rules: {code: [required, {matches: '^F[0-9{6}$'}]}}\n";
    assert_snapshot!(mistakes(&with(rest)), @r"
    error: the character class is not closed
      --> p.yaml:5:54
       |
     5 |   - validate: {rules: {code: [required, {matches: '^F[0-9{6}$'}]}}
       |                                                      ^^^^^^^^
       = hint: close it with `]`
    ");
}

#[test]
fn a_mistake_that_only_the_kind_knows() {
    let text = "pipeline: p\nextract: [{file: a}]\nload: [{table: t, database: d, mode: upsert}]\n";
    assert_snapshot!(mistakes(text), @r"
    error: `upsert` needs `keys`
      --> p.yaml:3:38
       |
     3 | load: [{table: t, database: d, mode: upsert}]
       |                                      ^^^^^^
       = hint: name the columns that tell records apart
    ");
}

#[test]
fn undefined_and_unused_parameters() {
    let params = Params::default().with("YEAR", "2024").with("REGON", "x");
    let text =
        "pipeline: p\nextract: [{file: 'in/${YAER}/${REGION}.csv'}]\nload: [{file: '${x y}'}]\n";
    assert_snapshot!(parse_with(text, &params).unwrap_err(), @r"
    error: the parameter `YAER` is not defined
      --> p.yaml:2:22
       |
     2 | extract: [{file: 'in/${YAER}/${REGION}.csv'}]
       |                      ^^^^^^^ did you mean `${YEAR}`?
       = hint: give it with `--param YAER=VALUE`, set it in the environment, or write a default: `${YAER:-VALUE}`

    error: the parameter `REGION` is not defined
      --> p.yaml:2:30
       |
     2 | extract: [{file: 'in/${YAER}/${REGION}.csv'}]
       |                              ^^^^^^^^^ did you mean `${REGON}`?
       = hint: give it with `--param REGION=VALUE`, set it in the environment, or write a default: `${REGION:-VALUE}`

    error: `x y` is not a parameter name
      --> p.yaml:3:16
       |
     3 | load: [{file: '${x y}'}]
       |                ^^^^^^
       = hint: a name has letters, digits and `_`; write `$${` for the characters `${`

    error: the pipeline has no parameter `REGON`
     --> p.yaml
      = hint: did you mean `REGION`?
      = hint: its parameters are `REGION` and `YAER`

    error: the pipeline has no parameter `YEAR`
     --> p.yaml
      = hint: did you mean `YAER`?
      = hint: its parameters are `REGION` and `YAER`

    error: 5 mistakes in `p.yaml`
    ");
}

#[test]
fn a_parameter_cannot_change_the_structure() {
    let params = Params::default().with("X", "a.csv\", infer: true, \"format\": \"csv");
    let text = "pipeline: p\nextract: [{file: \"${X}\"}]\nload: [{file: out}]\n";
    let definition = parse_with(text, &params).unwrap();
    assert_eq!(definition.extract[0].options.as_object().unwrap().len(), 1);
}

#[test]
fn a_lone_unquoted_parameter_takes_the_type_of_its_value() {
    let text = |workers: &str| with(&format!("limits: {{workers: {workers}}}\n"));
    let params = Params::default().with("N", "3");
    let unquoted = parse_with(&text("${N}"), &params).unwrap();
    assert_eq!(unquoted.limits.workers, Some(3));
    assert_snapshot!(parse_with(&text("'${N}'"), &params).unwrap_err(), @r"
    error: `workers` takes an integer, not the text `3`
      --> p.yaml:4:19
       |
     4 | limits: {workers: '${N}'}
       |                   ^^^^^^
       = hint: write it without quotes: `3`
    ");
}

#[test]
fn secrets_are_not_shown() {
    let params = Params::default().with("DB_PASSWORD", "hunter2");
    let text = "pipeline: p\nextract: [{file: x}]\nload:\n  - {table: t, database: 'pg://me:${DB_PASSWORD}@h', mode: hunter2}\n  \
                - {table: 5, database: 'pg://me:s3cret!!@h'}\n";
    let shown = parse_with(text, &params).unwrap_err();
    assert_snapshot!(shown, @r#"
    error: `mode` cannot be `***`
      --> p.yaml:4:60
       |
     4 |   - {table: t, database: 'pg://me:${DB_PASSWORD}@h', mode: ***}
       |                                                            ^^^
       = hint: it is `append`, `replace` or `upsert`

    error: `table` takes a text, not the number `5`
      --> p.yaml:5:13
       |
     5 |   - {table: 5, database: 'pg://me:***@h'}
       |             ^
       = hint: quote it: `"5"`

    error: 2 mistakes in `p.yaml`
    "#);
    let json = shown.to_json().to_string();
    assert!(!json.contains("hunter2") && !json.contains("s3cret"));
}

#[test]
fn tabs() {
    assert_snapshot!(mistakes("pipeline: p\nextract:\n\t- file: a\n"), @r"
    error: a tab indents this line
      --> p.yaml:3:1
       |
     3 |     - file: a
       | ^^^^
       = hint: YAML is indented with spaces
    ");
}

#[test]
fn duplicate_and_merge_keys() {
    let text =
        "pipeline: p\nextract: [{file: a, file: b}]\nload:\n  - &x {file: out}\n  - {<<: *x}\n";
    assert_snapshot!(mistakes(text), @r"
    error: the key `file` is given twice
      --> p.yaml:2:21
       |
     2 | extract: [{file: a, file: b}]
       |                     ^^^^ first given in line 2

    error: merge keys (`<<`) are not supported
      --> p.yaml:5:6
       |
     5 |   - {<<: *x}
       |      ^^
       = hint: write the keys out; an alias can stand for a whole value

    error: 2 mistakes in `p.yaml`
    ");
}

#[test]
fn yaml_that_is_no_yaml() {
    let mut shown = String::new();
    for text in [
        "pipeline p\nextract: []\n",
        "pipeline: p\nextract:\n  - file: a\n   format: csv\n",
        "pipeline: p\nextract: [{file: a]\n",
        "pipeline: p\nextract:\n  - file: \"a\n    format: csv\n",
        "pipeline: 'p\nextract: []\n",
        "pipeline: p\nextract: [{file: *.csv}]\n",
        "pipeline: p\nsteps:\n  - derive:\n      a: @b\n",
        "pipeline: p\nsteps:\n  - derive:\n      a: when: b\n",
        "pipeline: p\nsteps:\n  - derive:\n      a: \"\\d+\"\n",
        "pipeline: p\nsteps:\n  - derive:\n      a: 'x' || y\n",
        "pipeline: p\nsteps:\n  - derive:\n      a: [0-9]+\n",
        "pipeline: p\n---\npipeline: q\n",
        "",
        "# nothing\n",
        "- a\n- b\n",
        "just text",
    ] {
        shown.push_str(&format!("{}\n\n", mistakes(text)));
    }
    assert_snapshot!(shown, @r#"
    error: this line has no `:`
      --> p.yaml:1:1
       |
     1 | pipeline p
       | ^^^^^^^^^^
       = hint: write `key: value`

    error: this line is indented in a way that fits nothing above
      --> p.yaml:4:4
       |
     4 |    format: csv
       |    ^
       = hint: keys of one mapping, and the `-` of one list, stand in one column

    error: a `,`, `}` or `]` is missing or misplaced
      --> p.yaml:2:19
       |
     2 | extract: [{file: a]
       |                   ^
       = hint: look at the last `{` or `[` before this place; quote texts that hold any of `,[]{}`

    error: this quote is not closed
      --> p.yaml:3:11
       |
     3 |   - file: "a
       |           ^

    error: this quote is not closed
      --> p.yaml:1:11
       |
     1 | pipeline: 'p
       |           ^

    error: a text cannot begin with `*`
      --> p.yaml:2:18
       |
     2 | extract: [{file: *.csv}]
       |                  ^
       = hint: quote it

    error: a text cannot begin with `@`
      --> p.yaml:4:10
       |
     4 |       a: @b
       |          ^
       = hint: quote it

    error: a `:` stands where no key can be
      --> p.yaml:4:14
       |
     4 |       a: when: b
       |              ^
       = hint: quote a text that holds `: `; a new key goes on a line of its own

    error: a backslash in double quotes begins an escape, and this is none
      --> p.yaml:4:10
       |
     4 |       a: "\d+"
       |          ^
       = hint: write patterns and Windows paths in single quotes, or double the backslash

    error: something follows the closing quote
      --> p.yaml:4:14
       |
     4 |       a: 'x' || y
       |              ^
       = hint: quote the whole text, with the other kind of quotes around it

    error: a text cannot begin with `[`
      --> p.yaml:4:10
       |
     4 |       a: [0-9]+
       |          ^
       = hint: quote it

    error: a second document begins here
      --> p.yaml:2:1
       |
     2 | ---
       | ^^^
       = hint: a file holds one pipeline: write the other to a file of its own

    error: the pipeline file is empty
     --> p.yaml
      = hint: `gristmill init DATA` writes a pipeline for a data file

    error: the pipeline file is empty
     --> p.yaml
      = hint: `gristmill init DATA` writes a pipeline for a data file

    error: the pipeline takes a mapping, not a list
      --> p.yaml:1:1
       |
     1 | - a
       | ^
       = hint: write `key: value` lines, without `- `

    error: the pipeline takes a mapping, not the text `just text`
      --> p.yaml:1:1
       |
     1 | just text
       | ^^^^^^^^^
    "#);
}

#[test]
fn places_that_collide() {
    let text = "pipeline: p\nextract: [{file: 'in/*.csv'}]\nload:\n  - file: ./out.csv\n  - file: out.csv\n  - {table: t, database: d}\n  \
                - {table: t, database: d}\n  - file: in/new.csv\nrejects: x/../out.csv\n";
    assert_snapshot!(mistakes(text), @r"
    error: the destination in line 4 and this destination are the same file
      --> p.yaml:5:11
       |
     5 |   - file: out.csv
       |           ^^^^^^^
       = hint: give it a name of its own

    error: the destination in line 6 and this destination are the same table
      --> p.yaml:7:13
       |
     7 |   - {table: t, database: d}
       |             ^
       = hint: give it a name of its own

    error: the destination is also read as a source in line 2
      --> p.yaml:8:11
       |
     8 |   - file: in/new.csv
       |           ^^^^^^^^^^
       = hint: write to another file, or a later run reads what this one wrote

    error: the destination in line 4 and this rejects file are the same file
      --> p.yaml:9:10
       |
     9 | rejects: x/../out.csv
       |          ^^^^^^^^^^^^
       = hint: give it a name of its own

    error: 4 mistakes in `p.yaml`
    ");
}

#[test]
fn a_folder_belongs_to_its_destination() {
    let text = "pipeline: p\nextract: [{file: out/parts/old.csv}]\nload:\n  \
                - {file: out/parts, partition_by: [day]}\nrejects: out/parts/rejects.ndjson\n";
    assert_snapshot!(mistakes(text), @r"
    error: the destination is also read as a source in line 2
      --> p.yaml:4:12
       |
     4 |   - {file: out/parts, partition_by: [day]}
       |            ^^^^^^^^^
       = hint: write to another file, or a later run reads what this one wrote

    error: this rejects file lies in the folder that belongs to the destination in line 4
      --> p.yaml:5:10
       |
     5 | rejects: out/parts/rejects.ndjson
       |          ^^^^^^^^^^^^^^^^^^^^^^^^
       = hint: put it beside the folder

    error: 2 mistakes in `p.yaml`
    ");
}

#[test]
fn standard_input_and_output_do_not_collide() {
    parse("pipeline: p\nextract: [{file: '-', format: csv}]\nload: [{file: '-', format: csv}]\n")
        .unwrap();
}

#[test]
fn coloured_output_says_the_same() {
    let found = parse(&with("limits: {workers: four}")).unwrap_err();
    let coloured = found.render(true);
    assert!(coloured.contains("\x1b[1;31m"));
    let mut plain = coloured;
    for code in ["\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, found.to_string());
}

#[test]
fn the_schema_and_the_reference_name_every_kind_and_key() {
    let schema = registry().json_schema();
    assert_eq!(schema["properties"]["extract"]["items"]["anyOf"].as_array().unwrap().len(), 1);
    assert_eq!(schema["properties"]["load"]["items"]["anyOf"].as_array().unwrap().len(), 2);
    assert_eq!(schema["required"], serde_json::json!(["pipeline", "extract", "load"]));
    let reference = registry().reference();
    for part in ["### `file`", "### `table`", "### `derive`", "`rejected_ratio`", "`1 GiB`"] {
        assert!(reference.contains(part), "{part} is not in\n{reference}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the file holds, the answer is a definition or mistakes, each of which can be shown.
    #[test]
    fn no_text_makes_the_checker_panic(lines in prop::collection::vec(fragment(), 0..12)) {
        let text = lines.concat();
        if let Err(found) = parse(&text) {
            prop_assert!(!found.items().is_empty());
            prop_assert!(found.to_string().starts_with("error: "));
        }
    }

    /// Nor does a good file with something cut out of it or put into it.
    #[test]
    fn no_damage_makes_the_checker_panic(at in 0..GOOD.len(), cut in 0..20usize, put in fragment()) {
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[(at + cut).min(GOOD.len())..]);
        let _ = parse(&text).map_err(|found| found.to_string());
    }
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "pipeline: p\n", "extract:\n", "load:\n", "steps:\n", "  - file: x\n", "  - derive: ",
            "- ", "  ", "\t", ": ", "\n", "{", "}", "[", "]", ",", "'", "\"", "|\n", ">-\n", "&a ",
            "*a ", "!!str ", "? ", "<<: ", "${", "}", "$${A}", "${A:-1}", "---\n", "...\n", "#",
            "\\", "\r\n", "\u{feff}", "é", "日本", "limits: {memory: ", "%YAML 1.2\n", "- - - a\n",
        ]).prop_map(str::to_owned),
        1 => "[ -~\\n]{0,12}",
        1 => any::<String>(),
    ]
}
