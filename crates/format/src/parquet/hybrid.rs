//! Parquet's hybrid of runs and packed bits, in which definition levels and dictionary ids are
//! written: <https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>.

use arrow_buffer::NullBuffer;

/// Equal values from which on a run is smaller than the bits of two groups and their header.
const RUN: usize = 16;

/// The definition levels of a flat column that may have nulls: 1 where there is a value. `None`
/// when none of the `rows` is null.
pub(super) fn levels(rows: usize, validity: Option<&NullBuffer>, out: &mut Vec<u8>) {
    let Some(validity) = validity else {
        return run(rows, &[1], out);
    };
    let bits = validity.inner().sliced();
    let mut bytes = bits.as_slice()[..rows.div_ceil(8)].to_vec();
    if let (Some(last), used @ 1..) = (bytes.last_mut(), rows % 8) {
        *last &= (1 << used) - 1;
    }
    let whole = rows / 8;
    let (mut pending, mut at) = (0, 0);
    while at < whole {
        let byte = bytes[at];
        let same = match byte {
            0 | 0xFF => bytes[at..whole].iter().take_while(|&&next| next == byte).count(),
            _ => 0,
        };
        if same * 8 < RUN {
            at += same.max(1);
            continue;
        }
        literal(&bytes[pending..at], out);
        at += same;
        pending = at;
        // The values of the last, partial byte belong to the run if they are equal.
        let rest = rows % 8;
        if at == whole && rest > 0 && bytes[at] == byte & ((1 << rest) - 1) {
            return run(same * 8 + rest, &[byte & 1], out);
        }
        run(same * 8, &[byte & 1], out);
    }
    literal(&bytes[pending..], out);
}

/// Values below 2^`width`, `width` up to 32.
pub(super) fn ids(ids: &[u32], width: u32, out: &mut Vec<u8>) {
    let (mut pending, mut at) = (0, 0);
    while at < ids.len() {
        let first = ids[at];
        let group = &ids[at..ids.len().min(at + 8)];
        // No branch within a group, so that it is compared at once.
        if group.iter().fold(0, |differs, &id| differs | (id ^ first)) != 0 {
            at += 8;
            continue;
        }
        let same = ids[at..].iter().take_while(|&&id| id == first).count();
        if same < RUN && at + same < ids.len() {
            at += 8;
            continue;
        }
        packed(&ids[pending..at], width, out);
        run(same, &first.to_le_bytes()[..width.div_ceil(8) as usize], out);
        at += same;
        pending = at;
    }
    packed(&ids[pending..], width, out);
}

/// Bits that the ids of this many values take.
pub(super) fn width(values: usize) -> u32 {
    usize::BITS - values.saturating_sub(1).leading_zeros()
}

fn run(len: usize, value: &[u8], out: &mut Vec<u8>) {
    header((len as u64) << 1, out);
    out.extend_from_slice(value);
}

fn literal(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        header((bytes.len() as u64) << 1 | 1, out);
        out.extend_from_slice(bytes);
    }
}

fn packed(ids: &[u32], width: u32, out: &mut Vec<u8>) {
    if ids.is_empty() {
        return;
    }
    let groups = ids.len().div_ceil(8);
    header((groups as u64) << 1 | 1, out);
    let start = out.len();
    out.resize(start + groups * width as usize, 0);
    let out = &mut out[start..];
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                0 => {}
                $($width => groups_of::<$width>(ids, out),)*
                _ => wide(ids, width, out),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

/// Packs eight values into `WIDTH` bytes at a time, `WIDTH` up to 16.
fn groups_of<const WIDTH: usize>(ids: &[u32], out: &mut [u8]) {
    let pack = |ids: &[u32; 8]| -> u128 {
        let half =
            |ids: &[u32]| ids.iter().rev().fold(0, |bits, &id| bits << WIDTH | u64::from(id));
        u128::from(half(&ids[..4])) | u128::from(half(&ids[4..])) << (4 * WIDTH)
    };
    let (groups, rest) = ids.as_chunks();
    let (out, last) = out.split_at_mut(groups.len() * WIDTH);
    for (ids, out) in groups.iter().zip(out.as_chunks_mut::<WIDTH>().0) {
        out.copy_from_slice(&pack(ids).to_le_bytes()[..WIDTH]);
    }
    if !rest.is_empty() {
        let mut ids = [0; 8];
        ids[..rest.len()].copy_from_slice(rest);
        last.copy_from_slice(&pack(&ids).to_le_bytes()[..WIDTH]);
    }
}

/// Packs values of any width.
fn wide(ids: &[u32], width: u32, out: &mut [u8]) {
    let (mut bits, mut held, mut at) = (0_u64, 0, 0);
    for &id in ids {
        bits |= u64::from(id) << held;
        held += width;
        if held >= 32 {
            out[at..at + 4].copy_from_slice(&(bits as u32).to_le_bytes());
            at += 4;
            bits >>= 32;
            held -= 32;
        }
    }
    let last = held.div_ceil(8) as usize;
    out[at..at + last].copy_from_slice(&bits.to_le_bytes()[..last]);
}

fn header(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads the hybrid as the format describes it, value by value.
    fn decode(mut bytes: &[u8], width: u32, len: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < len {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= usize::from(byte & 0x7F) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let size = width.div_ceil(8) as usize;
                let value = bytes[..size].iter().rev().fold(0, |v, &b| v << 8 | u32::from(b));
                bytes = &bytes[size..];
                values.extend(std::iter::repeat_n(value, header >> 1));
            } else {
                let size = (header >> 1) * width as usize;
                for value in 0..(header >> 1) * 8 {
                    let bit = |i| {
                        let at = value * width as usize + i as usize;
                        u32::from(bytes[at / 8] >> (at % 8) & 1) << i
                    };
                    values.push((0..width).map(bit).sum());
                }
                bytes = &bytes[size..];
            }
        }
        assert!(bytes.is_empty(), "nothing stands behind the last value");
        assert!(values[len..].iter().all(|&v| v == 0), "the last group ends in zeros");
        values.truncate(len);
        values
    }

    #[test]
    fn widths_hold_the_largest_id() {
        let widths = [0, 1, 2, 3, 4, 5, 256, 257].map(width);
        assert_eq!(widths, [0, 0, 1, 2, 2, 3, 8, 9]);
    }

    proptest! {
        #[test]
        fn ids_come_back(
            runs in prop::collection::vec((any::<u32>(), prop_oneof![3 => 1..4usize, 1 => 1..60usize]), 0..40),
            width in 0..=32u32,
        ) {
            let mask = (1_u64 << width) - 1;
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|&(v, n)| std::iter::repeat_n((u64::from(v) & mask) as u32, n))
                .collect();
            let mut out = Vec::new();
            ids(&values, width, &mut out);
            prop_assert_eq!(decode(&out, width, values.len()), values);
        }

        #[test]
        fn levels_come_back(
            runs in prop::collection::vec((any::<bool>(), prop_oneof![3 => 1..4usize, 1 => 1..60usize]), 1..40),
            skip in 0..9usize,
        ) {
            let valid: Vec<bool> =
                runs.iter().flat_map(|&(v, n)| std::iter::repeat_n(v, n)).collect();
            let skip = skip.min(valid.len() - 1);
            let nulls = NullBuffer::from(valid.clone()).slice(skip, valid.len() - skip);
            let mut out = Vec::new();
            levels(nulls.len(), Some(&nulls), &mut out);
            let expected: Vec<u32> = valid[skip..].iter().map(|&v| v.into()).collect();
            prop_assert_eq!(decode(&out, 1, expected.len()), expected);
        }
    }
}
