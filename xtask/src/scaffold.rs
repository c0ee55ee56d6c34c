//! `cargo xtask new <stage> <name>`: a new connector or step, ready to be filled in.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Makes the file, adds the registry line and the module line, and says what to do next.
pub(crate) fn run(stage: &str, name: &str) -> Result<()> {
    let valid = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !valid || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        bail!("`{name}` is not a module name; use lower case letters, digits and `_`");
    }
    let (folder, registry, body) = match stage {
        "extract" => ("crates/extract/src", "lib.rs", EXTRACTOR),
        "transform" => ("crates/transform/src/steps", "mod.rs", STEP),
        "load" => ("crates/load/src", "lib.rs", LOADER),
        other => bail!("`{other}` has no registry; the stages are extract, transform and load"),
    };
    let file = PathBuf::from(folder).join(format!("{name}.rs"));
    if file.exists() {
        bail!("{} is there already", file.display());
    }
    let registry = PathBuf::from(folder).join(registry);
    let text = fs::read_to_string(&registry)
        .with_context(|| format!("cannot read {}", registry.display()))?;
    let text = with_module(&with_entry(&text, name)?, name)?;
    let fixture = PathBuf::from("fixtures").join(name);
    fs::write(&file, body.replace("NAME", name))?;
    fs::write(&registry, text)?;
    fs::create_dir_all(&fixture)?;
    fs::write(
        fixture.join("README.md"),
        format!("# Fixtures of `{name}`\n\nSay here where each file is from.\n"),
    )?;
    cargo::run("format", &["fmt", "--all"])?;
    println!("wrote {} and {}/README.md", file.display(), fixture.display());
    println!("added `{name}` to {}", registry.display());
    println!(
        "next: describe the options, write the code, then `cargo xtask gen && cargo xtask ci`"
    );
    Ok(())
}

/// Adds `name::KIND` at the end of the registry slice.
fn with_entry(text: &str, name: &str) -> Result<String> {
    let start = text.find("KINDS: &[").context("the registry slice `KINDS` was not found")?;
    let open =
        text[start..].find("= &[").map(|at| start + at + 4).context("`KINDS` is no slice")?;
    let close = text[open..].find(']').map(|at| open + at).context("`KINDS` does not end")?;
    let list = text[open..close].trim_end().trim_end_matches(',');
    let separator = if list.trim().is_empty() { "" } else { ", " };
    Ok(format!("{}{list}{separator}{name}::KIND{}", &text[..open], &text[close..]))
}

/// Adds `mod name;` after the last module line.
fn with_module(text: &str, name: &str) -> Result<String> {
    let last = text
        .lines()
        .rfind(|line| line.starts_with("mod ") || line.starts_with("pub mod "))
        .context("no module line was found")?;
    Ok(text.replacen(last, &format!("{last}\npub mod {name};"), 1))
}

const STEP: &str = r#"//! `NAME`: say in one sentence what it does.

use arrow_schema::SchemaRef;
use gristmill_core::{Batch, BindContext, Bound, Findings, Grain, Mistake, Result, Step, StepKind, StepPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The registry entry.
pub const KIND: StepKind = StepKind {
    name: "NAME",
    about: "Say in one sentence what it does.",
    example: "NAME: {}",
    schema: |generator| generator.subschema_for::<Options>(),
    plan: |options, _| match serde_json::from_value::<Options>(options.clone()) {
        Ok(options) => Ok(Box::new(options)),
        Err(error) => Err(vec![Mistake::new(Default::default(), error.to_string())]),
    },
};

/// Options of `NAME`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {}

impl StepPlan for Options {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let step: Box<dyn Step> = Box::new(PassOn);
        Ok(Bound { local: Some(step), ordered: None, output: input.clone(), grain: Grain::Preserves })
    }
}

struct PassOn;

impl Step for PassOn {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        Ok(batch)
    }
}
"#;

const EXTRACTOR: &str = r#"//! `NAME`: say in one sentence what it reads.

use gristmill_core::{Error, ErrorKind, ExtractContext, Extractor, ExtractorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry entry.
pub const KIND: ExtractorKind = ExtractorKind {
    name: "NAME",
    about: "Say in one sentence what it reads.",
    example: "NAME: where it is",
    schema: |generator| generator.subschema_for::<Options>(),
    check: |_| Vec::new(),
    open,
};

/// A source of kind `NAME`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where it is.
    pub NAME: String,
}

fn open(item: &Value, _: &ExtractContext) -> Result<Box<dyn Extractor>> {
    let options: Options = serde_json::from_value(item.clone())
        .map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))?;
    Err(Error::internal(format!("the extractor for `{}` is not written", options.NAME)))
}
"#;

const LOADER: &str = r#"//! `NAME`: say in one sentence where it writes.

use arrow_schema::SchemaRef;
use gristmill_core::{Error, ErrorKind, LoadContext, Loader, LoaderKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registry entry.
pub const KIND: LoaderKind = LoaderKind {
    name: "NAME",
    about: "Say in one sentence where it writes.",
    example: "NAME: where it is",
    schema: |generator| generator.subschema_for::<Options>(),
    check: |_| Vec::new(),
    bind: |_, _| Vec::new(),
    open,
    published: |_, _, _| Ok(None),
};

/// A destination of kind `NAME`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where it is.
    pub NAME: String,
}

fn open(item: &Value, _: &SchemaRef, _: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
    let options: Options = serde_json::from_value(item.clone())
        .map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))?;
    Err(Error::internal(format!("the loader for `{}` is not written", options.NAME)))
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_kind_is_declared_and_registered_last() {
        let text = "mod a;\nmod b;\n\npub static KINDS: &[StepKind] = &[a::KIND, b::KIND];\n";
        let text = with_module(&with_entry(text, "c").unwrap(), "c").unwrap();
        assert_eq!(
            text,
            "mod a;\nmod b;\npub mod c;\n\npub static KINDS: &[StepKind] = &[a::KIND, b::KIND, c::KIND];\n"
        );
    }

    #[test]
    fn templates_name_what_they_are_for() {
        for template in [STEP, EXTRACTOR, LOADER] {
            assert!(template.contains("pub const KIND") && template.contains("name: \"NAME\""));
        }
    }
}
