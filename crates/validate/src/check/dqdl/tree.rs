//! DQDL as a tree.

use std::ops::Range;

use crate::check::expect::Function;
use crate::check::metric::Op;

/// A document.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) rules: Vec<Node>,
    pub(super) analyzers: Vec<Call>,
    /// Labels of all rules that do not say otherwise.
    pub(super) labels: Vec<(String, String)>,
}

/// A rule, or several joined.
#[derive(Debug)]
pub(super) enum Node {
    All(Vec<Node>, Range<usize>),
    Any(Vec<Node>, Range<usize>),
    Call(Box<Call>),
}

/// One rule as it is written.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) parameters: Vec<(String, Range<usize>)>,
    pub(super) condition: Option<Condition>,
    pub(super) filter: Option<String>,
    pub(super) threshold: Option<Condition>,
    /// `with name = value`.
    pub(super) tags: Vec<Tag>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) span: Range<usize>,
}

/// `with name = value`.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) value: Operand,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) kind: ConditionKind,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum ConditionKind {
    Compare(Op, Operand),
    Between { low: Operand, high: Operand, not: bool },
    In(Vec<Operand>, bool),
    Matches(String, bool),
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Number(String),
    Text(String),
    /// `NULL`, `EMPTY`, `WHITESPACES_ONLY`.
    Keyword(&'static str),
    Now,
    /// `3 days`: seconds.
    Duration(f64),
    /// `2 MB`: bytes.
    Size(f64),
    Last(Function, usize),
    Calculate(Box<Operand>, char, Box<Operand>),
}

pub(super) const KEYWORDS: [&str; 3] = ["NULL", "EMPTY", "WHITESPACES_ONLY"];

impl Node {
    /// The labels of its rules.
    pub(super) fn labels(&self) -> Vec<&(String, String)> {
        match self {
            Node::All(nodes, _) | Node::Any(nodes, _) => {
                nodes.iter().flat_map(Node::labels).collect()
            }
            Node::Call(call) => call.labels.iter().collect(),
        }
    }

    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Node::All(_, span) | Node::Any(_, span) => span.clone(),
            Node::Call(call) => call.span.clone(),
        }
    }
}
