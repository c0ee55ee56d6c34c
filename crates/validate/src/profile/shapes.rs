//! Patterns of texts: what kind of character stands where.

use std::collections::HashMap;

use arrow_array::ArrayRef;

use super::Counted;
use crate::arrays::with_text;

/// Texts that are counted one by one before it is given up.
const MOST_VALUES: usize = 10_000;
/// Patterns that are counted before it is given up.
const MOST_PATTERNS: usize = 1_000;
/// Longer texts have no pattern.
const LONGEST: usize = 60;

/// Counts of texts, while there are not too many different ones. That there are does not depend on
/// the order in which they come.
///
/// Of values of which there are too many, those are kept that come often, after Misra and Gries: each that is
/// more than one of [`Tally::rare`] texts is among them, in whatever order they come. Their counts are
/// too low then.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    counts: Option<HashMap<String, u64>>,
    most: usize,
    /// Whether frequent texts are kept when there are too many.
    keeps: bool,
    /// Whether counts are exact and these are all.
    complete: bool,
}

impl Tally {
    pub(super) fn values() -> Self {
        Self { counts: Some(HashMap::new()), most: MOST_VALUES, keeps: true, complete: true }
    }

    pub(super) fn patterns() -> Self {
        let counts = Some(HashMap::new());
        Self { counts, most: MOST_PATTERNS, keeps: false, complete: true }
    }

    fn add(&mut self, text: &str, times: u64) {
        let Some(counts) = &mut self.counts else { return };
        match counts.get_mut(text) {
            Some(count) => *count += times,
            None => drop(counts.insert(text.to_owned(), times)),
        }
        if counts.len() > self.most && !self.keeps {
            self.counts = None;
            self.complete = false;
        }
    }

    /// Adds what others have counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.complete &= other.complete;
        match other.counts {
            Some(counts) => counts.iter().for_each(|(text, count)| self.add(text, *count)),
            None => self.counts = None,
        }
        self.shrink();
    }

    /// Takes what the most frequent text that has no room has from all.
    fn shrink(&mut self) {
        let Some(counts) = self.counts.as_mut().filter(|counts| counts.len() > self.most) else {
            return;
        };
        self.complete = false;
        let mut all: Vec<u64> = counts.values().copied().collect();
        let (_, first, _) = all.select_nth_unstable_by(self.most, |a, b| b.cmp(a));
        let taken = *first;
        counts.retain(|_, count| {
            *count = count.saturating_sub(taken);
            *count > 0
        });
    }

    /// Whether counts are exact and these are all.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The texts that are kept.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.counts.iter().flat_map(HashMap::keys).map(String::as_str)
    }

    /// A text is kept for certain when it is more than one of so many.
    pub(super) fn rare(&self) -> u64 {
        self.most as u64 + 1
    }

    /// The most frequent, those of one count in the order of their texts; and how many there are.
    pub(super) fn top(&self, n: usize) -> (Vec<Counted>, usize) {
        let Some(counts) = &self.counts else { return (Vec::new(), usize::MAX) };
        let counted =
            |(text, count): (&String, &u64)| Counted { value: text.clone(), count: *count };
        let mut all: Vec<Counted> = counts.iter().map(counted).collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        all.truncate(n);
        (all, counts.len())
    }
}

/// The values and the patterns of a column of texts; nothing of others.
pub(super) fn tally(array: &ArrayRef) -> Option<(Tally, Tally)> {
    let (mut values, mut patterns) = (Tally::values(), Tally::patterns());
    let mut pattern = String::new();
    with_text!(*array, texts => {
        for text in texts.iter().flatten() {
            values.add(text, 1);
            pattern.clear();
            pattern.extend(text.chars().take(LONGEST + 1).map(kind));
            if pattern.chars().count() > LONGEST {
                pattern.truncate(0);
                pattern.push('…');
            }
            patterns.add(&pattern, 1);
        }
        values.shrink();
        Some((values, patterns))
    }, _ => None)
}

fn kind(c: char) -> char {
    match c {
        '0'..='9' => '9',
        c if c.is_uppercase() => 'A',
        c if c.is_alphabetic() => 'a',
        c => c,
    }
}

/// A regular expression for texts of a pattern of ASCII characters; none for others.
pub(super) fn regex_of(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let mut times = 1;
        while chars.next_if_eq(&c).is_some() {
            times += 1;
        }
        match c {
            '9' => out.push_str("[0-9]"),
            'A' => out.push_str("[A-Z]"),
            'a' => out.push_str("[a-z]"),
            c if c.is_ascii_graphic() || c == ' ' => out.push_str(&regex::escape(&c.to_string())),
            _ => return None,
        }
        if times > 1 {
            out.push_str(&format!("{{{times}}}"));
        }
    }
    (!out.is_empty()).then_some(out)
}
