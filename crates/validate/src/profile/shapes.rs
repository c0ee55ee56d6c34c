//! Texts: which come how often, and their patterns: what kind of character stands where.

use arrow_array::{Array, ArrayRef};
use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::xxh3_64;

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

    /// Texts, each with how often it comes.
    fn of(different: &[(&str, u64)]) -> Self {
        let mut values = Self::values();
        let mut taken = 0;
        if different.len() > values.most {
            values.complete = false;
            taken = without_room(different.iter().map(|(_, count)| *count), values.most);
        }
        for (text, count) in different.iter().filter(|(_, count)| *count > taken) {
            values.add(text, count - taken);
        }
        values
    }

    fn add(&mut self, text: &str, times: u64) {
        let Some(counts) = &mut self.counts else { return };
        *counts.entry_ref(text).or_default() += times;
        self.give_up();
    }

    /// Counts no more of what is not kept when there is too much of it.
    fn give_up(&mut self) {
        if !self.keeps && self.counts.as_ref().is_some_and(|counts| counts.len() > self.most) {
            self.counts = None;
            self.complete = false;
        }
    }

    /// Adds what others have counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.complete &= other.complete;
        match (&mut self.counts, other.counts) {
            (Some(all), Some(counts)) => {
                counts.into_iter().for_each(|(text, count)| *all.entry(text).or_default() += count);
                self.give_up();
            }
            _ => self.counts = None,
        }
        self.shrink();
    }

    /// Takes what the most frequent text that has no room has from all.
    fn shrink(&mut self) {
        let Some(counts) = self.counts.as_mut().filter(|counts| counts.len() > self.most) else {
            return;
        };
        self.complete = false;
        let taken = without_room(counts.values().copied(), self.most);
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

/// The count of the most frequent text that has no room among so many.
fn without_room(counts: impl Iterator<Item = u64>, most: usize) -> u64 {
    let mut all: Vec<u64> = counts.collect();
    let (_, first, _) = all.select_nth_unstable_by(most, |a, b| b.cmp(a));
    *first
}

/// What a batch of texts tells.
pub(super) struct Texts {
    /// Of each different one, a row that has it and how many have.
    pub(super) different: Vec<(u32, u64)>,
    pub(super) values: Tally,
    pub(super) patterns: Tally,
    /// Characters of the shortest and the longest.
    pub(super) lengths: Option<[u64; 2]>,
}

impl Texts {
    /// The texts of a column; nothing of others. What is the same for equal texts is found out once
    /// for all of them.
    pub(super) fn of(array: &ArrayRef) -> Option<Self> {
        with_text!(*array, texts => {
            let (mut different, mut hashes) = (Vec::<(u32, u64)>::new(), Vec::<u64>::new());
            let mut table: HashTable<u32> = HashTable::new();
            for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
                let text = texts.value(row);
                let hash = xxh3_64(text.as_bytes());
                let same = |known: &u32| {
                    hashes[*known as usize] == hash
                        && texts.value(different[*known as usize].0 as usize) == text
                };
                if let Some(known) = table.find(hash, same) {
                    different[*known as usize].1 += 1;
                    continue;
                }
                let number = hashes.len() as u32;
                table.insert_unique(hash, number, |known| hashes[*known as usize]);
                different.push((row as u32, 1));
                hashes.push(hash);
            }
            let by_text = different.iter().map(|(row, count)| (texts.value(*row as usize), *count));
            let by_text: Vec<(&str, u64)> = by_text.collect();
            let lengths = by_text.iter().map(|(text, _)| length(text));
            let lengths = lengths.fold(None, |ends, length| widened(ends, [length, length]));
            let (values, patterns) = (Tally::of(&by_text), patterns(&by_text));
            Some(Self { different, values, patterns, lengths })
        }, _ => None)
    }

    /// Adds those of another batch.
    pub(super) fn merge(&mut self, other: Self) {
        self.values.merge(other.values);
        self.patterns.merge(other.patterns);
        if let Some(lengths) = other.lengths {
            self.lengths = widened(self.lengths, lengths);
        }
    }
}

fn widened(ends: Option<[u64; 2]>, [least, most]: [u64; 2]) -> Option<[u64; 2]> {
    let [low, high] = ends.unwrap_or([least, most]);
    Some([low.min(least), high.max(most)])
}

fn length(text: &str) -> u64 {
    match text.is_ascii() {
        true => text.len() as u64,
        false => text.chars().count() as u64,
    }
}

fn patterns(texts: &[(&str, u64)]) -> Tally {
    let mut patterns = Tally::patterns();
    let (mut pattern, mut last, mut times) = (String::new(), String::new(), 0);
    for (text, count) in texts {
        pattern.clear();
        if length(text) > LONGEST as u64 {
            pattern.push('…');
        } else {
            pattern.extend(text.chars().map(kind));
        }
        // Neighbours are often alike.
        if pattern != last {
            if times > 0 {
                patterns.add(&last, times);
            }
            std::mem::swap(&mut pattern, &mut last);
            times = 0;
        }
        times += count;
    }
    if times > 0 {
        patterns.add(&last, times);
    }
    patterns
}

fn kind(c: char) -> char {
    match c {
        '0'..='9' => '9',
        'A'..='Z' => 'A',
        'a'..='z' => 'a',
        c if c.is_ascii() => c,
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
