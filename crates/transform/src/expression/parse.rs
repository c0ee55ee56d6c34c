//! From text to syntax tree, and from places in the tree back to bytes of the text.

use std::ops::{ControlFlow, Range};

use datafusion_sql::sqlparser::ast::{Expr, Query, Spanned, Visit, Visitor};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, Tokenizer};
use gristmill_core::ExpressionError;

/// Words that start a statement where an expression should stand.
const STATEMENTS: [&str; 10] =
    ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "MERGE", "VALUES"];

/// How many levels an expression may have: parts within parts, or operators in a row.
const MAX_DEPTH: usize = 200;
/// How many names, operators and brackets it may have, so that its tree can be walked at all.
const MAX_WORDS: usize = 4000;

/// An error about a part of the text.
pub(crate) fn error(
    message: impl Into<String>,
    span: Option<Range<usize>>,
    hint: Option<String>,
) -> ExpressionError {
    ExpressionError { message: message.into(), span, hint }
}

/// Parses one scalar expression and nothing after it.
pub(crate) fn parse(text: &str) -> Result<Expr, ExpressionError> {
    let words = text.trim_start();
    let start = text.len() - words.len();
    if words.is_empty() {
        let hint = "write an SQL expression, for example `price * quantity`".to_owned();
        return Err(error("the expression is empty", None, Some(hint)));
    }
    let first = words.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
    let more = words[first.len()..].starts_with(char::is_whitespace);
    if more && STATEMENTS.iter().any(|word| word.eq_ignore_ascii_case(first)) {
        return Err(error(
            format!("`{first}` starts a statement; an expression is expected here"),
            Some(start..start + first.len()),
            Some("write only what would stand behind SELECT, for one column".to_owned()),
        ));
    }
    let mut parser = parser(text)?;
    let expr = parser.parse_expr().map_err(|error| syntax_error(text, &error))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let hint = match next.token {
            Token::Comma | Token::SemiColon => "write one expression".to_owned(),
            _ => "an operator is missing before it, or it does not belong here".to_owned(),
        };
        return Err(error(
            format!("unexpected `{}` after the expression", next.token),
            range(text, next.span),
            Some(hint),
        ));
    }
    flat(&expr)?;
    Ok(expr)
}

/// Parses one query and nothing after it.
pub(crate) fn query(text: &str) -> Result<Query, ExpressionError> {
    if text.trim().is_empty() {
        let hint = "write a query, for example `SELECT * FROM input`".to_owned();
        return Err(error("the query is empty", None, Some(hint)));
    }
    let mut parser = parser(text)?;
    let first = parser.peek_token();
    if !matches!(&first.token, Token::Word(word) if ["SELECT", "WITH", "VALUES"].iter().any(|it| word.value.eq_ignore_ascii_case(it)))
        && first.token != Token::LParen
    {
        let message = format!("`{}` starts no query", first.token);
        let hint = "a query starts with SELECT or WITH".to_owned();
        return Err(error(message, range(text, first.span), Some(hint)));
    }
    let query = parser.parse_query().map_err(|error| syntax_error(text, &error))?;
    let _ = parser.consume_token(&Token::SemiColon);
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let message = format!("unexpected `{}` after the query", next.token);
        return Err(error(message, range(text, next.span), Some("write one query".to_owned())));
    }
    flat(&*query)?;
    Ok(*query)
}

/// Parses what is not so long that its tree could not be walked.
fn parser(text: &str) -> Result<Parser<'static>, ExpressionError> {
    let dialect = &GenericDialect {};
    let tokens = Tokenizer::new(dialect, text)
        .tokenize_with_location()
        .map_err(|found| syntax_error(text, &ParserError::TokenizerError(found.to_string())))?;
    let words = tokens.iter().filter(|token| !is_value(&token.token)).count();
    if words > MAX_WORDS {
        return Err(too_deep());
    }
    Ok(Parser::new(dialect).with_tokens_with_locations(tokens))
}

/// Refuses what is nested too deeply.
fn flat(tree: &impl Visit) -> Result<(), ExpressionError> {
    match tree.visit(&mut Depth::default()) {
        ControlFlow::Break(()) => Err(too_deep()),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whether a token alone makes no tree deeper.
fn is_value(token: &Token) -> bool {
    matches!(
        token,
        Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_)
    )
}

fn too_deep() -> ExpressionError {
    let hint =
        "split it into several columns with `derive`; write `x = 1 OR x = 2 …` as `x IN (1, 2, …)`";
    error("the expression is nested too deeply", None, Some(hint.to_owned()))
}

/// Stops at a tree that is too deep to be evaluated on a worker's stack.
#[derive(Default)]
struct Depth(usize);

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 > MAX_DEPTH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }
}

/// The bytes that a part of the tree was parsed from, as far as the parser kept them.
pub(crate) fn span_of(text: &str, expr: &Expr) -> Option<Range<usize>> {
    let mut span = range(text, expr.span())?;
    if let Expr::Function(_) = expr {
        let rest = &text[span.end..];
        let blanks = rest.len() - rest.trim_start().len();
        match rest.trim_start().as_bytes() {
            [b')', ..] => span.end += blanks + 1,
            [b'(', b')', ..] => span.end += blanks + 2,
            _ => {}
        }
    }
    Some(span)
}

/// The bytes of a parser's span.
pub(crate) fn range(text: &str, span: Span) -> Option<Range<usize>> {
    let start = offset(text, span.start)?;
    let end = offset(text, span.end)?;
    (start < end).then_some(start..end)
}

/// The byte that a line and a column, both from 1, stand for. A column is a character.
fn offset(text: &str, location: Location) -> Option<usize> {
    let (line, column) = (location.line.checked_sub(1)?, location.column.checked_sub(1)?);
    let line = usize::try_from(line).ok()?;
    let start = match line {
        0 => 0,
        _ => text.match_indices('\n').nth(line - 1)?.0 + 1,
    };
    let rest = &text[start..];
    let within = rest.char_indices().nth(usize::try_from(column).ok()?).map(|(at, _)| at);
    Some(start + within.unwrap_or(rest.len()))
}

fn syntax_error(text: &str, found: &ParserError) -> ExpressionError {
    let message = match found {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => return too_deep(),
    };
    let (message, location) = split_location(message);
    let at = location.and_then(|location| offset(text, location));
    let ended = message.ends_with("found: EOF");
    let span = match at {
        _ if ended => Some(text.trim_end().len()..text.len().max(text.trim_end().len() + 1)),
        Some(at) => Some(at..token_end(text, at)),
        None => None,
    };
    let hint = quote_hint(message);
    error(plain(message), span.filter(|span| span.end <= text.len()), hint)
}

/// Takes ` at Line: 1, Column: 5` off the end of a message.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((before, place)) = message.rsplit_once(" at Line: ") else {
        return (message, None);
    };
    let Some((line, column)) = place.split_once(", Column: ") else {
        return (message, None);
    };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (before, Some(Location::new(line, column))),
        _ => (message, None),
    }
}

/// Where the word, number or sign that starts at `at` ends.
fn token_end(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    at + if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) }
}

/// The parser's message in our form: no capital, no "EOF".
fn plain(message: &str) -> String {
    let message = message.trim_end_matches('.');
    if let Some((expected, found)) =
        message.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: "))
    {
        let expected = match expected {
            "an expression" | "an expression:" => "an expression",
            other => other,
        };
        return match found {
            "EOF" => format!("the text ends where {expected} is expected"),
            found => format!("`{found}` stands where {expected} is expected"),
        };
    }
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn quote_hint(message: &str) -> Option<String> {
    message.contains("Unterminated").then(|| {
        "text stands between single quotes; a quote within it is doubled: 'it''s'".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_point_at_their_word() {
        let wrong = parse("aum * * 2").unwrap_err();
        assert_eq!(wrong.span, Some(6..7), "{wrong:?}");
        let wrong = parse("naïve +\n  ) ").unwrap_err();
        assert_eq!(wrong.span, Some(11..12), "{wrong:?}");
        let wrong = parse("aum 2").unwrap_err();
        assert_eq!(
            (wrong.span, wrong.message.as_str()),
            (Some(4..5), "unexpected `2` after the expression")
        );
    }

    #[test]
    fn the_end_and_the_quote_are_named() {
        assert_eq!(
            parse("aum +").unwrap_err().message,
            "the text ends where an expression is expected"
        );
        let wrong = parse("name = 'x").unwrap_err();
        assert!(wrong.hint.is_some_and(|hint| hint.contains("single quotes")));
    }

    #[test]
    fn statements_are_refused() {
        for text in ["SELECT a FROM b", "  delete from b"] {
            assert!(parse(text).unwrap_err().message.contains("starts a statement"), "{text}");
        }
        assert!(parse(" ").is_err());
    }
}
