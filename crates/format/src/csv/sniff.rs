//! Guesses delimiter and quote from the first part of a text.

use super::exact::{self, Line, Step};
use super::grammar::{CR, Grammar, LF};

/// Bytes that are looked at.
pub(super) const SAMPLE: usize = 64 << 10;

/// Records that are looked at.
const RECORDS: usize = 1000;

/// The line end of a text: CR where the first line end outside of quotes is a CR without LF.
/// `None` when the text ends before that is known, and goes on.
pub(super) fn line_end(text: &[u8], grammar: &Grammar, eof: bool, quotes: bool) -> Option<u8> {
    let quote = grammar.quote.filter(|_| quotes);
    let mut at = 0;
    let mut field_start = true;
    let mut quoted = false;
    while let Some(&byte) = text.get(at) {
        if quoted {
            if grammar.escape == Some(byte) {
                at += 1;
            } else if quote == Some(byte) {
                quoted = false; // a doubled quote opens it again
                field_start = true;
            }
        } else if field_start && quote == Some(byte) {
            quoted = true;
        } else if byte == LF {
            return Some(LF);
        } else if byte == CR {
            return match text.get(at + 1) {
                Some(&LF) => Some(LF),
                Some(_) => Some(CR),
                None if eof => Some(CR),
                None => None,
            };
        } else {
            field_start = byte == grammar.delimiter;
        }
        at += 1;
    }
    match (quoted, eof) {
        (false, true) => Some(LF),
        (true, true) => line_end(text, grammar, eof, false), // never closed: not a quote
        (_, false) => None,
    }
}

/// The delimiter and quote with which the most records have as many fields as the first, weighed
/// by the number of fields. `None` where no delimiter separates anything.
pub(super) fn dialect(sample: &[u8], base: &Grammar) -> Option<(u8, Option<u8>)> {
    let quotes = if has_quotes(sample, b'"') || !has_quotes(sample, b'\'') {
        [base.quote, Some(b'"')]
    } else {
        [Some(b'\''), base.quote]
    };
    let mut best: Option<(usize, u8, Option<u8>)> = None;
    for quote in quotes {
        for delimiter in [b',', b';', b'\t', b'|'] {
            if [quote, base.escape, base.comment].contains(&Some(delimiter)) {
                continue;
            }
            let grammar = Grammar { delimiter, quote, ..*base };
            if let Some(score) = score(sample, &grammar)
                && best.is_none_or(|(least, ..)| score > least)
            {
                best = Some((score, delimiter, quote));
            }
        }
    }
    best.map(|(_, delimiter, quote)| (delimiter, quote))
}

/// Records in a thousand that have as many fields as the first, times that number.
fn score(sample: &[u8], grammar: &Grammar) -> Option<usize> {
    let (mut at, mut records, mut agreeing, mut expected) = (0, 0, 0, 0);
    while at < sample.len() && records < RECORDS {
        let mut fields = 1;
        at = match exact::record(sample, at, true, grammar, SAMPLE, |_| fields += 1) {
            Step::Skip { next } => {
                at = next;
                continue;
            }
            Step::Record { next, .. } => next,
            Step::Malformed(_) | Step::More => {
                fields = 0;
                match exact::line(sample, at, true, grammar, SAMPLE) {
                    Line::Ends { next, .. } => next,
                    Line::Long | Line::More => break,
                }
            }
        };
        if records == 0 {
            expected = fields;
        }
        agreeing += usize::from(fields == expected);
        records += 1;
    }
    (expected > 1).then(|| agreeing * 1000 / records * expected)
}

/// Whether a field starts with `quote` at the start of a line or behind a delimiter, and one ends
/// with it.
fn has_quotes(sample: &[u8], quote: u8) -> bool {
    let edge = |byte: u8| matches!(byte, b',' | b';' | b'\t' | b'|' | CR | LF);
    let opens = sample.first() == Some(&quote)
        || sample.windows(2).any(|pair| edge(pair[0]) && pair[1] == quote);
    let closes = sample.last() == Some(&quote)
        || sample.windows(2).any(|pair| pair[0] == quote && edge(pair[1]));
    opens && closes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::ReadOptions;

    fn base() -> Grammar {
        Grammar::new(&ReadOptions::default()).unwrap()
    }

    #[test]
    fn the_first_line_end_outside_of_quotes_counts() {
        for (text, expected) in [
            ("a,b\n1\r", Some(LF)),
            ("a,b\r\n", Some(LF)),
            ("a,b\r1,2\r", Some(CR)),
            ("\"a\r\"\"b\",c\nd", Some(LF)),
            ("5\" pipe\r1\n", Some(CR)),
            ("\"never closed\rb\rc\r", Some(CR)),
            ("a", Some(LF)),
        ] {
            assert_eq!(line_end(text.as_bytes(), &base(), true, true), expected, "{text:?}");
        }
        assert_eq!(line_end(b"a,b\r", &base(), false, true), None);
    }

    #[test]
    fn the_delimiter_that_agrees_with_itself_wins() {
        for (text, expected) in [
            ("a;b;c\n1,5;2;3\n1,7;2;3\n", Some((b';', Some(b'"')))),
            ("a\tb\n1,2\t3\n", Some((b'\t', Some(b'"')))),
            ("a,b\n'x,y',2\n'z',3\n", Some((b',', Some(b'\'')))),
            ("a,b\n\"it's\",'\n", Some((b',', Some(b'"')))),
            ("a|b|c\nd|e|f\n", Some((b'|', Some(b'"')))),
            ("name\nAda\n", None),
            ("", None),
        ] {
            assert_eq!(dialect(text.as_bytes(), &base()), expected, "{text:?}");
        }
    }
}
