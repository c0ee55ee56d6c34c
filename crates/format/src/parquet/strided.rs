//! Snappy for pages of values of one width: numbers, and codes of equal length.
//!
//! Such values have a shape: the length and the first letters of a code are always the same, the
//! last bytes of a number are zeros, its first ones change little. A compressor that looks for
//! repetitions at any byte finds them after unpredictable branches. This one looks at one place of
//! each value only, the place where in a sample most is found, and so takes a third of the time
//! for about the same size. What it writes is plain Snappy:
//! <https://github.com/google/snappy/blob/main/format_description.txt>.

/// Bits of a hash.
const BITS: u32 = 12;
/// The shortest repetition that is taken; shorter ones save nothing.
const LEAST: usize = 5;
/// What a repetition costs: a copy, and the literal that it ends.
const COST: usize = 4;
/// How far back a copy reaches.
const WINDOW: usize = 1 << 16;
/// Values that a place is judged by, at least and at most; an eighth of a page in between.
const SAMPLE: (usize, usize) = (256, 1024);
/// Values that show which bytes are mostly the same.
const GLANCE: usize = 64;
/// The width up to which one repetition a value is about all that there is.
const WIDEST: usize = 24;
/// Places that are tried: where the bytes begin that are the same, and before.
const PLACES: usize = 4;
/// Bytes at the end of a page in which no repetition is looked for, so that all reads are within.
const MARGIN: usize = 32;

/// Where the values of a page lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stride {
    /// The first byte of the first value.
    pub(super) first: usize,
    /// Bytes of each value.
    pub(super) width: usize,
}

/// How the pages of a chunk are compressed, as their first one showed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Place {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// Repetitions are looked for at this byte of each value.
    At(usize),
    /// Another compressor will find more.
    None,
}

/// Compresses pages, one after another.
#[derive(Debug)]
pub(super) struct Strided {
    /// Where a hash was last seen; 0 is nowhere.
    seen: Box<[u32; 1 << BITS]>,
}

impl Strided {
    pub(super) fn new() -> Self {
        Self { seen: Box::new([0; 1 << BITS]) }
    }

    /// The place at which repetitions are found, [`Place::None`] where they would save less than a
    /// sixteenth.
    pub(super) fn place(&mut self, page: &[u8], stride: Stride) -> Place {
        let Stride { first, width } = stride;
        let values = page[first..].len() / width.max(1);
        if width > WIDEST || values < SAMPLE.0 {
            return Place::None;
        }
        let Some(same) = same(&page[first..], width) else {
            return Place::None;
        };
        let sample = &page[first..][..(values / 8).clamp(SAMPLE.0, SAMPLE.1) * width];
        let places = (0..PLACES.min(width)).map(|back| (same + width - back) % width);
        let saved = places.map(|place| (self.foretell(sample, width, place), place));
        match saved.max_by_key(|&(saved, place)| (saved, std::cmp::Reverse(place))) {
            Some((saved, place)) if saved * 16 >= sample.len() / 2 => Place::At(place),
            _ => Place::None,
        }
    }

    /// Bytes saved in the second half of a sample.
    fn foretell(&mut self, sample: &[u8], width: usize, place: usize) -> usize {
        self.seen.fill(0);
        let (mut saved, mut end, mut at) = (0, 0, place);
        while let Some((_, len)) = self.repetition(sample, at, end) {
            if len >= LEAST {
                end = at + len;
                if at >= sample.len() / 2 {
                    saved += len - COST;
                }
            }
            at += width;
        }
        saved
    }

    /// Compresses a page into `out`, which has the room that Snappy asks for. Gives the length.
    pub(super) fn compress(
        &mut self,
        page: &[u8],
        stride: Stride,
        place: usize,
        out: &mut [u8],
    ) -> usize {
        self.seen.fill(0);
        let mut to = size(page.len(), out);
        let (mut end, mut at) = (0, stride.first + place);
        let limit = page.len().saturating_sub(MARGIN);
        while at < limit
            && let Some((from, len)) = self.repetition(page, at, end)
        {
            if len >= LEAST {
                to = match at - end {
                    n @ ..=16 => short_literal(&page[end..end + 16], n, out, to),
                    _ => literal(&page[end..at], out, to),
                };
                to = copy(at - from, len, out, to);
                end = at + len;
            }
            at += stride.width;
        }
        literal(&page[end..], out, to)
    }

    /// Where the bytes at `at` were last seen, and how many are equal; 0 if they are not near, or
    /// stand before `end`. `None` behind the last word. Remembers `at`.
    #[inline(always)]
    fn repetition(&mut self, page: &[u8], at: usize, end: usize) -> Option<(usize, usize)> {
        let here = word(page, at)?;
        let hash = (here << (64 - 8 * LEAST)).wrapping_mul(0x9E37_79B1_85EB_CA87) >> (64 - BITS);
        let from = std::mem::replace(&mut self.seen[hash as usize], at as u32) as usize;
        if at < end || at - from >= WINDOW || from == 0 {
            return Some((from, 0));
        }
        let differs = here ^ word(page, from)?;
        let len = match differs {
            0 => 8 + common(&page[at + 8..], &page[from + 8..]),
            _ => differs.trailing_zeros() as usize / 8,
        };
        Some((from, len))
    }
}

/// Where in a value the longest run of bytes begins that mostly are those of another value. A run
/// may go on at the beginning of the next value.
fn same(values: &[u8], width: usize) -> Option<usize> {
    let count = values.len() / width;
    let step = count.div_ceil(GLANCE);
    let value = |index: usize| &values[index * width..][..width];
    let mut equal = [0; WIDEST];
    let mut pairs = 0;
    for index in (step..count).step_by(step) {
        pairs += 1;
        let bytes = value(index - step).iter().zip(value(index));
        for (equal, (a, b)) in equal.iter_mut().zip(bytes) {
            *equal += u32::from(a == b);
        }
    }
    let is_same = |at: usize| equal[at % width] * 2 > pairs;
    let run = |start: usize| (start..start + width).take_while(|&at| is_same(at)).count();
    let longest = (0..width).rev().max_by_key(|&start| run(start))?;
    (run(longest) > 0).then_some(longest)
}

/// How many of the first bytes are equal.
#[inline(always)]
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    while let (Some(x), Some(y)) = (word(a, len), word(b, len)) {
        if x != y {
            return len + (x ^ y).trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    len + a[len..].iter().zip(&b[len..]).take_while(|(a, b)| a == b).count()
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes how long the page is.
fn size(mut len: usize, out: &mut [u8]) -> usize {
    let mut to = 0;
    while len >= 0x80 {
        out[to] = len as u8 | 0x80;
        len >>= 7;
        to += 1;
    }
    out[to] = len as u8;
    to + 1
}

/// Writes the first `len` of sixteen bytes; what comes next is written over the others.
#[inline(always)]
fn short_literal(bytes: &[u8], len: usize, out: &mut [u8], to: usize) -> usize {
    let out = &mut out[to..to + 17];
    out[0] = (len.wrapping_sub(1) << 2) as u8;
    out[1..].copy_from_slice(bytes);
    to + len + usize::from(len > 0)
}

fn literal(bytes: &[u8], out: &mut [u8], mut to: usize) -> usize {
    let Some(last) = bytes.len().checked_sub(1) else {
        return to;
    };
    if last < 60 {
        out[to] = (last << 2) as u8;
        to += 1;
    } else {
        let width = 8 - last.leading_zeros() as usize / 8;
        out[to] = ((59 + width) << 2) as u8;
        out[to + 1..][..width].copy_from_slice(&last.to_le_bytes()[..width]);
        to += 1 + width;
    }
    out[to..to + bytes.len()].copy_from_slice(bytes);
    to + bytes.len()
}

/// Writes a copy of `len` bytes from `offset` bytes before.
#[inline(always)]
fn copy(offset: usize, mut len: usize, out: &mut [u8], mut to: usize) -> usize {
    let far = |len: usize| ((len - 1) << 2 | 2 | offset << 8) as u32;
    while len > 64 {
        // At least four are left, so that the last copy may be a near one.
        let part = if len >= 68 { 64 } else { 60 };
        out[to..to + 4].copy_from_slice(&far(part).to_le_bytes());
        to += 3;
        len -= part;
    }
    // No branch: whether a repetition is near cannot be foreseen.
    let is_near = (4..12).contains(&len) & (offset < 2048);
    let near = (offset >> 8) << 5 | (len.wrapping_sub(4) & 7) << 2 | 1 | (offset & 0xFF) << 8;
    let tag = if is_near { near as u32 } else { far(len) };
    out[to..to + 4].copy_from_slice(&tag.to_le_bytes());
    to + if is_near { 2 } else { 3 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A page at each place: it must come back. Gives the lengths.
    fn lengths(page: &[u8], stride: Stride) -> Vec<usize> {
        let mut strided = Strided::new();
        let mut out = vec![0xAA; snap::raw::max_compress_len(page.len())];
        let mut lengths = Vec::new();
        for place in 0..stride.width {
            let len = strided.compress(page, stride, place, &mut out);
            let back = snap::raw::Decoder::new().decompress_vec(&out[..len]).unwrap();
            assert!(back == page, "place {place}");
            lengths.push(len);
        }
        lengths
    }

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        *seed >> 33
    }

    #[test]
    fn shapes_are_found() {
        let seed = &mut 7;
        let codes: Vec<u8> = (0..5000)
            .flat_map(|_| format!("\x09\0\0\0FND{:06}", random(seed) % 200_000).into_bytes())
            .collect();
        let prices: Vec<u8> = (0..5000)
            .flat_map(|_| ((random(seed) % 1_000_000) as f64 / 100.0).to_le_bytes())
            .collect();
        let counts: Vec<u8> =
            (0..5000).flat_map(|_| (random(seed) % 60_000).to_le_bytes()).collect();
        for (page, width) in [(codes, 13), (prices, 8), (counts, 8)] {
            let stride = Stride { first: 0, width };
            let Place::At(place) = Strided::new().place(&page, stride) else {
                panic!("no place in values of {width} bytes");
            };
            let lengths = lengths(&page, stride);
            let least = *lengths.iter().min().unwrap();
            assert!(
                lengths[place] * 16 <= least * 17,
                "{} bytes, {least} possible",
                lengths[place]
            );
            assert!(lengths[place] * 16 <= page.len() * 15, "{} bytes", lengths[place]);
        }
        // Repetitions that go on to the end, near and too far to be taken.
        let tile: Vec<u8> = (0..70_000).map(|_| random(seed) as u8).collect();
        let stride = Stride { first: 0, width: 4 };
        assert!(lengths(&vec![0; 1 << 20], stride).iter().all(|&len| len < 1 << 16));
        assert!(lengths(&tile.repeat(15), stride).iter().all(|&len| len > 1 << 20));
        let noise: Vec<u8> = (0..40_000).map(|_| random(seed) as u8).collect();
        assert_eq!(Strided::new().place(&noise, Stride { first: 0, width: 8 }), Place::None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn any_page_comes_back(
            words in prop::collection::vec(prop_oneof![any::<u64>(), 0..3u64, Just(0)], 0..60),
            cut in 0..8usize,
            repeat in 1..40usize,
            first in 0..9usize,
            width in 1..30usize,
        ) {
            let mut page: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            page.truncate(page.len().saturating_sub(cut));
            let page = page.repeat(repeat);
            let stride = Stride { first: first.min(page.len()), width };
            lengths(&page, stride);
            if let Place::At(place) = Strided::new().place(&page, stride) {
                prop_assert!(place < width);
            }
        }
    }
}
