//! All groups that are in memory, in the order of their keys.

use std::cmp::Ordering;
use std::ops::Range;

use arrow_array::{ArrayRef, StringViewArray};
use datafusion_common::Result;

use super::fold::Long;
use super::keys::{AllTexts, Field, Keys, Part};
use super::plan::Plan;
use super::runs::{append_key, most};
use super::table::Table;
use crate::relational::parallel::{each, sort};

/// Groups in order.
#[derive(Debug)]
pub(super) struct Sorted {
    tables: Vec<Table>,
    texts: Vec<StringViewArray>,
    /// Bytes of the texts that a key has at most.
    longest: usize,
    /// The groups: in the highest byte the table, behind it the number in it.
    order: Vec<u32>,
}

/// Some groups: the columns of their keys, and their words.
#[derive(Default)]
pub(super) struct Given {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) words: Vec<u64>,
    /// Sums that words do not hold, by the place of the group.
    pub(super) long: Long,
}

const NUMBER: u32 = (1 << 24) - 1;

impl Sorted {
    /// Sorts groups of tables, of which there are 256 at most.
    pub(super) fn new(
        mut tables: Vec<Table>,
        texts: AllTexts,
        keys: &Keys,
        threads: usize,
    ) -> Result<Self> {
        tables.iter_mut().for_each(Table::complete);
        let texts = texts.into_iter();
        let texts = texts.map(|texts| texts.into_inner().unwrap_or_else(|it| it.into_inner()));
        let mut texts: Vec<_> = texts.collect();
        let ranks: Vec<Vec<u32>> = texts.iter_mut().map(|texts| texts.ranks(threads)).collect();
        let order = Order::new(&tables, keys, ranks, threads).sorted(threads);
        let longest = texts.iter().map(|texts| texts.longest()).sum();
        let texts = texts.into_iter().map(|texts| texts.into_column());
        Ok(Self { tables, texts: texts.collect::<Result<_>>()?, longest, order })
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// As many groups from this one on as are given together.
    pub(super) fn given(&self, start: usize, keys: &Keys) -> Range<usize> {
        let (groups, bytes) = most();
        let end = (start + groups).min(self.len());
        if self.longest * groups < bytes {
            return start..end;
        }
        let mut held = 0;
        let fits = self.order[start..end].iter().take_while(|at| {
            let fits = held < bytes;
            held += keys.text_bytes(self.key(**at), &self.texts);
            fits
        });
        start..start + fits.count()
    }

    fn group(&self, at: u32) -> (&Table, u32) {
        (&self.tables[(at >> 24) as usize], at & NUMBER)
    }

    fn key(&self, at: u32) -> &[u64] {
        let (table, group) = self.group(at);
        table.key(group)
    }

    /// These groups.
    pub(super) fn groups(&self, groups: Range<usize>, plan: &Plan) -> Result<Given> {
        let order = &self.order[groups];
        let width = plan.keys.words;
        let mut keys = Vec::with_capacity(order.len() * width);
        let mut words = Vec::with_capacity(order.len() * plan.layout.width);
        let mut long = Long::default();
        for (place, at) in order.iter().enumerate() {
            let (table, group) = self.group(*at);
            keys.extend_from_slice(table.key(group));
            words.extend_from_slice(table.words(group));
            if !table.long.is_empty() {
                plan.layout.long(&table.long, group, place as u32, &mut long);
            }
        }
        // Of keys without words there is one, and it has no columns.
        let keys = match width {
            0 => Vec::new(),
            width => plan.keys.columns(keys.chunks_exact(width), &self.texts)?,
        };
        Ok(Given { keys, words, long })
    }

    /// These groups as rows of a run.
    pub(super) fn rows(&self, groups: Range<usize>, plan: &Plan) -> Result<Vec<u64>> {
        let Given { keys, words, long } = self.groups(groups.clone(), plan)?;
        let keys = plan.key_bytes(&keys)?;
        let mut rows = Vec::new();
        for (place, at) in self.order[groups].iter().enumerate() {
            let text = plan.keys.text_bytes(self.key(*at), &self.texts);
            let key = keys.as_ref().map(|keys| keys.row(place));
            let key = key.as_ref().map_or(&[][..], |key| key.as_ref());
            let words = &words[place * plan.layout.width..][..plan.layout.width];
            plan.layout.parts(place as u32, words, &long, |words| {
                append_key(&mut rows, key, text);
                rows.extend_from_slice(words);
            });
        }
        Ok(rows)
    }
}

/// How groups are ordered: by few bits, since most keys of one column are close to each other.
struct Order<'a> {
    tables: &'a [Table],
    parts: Vec<Narrow>,
    ranks: Vec<Vec<u32>>,
}

/// A part of keys, and the values that it has.
struct Narrow {
    part: Part,
    least: u64,
    bits: u32,
}

impl<'a> Order<'a> {
    fn new(tables: &'a [Table], keys: &Keys, ranks: Vec<Vec<u32>>, threads: usize) -> Self {
        let parts = keys.parts().map(|part| Narrow { part, least: 0, bits: 64 });
        let mut order = Self { tables, parts: parts.collect(), ranks };
        let extents = each(tables, threads, |table| {
            let mut extents = vec![(u64::MAX, 0); order.parts.len()];
            for group in 0..table.len() as u32 {
                let key = table.key(group);
                for ((least, most), narrow) in extents.iter_mut().zip(&order.parts) {
                    let value = order.value(&narrow.part, key);
                    *least = value.min(*least);
                    *most = value.max(*most);
                }
            }
            extents
        });
        for (place, narrow) in order.parts.iter_mut().enumerate() {
            let extents = extents.iter().map(|extents| extents[place]);
            let (least, most) =
                extents.fold((u64::MAX, 0), |all, one| (all.0.min(one.0), all.1.max(one.1)));
            narrow.least = least.min(most);
            narrow.bits = 64 - (most - narrow.least).leading_zeros();
        }
        order
    }

    /// A part of a key, as a number of the same order.
    #[inline]
    fn value(&self, Part { field, texts }: &Part, key: &[u64]) -> u64 {
        let value = Field::get(*field, key);
        match texts {
            None => value,
            // Where all are null there are no texts.
            Some(texts) => {
                self.ranks[*texts].get(value as usize).copied().unwrap_or_default().into()
            }
        }
    }

    /// The first 128 bits of a key, or all there are, at the low end.
    fn packed(&self, key: &[u64]) -> u128 {
        let (mut packed, mut free) = (0u128, u128::BITS);
        for Narrow { part, least, bits } in &self.parts {
            let value = self.value(part, key) - least;
            if *bits > free {
                return packed << free | u128::from(value) >> (bits - free);
            }
            packed = packed << bits | u128::from(value);
            free -= bits;
        }
        packed
    }

    fn sorted(&self, threads: usize) -> Vec<u32> {
        let bits: u32 = self.parts.iter().map(|narrow| narrow.bits).sum();
        if bits <= u64::BITS {
            return self.by(threads, |key| self.packed(key) as u64, |_, _| Ordering::Equal);
        }
        let halves = |key: &[u64]| {
            let packed = self.packed(key);
            [(packed >> 64) as u64, packed as u64]
        };
        self.by(threads, halves, |one, other| {
            let values = |at: u32| {
                let key = self.tables[(at >> 24) as usize].key(at & NUMBER);
                self.parts.iter().map(|narrow| self.value(&narrow.part, key))
            };
            if bits <= u128::BITS { Ordering::Equal } else { values(one).cmp(values(other)) }
        })
    }

    /// The groups in the order of something, and of those that are equal in it as `tie` says.
    fn by<K: Ord + Copy + Default + Send>(
        &self,
        threads: usize,
        of: impl Fn(&[u64]) -> K + Sync,
        tie: impl Fn(u32, u32) -> Ordering + Sync,
    ) -> Vec<u32> {
        let groups = self.tables.iter().map(Table::len).sum();
        let mut all = vec![(K::default(), 0); groups];
        let mut rest = &mut all[..];
        let mut places = Vec::with_capacity(self.tables.len());
        for (number, table) in self.tables.iter().enumerate() {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(table.len());
            rest = others;
            places.push((number as u32, table, own));
        }
        each(places, threads, |(number, table, own)| {
            for (group, place) in own.iter_mut().enumerate() {
                let group = group as u32;
                *place = (of(table.key(group)), number << 24 | group);
            }
        });
        sort(&mut all, threads, &|(one, left), (other, right)| match one.cmp(other) {
            Ordering::Equal => tie(*left, *right),
            unequal => unequal,
        });
        all.into_iter().map(|(_, at)| at).collect()
    }
}
