//! Parameters of a pipeline: `${NAME}` and `${NAME:-default}` in its text values, and the secrets
//! among what they stand for.
//!
//! A value is put into a scalar after the file is parsed, so it can hold any character and cannot
//! change the structure of the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use gristmill_core::{Error, ErrorKind, Result};

use crate::definition::closest;

/// Where parameters come from: what the caller gave first, then the environment.
///
/// ```
/// use gristmill_pipeline::params::Params;
///
/// let params = Params::default().with("YEAR", "2024");
/// assert_eq!(params.get("YEAR"), Some("2024"));
/// assert_eq!(params.get("HOME"), None); // only `Params::from_environment` looks there
/// ```
#[derive(Clone, Default)]
pub struct Params {
    given: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Params {
    /// Parameters from the process environment; variables that are not UTF-8 are left out.
    pub fn from_environment() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { given: BTreeMap::new(), environment }
    }

    /// Gives a parameter. A given parameter that the pipeline does not use is a mistake.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.given.insert(name.into(), value.into());
        self
    }

    /// Gives a parameter as the command line does: `NAME=VALUE`.
    ///
    /// # Errors
    /// When there is no `=`, or the name is not one that `${…}` can hold.
    pub fn argument(self, argument: &str) -> Result<Self> {
        let wrong = |message: String| {
            Error::new(ErrorKind::Configuration, Secrets::of_text(argument).redact(&message))
                .hint("write `--param NAME=VALUE`, with a name of letters, digits and `_`")
        };
        let Some((name, value)) = argument.split_once('=') else {
            return Err(wrong(format!("the parameter `{argument}` has no value")));
        };
        if !is_name(name) {
            return Err(wrong(format!("`{name}` is not a parameter name")));
        }
        Ok(self.with(name, value))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).or_else(|| self.environment.get(name)).map(String::as_str)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.given.keys().chain(self.environment.keys()).map(String::as_str)
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.given.keys()).finish() // values may be secret
    }
}

/// A reference to a parameter that cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// The reference, in bytes of the text it stands in.
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
    pub(crate) hint: String,
}

/// A text with its parameters put in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) text: String,
    /// Whether the text was one reference and nothing else.
    pub(crate) whole: bool,
}

/// Puts parameters into the texts of one pipeline, noting which are used and which are secret.
pub(crate) struct Resolver<'a> {
    params: &'a Params,
    used: BTreeSet<String>,
    pub(crate) secrets: Secrets,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(params: &'a Params, secrets: Secrets) -> Self {
        Self { params, used: BTreeSet::new(), secrets }
    }

    /// `None` when the text has no reference and no escape.
    pub(crate) fn resolve(&mut self, text: &str) -> Result<Option<Resolved>, Vec<Unresolved>> {
        let mut out = String::with_capacity(text.len());
        let (mut rest, mut whole, mut changed) = (0, false, false);
        let mut problems = Vec::new();
        while let Some(found) = text[rest..].find("${") {
            let start = rest + found;
            changed = true;
            if text[rest..start].ends_with('$') {
                out.push_str(&text[rest..start]);
                out.push('{'); // `$${` is `${`
                rest = start + 2;
                continue;
            }
            out.push_str(&text[rest..start]);
            let Some(length) = text[start..].find('}') else {
                problems.push(Unresolved {
                    span: start..text.len(),
                    message: "a parameter that begins with `${` is not closed".to_owned(),
                    suggestion: None,
                    hint: "close it with `}`, or write `$${` for the characters `${`".to_owned(),
                });
                return Err(problems);
            };
            rest = start + length + 1;
            match self.value(&text[start + 2..rest - 1]) {
                Ok(value) => out.push_str(&value),
                Err(mut problem) => {
                    problem.span = start..rest;
                    problems.push(problem);
                }
            }
            whole = start == 0 && rest == text.len();
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if !changed {
            return Ok(None);
        }
        out.push_str(&text[rest..]);
        self.secrets.add_passwords(&out);
        Ok(Some(Resolved { text: out, whole }))
    }

    /// Mistakes in the parameters that were given: names that the pipeline does not use.
    pub(crate) fn unused(&self) -> Vec<(String, Option<String>)> {
        let unused = self.params.given.keys().filter(|name| !self.used.contains(*name));
        unused
            .map(|name| {
                let near = closest(name, self.used.iter().map(String::as_str));
                (name.clone(), near.map(str::to_owned))
            })
            .collect()
    }

    /// The names that the pipeline uses.
    pub(crate) fn used(&self) -> impl Iterator<Item = &str> {
        self.used.iter().map(String::as_str)
    }

    fn value(&mut self, reference: &str) -> Result<String, Unresolved> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let problem = |message: String, suggestion: Option<&str>, hint: String| Unresolved {
            span: 0..0,
            message,
            suggestion: suggestion.map(|name| format!("${{{name}}}")),
            hint,
        };
        if !is_name(name) {
            let hint = "a name has letters, digits and `_`; write `$${` for the characters `${`";
            return Err(problem(
                format!("`{name}` is not a parameter name"),
                None,
                hint.to_owned(),
            ));
        }
        self.used.insert(name.to_owned());
        let value = self.params.get(name).or(default);
        if let Some(secret) = value.filter(|_| is_secret_name(name)) {
            self.secrets.add(secret);
        }
        value.map(str::to_owned).ok_or_else(|| {
            problem(
                format!("the parameter `{name}` is not defined"),
                closest(name, self.params.names()),
                format!(
                    "give it with `--param {name}=VALUE`, set it in the environment, or write a \
                     default: `${{{name}:-VALUE}}`"
                ),
            )
        })
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // `PWD` alone is the folder that a shell is in.
    let ends = ["PASSWORD", "PASSWD", "PASS", "_PWD", "SECRET", "TOKEN", "KEY", "CREDENTIALS"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains("SECRET")
}

/// The texts that must not be shown: values of parameters whose name says that they are secret,
/// and passwords in URLs.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

/// Shorter secrets are only found as whole words, so that a message stays readable.
const SHORT: usize = 8;

impl Secrets {
    /// The passwords of the URLs in a text.
    pub fn of_text(text: &str) -> Self {
        let mut secrets = Self::default();
        secrets.add_passwords(text);
        secrets
    }

    /// Adds a text that must not be shown.
    pub fn add(&mut self, secret: &str) {
        if secret.trim().is_empty() || self.0.iter().any(|known| known == secret) {
            return;
        }
        self.0.push(secret.to_owned());
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len())); // the longest is found first
    }

    /// The text with `***` in place of every secret.
    pub fn redact(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut shown = 0;
        for range in self.ranges(text) {
            out.push_str(&text[shown..range.start]);
            out.push_str("***");
            shown = range.end;
        }
        out.push_str(&text[shown..]);
        out
    }

    /// Every text of a JSON value, keys aside, with `***` in place of secrets.
    pub fn redact_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = self.redact(text),
            serde_json::Value::Array(items) => {
                items.iter_mut().for_each(|item| self.redact_json(item));
            }
            serde_json::Value::Object(entries) => {
                entries.values_mut().for_each(|item| self.redact_json(item));
            }
            _ => {}
        }
    }

    /// Where the secrets are in a text, in order, without overlap.
    pub(crate) fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in &self.0 {
            for (start, _) in text.match_indices(secret.as_str()) {
                let range = start..start + secret.len();
                let apart = found.iter().all(|f| f.end <= range.start || range.end <= f.start);
                if apart && (secret.len() >= SHORT || is_word(text, &range)) {
                    found.push(range);
                }
            }
        }
        found.sort_by_key(|range| range.start);
        found
    }

    /// Adds the passwords of URLs, and of their parameters.
    fn add_passwords(&mut self, text: &str) {
        let mut add = |password: &str| {
            // The value of a reference is noted when it is put in.
            if !password.starts_with("${") {
                self.add(password);
                self.add(&percent_decoded(password));
            }
        };
        for (at, slashes) in text.match_indices("//") {
            let token = token(&text[at + slashes.len()..]);
            let authority = &token[..token.find(['/', '?', '#']).unwrap_or(token.len())];
            passwords(authority).last().into_iter().for_each(&mut add);
        }
        let lower = text.to_ascii_lowercase();
        for scheme in ["postgres:", "postgresql:", "mysql:", "mariadb:"] {
            for (at, _) in lower.match_indices(scheme) {
                // As people write it, with any character and one slash too few: what ends before any
                // of its `@` may be the password.
                let token = token(&text[at + scheme.len()..]);
                passwords(token.trim_start_matches('/')).for_each(&mut add);
            }
        }
        for (at, key) in lower.match_indices("password=") {
            let value = token(&text[at + key.len()..]);
            add(&value[..value.find(['&', '#']).unwrap_or(value.len())]);
        }
    }
}

/// A text up to where something else than a URL begins.
fn token(text: &str) -> &str {
    let ends = |ch: char| ch.is_whitespace() || matches!(ch, '"' | '\'' | '`');
    &text[..text.find(ends).unwrap_or(text.len())]
}

/// What may be the password of a URL that begins with its user: what is between the first colon
/// and an `@`.
fn passwords(text: &str) -> impl Iterator<Item = &str> {
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    rest.match_indices('@').map(move |(end, _)| &rest[..end])
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

fn is_word(text: &str, range: &Range<usize>) -> bool {
    let inside = |ch: Option<char>| ch.is_some_and(|ch| ch.is_alphanumeric() || ch == '_');
    !inside(text[..range.start].chars().next_back()) && !inside(text[range.end..].chars().next())
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, params: &Params) -> Result<Option<Resolved>, Vec<Unresolved>> {
        Resolver::new(params, Secrets::default()).resolve(text)
    }

    fn text(text: &str, params: &Params) -> String {
        resolve(text, params).unwrap().map_or(text.to_owned(), |resolved| resolved.text)
    }

    #[test]
    fn references_defaults_and_escapes() {
        let params = Params::default().with("A", "x: [1]").with("EMPTY", "");
        assert_eq!(text("${A}/${A}", &params), "x: [1]/x: [1]");
        assert_eq!(text("${B:-b}${EMPTY:-e}", &params), "b");
        assert_eq!(text("${B:-}", &params), "");
        assert_eq!(text("$${A} $A ^a{2}$", &params), "${A} $A ^a{2}$");
        assert_eq!(text("$$${A}", &params), "$${A}");
        assert!(resolve("${A}", &params).unwrap().unwrap().whole);
        assert!(!resolve("${A}${A}", &params).unwrap().unwrap().whole);
        assert_eq!(resolve("plain", &params), Ok(None));
    }

    #[test]
    fn every_unresolved_reference_is_named_at_its_place() {
        let params = Params::default().with("YEAR", "2024");
        let problems = resolve("a ${YAER} ${x y} ${YEAR", &params).unwrap_err();
        let spans: Vec<_> = problems.iter().map(|problem| problem.span.clone()).collect();
        assert_eq!(spans, [2..9, 10..16, 17..23]);
        assert_eq!(problems[0].suggestion.as_deref(), Some("${YEAR}"));
    }

    #[test]
    fn given_parameters_go_before_the_environment() {
        let mut params = Params::default().with("A", "given");
        params.environment = [("A", "env"), ("B", "env")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(text("${A} ${B}", &params), "given env");
    }

    #[test]
    fn arguments_need_a_name_and_a_value() {
        assert_eq!(Params::default().argument("A=b=c").unwrap().get("A"), Some("b=c"));
        assert!(Params::default().argument("A").is_err());
        assert!(Params::default().argument("1=b").is_err());
    }

    #[test]
    fn passwords_are_found_however_a_url_is_written() {
        for (text, shown) in [
            ("postgres://ann:p%40ss@db/x and p@ss", "postgres://ann:***@db/x and ***"),
            ("Postgres://ann:a/b@c#d@db/x", "Postgres://ann:***@db/x"),
            ("mysql:ann:secret?=1@db/x", "mysql:ann:***@db/x"),
            ("//ann:secret@db/x", "//ann:***@db/x"),
            ("ftp://ann:secret@db/@x", "ftp://ann:***@db/@x"),
            (
                "postgres://db/x?Password=s%20t&a=b, not 's t'",
                "postgres://db/x?Password=***&a=b, not '***'",
            ),
            ("https://example.com:80/a@b", "https://example.com:80/a@b"),
            ("mysql://ann@db/x postgres:none", "mysql://ann@db/x postgres:none"),
        ] {
            assert_eq!(Secrets::of_text(text).redact(text), shown);
        }
    }

    #[test]
    fn secrets_are_blotted_out_wherever_they_appear() {
        let params = Params::default().with("DB_PASSWORD", "p@ss/word").with("HOST", "db1");
        let mut resolver = Resolver::new(&params, Secrets::default());
        let url = resolver.resolve("postgres://me:${DB_PASSWORD}@${HOST}/x").unwrap().unwrap().text;
        assert_eq!(resolver.secrets.redact(&url), "postgres://me:***@db1/x");
        assert_eq!(resolver.secrets.redact("failed: p@ss/word"), "failed: ***");
        resolver.resolve("${API_TOKEN:-changeit}").unwrap();
        assert_eq!(resolver.secrets.redact("token changeit"), "token ***");
        assert!(!format!("{params:?}").contains("p@ss"));

        let secrets = Secrets::of_text("mysql://root:a%40b@h/d and mysql://u:id@h");
        assert_eq!(secrets.redact("a%40b a@b id invalid"), "*** *** *** invalid");
        assert!(!format!("{secrets:?}").contains("a@b"));
    }
}
