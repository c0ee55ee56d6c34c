//! Mistakes with their place in the pipeline file, and how they are shown: the line, a caret under
//! the part that is wrong, and what to do.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use serde_json::json;
use unicode_width::UnicodeWidthChar;

use crate::params::Secrets;

/// One mistake in a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, without a full stop.
    pub message: String,
    /// The part of the file it is about, in bytes; the file as a whole when `None`.
    pub span: Option<Range<usize>>,
    /// What stands beside the caret, for example a suggestion.
    pub label: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake in this part of the file.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), label: None, hint: None }
    }

    /// A mistake in no single part of the file.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, label: None, hint: None }
    }

    /// Adds what stands beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Puts a suggestion beside the caret, if there is one.
    #[must_use]
    pub fn suggest(self, suggestion: Option<&str>) -> Self {
        match suggestion {
            Some(name) => self.label(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Every mistake found in a pipeline file, in the order of the file.
///
/// `Display` shows them without colour; secrets are blotted out.
#[derive(Clone)]
pub struct Diagnostics {
    path: String,
    text: Arc<str>,
    secrets: Secrets,
    items: Vec<Diagnostic>,
}

/// How wide a source line may be before only the part around the mistake is shown.
const WINDOW: usize = 100;

impl Diagnostics {
    pub(crate) fn new(
        path: String,
        text: Arc<str>,
        secrets: Secrets,
        mut items: Vec<Diagnostic>,
    ) -> Self {
        items.sort_by_key(|item| item.span.as_ref().map_or(usize::MAX, |span| span.start));
        items.dedup();
        Self { path, text, secrets, items }
    }

    /// One mistake in a file as a whole.
    pub(crate) fn of_file(path: &std::path::Path, text: &str, message: String) -> Self {
        let path = path.display().to_string();
        Self::new(path, text.into(), Secrets::default(), vec![Diagnostic::of_file(message)])
    }

    /// The mistakes.
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Line and column of a mistake, both from 1; columns count characters.
    pub fn position(&self, item: &Diagnostic) -> Option<(usize, usize)> {
        let line = Line::of(&self.text, item.span.as_ref()?.start);
        Some((line.number, line.column))
    }

    /// The mistakes for programs: `message`, `line`, `column`, `label`, `hint`.
    pub fn to_json(&self) -> serde_json::Value {
        let clean = |text: &Option<String>| text.as_ref().map(|text| self.secrets.redact(text));
        let items = self.items.iter().map(|item| {
            let (line, column) = self.position(item).unzip();
            json!({
                "message": self.secrets.redact(&item.message),
                "line": line,
                "column": column,
                "label": clean(&item.label),
                "hint": clean(&item.hint),
            })
        });
        json!({"path": self.path, "mistakes": items.collect::<Vec<_>>()})
    }

    /// The mistakes for people.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint(colour);
        let mut out = String::new();
        for item in &self.items {
            self.render_one(&mut out, item, paint);
            out.push('\n');
        }
        if self.items.len() > 1 {
            let count = self.items.len();
            let _ = writeln!(out, "{}: {count} mistakes in `{}`", paint.red("error"), self.path);
        }
        out.truncate(out.trim_end().len());
        out
    }

    fn render_one(&self, out: &mut String, item: &Diagnostic, paint: Paint) {
        let message = self.secrets.redact(&item.message);
        let _ = writeln!(out, "{}: {}", paint.red("error"), paint.bold(&message));
        let mut margin = 2;
        if let Some(span) = &item.span {
            let line = Line::of(&self.text, span.start);
            let digits = line.number.to_string();
            margin = digits.len() + 2;
            let arrow = format!("{}-->", " ".repeat(margin - 1));
            let at = format!("{}:{}:{}", self.path, line.number, line.column);
            let _ = writeln!(out, "{} {at}", paint.blue(&arrow));
            let bar = paint.blue(&format!("{}|", " ".repeat(margin)));
            let shown = self.show(&line, span);
            let label = item.label.as_ref().map(|label| format!(" {}", self.secrets.redact(label)));
            let mark = format!("{}{}", "^".repeat(shown.width), label.unwrap_or_default());
            let _ = writeln!(out, "{bar}");
            let number = paint.blue(&format!(" {digits} |"));
            let _ = writeln!(out, "{number} {}", shown.text.trim_end());
            let _ = writeln!(out, "{bar} {}{}", " ".repeat(shown.before), paint.red(&mark));
        } else {
            let _ = writeln!(out, " {} {}", paint.blue("-->"), self.path);
            if let Some(label) = &item.label {
                self.render_hint(out, margin, label, paint);
            }
        }
        if let Some(hint) = &item.hint {
            self.render_hint(out, margin, hint, paint);
        }
    }

    fn render_hint(&self, out: &mut String, margin: usize, hint: &str, paint: Paint) {
        let hint = self.secrets.redact(hint);
        let indent = format!("\n{}", " ".repeat(margin + 8));
        let hint = hint.trim_end().replace('\n', &indent);
        let _ = writeln!(out, "{}{} hint: {hint}", " ".repeat(margin), paint.blue("="));
    }

    /// The line as a terminal shows it, with the caret's place in it.
    fn show(&self, line: &Line<'_>, span: &Range<usize>) -> Shown {
        let from = span.start - line.start;
        let to = (span.end - line.start).min(line.text.len()).max(from);
        let hidden = self.secrets.ranges(line.text);
        let mut cells: Vec<(usize, String, usize)> = Vec::new(); // byte, text, width
        let mut hidden = hidden.into_iter().peekable();
        for (at, ch) in line.text.char_indices() {
            while hidden.next_if(|range| range.end <= at).is_some() {}
            if let Some(range) = hidden.peek()
                && range.contains(&at)
            {
                if range.start == at {
                    cells.push((at, "***".to_owned(), 3));
                }
                continue;
            }
            let (text, width) = match ch {
                '\t' => ("    ".to_owned(), 4),
                ch => match ch.width() {
                    Some(width) => (ch.to_string(), width),
                    None => (char::REPLACEMENT_CHARACTER.to_string(), 1),
                },
            };
            cells.push((at, text, width));
        }
        let mut before: usize = cells.iter().filter(|cell| cell.0 < from).map(|cell| cell.2).sum();
        let marked = cells.iter().filter(|cell| (from..to).contains(&cell.0));
        let mut width = marked.map(|cell| cell.2).sum::<usize>().max(1);
        let total: usize = cells.iter().map(|cell| cell.2).sum();
        if total <= WINDOW {
            return Shown { text: cells.into_iter().map(|cell| cell.1).collect(), before, width };
        }
        width = width.min(WINDOW / 2);
        let first = before.saturating_sub(WINDOW / 3);
        let (mut text, mut column, mut cut) = (String::new(), 0, 0);
        for (_, cell, cell_width) in &cells {
            if column < first {
                cut = column + cell_width;
            } else if column - first < WINDOW {
                text.push_str(cell);
            }
            column += cell_width;
        }
        before -= cut;
        if cut > 0 {
            text.insert(0, '…');
            before += 1;
        }
        if total - first > WINDOW {
            text.push('…');
        }
        Shown { text, before, width }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f) // the text may hold secrets
    }
}

impl std::error::Error for Diagnostics {}

struct Shown {
    text: String,
    before: usize,
    width: usize,
}

/// A line of the file: its number and the column of a place in it, from 1.
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) column: usize,
    start: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn of(text: &'a str, at: usize) -> Self {
        let at = text.floor_char_boundary(at.min(text.len()));
        let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        Self {
            number: text[..start].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            start,
            text: text[start..end].trim_end_matches('\r'),
        }
    }
}

#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn blue(self, text: &str) -> String {
        self.wrap("1;34", text)
    }

    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
}

/// The candidate that a misspelt word most likely means.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' ', '.'], "_");
    let wanted = plain(word);
    let allowed = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names for a message: `a`, `b` or `c`.
pub(crate) fn name_list<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, start)) => format!("{} {last} {end}", start.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, span: Range<usize>) -> String {
        let item = Diagnostic::new(span, "wrong").label("here");
        Diagnostics::new("p.yaml".into(), text.into(), Secrets::of_text(text), vec![item])
            .to_string()
    }

    #[test]
    fn carets_stand_under_wide_characters_and_tabs() {
        insta::assert_snapshot!(render("a: 1\n日本\tkey: x\n", 12..15), @r"
        error: wrong
          --> p.yaml:2:4
           |
         2 | 日本    key: x
           |         ^^^ here
        ");
    }

    #[test]
    fn long_lines_are_windowed_and_passwords_blotted_out() {
        let text = format!("x: {}WRONG{}", "a".repeat(200), "b".repeat(200));
        let shown = render(&text, 203..208);
        let lines: Vec<_> = shown.lines().collect();
        let caret = lines[4].chars().position(|ch| ch == '^').unwrap();
        let under: String = lines[3].chars().skip(caret).take(5).collect();
        assert_eq!(under, "WRONG");
        assert!(lines[3].chars().count() < 112);

        let text = "database: postgres://me:hunter2@host/db mode: x";
        insta::assert_snapshot!(render(text, 40..44), @r"
        error: wrong
          --> p.yaml:1:41
           |
         1 | database: postgres://me:***@host/db mode: x
           |                                     ^^^^ here
        ");
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let keys = ["columns", "format", "file"];
        assert_eq!(closest("colums", keys), Some("columns"));
        assert_eq!(closest("Format", keys), Some("format"));
        assert_eq!(closest("delimiter", keys), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}
