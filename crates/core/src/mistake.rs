//! Mistakes in a definition, each with the place in the pipeline file it is about.

use std::fmt;
use std::ops::Range;

/// One step of a [`Pointer`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// The value under a key of a mapping.
    Key(String),
    /// An element of a sequence, from 0.
    Index(usize),
}

/// The path from a definition's root to one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(pub Vec<Segment>);

impl Pointer {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// This path, one key deeper.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.into()));
        path
    }

    /// This path, one element deeper.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }

    /// `inner`, seen from where this path starts.
    #[must_use]
    pub fn join(&self, inner: &Pointer) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if i == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Something wrong with a definition. A check gathers all of them before it gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The value it is about, from the root of the options it was found in.
    pub at: Pointer,
    /// Whether it is about the key that leads to the value rather than the value.
    pub on_key: bool,
    /// The part of the scalar value it is about, in bytes; the whole value when `None`.
    pub span: Option<Range<usize>>,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake in the value at `at`.
    pub fn new(at: Pointer, message: impl Into<String>) -> Self {
        Self { at, on_key: false, span: None, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Narrows it to a byte range of the scalar.
    #[must_use]
    pub fn span(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Says that the key is wrong, not the value.
    #[must_use]
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }

    /// The same mistake, seen from further out.
    #[must_use]
    pub fn under(mut self, outer: &Pointer) -> Self {
        self.at = outer.join(&self.at);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.0.is_empty() {
            write!(f, "{}", self.message)
        } else {
            write!(f, "{}: {}", self.at, self.message)
        }
    }
}

impl std::error::Error for Mistake {}
