//! Patterns: the one place that knows how text is matched.

use std::ops::Range;

use regex::Regex;

use crate::shape::Shape;

/// A regular expression in the syntax of the [`regex`] crate (Perl-like, linear time: no
/// look-around and no back-references).
///
/// It matches when it is found anywhere in the text, as in most tools; `^` and `$` anchor it to
/// the beginning and the end. `\d`, `\w`, `\s`, classes and `(?i)` know Unicode.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// What most texts are judged by.
    shape: Option<Shape>,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong, without a full stop.
    pub message: String,
    /// The part of the pattern it is about, in bytes.
    pub span: Option<Range<usize>>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`], pointing into the pattern.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        match Regex::new(text) {
            Ok(regex) => Ok(Self { regex, shape: Shape::of(text) }),
            Err(error) => Err(explain(text, &error)),
        }
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether the pattern is found in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let fits = self.shape.as_ref().and_then(|shape| shape.fits(text));
        fits.unwrap_or_else(|| self.regex.is_match(text))
    }

    /// Whether the pattern is found in a text of which only Arrow's view is seen; `None` where that
    /// does not tell.
    #[inline]
    pub(crate) fn is_match_view(&self, view: u128) -> Option<bool> {
        self.shape.as_ref()?.fits_view(view)
    }
}

/// The syntax error with its place, which [`regex::Error`] only draws.
fn explain(text: &str, error: &regex::Error) -> PatternError {
    let (message, span) = match regex_syntax::parse(text) {
        Err(regex_syntax::Error::Parse(error)) => (error.kind().to_string(), Some(*error.span())),
        Err(regex_syntax::Error::Translate(error)) => {
            (error.kind().to_string(), Some(*error.span()))
        }
        _ => match error {
            regex::Error::CompiledTooBig(limit) => {
                (format!("it compiles to more than {limit} bytes"), None)
            }
            other => (other.to_string().lines().last().unwrap_or_default().to_owned(), None),
        },
    };
    let message = message.split(", which is not supported").next().unwrap_or(&message);
    PatternError {
        message: format!("`{text}` is not a pattern: {message}"),
        span: span.map(|span| visible(text, span.start.offset..span.end.offset)),
    }
}

/// A place that covers at least one character: an empty one gets the next, at the end the last.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() {
        return span;
    }
    let after = |at: usize| text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
    if span.start < text.len() {
        return span.start..after(span.start);
    }
    let last = text.char_indices().next_back().map_or(0, |(at, _)| at);
    last..after(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mistakes_point_into_the_pattern() {
        let error = Pattern::new(r"^FND(\d{6}$").unwrap_err();
        assert_eq!(error.to_string(), r"`^FND(\d{6}$` is not a pattern: unclosed group");
        assert_eq!(error.span, Some(4..5));
        assert_eq!(Pattern::new(r"a\pX").unwrap_err().span, Some(1..4));
        assert!(Pattern::new(r"\w{1000}{1000}").unwrap_err().message.contains("more than"));
    }

    proptest! {
        #[test]
        fn spans_lie_on_characters(text in r"[a(\[{*\\?<>|)pé,]{1,8}") {
            if let Err(PatternError { span: Some(span), .. }) = Pattern::new(&text) {
                prop_assert!(text.get(span.clone()).is_some_and(|part| !part.is_empty()), "{span:?}");
            }
        }
    }

    #[test]
    fn patterns_search_unless_anchored() {
        assert!(Pattern::new("b+").unwrap().is_match("abbc"));
        assert!(!Pattern::new("^b+$").unwrap().is_match("abbc"));
        assert!(Pattern::new(r"^\w+$").unwrap().is_match("Größe"));
    }
}
