//! Sort keys: a column, a direction, and where nulls go.

use gristmill_core::{Mistake, Pointer};

use crate::options;
use crate::relational::quoted;

/// A sort key as SQL writes it, from `column`, `column desc` or `column desc nulls first`. Nulls come
/// last unless it is said otherwise.
///
/// # Errors
/// When there is no such column.
pub(super) fn key(names: &[&str], text: &str, at: Pointer) -> Result<String, Mistake> {
    let (mut rest, mut direction, mut nulls) = (text.trim_end(), "ASC", "LAST");
    if !names.contains(&rest) {
        for (words, place) in [("nulls first", "FIRST"), ("nulls last", "LAST")] {
            if let Some(before) = without(rest, words) {
                (rest, nulls) = (before, place);
            }
        }
        for (word, asked) in [("asc", "ASC"), ("desc", "DESC")] {
            if let Some(before) = without(rest, word) {
                (rest, direction) = (before, asked);
            }
        }
    }
    let place = options::find(names, rest, at)?;
    Ok(format!("{} {direction} NULLS {nulls}", quoted(names[place])))
}

/// The text before these words, if it ends with them.
fn without<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let start = text.len().checked_sub(words.len())?;
    let (before, end) = text.split_at_checked(start)?;
    let rest = before.trim_end();
    (end.eq_ignore_ascii_case(words) && rest.len() < before.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_their_end() {
        let names = ["a", "order desc", "b c"];
        let sql = |text| key(&names, text, Pointer::root()).map_err(|mistake| mistake.to_string());
        assert_eq!(sql("a").unwrap(), "\"a\" ASC NULLS LAST");
        assert_eq!(sql("a DESC nulls first").unwrap(), "\"a\" DESC NULLS FIRST");
        assert_eq!(sql("b c  asc").unwrap(), "\"b c\" ASC NULLS LAST");
        assert_eq!(sql("order desc").unwrap(), "\"order desc\" ASC NULLS LAST");
        assert_eq!(sql("order desc desc").unwrap(), "\"order desc\" DESC NULLS LAST");
        assert_eq!(sql("desc").unwrap_err(), "no column `desc`");
        assert_eq!(sql("adesc").unwrap_err(), "no column `adesc`");
    }
}
