//! The words of DQDL.

use std::ops::Range;

use super::DqdlError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Number(String),
    /// `$name`.
    Constant(String),
    /// A bracket, a comma, an operator.
    Symbol(&'static str),
}

pub(super) type Spanned = (Token, Range<usize>);

/// Symbols, the longer of two that begin alike first.
const SYMBOLS: [&str; 15] =
    ["!=", ">=", "<=", "=", ">", "<", "[", "]", "(", ")", ",", "+", "-", "*", "/"];

/// Cuts a text into words. `#` begins a comment that ends with its line.
pub(super) fn words(text: &str) -> Result<Vec<Spanned>, DqdlError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let start = at;
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        if next == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let token = if next == '"' {
            let (value, end) = quoted(rest).ok_or_else(|| {
                DqdlError::new("a text without an end", start..text.len())
                    .hint("close it with `\"`")
            })?;
            at += end;
            Token::Text(value)
        } else if next.is_ascii_digit()
            || (next == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let end = number(rest);
            at += end;
            Token::Number(rest[..end].to_owned())
        } else if next.is_alphabetic() || next == '_' || next == '$' {
            let first = next.len_utf8();
            let end = rest[first..].find(|c: char| !c.is_alphanumeric() && c != '_');
            let end = end.map_or(rest.len(), |end| end + first);
            at += end;
            match rest[..end].strip_prefix('$') {
                Some(name) => Token::Constant(name.to_owned()),
                None => Token::Word(rest[..end].to_owned()),
            }
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            at += symbol.len();
            Token::Symbol(symbol)
        } else {
            return Err(DqdlError::new(
                format!("`{next}` is no part of DQDL"),
                start..start + next.len_utf8(),
            )
            .hint("names of columns and texts are in double quotes"));
        };
        found.push((token, start..at));
    }
    Ok(found)
}

/// The text in quotes, in which only `\"` is not what it looks like, and where it ends.
fn quoted(rest: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return Some((value, at + 1)),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                value.push('"');
                chars.next();
            }
            other => value.push(other),
        }
    }
    None
}

fn number(rest: &str) -> usize {
    let digits = |from: usize| from + rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut end = digits(0);
    if rest[end..].starts_with('.') {
        end = digits(end + 1);
    }
    let exponent =
        rest[end..].strip_prefix(['e', 'E']).map(|rest| rest.trim_start_matches(['+', '-']));
    if exponent.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        end = digits(end + 1 + sign);
    }
    end
}
