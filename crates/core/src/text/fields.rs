//! Fields of a text, told at a glance: from the 16 bytes at their start.

use std::ops::Range;

use memchr::memchr;

use super::fixed::{Fixed, Told};
use super::memo::Key;
use super::texts::{INLINE, Parts, SharedText, Texts, View};
use super::word::{self, Number, WORD};
use super::{Case, Clean};

/// What the fields of a text look like, as far as a glance goes.
#[derive(Debug, Clone, Default)]
pub struct FieldSyntax {
    quote: Option<u8>,
    escape: bool,
    nulls: Lengths,
}

impl FieldSyntax {
    /// Fields that begin with `quote` end with it, and neither it nor, with `escape`, other bytes
    /// within need be content; a field without quotes that is one of `nulls` is null.
    #[must_use]
    pub fn new<'a>(
        quote: Option<u8>,
        escape: bool,
        nulls: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        Self { quote, escape, nulls: Lengths::of(nulls.into_iter().map(<[u8]>::len)) }
    }
}

/// A set of lengths; those from 63 on are one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lengths(u64);

impl Lengths {
    fn of(lengths: impl Iterator<Item = usize>) -> Self {
        Self(lengths.fold(0, |set, len| set | 1 << len.min(63)))
    }

    #[inline(always)]
    fn have(self, len: usize) -> bool {
        self.0 >> len.min(63) & 1 != 0
    }
}

/// Fields on their way into a column.
pub(super) struct Fields<'a> {
    pub(super) text: &'a SharedText,
    pub(super) syntax: &'a FieldSyntax,
    pub(super) places: &'a [Range<u32>],
    pub(super) clean: &'a Clean,
}

impl Fields<'_> {
    /// Appends what `parse` tells of a field of up to 16 bytes. Answers the first row of which it
    /// tells nothing.
    #[inline(always)]
    pub(super) fn words<T: Copy + Default>(
        self,
        column: &mut Fixed<T>,
        parse: impl Fn(Spot<'_>) -> Option<T>,
    ) -> usize {
        let tokens = self.clean.nulls.iter().map(String::len);
        let nulls = Lengths(self.syntax.nulls.0 | Lengths::of(tokens).0);
        // An empty field is null whether or not it is a null token.
        let empty_is_null = self.clean.default.is_none();
        let padded = self.text.padded();
        column.extend_while(self.places, |place| {
            let (start, len) = (place.start as usize, place.end.wrapping_sub(place.start) as usize);
            if len == 0 && empty_is_null {
                return Some(Told::Null);
            }
            if len > WORD || nulls.have(len) {
                return None;
            }
            parse(Spot { padded, start, len }).map(Told::Value)
        })
    }

    /// Appends texts, trimmed and in the case that is asked for. Answers the first row that takes
    /// more than that.
    #[inline(always)]
    pub(super) fn texts(self, column: &mut Texts) -> usize {
        match (self.clean.trim, self.clean.case) {
            (false, Case::Keep) => self.cleaned::<false>(column, View::keep),
            (false, Case::Upper) => self.cleaned::<false>(column, View::upper),
            (false, Case::Lower) => self.cleaned::<false>(column, View::lower),
            (true, Case::Keep) => self.cleaned::<true>(column, View::keep),
            (true, Case::Upper) => self.cleaned::<true>(column, View::upper),
            (true, Case::Lower) => self.cleaned::<true>(column, View::lower),
        }
    }

    #[inline(always)]
    fn cleaned<const TRIM: bool>(
        self,
        column: &mut Texts,
        ascii: impl Fn(u128, usize) -> Option<View>,
    ) -> usize {
        let tokens = Lengths::of(self.clean.nulls.iter().map(String::len));
        let empty_is_null = self.syntax.nulls.have(0) && self.clean.default.is_none();
        let (text, places) = (self.text, self.places);
        let (bytes, padded) = (text.bytes(), text.padded());
        // Lengths of fields that are content as they stand, if they are without quotes.
        let content = Lengths(!(self.syntax.nulls.0 | tokens.0 | 1));
        column.extend_while(places, |parts, place| {
            let (start, end) = (place.start as usize, place.end as usize);
            if start == end {
                return empty_is_null.then_some(Told::Null);
            }
            // The usual field is short, of ASCII and without quotes, with a blank or none around.
            let field = bytes.get(start..end)?;
            let (first, last) = (field[0], field[field.len() - 1]);
            let (from, to) = match TRIM {
                true => (start + usize::from(is_space(first)), end - usize::from(is_space(last))),
                false => (start, end),
            };
            let len = to.wrapping_sub(from);
            if len <= INLINE && content.have(len) && content.have(field.len()) {
                let word = u128::from_le_bytes(*padded.get(from..)?.first_chunk()?);
                let more = TRIM && (is_space(word as u8) || is_space(bytes[to - 1]));
                let view = ascii(word, len);
                if view.is_some() && Some(first) != self.syntax.quote && !more {
                    return view.map(Told::Value);
                }
            }
            let key = match parts.memo.pays() {
                true => padded.get(start..).and_then(|padded| Key::new(padded, end - start)),
                false => None,
            };
            if let Some(view) = key.and_then(|key| parts.memo.view(key)) {
                return Some(Told::Value(view));
            }
            let view = self.general(parts, place, tokens)?;
            if let Some(key) = key {
                parts.memo.note(key, view);
            }
            Some(Told::Value(view))
        })
    }

    /// Any field that is not empty.
    fn general(&self, parts: &mut Parts, place: &Range<u32>, tokens: Lengths) -> Option<View> {
        let bytes = self.text.bytes();
        let (mut start, mut end) = (place.start as usize, place.end as usize);
        let field = bytes.get(start..end)?;
        let quote = field[0];
        let mut doubled = false;
        if self.syntax.quote == Some(quote) {
            (start, end) = (start + 1, end - 1);
            let inner = bytes.get(start..end)?;
            doubled = match self.text.word(start) {
                Some(word) if inner.len() <= WORD => word::has(word, inner.len(), quote),
                _ => memchr(quote, inner).is_some(),
            };
            if self.syntax.escape || bytes.get(end) != Some(&quote) {
                return None;
            }
        } else if self.syntax.nulls.have(field.len()) {
            return None;
        }
        if self.clean.trim {
            while start < end && is_space(bytes[start]) {
                start += 1;
            }
            while start < end && is_space(bytes[end - 1]) {
                end -= 1;
            }
            // Other blanks than ASCII's take more than a glance.
            if start < end && !(bytes[start].is_ascii() && bytes[end - 1].is_ascii()) {
                return None;
            }
        }
        if doubled {
            let plain = self.clean.case == Case::Keep && tokens == Lengths::default();
            return if plain { parts.undoubled(start, end, quote) } else { None };
        }
        let len = end - start;
        if tokens.have(len) {
            return None;
        }
        match self.clean.case {
            Case::Keep => parts.part(start, end),
            Case::Upper => View::upper(self.text.word(start)?, len),
            Case::Lower => View::lower(self.text.word(start)?, len),
        }
    }
}

/// A field of up to 16 bytes.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    /// The text, and at least 16 bytes behind it.
    padded: &'a [u8],
    start: usize,
    pub(super) len: usize,
}

impl Spot<'_> {
    /// The 16 bytes from its start on.
    #[inline(always)]
    pub(super) fn head(self) -> Option<u128> {
        Some(u128::from_le_bytes(*self.padded.get(self.start..)?.first_chunk()?))
    }

    /// The 16 bytes up to its end, if the text has as many.
    #[inline(always)]
    pub(super) fn tail(self) -> Option<u128> {
        Some(u128::from_le_bytes(*self.padded.get(..self.start + self.len)?.last_chunk()?))
    }

    /// The number that it is.
    #[inline(always)]
    pub(super) fn number(self) -> Option<Number> {
        word::number(self.tail()?, self.len)
    }
}

/// The blanks of ASCII, as `str::trim` sees them.
#[inline(always)]
fn is_space(byte: u8) -> bool {
    byte <= b' ' && (byte == b' ' || (b'\t'..=b'\r').contains(&byte))
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;

    use super::*;
    use crate::FieldType;
    use crate::text::{ColumnBuilder, ColumnPlan};

    const TYPES: [FieldType; 8] = [
        FieldType::String,
        FieldType::Bool,
        FieldType::Int,
        FieldType::Double,
        FieldType::Decimal { precision: 9, scale: 2 },
        FieldType::Date,
        FieldType::Timestamp,
        FieldType::Binary,
    ];

    /// One field pushed the general way.
    fn push(builder: &mut ColumnBuilder, field: &str, nulls: &[&[u8]]) -> bool {
        let quoted = field.len() >= 2 && field.starts_with('"') && field.ends_with('"');
        let result = if quoted {
            builder.push_str(&field[1..field.len() - 1].replace("\"\"", "\""))
        } else if nulls.contains(&field.as_bytes()) {
            builder.push_null()
        } else {
            builder.push_str(field)
        };
        result.is_ok()
    }

    #[test]
    fn equal_fields_become_equal_views() {
        let fields = ["\"Income, Balanced\"", "\"Global \"\"Alpha\"\" Fund\"", " Euro Bond Fund "];
        let mut text = fields.join(",").repeat(3);
        let ends: Vec<usize> = (0..3)
            .flat_map(|at| {
                let ends = [fields[0].len(), fields[0].len() + 1 + fields[1].len()];
                let all = fields.iter().map(|field| field.len()).sum::<usize>() + 2;
                [(0, ends[0]), (ends[0] + 1, ends[1]), (ends[1] + 1, all)]
                    .map(|(a, b)| (at * all + a, at * all + b))
            })
            .flat_map(|(start, end)| [start, end])
            .collect();
        let places: Vec<_> = ends.chunks(2).map(|at| at[0] as u32..at[1] as u32).collect();
        let len = text.len();
        text.push_str(&"7".repeat(WORD));
        let text = SharedText::new(text.into_bytes().into(), len).unwrap();
        let mut plan = ColumnPlan::new("x", FieldType::String);
        plan.clean.trim = true;
        let mut builder = ColumnBuilder::new(&plan, 0);
        let syntax = FieldSyntax::new(Some(b'"'), false, []);
        builder.extend(&text, &syntax, &places, |_, row| panic!("row {row} is not told"));
        let column = builder.finish();
        let column = column.as_string_view();
        assert_eq!(column.value(4), "Global \"Alpha\" Fund");
        for row in 3..9 {
            assert_eq!(column.views()[row], column.views()[row % 3], "row {row}");
        }
    }

    proptest! {
        #[test]
        fn a_glance_gives_what_a_look_gives(
            fields in prop::collection::vec(prop_oneof![
                "", " ?[a-zA-Zé]{0,14} ?", "-?[0-9]{1,9}(\\.[0-9]{1,5})?", "2024-0[1-9]-[0-3][0-9]",
                "\"([a-z ,]|\"\"){0,20}\"", "true|false|n/a|-", "\\PC{0,30}", "[\u{85}\u{a0}a\t]{0,5}",
            ], 0..40),
            kind in 0..TYPES.len(),
            (trim, case, default) in (any::<bool>(), 0..3usize, prop::option::of("[0-9a]{1,3}")),
            tokens in prop::collection::vec("(|n/a|-)", 0..2),
            nulls in prop::sample::select(vec![vec![], vec![&b""[..]], vec![b"n/a"]]),
            times in prop_oneof![Just(1), 2..40usize],
        ) {
            // A lone quote is not a field.
            let fields: Vec<_> = fields.into_iter().filter(|field| {
                !field.starts_with('"') || field.len() >= 2 && field.ends_with('"')
                    && field[1..field.len() - 1].replace("\"\"", "").find('"').is_none()
            }).collect();
            // Values come again, so that what is remembered of them is used.
            let fields = vec![fields; times].concat();
            let mut plan = ColumnPlan::new("x", TYPES[kind]);
            let case = [Case::Keep, Case::Upper, Case::Lower][case];
            plan.clean = Clean { trim, case, nulls: tokens, default };
            let mut text = String::from(",");
            let mut places = Vec::new();
            for field in &fields {
                places.push(text.len() as u32..(text.len() + field.len()) as u32);
                text.push_str(field);
                text.push(',');
            }
            let len = text.len();
            let mut padded = text.into_bytes();
            padded.extend([b'7'; WORD]);
            let text = SharedText::new(padded.into(), len).unwrap();

            let mut slow = ColumnBuilder::new(&plan, 0);
            let slow_results: Vec<bool> = fields.iter().map(|f| push(&mut slow, f, &nulls)).collect();
            let mut fast = ColumnBuilder::new(&plan, 0);
            let mut fast_results = vec![true; fields.len()];
            let syntax = FieldSyntax::new(Some(b'"'), false, nulls.iter().copied());
            fast.extend(&text, &syntax, &places, |builder, row| {
                fast_results[row] = push(builder, &fields[row], &nulls);
            });
            prop_assert_eq!(fast_results, slow_results);
            let (fast, slow) = (fast.finish(), slow.finish());
            fast.to_data().validate_full().unwrap();
            prop_assert_eq!(&fast, &slow);
        }
    }
}
