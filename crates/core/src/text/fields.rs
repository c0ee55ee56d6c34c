//! Fields of a text, told at a glance: from the 16 bytes at their start.

use std::ops::Range;

use memchr::memchr;

use super::fixed::Fixed;
use super::texts::{INLINE, SharedText, Texts};
use super::word::{self, WORD};
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
    /// Appends what `parse` tells from a word and a length. Answers the first row it does not tell.
    #[inline(always)]
    pub(super) fn words<T: Copy + Default>(
        self,
        column: &mut Fixed<T>,
        parse: impl Fn(u128, usize) -> Option<T>,
    ) -> usize {
        let tokens = self.clean.nulls.iter().map(String::len);
        let nulls = Lengths(self.syntax.nulls.0 | Lengths::of(tokens).0);
        // An empty field is null whether or not it is a null token.
        let empty_is_null = self.clean.default.is_none();
        for (row, place) in self.places.iter().enumerate() {
            let (start, len) = (place.start as usize, place.end.wrapping_sub(place.start) as usize);
            if len == 0 && empty_is_null {
                column.push_null();
                continue;
            }
            let Some(word) = self.text.word(start).filter(|_| len <= WORD) else { return row };
            if nulls.have(len) {
                return row;
            }
            let Some(value) = parse(word, len) else { return row };
            column.push(value);
        }
        self.places.len()
    }

    /// Appends texts, trimmed and in the case that is asked for. Answers the first row that takes
    /// more than that.
    #[inline(always)]
    pub(super) fn texts(self, column: &mut Texts) -> usize {
        match (self.clean.trim, self.clean.case) {
            (false, Case::Keep) => self.cleaned::<false>(column, |_| None),
            (true, Case::Keep) => self.cleaned::<true>(column, |_| None),
            (false, Case::Upper) => self.cleaned::<false>(column, |word| Some(word::upper(word))),
            (true, Case::Upper) => self.cleaned::<true>(column, |word| Some(word::upper(word))),
            (false, Case::Lower) => self.cleaned::<false>(column, |word| Some(word::lower(word))),
            (true, Case::Lower) => self.cleaned::<true>(column, |word| Some(word::lower(word))),
        }
    }

    #[inline(always)]
    fn cleaned<const TRIM: bool>(
        self,
        column: &mut Texts,
        case: impl Fn(u128) -> Option<u128>,
    ) -> usize {
        let bytes = self.text.bytes();
        let tokens = Lengths::of(self.clean.nulls.iter().map(String::len));
        let empty_is_null = self.syntax.nulls.have(0) && self.clean.default.is_none();
        for (row, place) in self.places.iter().enumerate() {
            let (mut start, mut end) = (place.start as usize, place.end as usize);
            if start == end {
                if !empty_is_null {
                    return row;
                }
                column.push_null();
                continue;
            }
            let Some(field) = bytes.get(start..end) else { return row };
            let quote = field[0];
            let mut doubled = false;
            if self.syntax.quote == Some(quote) {
                (start, end) = (start + 1, end - 1);
                let Some(inner) = bytes.get(start..end) else { return row };
                doubled = match self.text.word(start) {
                    Some(word) if inner.len() <= WORD => word::has(word, inner.len(), quote),
                    _ => memchr(quote, inner).is_some(),
                };
                if self.syntax.escape || bytes.get(end) != Some(&quote) {
                    return row;
                }
            } else if self.syntax.nulls.have(field.len()) {
                return row;
            }
            if TRIM {
                while start < end && is_space(bytes[start]) {
                    start += 1;
                }
                while start < end && is_space(bytes[end - 1]) {
                    end -= 1;
                }
                // Other blanks than ASCII's take more than a glance.
                if start < end && !(bytes[start].is_ascii() && bytes[end - 1].is_ascii()) {
                    return row;
                }
            }
            if doubled {
                let plain = self.clean.case == Case::Keep && tokens == Lengths::default();
                if plain && column.push_undoubled(start, end, quote) {
                    continue;
                }
                return row;
            }
            let len = end - start;
            if tokens.have(len) {
                return row;
            }
            let pushed = match self.text.word(start) {
                Some(word) if len <= INLINE => match case(word::first(word, len)) {
                    // What is not ASCII does not come out as ASCII: its highest bit is left as it is.
                    Some(word) => column.push_ascii(word, len),
                    None => column.push_part(start, end),
                },
                _ => self.clean.case == Case::Keep && column.push_part(start, end),
            };
            if !pushed {
                return row;
            }
        }
        self.places.len()
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
        ) {
            // A lone quote is not a field.
            let fields: Vec<_> = fields.into_iter().filter(|field| {
                !field.starts_with('"') || field.len() >= 2 && field.ends_with('"')
                    && field[1..field.len() - 1].replace("\"\"", "").find('"').is_none()
            }).collect();
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
