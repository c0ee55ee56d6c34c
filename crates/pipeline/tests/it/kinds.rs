//! Small kinds of sources, steps and destinations, with the shapes of options that real ones have.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{
    BindContext, Bound, Error, Expression, ExpressionCompiler, ExpressionError, ExtractorKind,
    FieldType, LoaderKind, Mistake, Pointer, StepKind, StepPlan,
};
use gristmill_pipeline::definition::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// Path or pattern.
    file: String,
    /// The format. Without it, the name says it.
    #[serde(default)]
    format: Option<Format>,
    /// Declared types.
    #[serde(default)]
    columns: BTreeMap<String, FieldType>,
    /// Infer undeclared types.
    #[serde(default)]
    infer: bool,
    /// Between fields.
    #[serde(default)]
    delimiter: Option<char>,
    /// Columns whose values become folders.
    #[serde(default)]
    partition_by: Vec<String>,
    /// Texts that mean nothing.
    #[serde(default)]
    nulls: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Comma-separated values.
    Csv,
    /// One object a line.
    Ndjson,
    /// Fixed columns of these widths.
    Fixed(Vec<u32>),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The table.
    table: String,
    /// The database's URL.
    database: String,
    /// What happens to the rows that are there.
    #[serde(default)]
    mode: Mode,
    /// The columns that tell records apart.
    #[serde(default)]
    keys: Vec<String>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Append,
    Replace,
    Upsert,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Validate {
    /// Rules for each field.
    #[serde(default)]
    rules: BTreeMap<String, Rules>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Rules {
    One(Rule),
    Many(Vec<Rule>),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Rule {
    /// There is a value.
    Required,
    /// The text matches.
    Matches(String),
    /// The value is not less.
    Min(f64),
    /// The value lies between.
    Between(f64, f64),
    /// The value is one of these.
    OneOf(Vec<String>),
}

struct Nothing;

impl StepPlan for Nothing {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let output = input.clone();
        let grain = gristmill_core::Grain::Preserves;
        Ok(Bound { local: None, ordered: None, output, grain })
    }
}

fn plan_derive(
    options: &Value,
    expressions: &dyn ExpressionCompiler,
) -> Result<Box<dyn StepPlan>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    for (name, text) in options.as_object().into_iter().flatten() {
        if let Err(error) = expressions.check(text.as_str().unwrap_or_default()) {
            let mut mistake = Mistake::new(Pointer::root().key(name), error.message);
            mistake.span = error.span;
            mistakes.push(mistake);
        }
    }
    if mistakes.is_empty() { Ok(Box::new(Nothing)) } else { Err(mistakes) }
}

fn plan_validate(
    options: &Value,
    _: &dyn ExpressionCompiler,
) -> Result<Box<dyn StepPlan>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    for (field, rules) in options["rules"].as_object().into_iter().flatten() {
        let at = Pointer::root().key("rules").key(field);
        let rules = rules.as_array().cloned().unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            let Some(pattern) = rule["matches"].as_str() else { continue };
            if pattern.contains("[0-9") && !pattern.contains("[0-9]") {
                let at = at.index(index).key("matches");
                let class = pattern.find('[').unwrap_or_default();
                mistakes.push(
                    Mistake::new(at, "the character class is not closed")
                        .span(class..pattern.len())
                        .hint("close it with `]`"),
                );
            }
        }
    }
    if mistakes.is_empty() { Ok(Box::new(Nothing)) } else { Err(mistakes) }
}

/// Refuses expressions that end in an operator.
struct Operators;

impl ExpressionCompiler for Operators {
    fn compile(&self, text: &str, _: &SchemaRef) -> Result<Arc<dyn Expression>, ExpressionError> {
        unreachable!("nothing is bound here: {text}")
    }

    fn check(&self, text: &str) -> Result<(), ExpressionError> {
        let end = text.trim_end();
        if !end.ends_with(['*', '+', '-', '/']) {
            return Ok(());
        }
        let message = "a value is missing after the operator".to_owned();
        Err(ExpressionError { message, span: Some(end.len() - 1..end.len()), hint: None })
    }
}

static EXTRACTORS: &[ExtractorKind] = &[ExtractorKind {
    name: "file",
    about: "Reads files.",
    example: "file: data/*.csv\ncolumns: {amount: 'decimal(18, 2)'}\n",
    schema: |generator| generator.subschema_for::<File>(),
    check: |_| Vec::new(),
    open: |_, _| Err(Error::internal("not opened here")),
}];

static STEPS: &[StepKind] = &[
    StepKind {
        name: "derive",
        about: "Adds columns.",
        example: "derive: {total: price * 2}\n",
        schema: |generator| generator.subschema_for::<BTreeMap<String, String>>(),
        plan: plan_derive,
    },
    StepKind {
        name: "validate",
        about: "Judges records.",
        example: "validate:\n  rules: {id: [required]}\n",
        schema: |generator| generator.subschema_for::<Validate>(),
        plan: plan_validate,
    },
];

static LOADERS: &[LoaderKind] = &[
    LoaderKind {
        name: "file",
        about: "Writes files.",
        example: "file: out/x.csv\n",
        schema: |generator| generator.subschema_for::<File>(),
        check: |_| Vec::new(),
        bind: |_, _| Vec::new(),
        open: |_, _, _| Err(Error::internal("not opened here")),
        published: |_, _, _| Ok(None),
    },
    LoaderKind {
        name: "table",
        about: "Writes a table.",
        example: "table: t\ndatabase: sqlite://x.db\n",
        schema: |generator| generator.subschema_for::<Table>(),
        check: |options| {
            let table: Table = serde_json::from_value(options.clone()).expect("fits the schema");
            if table.mode == Mode::Upsert && table.keys.is_empty() {
                return vec![
                    Mistake::new(Pointer::root().key("mode"), "`upsert` needs `keys`")
                        .hint("name the columns that tell records apart"),
                ];
            }
            Vec::new()
        },
        bind: |_, _| Vec::new(),
        open: |_, _, _| Err(Error::internal("not opened here")),
        published: |_, _, _| Ok(None),
    },
];

/// A registry of these kinds.
pub(crate) fn registry() -> Registry {
    Registry {
        extractors: EXTRACTORS,
        steps: STEPS.iter().collect(),
        loaders: LOADERS,
        expressions: Arc::new(Operators),
    }
}
