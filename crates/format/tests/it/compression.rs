//! Files of several members read to their end, and damaged ones never read as if they were whole.

use std::io::{self, Cursor, Read, Write};

use gristmill_core::{Error, ErrorKind};
use gristmill_format::Compression;
use gristmill_format::compression::{PREFIX, read_error};
use proptest::prelude::*;

const ALL: [Compression; 4] =
    [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Lz4];

/// Gives at most a few bytes at a time, as a pipe does.
struct Dribble(Cursor<Vec<u8>>, usize);

impl Read for Dribble {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.1);
        self.0.read(&mut buf[..n])
    }
}

fn decode(compression: Compression, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    decode_by(compression, bytes, usize::MAX)
}

fn decode_by(compression: Compression, bytes: &[u8], step: usize) -> Result<Vec<u8>, Error> {
    let input = Box::new(Dribble(Cursor::new(bytes.to_vec()), step));
    let mut text = Vec::new();
    compression
        .decoder("x.csv", input)?
        .read_to_end(&mut text)
        .map_err(|error| read_error("x.csv", error))?;
    Ok(text)
}

/// Two members with text, one without, and where each member begins.
fn members(compression: Compression) -> (Vec<u8>, Vec<u8>, Vec<usize>) {
    let text: Vec<u8> =
        (0..40u32).flat_map(|i| format!("{i},fund {}\n", i * 7919).into_bytes()).collect();
    let mut file = Vec::new();
    let mut starts = Vec::new();
    for part in [&text[..250], b"", &text[250..]] {
        starts.push(file.len());
        file.extend(compression.compress(part).unwrap());
    }
    (text, file, starts)
}

#[test]
fn members_are_read_one_after_the_other() {
    for compression in ALL {
        let (text, file, _) = members(compression);
        for step in [1, 3, usize::MAX] {
            assert_eq!(decode_by(compression, &file, step).unwrap(), text, "{compression}");
        }
        assert_eq!(Compression::of_content(&file[..PREFIX.min(file.len())]), compression);
        assert_eq!(compression.compress(&text).unwrap(), compression.compress(&text).unwrap());
        assert_eq!(decode(compression, &compression.compress(b"").unwrap()).unwrap(), b"");
    }
}

#[test]
fn a_file_cut_at_any_byte_is_an_error() {
    for compression in ALL {
        let (_, file, starts) = members(compression);
        for end in 0..file.len() {
            for step in [1, usize::MAX] {
                let result = decode_by(compression, &file[..end], step);
                if end > 0 && starts.contains(&end) {
                    result.unwrap(); // whole members: nothing tells that there were more
                    continue;
                }
                let error = result.expect_err(&format!("{compression} cut at {end} was read"));
                assert_eq!(
                    error.kind(),
                    ErrorKind::Truncated,
                    "{compression} cut at {end}: {error}"
                );
                assert!(error.hint_text().is_some());
            }
        }
    }
}

#[test]
fn a_cut_file_says_what_was_read_of_it() {
    let file = Compression::Gzip.compress(b"a,b\n1,2\n").unwrap();
    let error = decode(Compression::Gzip, &file[..file.len() - 3]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`x.csv` ends in the middle of its gzip data after 8 bytes of text"
    );
    let error = decode(Compression::Zstd, b"").unwrap_err();
    assert_eq!(error.to_string(), "`x.csv` is empty: zstd data has a header");
}

#[test]
fn something_else_behind_the_last_member_is_an_error() {
    for compression in ALL {
        let (_, mut file, _) = members(compression);
        file.extend_from_slice(b"id,name\n");
        let error = decode(compression, &file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{compression}");
        assert!(error.to_string().contains("goes on with something else"), "{error}");
    }
    // gzip itself ignores the zeros that tapes are padded with
    let mut padded = Compression::Gzip.compress(b"text").unwrap();
    padded.extend([0; 512]);
    assert_eq!(decode(Compression::Gzip, &padded).unwrap(), b"text");
}

#[test]
fn text_is_not_taken_for_compressed_data() {
    for compression in ALL {
        let error = decode(compression, b"id,name\n1,a\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), format!("`x.csv` is not {compression} data"));
    }
    for text in ["", "id,name\n", "BZh9 is a column,b\n", "BZ", "{"] {
        assert_eq!(Compression::of_content(text.as_bytes()), Compression::None, "{text}");
    }
}

#[test]
fn an_error_stays_an_error() {
    for compression in ALL {
        let file = compression.compress(&[b'x'; 1000]).unwrap();
        let input = Box::new(Cursor::new(file[..file.len() - 1].to_vec()));
        let mut reader = compression.decoder("x.csv", input).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(reader.read(&mut [0; 8]).is_err(), "{compression}");
    }
}

/// Fails in the middle, as a network file system does.
struct Broken(Cursor<Vec<u8>>);

impl Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the server went away")),
            n => Ok(n),
        }
    }
}

#[test]
fn a_failing_source_is_not_called_damaged() {
    for compression in ALL {
        let (_, file, starts) = members(compression);
        for end in [file.len() / 2, starts[1], file.len()] {
            let input = Box::new(Broken(Cursor::new(file[..end].to_vec())));
            let mut reader = compression.decoder("x.csv", input).unwrap();
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            let error = read_error("x.csv", error);
            assert_eq!(error.kind(), ErrorKind::Transient, "{compression}");
            assert_eq!(error.to_string(), "cannot read `x.csv`");
            let cause = std::error::Error::source(&error).unwrap();
            assert_eq!(cause.to_string(), "the server went away");
            assert!(reader.read(&mut [0; 8]).is_err(), "{compression}");
        }
    }
}

#[test]
fn reads_what_other_encoders_wrote() {
    // lz4's own tool links blocks and checks each of them
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Linked)
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_checksums(true);
    let text: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(&text).unwrap();
    assert_eq!(decode(Compression::Lz4, &encoder.finish().unwrap()).unwrap(), text);

    // pzstd puts a skippable frame in front of each frame
    let mut file = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    file.extend(zstd::encode_all(&text[..], 1).unwrap());
    assert_eq!(Compression::of_content(&file), Compression::Zstd);
    assert_eq!(decode(Compression::Zstd, &file).unwrap(), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_changed_byte_never_changes_the_text(which in 0..4usize, at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let (text, mut file, _) = members(ALL[which]);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        if let Ok(read) = decode(ALL[which], &file) {
            prop_assert_eq!(read, text);
        }
    }
}
