//! DataFusion's and Arrow's errors in our words.

use arrow_schema::ArrowError;
use datafusion_common::DataFusionError;

/// Whether an error is about the values at hand, and not about the expression or the machine.
pub(crate) fn is_about_data(found: &DataFusionError) -> bool {
    match found.find_root() {
        DataFusionError::Execution(_) | DataFusionError::External(_) => true,
        DataFusionError::ArrowError(inner, _) => matches!(
            inner.as_ref(),
            ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::InvalidArgumentError(_)
                | ArrowError::ExternalError(_)
        ),
        _ => false,
    }
}

/// Why a row has no value.
pub(crate) fn failure(found: &DataFusionError) -> String {
    let root = found.find_root();
    if let DataFusionError::ArrowError(inner, _) = root {
        match inner.as_ref() {
            ArrowError::DivideByZero => return "division by zero".to_owned(),
            ArrowError::ArithmeticOverflow(what) => {
                let what = what.strip_prefix("Overflow happened on: ").unwrap_or(what);
                return format!("the result of `{}` is out of range", first_line(what));
            }
            _ => {}
        }
    }
    let text = root.strip_backtrace();
    let text = stripped(&text);
    if let Some(wrong) = wrong_pattern(text) {
        return wrong;
    }
    if let Some(rest) = text.strip_prefix("Cannot cast string '")
        && let Some((value, rest)) = rest.rsplit_once("' to value of ")
        && let Some(data_type) = rest.strip_suffix(" type")
    {
        return format!("`{value}` is not a value of type {}", in_our_types(data_type));
    }
    lower(&in_our_types(&first_line(text)))
}

/// Why an expression cannot be planned.
pub(crate) fn planning(found: &DataFusionError) -> String {
    let text = found.find_root().strip_backtrace();
    let text = stripped(&text);
    wrong_pattern(text).unwrap_or_else(|| lower(&in_our_types(&first_line(text))))
}

/// What is wrong with a regular expression, where that is what the error is about.
fn wrong_pattern(text: &str) -> Option<String> {
    let (_, why) = text.strip_prefix("regex parse error")?.rsplit_once("error: ")?;
    Some(format!("the regular expression is wrong: {why}"))
}

/// What a function takes, from the planner's message about a call that does not fit.
pub(crate) fn expected(found: &DataFusionError) -> String {
    let text = found.strip_backtrace();
    let mut kinds: Vec<&str> = Vec::new();
    for rest in text.split(" requires ").skip(1) {
        let kind = rest.split(',').next().unwrap_or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    match kinds[..] {
        [] => planning(found),
        _ => format!("it takes {}", in_our_types(&kinds.join(" or "))),
    }
}

/// Arrow's type names in a message as pipelines say them.
fn in_our_types(text: &str) -> String {
    const NAMES: [(&str, &str); 8] = [
        ("Utf8View", "string"),
        ("Utf8", "string"),
        ("Int64", "int"),
        ("Float64", "double"),
        ("Boolean", "bool"),
        ("Date32", "date"),
        ("Decimal128", "decimal"),
        ("Timestamp(µs)", "timestamp"),
    ];
    NAMES.iter().fold(text.to_owned(), |text, (arrow, ours)| text.replace(arrow, ours))
}

/// Without the names of error kinds before the message.
fn stripped(text: &str) -> &str {
    const KINDS: [&str; 11] = [
        "Arrow error: ",
        "Execution error: ",
        "Error during planning: ",
        "This feature is not implemented: ",
        "Internal error: ",
        "Cast error: ",
        "Parser error: ",
        "Compute error: ",
        "Invalid argument error: ",
        "External error: ",
        "SQL error: ",
    ];
    let mut text = text;
    while let Some(rest) = KINDS.iter().find_map(|kind| text.strip_prefix(kind)) {
        text = rest;
    }
    text
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    match line.char_indices().nth(300) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next();
    let second = chars.clone().next();
    match first {
        Some(first) if !second.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
