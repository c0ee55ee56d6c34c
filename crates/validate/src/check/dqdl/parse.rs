//! Reads DQDL into a tree.

use std::ops::Range;

use super::compile::TYPES;
use super::lex::{Spanned, Token, words};
use super::tree::{Call, Condition, ConditionKind, Document, KEYWORDS, Node, Operand, Tag};
use super::{DqdlError, UNITS, unit};
use crate::check::expect::Function;
use crate::check::metric::Op;
use crate::suggest::nearest;

/// Reads a document.
pub(super) fn document(text: &str) -> Result<Document, DqdlError> {
    let words = words(text)?;
    let mut reader = Reader { words, at: 0, end: text.len(), constants: Vec::new(), open: 0 };
    let mut document = Document::default();
    let mut sections = 0;
    while let Some((token, span)) = reader.peek() {
        let Token::Word(name) = token.clone() else {
            return Err(
                DqdlError::new("a section was expected", span).hint("a ruleset is `Rules = [ … ]`")
            );
        };
        reader.at += 1;
        if !reader.skip("=") {
            let error = reader.expected("`=`");
            return Err(match TYPES.contains(&name.as_str()) {
                true => {
                    DqdlError::new(format!("the rule `{name}` stands outside of a ruleset"), span)
                        .hint("write `Rules = [ … ]` around the rules")
                }
                false => error.hint("a ruleset is `Rules = [ … ]`"),
            });
        }
        match name.as_str() {
            "Rules" => {
                sections += 1;
                document.rules = reader.list(Reader::node)?;
                if document.rules.is_empty() {
                    return Err(DqdlError::new("there is no rule", span));
                }
            }
            "Analyzers" => {
                sections += 1;
                document.analyzers = reader.list(Reader::call)?;
            }
            "DefaultLabels" => document.labels = reader.labels()?,
            _ => {
                let near = nearest(&name, ["Rules", "Analyzers", "DefaultLabels"]);
                match (reader.next(), near) {
                    (Some((Token::Text(value), _)), _) => reader.constants.push((name, value)),
                    (_, Some(near)) => {
                        return Err(DqdlError::new(format!("unknown section `{name}`"), span)
                            .hint(format!("did you mean `{near}`?")));
                    }
                    (_, None) => {
                        return Err(DqdlError::new(format!("unknown section `{name}`"), span)
                            .hint("the sections are `Rules` and `Analyzers`"));
                    }
                }
            }
        }
        reader.skip(",");
    }
    if sections == 0 {
        return Err(DqdlError::new("there is no ruleset", 0..text.len())
            .hint("write Rules = [ IsComplete \"id\" ]"));
    }
    Ok(document)
}

/// Brackets in brackets.
const DEEPEST: usize = 64;

struct Reader {
    words: Vec<Spanned>,
    at: usize,
    end: usize,
    constants: Vec<(String, String)>,
    /// Brackets that are open.
    open: usize,
}

impl Reader {
    fn peek(&self) -> Option<(&Token, Range<usize>)> {
        self.words.get(self.at).map(|(token, span)| (token, span.clone()))
    }

    fn next(&mut self) -> Option<Spanned> {
        let next = self.words.get(self.at).cloned();
        self.at += 1;
        next
    }

    /// What comes next, or the end.
    fn here(&self) -> Range<usize> {
        self.peek().map_or(self.end.saturating_sub(1)..self.end, |(_, span)| span)
    }

    fn before(&self) -> usize {
        self.words[self.at.min(self.words.len()) - 1].1.end
    }

    fn expected(&self, what: &str) -> DqdlError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some((Token::Text(text), _)) => format!("\"{text}\""),
            Some((Token::Word(word) | Token::Number(word), _)) => format!("`{word}`"),
            Some((Token::Constant(name), _)) => format!("`${name}`"),
            Some((Token::Symbol(symbol), _)) => format!("`{symbol}`"),
        };
        DqdlError::new(format!("{what} was expected, not {found}"), self.here())
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Some((Token::Symbol(found), _)) if *found == symbol)
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: &str) -> Result<(), DqdlError> {
        if self.skip(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// Whether one of these words comes next; upper or lower case.
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some((Token::Word(found), _)) if found.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn text(&mut self) -> Result<Option<(String, Range<usize>)>, DqdlError> {
        match self.peek() {
            Some((Token::Text(text), span)) => {
                let found = (text.clone(), span);
                self.at += 1;
                Ok(Some(found))
            }
            Some((Token::Constant(name), span)) => {
                let known = self.constants.iter().find(|(known, _)| known == name);
                let Some((_, value)) = known else {
                    return Err(DqdlError::new(format!("there is no constant `{name}`"), span)
                        .hint(format!("define it before the rules: {name} = \"…\"")));
                };
                let found = (value.clone(), span);
                self.at += 1;
                Ok(Some(found))
            }
            _ => Ok(None),
        }
    }

    fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, DqdlError>,
    ) -> Result<Vec<T>, DqdlError> {
        if !self.skip("[") {
            let error = self.expected("`[`");
            return Err(if self.is("(") {
                error.hint("lists are in square brackets: `[ … ]`")
            } else {
                error
            });
        }
        let mut items = Vec::new();
        while !self.skip("]") {
            items.push(item(self)?);
            if !self.skip(",") && !self.is("]") {
                let error = self.expected("`,` or `]`");
                return Err(match self.peek() {
                    Some((Token::Word(_), _)) => {
                        error.hint("names of columns and texts are in double quotes")
                    }
                    Some((Token::Number(number), _)) => error.hint(format!(
                        "a condition begins with its comparison: `= {number}`, `>= {number}`"
                    )),
                    None => error.hint("close the list with `]`"),
                    _ => error,
                });
            }
        }
        Ok(items)
    }

    fn labels(&mut self) -> Result<Vec<(String, String)>, DqdlError> {
        self.list(|reader| {
            let (Some((key, _)), ()) = (reader.text()?, reader.symbol("=")?) else {
                return Err(reader.expected("a label in quotes"));
            };
            match reader.text()? {
                Some((value, _)) => Ok((key, value)),
                None => Err(reader.expected("a value in quotes")),
            }
        })
    }

    /// A rule, or rules in brackets joined by `and` or `or`.
    fn node(&mut self) -> Result<Node, DqdlError> {
        if !self.is("(") {
            return self.call().map(|call| Node::Call(Box::new(call)));
        }
        if self.open == DEEPEST {
            return Err(DqdlError::new("brackets are nested too deeply", self.here()));
        }
        self.open += 1;
        let start = self.here().start;
        let first = self.bracketed()?;
        let mut nodes = vec![first];
        let all = self.is_word("and");
        let joint = if all { "and" } else { "or" };
        while self.word(joint) {
            nodes.push(self.bracketed()?);
        }
        if self.is_word("and") || self.is_word("or") {
            return Err(DqdlError::new("`and` and `or` are mixed", self.here())
                .hint("put brackets around those that belong together"));
        }
        self.open -= 1;
        let span = start..self.before();
        Ok(match (nodes.len(), all) {
            (1, _) => nodes.swap_remove(0),
            (_, true) => Node::All(nodes, span),
            (_, false) => Node::Any(nodes, span),
        })
    }

    fn bracketed(&mut self) -> Result<Node, DqdlError> {
        if !self.skip("(") {
            return Err(self.expected("a rule in brackets"));
        }
        let node = self.node()?;
        self.symbol(")")?;
        Ok(node)
    }

    fn call(&mut self) -> Result<Call, DqdlError> {
        let Some((Token::Word(name), name_span)) = self.next() else {
            self.at -= 1;
            return Err(self.expected("a rule"));
        };
        let mut call = Call {
            name,
            span: name_span.clone(),
            name_span,
            parameters: Vec::new(),
            condition: None,
            filter: None,
            threshold: None,
            tags: Vec::new(),
            labels: Vec::new(),
        };
        while let Some(parameter) = self.text()? {
            call.parameters.push(parameter);
        }
        call.condition = self.condition()?;
        loop {
            if self.word("where") {
                match self.text()? {
                    Some((filter, _)) => call.filter = Some(filter),
                    None => return Err(self.expected("a condition in quotes")),
                }
            } else if self.word("with") {
                let Some((Token::Word(name), span)) = self.next() else {
                    self.at -= 1;
                    return Err(self.expected("`threshold`"));
                };
                if name == "threshold" {
                    let condition = self.condition()?;
                    call.threshold = Some(condition.ok_or_else(|| self.expected("a condition"))?);
                } else {
                    self.symbol("=")?;
                    let value = self.atom()?;
                    let span = span.start..self.before();
                    call.tags.push(Tag { name, value, span });
                }
            } else if self.word("labels") {
                self.symbol("=")?;
                call.labels = self.labels()?;
            } else {
                break;
            }
        }
        call.span.end = self.before();
        Ok(call)
    }

    fn condition(&mut self) -> Result<Option<Condition>, DqdlError> {
        const OPS: [Op; 6] =
            [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual];
        let start = self.here().start;
        let found = OPS.into_iter().find(|op| self.is(op.symbol()));
        let kind = if let Some(op) = found {
            self.at += 1;
            ConditionKind::Compare(op, self.operand()?)
        } else {
            let not = self.word("not");
            if self.word("between") {
                let low = self.operand()?;
                if !self.word("and") {
                    return Err(self.expected("`and`"));
                }
                ConditionKind::Between { low, high: self.operand()?, not }
            } else if self.word("in") {
                ConditionKind::In(self.list(Self::operand)?, not)
            } else if self.word("matches") {
                match self.text()? {
                    Some((pattern, _)) => ConditionKind::Matches(pattern, not),
                    None => return Err(self.expected("a pattern in quotes")),
                }
            } else if not {
                return Err(self.expected("`between`, `in` or `matches`"));
            } else {
                return Ok(None);
            }
        };
        Ok(Some(Condition { kind, span: start..self.before() }))
    }

    fn operand(&mut self) -> Result<Operand, DqdlError> {
        let mut left = self.product()?;
        while let Some(op) = ["+", "-"].into_iter().find(|op| self.is(op)) {
            self.at += 1;
            left = Operand::Calculate(Box::new(left), sign(op), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Operand, DqdlError> {
        let mut left = self.atom()?;
        while let Some(op) = ["*", "/"].into_iter().find(|op| self.is(op)) {
            self.at += 1;
            left = Operand::Calculate(Box::new(left), sign(op), Box::new(self.atom()?));
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Operand, DqdlError> {
        if self.is("(") {
            if self.open == DEEPEST {
                return Err(DqdlError::new("brackets are nested too deeply", self.here()));
            }
            self.open += 1;
            self.at += 1;
            let inner = self.operand()?;
            self.open -= 1;
            self.symbol(")")?;
            return Ok(inner);
        }
        if let Some((text, _)) = self.text()? {
            return Ok(Operand::Text(text));
        }
        let negative = self.skip("-");
        match self.peek() {
            Some((Token::Number(number), _)) => {
                let number = if negative { format!("-{number}") } else { number.clone() };
                self.at += 1;
                Ok(self.with_unit(number))
            }
            Some((Token::Word(word), span)) if !negative => {
                let word = word.clone();
                self.at += 1;
                if let Some(keyword) = KEYWORDS.into_iter().find(|known| *known == word) {
                    return Ok(Operand::Keyword(keyword));
                }
                self.function(&word, span)
            }
            _ => Err(self.expected("a value")),
        }
    }

    fn with_unit(&mut self, number: String) -> Operand {
        if let Some((Token::Word(word), _)) = self.peek()
            && let Some((size, is_time)) = unit(word)
        {
            let value = number.parse::<f64>().unwrap_or(f64::NAN) * size;
            self.at += 1;
            return if is_time { Operand::Duration(value) } else { Operand::Size(value) };
        }
        Operand::Number(number)
    }

    fn function(&mut self, word: &str, span: Range<usize>) -> Result<Operand, DqdlError> {
        if word == "now" {
            self.symbol("(")?;
            self.symbol(")")?;
            return Ok(Operand::Now);
        }
        if word == "last" {
            self.at -= 1;
            return Ok(Operand::Last(Function::Latest, self.last()?));
        }
        const FUNCTIONS: [(&str, Function); 7] = [
            ("avg", Function::Average),
            ("min", Function::Minimum),
            ("max", Function::Maximum),
            ("sum", Function::Sum),
            ("median", Function::Median),
            ("std", Function::StandardDeviation),
            ("stddev", Function::StandardDeviation),
        ];
        let known = FUNCTIONS.iter().find(|(name, _)| *name == word);
        let Some((_, function)) = known else {
            let near = nearest(word, KEYWORDS.into_iter().chain(["now", "last", "avg", "median"]));
            let error = DqdlError::new(format!("`{word}` is no value"), span);
            return Err(match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if UNITS.iter().any(|(name, ..)| *name == word) => {
                    error.hint("a unit stands behind its number")
                }
                None => error.hint("texts are in double quotes"),
            });
        };
        self.symbol("(")?;
        let last = self.last()?;
        self.symbol(")")?;
        Ok(Operand::Last(*function, last))
    }

    /// `last(10)`.
    fn last(&mut self) -> Result<usize, DqdlError> {
        if !self.word("last") {
            return Err(self.expected("`last(10)`"));
        }
        self.symbol("(")?;
        let count = match self.peek() {
            Some((Token::Number(number), span)) => match number.parse() {
                Ok(count) if count > 0 => {
                    self.at += 1;
                    count
                }
                _ => return Err(DqdlError::new("it takes a number of runs", span)),
            },
            _ => 1,
        };
        self.symbol(")")?;
        Ok(count)
    }
}

fn sign(symbol: &str) -> char {
    symbol.chars().next().unwrap_or('+')
}
