//! Patterns of a fixed shape: so many characters, each from a set, and nothing around them.
//!
//! A shape judges ASCII text only. The pattern itself is the judge of any other text, so that
//! classes like `\d`, which have members beyond ASCII, keep their meaning.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The longest shape.
const LONGEST: usize = 64;
/// Texts up to this length are held by their views.
const INLINE: usize = 12;
const LOW: u128 = u128::MAX / 0xFF;
const HIGH: u128 = LOW * 0x80;

/// What each byte of a text may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// By byte, the ASCII characters allowed: bit `n` for character `n`.
    sets: Vec<u128>,
    /// For a short shape of ranges, the least and the greatest characters.
    ranges: Option<(u128, u128)>,
}

impl Shape {
    /// The shape of a pattern, if it has one.
    pub(crate) fn of(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::parse(pattern).ok()?;
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let [first, parts @ .., last] = parts.as_slice() else { return None };
        let ends = [first.kind(), last.kind()];
        if ends != [&HirKind::Look(Look::Start), &HirKind::Look(Look::End)] {
            return None;
        }
        let mut sets = Vec::new();
        parts.iter().try_for_each(|part| add(&mut sets, part))?;
        let ranges = if sets.len() <= INLINE { ranges(&sets) } else { None };
        Some(Self { sets, ranges })
    }

    /// Whether a text has the shape; `None` where it has other characters than ASCII's that might
    /// make it match.
    pub(crate) fn fits(&self, text: &str) -> Option<bool> {
        let bytes = text.as_bytes();
        if bytes.len() != self.sets.len() {
            return if bytes.is_ascii() { Some(false) } else { None };
        }
        for (&byte, set) in bytes.iter().zip(&self.sets) {
            if byte >= 0x80 {
                return None;
            }
            if set >> byte & 1 == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    /// As [`Self::fits`], of a text as an Arrow view; `None` also where a view does not tell.
    #[inline]
    pub(crate) fn fits_view(&self, view: u128) -> Option<bool> {
        let (low, high) = self.ranges?;
        let len = view as u32 as usize;
        let word = view >> 32;
        if len > INLINE || word & HIGH != 0 {
            return None;
        }
        let fits = ((word | HIGH) - low) & ((high | HIGH) - word) & HIGH == HIGH;
        Some(len == self.sets.len() && fits)
    }
}

/// Adds the sets that one part of a pattern stands for.
fn add(sets: &mut Vec<u128>, part: &Hir) -> Option<()> {
    match part.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) if literal.0.is_ascii() => {
            sets.extend(literal.0.iter().map(|&byte| 1u128 << byte));
        }
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.iter().filter(|range| range.start() < '\u{80}');
            sets.push(ranges.fold(0, |set, range| {
                set | bits(range.start() as u8, (range.end() as u32).min(0x7F) as u8)
            }));
        }
        HirKind::Class(Class::Bytes(class)) => {
            let ranges = class.iter().filter(|range| range.start() < 0x80);
            sets.push(
                ranges.fold(0, |set, range| set | bits(range.start(), range.end().min(0x7F))),
            );
        }
        HirKind::Capture(capture) => add(sets, &capture.sub)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| add(sets, part))?,
        HirKind::Repetition(repetition) if repetition.max == Some(repetition.min) => {
            for _ in 0..repetition.min {
                add(sets, &repetition.sub)?;
            }
        }
        _ => return None,
    }
    (sets.len() <= LONGEST).then_some(())
}

/// The characters from `start` to `end`.
fn bits(start: u8, end: u8) -> u128 {
    u128::MAX >> (127 - (end - start)) << start
}

/// The least and the greatest character of each byte, if those between are allowed, too. Behind
/// the last, zero.
fn ranges(sets: &[u128]) -> Option<(u128, u128)> {
    let (mut low, mut high) = (0, 0);
    for (at, set) in sets.iter().enumerate() {
        if *set == 0 {
            return None;
        }
        let (start, end) = (set.trailing_zeros(), 127 - set.leading_zeros());
        if *set != bits(start as u8, end as u8) {
            return None;
        }
        low |= u128::from(start) << (8 * at);
        high |= u128::from(end) << (8 * at);
    }
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    const PATTERNS: [&str; 12] = [
        "^FND[0-9]{6}$",
        r"^FND\d{6}$",
        "^[A-Z]{3}$",
        "^[A-Za-z_]{2}[^a]$",
        r"^(ab){2}\.$",
        "(?i)^ab1$",
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}$",
        "^$",
        r"\Aé\z",
        r"^\S{2}$",
        "^[é-ü]{2}$",
        "^.{3}$",
    ];

    #[test]
    fn patterns_of_any_length_have_no_shape() {
        for pattern in
            ["FND[0-9]{6}", "^a+$", "^a?b$", "^a|b$", "(?m)^a$", "^a", "^[a-z]{65}$", "^é$"]
        {
            assert_eq!(Shape::of(pattern), None, "{pattern}");
        }
        let shape = Shape::of("^FND[0-9]{6}$").unwrap();
        assert!(shape.ranges.is_some());
        assert_eq!(shape.fits("FND123456"), Some(true));
        assert_eq!(shape.fits("FND12345٣"), None);
    }

    proptest! {
        #[test]
        fn shapes_agree_with_their_patterns(
            pattern in 0..PATTERNS.len(),
            text in prop_oneof!["FND[0-9]{5,7}", "[A-Za-z_é]{0,4}", "(ab){1,3}\\.?", "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}",
                "\\PC{0,12}", "[\\x00-\\x7f]{0,3}", "FND[0-9]{4}[0-9٣]{1,2}"],
        ) {
            let regex = Regex::new(PATTERNS[pattern]).unwrap();
            let Some(shape) = Shape::of(PATTERNS[pattern]) else { return Ok(()) };
            let expected = regex.is_match(&text);
            prop_assert!(shape.fits(&text).is_none_or(|fits| fits == expected));
            if text.is_ascii() {
                prop_assert_eq!(shape.fits(&text), Some(expected));
            }
            if text.len() <= INLINE {
                let mut view = [0; 16];
                view[0] = text.len() as u8;
                view[4..4 + text.len()].copy_from_slice(text.as_bytes());
                let fits = shape.fits_view(u128::from_le_bytes(view));
                prop_assert!(fits.is_none_or(|fits| fits == expected));
            }
        }
    }
}
