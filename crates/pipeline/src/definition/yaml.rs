//! The text of a pipeline file as a tree: YAML 1.2, and JSON, which is a part of it.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::diagnostic::{Diagnostic, Line};
use super::node::{Entry, Node, Scalar, Value};

/// How deep values may be nested.
const DEPTH: usize = 100;
/// How many values a file may have with its aliases written out.
const VALUES: usize = 100_000;

/// Reads the one document of a file. Mistakes that leave the structure clear (a key given twice)
/// go to `mistakes`.
///
/// # Errors
/// Where the text is not YAML.
pub(crate) fn read(text: &str, mistakes: &mut Vec<Diagnostic>) -> Result<Node, Diagnostic> {
    let prepared = Prepared::new(text);
    let mut builder = Builder {
        text,
        mistakes,
        frames: Vec::new(),
        anchors: HashMap::new(),
        count: 0,
        root: None,
        last: 0,
    };
    let mut parser = Parser::new_from_str(&prepared.text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| {
            let at = prepared.byte(error.marker().index());
            explain(text, error.info(), at, builder.last)
        })?;
        let span = prepared.byte(span.start.index())..prepared.byte(span.end.index());
        if matches!(event, Event::StreamEnd) {
            break;
        }
        builder.event(event, span)?;
    }
    builder.root.ok_or_else(|| {
        Diagnostic::of_file("the pipeline file is empty")
            .hint("`gristmill init DATA` writes a pipeline for a data file")
    })
}

/// Stand in for the braces of a parameter. Characters of private use.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

struct Builder<'a> {
    text: &'a str,
    mistakes: &'a mut Vec<Diagnostic>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    count: usize,
    root: Option<Node>,
    /// Where the last event ended.
    last: usize,
}

struct Frame {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>, Option<(String, Range<usize>)>),
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), Diagnostic> {
        self.last = span.end;
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                let end = (span.start + 3).min(self.text.len());
                return Err(Diagnostic::new(span.start..end, "a second document begins here")
                    .hint("a file holds one pipeline: write the other to a file of its own"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let span = self.trimmed(span);
                let mut text = text.into_owned();
                if !self.text.contains([OPEN, CLOSE]) && text.contains([OPEN, CLOSE]) {
                    text = text.replace(OPEN, "{").replace(CLOSE, "}");
                }
                let scalar = self.scalar(text, style, tag.as_deref(), &span);
                return self.place(Node { value: Value::Scalar(scalar), span }, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &span);
                self.open(span, anchor, Content::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &span);
                self.open(span, anchor, Content::Mapping(Vec::new(), None))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.frames.pop() else { return Ok(()) };
                let value = match frame.content {
                    Content::Sequence(items) => Value::Sequence(items),
                    Content::Mapping(entries, _) => match entries.iter().any(is_merge) {
                        true => Value::Unknown, // reported; its keys are not known
                        false => Value::Mapping(entries),
                    },
                };
                let span = self.trimmed(frame.start..span.end.max(frame.start));
                return self.place(Node { value, span }, frame.anchor);
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Diagnostic::new(span, "an alias stands inside its own value"));
                };
                self.count += node.count();
                return self.place(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        span: Range<usize>,
        anchor: usize,
        content: Content,
    ) -> Result<(), Diagnostic> {
        if let Some(Frame { content: Content::Mapping(_, None), .. }) = self.frames.last() {
            return Err(complex_key(&span));
        }
        if self.frames.len() == DEPTH {
            return Err(Diagnostic::new(span, format!("values nest deeper than {DEPTH} levels")));
        }
        self.frames.push(Frame { start: span.start, anchor, content });
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostic> {
        self.count += 1;
        if self.count > VALUES {
            return Err(Diagnostic::new(node.span, format!("the file has over {VALUES} values"))
                .hint("aliases count with everything they stand for"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping(_, key @ None) => match node.value {
                Value::Scalar(scalar) => *key = Some((scalar.text, node.span)),
                _ => return Err(complex_key(&node.span)),
            },
            Content::Mapping(entries, waiting) => {
                let Some((key, key_span)) = waiting.take() else { return Ok(()) };
                if key == "<<" {
                    self.mistakes.push(
                        Diagnostic::new(key_span.clone(), "merge keys (`<<`) are not supported")
                            .hint("write the keys out; an alias can stand for a whole value"),
                    );
                    entries.push(Entry { key, key_span, value: node });
                } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let line = Line::of(self.text, first.key_span.start).number;
                    self.mistakes.push(
                        Diagnostic::new(key_span, format!("the key `{key}` is given twice"))
                            .label(format!("first given in line {line}")),
                    );
                } else {
                    entries.push(Entry { key, key_span, value: node });
                }
            }
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Range<usize>,
    ) -> Scalar {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
                "str" => Scalar::quoted(text),
                _ => Scalar::plain(text),
            },
            tag => {
                self.refuse_tag(tag, span);
                if style == ScalarStyle::Plain { Scalar::plain(text) } else { Scalar::quoted(text) }
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: &Range<usize>) {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else { return };
        let name = format!("{}{}", tag.handle, tag.suffix);
        self.mistakes.push(
            Diagnostic::new(span.clone(), format!("the tag `{name}` is not supported"))
                .hint("quote a text that begins with `!`"),
        );
    }

    /// A span without the blanks and line ends at its end.
    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let text = self.text.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_end().len()
    }
}

fn is_merge(entry: &Entry) -> bool {
    entry.key == "<<"
}

fn complex_key(span: &Range<usize>) -> Diagnostic {
    let start = span.start..span.start + 1;
    Diagnostic::new(start, "a key is a text, not a list or a mapping")
        .hint("quote a text that begins with `{` or `[`")
}

/// The text as the YAML parser can take it, and the way back to the bytes of the file.
///
/// JSON differs from YAML in two points: tabs may indent it, and a character beyond U+FFFF is
/// escaped as two surrogates. And a parameter, `${NAME}`, may stand in a flow mapping, where YAML
/// allows no braces in a text: they become [`OPEN`] and [`CLOSE`] while YAML looks.
struct Prepared {
    text: String,
    /// For each character, its byte in the file.
    bytes: Vec<usize>,
}

impl Prepared {
    fn new(text: &str) -> Self {
        let json = text.trim_start().starts_with(['{', '[']);
        let mut out = Self { text: String::with_capacity(text.len()), bytes: Vec::new() };
        let (mut quoted, mut escaped) = (false, false);
        let braces = if text.contains([OPEN, CLOSE]) { Vec::new() } else { braces(text) };
        let mut braces = braces.into_iter().peekable();
        let mut rest = text.char_indices();
        while let Some((at, ch)) = rest.next() {
            if let Some((_, stand_in)) = braces.next_if(|(brace, _)| *brace == at) {
                out.push(stand_in, at);
                continue;
            }
            if json
                && escaped
                && ch == 'u'
                && let Some(ch) = surrogates(&text[at + 1..])
            {
                for ch in format!("U{:08X}", u32::from(ch)).chars() {
                    out.push(ch, at);
                }
                rest.nth(9); // XXXX\uXXXX
                escaped = false;
                continue;
            }
            if json && !escaped && ch == '"' {
                quoted = !quoted;
            }
            escaped = quoted && !escaped && ch == '\\';
            out.push(if json && !quoted && ch == '\t' { ' ' } else { ch }, at);
        }
        out.bytes.push(text.len());
        out
    }

    fn push(&mut self, ch: char, at: usize) {
        self.text.push(ch);
        self.bytes.push(at);
    }

    fn byte(&self, index: usize) -> usize {
        self.bytes[index.min(self.bytes.len() - 1)]
    }
}

/// The braces of every `${NAME}` and `${NAME:-default}`, with what stands in for them.
fn braces(text: &str) -> Vec<(usize, char)> {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find("${") {
        let start = from + found + 2;
        from = start;
        let rest = &text[start..];
        let name = rest.find(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_').unwrap_or(0);
        let end = match &rest[name..] {
            after if name > 0 && after.starts_with('}') => Some(name),
            after if name > 0 && after.starts_with(":-") => {
                rest.find(['}', '\n']).filter(|end| rest[*end..].starts_with('}'))
            }
            _ => None,
        };
        if let Some(end) = end {
            out.extend([(start - 1, OPEN), (start + end, CLOSE)]);
            from = start + end;
        }
    }
    out
}

/// The character of `XXXX\uXXXX`, if those are two surrogates.
fn surrogates(text: &str) -> Option<char> {
    let high = u16::from_str_radix(text.get(..4)?, 16).ok()?;
    let low = u16::from_str_radix(text.get(4..)?.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    if !(0xD800..0xDC00).contains(&high) {
        return None;
    }
    char::decode_utf16([high, low]).next()?.ok()
}

/// A syntax error in plain words.
fn explain(text: &str, info: &str, at: usize, last: usize) -> Diagnostic {
    let at = at.min(text.len());
    let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let indent = &line[..line.len() - line.trim_start().len()];
    let here = |message: &str| Diagnostic::new(at..at + 1, message);

    if let Some(tab) = indent.find('\t') {
        let at = line_start + tab;
        return Diagnostic::new(at..at + 1, "a tab indents this line")
            .hint("YAML is indented with spaces");
    }
    if info.contains("tab") {
        return here("a tab stands where YAML wants a space").hint("YAML is indented with spaces");
    }
    if info.contains("trailing content") {
        return here("something follows the closing quote")
            .hint("quote the whole text, with the other kind of quotes around it");
    }
    if info.contains("quoted scalar") && !info.contains("escape") && !info.contains("hexadecimal") {
        let is_quote = text[at..].starts_with(['"', '\'']);
        let from = if is_quote { at } else { last.min(text.len()) };
        let open = text[from..].find(['"', '\'']).map_or(at, |quote| from + quote);
        return Diagnostic::new(open..open + 1, "this quote is not closed");
    }
    if info.contains("unknown escape") || info.contains("hexadecimal") {
        return here("a backslash in double quotes begins an escape, and this is none")
            .hint("write patterns and Windows paths in single quotes, or double the backslash");
    }
    if let Some((mark, span)) = special_start(line, line_start) {
        return Diagnostic::new(span, format!("a text cannot begin with `{mark}`"))
            .hint("quote it");
    }
    if info.contains("mapping values are not allowed") {
        if let Some(line) =
            line_without_colon(text, line_start).filter(|_| !line[..at - line_start].contains(": "))
        {
            return Diagnostic::new(line, "this line has no `:`").hint("write `key: value`");
        }
        return here("a `:` stands where no key can be")
            .hint("quote a text that holds `: `; a new key goes on a line of its own");
    }
    if info.contains("flow mapping")
        || info.contains("flow sequence")
        || info == "misplaced bracket"
    {
        return here("a `,`, `}` or `]` is missing or misplaced").hint(
            "look at the last `{` or `[` before this place; quote texts that hold any of `,[]{}`",
        );
    }
    if info.contains("simple key expect") || info.contains("expected key") || info.contains("':'") {
        let start = line_start + indent.len();
        let hint = match line.trim_start().strip_prefix("- ") {
            Some(_) => "this `- ` stands further left or right than the others of its list",
            None => {
                "write `key: value`, with a space after the `:`, and indent keys of one mapping alike"
            }
        };
        let end = line_start + line.trim_end().len();
        return Diagnostic::new(
            start..end.max(start + 1),
            "this line is neither a key nor part of the line before",
        )
        .hint(hint);
    }
    if info.contains("indentation")
        || info.contains("block collection")
        || info.contains("sequence entries")
    {
        return here("this line is indented in a way that fits nothing above")
            .hint("keys of one mapping, and the `-` of one list, stand in one column");
    }
    here(&format!("this is not YAML: {info}"))
}

/// The line before, where it is one text that could be meant as a key.
fn line_without_colon(text: &str, line_start: usize) -> Option<Range<usize>> {
    let before = text[..line_start].trim_end();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = &before[start..];
    let indent = line.len() - line.trim_start().len();
    let fits =
        !line.contains(':') && !line.trim_start().starts_with(['-', '#']) && !line.is_empty();
    fits.then_some(start + indent..before.len())
}

/// A value in the line that begins with a character which YAML keeps for itself.
fn special_start(line: &str, line_start: usize) -> Option<(char, Range<usize>)> {
    let mut starts = vec![0];
    starts.extend(line.match_indices(": ").map(|(at, _)| at + 2));
    starts.extend(line.match_indices("- ").map(|(at, _)| at + 2));
    starts.extend(line.match_indices([',', '[', '{']).map(|(at, _)| at + 1));
    for start in starts {
        let rest = line[start..].trim_start();
        let at = line.len() - rest.len();
        let first = rest.chars().next()?;
        let closed = rest.trim_end().ends_with([']', '}', ',', '[', '{']) || rest.contains('#');
        if matches!(first, '@' | '`' | '%' | '*' | '&' | '!')
            || (matches!(first, '[' | '{') && !closed)
        {
            let start = line_start + at;
            return Some((first, start..start + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> serde_json::Value {
        let mut mistakes = Vec::new();
        let node = read(text, &mut mistakes).unwrap();
        assert!(mistakes.is_empty(), "{mistakes:?}");
        node.to_json()
    }

    #[test]
    fn json_is_read_as_json_readers_do() {
        for text in [
            "{\n\t\"a\":\t[1, 2.5, true, null],\n\t\"b\": {\"c\": \"x\\ty\\/\"}\n}\n",
            r#"{"emoji": "\ud83d\ude00 \u00e9", "quote": "a\"\\", "n": -1e3}"#,
            "{\"a\":1,\"b\":[]}",
        ] {
            assert_eq!(json(text), serde_json::from_str::<serde_json::Value>(text).unwrap());
        }
    }

    #[test]
    fn anchors_stand_for_values_and_are_bounded() {
        assert_eq!(json("a: &x [1, 2]\nb: *x\n"), serde_json::json!({"a": [1, 2], "b": [1, 2]}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let error = read(&bomb, &mut Vec::new()).unwrap_err();
        assert_eq!(error.message, "the file has over 100000 values");
        assert!(read("a: &x [*x]", &mut Vec::new()).is_err());
    }

    #[test]
    fn spans_are_bytes_of_the_file() {
        let text = "é: [ü, 'x y' ]\r\nz: |\r\n  a\r\n  b\r\nw: q\r\n";
        let node = read(text, &mut Vec::new()).unwrap();
        let items = node.get("é").unwrap().value.items().unwrap();
        assert_eq!(&text[items[0].span.clone()], "ü");
        assert_eq!(&text[items[1].span.clone()], "'x y'");
        assert_eq!(&text[node.get("w").unwrap().value.span.clone()], "q");
        assert_eq!(&text[node.get("w").unwrap().key_span.clone()], "w");
    }

    #[test]
    fn deep_nesting_is_refused_not_suffered() {
        assert!(read(&"[".repeat(5_000), &mut Vec::new()).is_err());
        assert!(read(&"- ".repeat(5_000), &mut Vec::new()).is_err());
    }
}
