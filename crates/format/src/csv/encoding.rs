//! Text in other encodings, read as UTF-8.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult};

use super::options::Encoding;

/// A byte that is in no UTF-8 text. It stands where the input is malformed, so that the record is
/// rejected like one with malformed UTF-8; a U+FFFD that was in the input stays one.
const MALFORMED: u8 = 0xFF;

/// What the start of the input told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// What the input is in: [`Encoding::Auto`] is decided.
    pub encoding: Encoding,
    /// Bytes of a UTF-8 byte order mark at the start of the text. Those of UTF-16 are gone.
    pub mark: usize,
}

const UTF8_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];
const UTF16LE_MARK: &[u8] = &[0xFF, 0xFE];
const UTF16BE_MARK: &[u8] = &[0xFE, 0xFF];

/// The input as UTF-8.
pub(super) fn utf8(
    mut input: Box<dyn Read + Send>,
    encoding: Encoding,
) -> io::Result<(Box<dyn Read + Send>, Start)> {
    let mut first = Vec::new();
    input.by_ref().take(UTF8_MARK.len() as u64).read_to_end(&mut first)?;
    let by_mark = if first.starts_with(UTF16LE_MARK) {
        Encoding::Utf16le
    } else if first.starts_with(UTF16BE_MARK) {
        Encoding::Utf16be
    } else {
        Encoding::Utf8
    };
    let encoding = match encoding {
        Encoding::Auto => by_mark,
        Encoding::Utf16 if by_mark == Encoding::Utf8 => Encoding::Utf16le,
        Encoding::Utf16 => by_mark,
        said => said,
    };
    let decoder = match encoding {
        Encoding::Utf16le | Encoding::Utf16be => {
            if by_mark == encoding {
                first.drain(..UTF16LE_MARK.len());
            }
            let utf16 = if encoding == Encoding::Utf16le {
                encoding_rs::UTF_16LE
            } else {
                encoding_rs::UTF_16BE
            };
            Some(Some(utf16.new_decoder_without_bom_handling()))
        }
        Encoding::Auto | Encoding::Utf8 | Encoding::Utf16 => None,
        Encoding::Latin1 => Some(None),
        Encoding::Latin9 => decoder(encoding_rs::ISO_8859_15),
        Encoding::Windows1250 => decoder(encoding_rs::WINDOWS_1250),
        Encoding::Windows1251 => decoder(encoding_rs::WINDOWS_1251),
        Encoding::Windows1252 => decoder(encoding_rs::WINDOWS_1252),
        Encoding::ShiftJis => decoder(encoding_rs::SHIFT_JIS),
        Encoding::EucKr => decoder(encoding_rs::EUC_KR),
        Encoding::Gb18030 => decoder(encoding_rs::GB18030),
        Encoding::Big5 => decoder(encoding_rs::BIG5),
    };
    let mark = match decoder {
        None if first == UTF8_MARK => UTF8_MARK.len(),
        _ => 0,
    };
    let input = Cursor::new(first).chain(input);
    let input: Box<dyn Read + Send> = match decoder {
        None => Box::new(input),
        Some(decoder) => Box::new(Transcoder {
            input,
            decoder,
            bytes: Vec::new(),
            text: vec![0; 4 * BLOCK],
            given: 0..0,
            eof: false,
        }),
    };
    Ok((input, Start { encoding, mark }))
}

fn decoder(encoding: &'static encoding_rs::Encoding) -> Option<Option<Decoder>> {
    Some(Some(encoding.new_decoder_without_bom_handling()))
}

/// Bytes that are decoded at once.
const BLOCK: usize = 16 << 10;

struct Transcoder<R> {
    input: R,
    /// None for ISO 8859-1, which the WHATWG's decoders take for Windows-1252.
    decoder: Option<Decoder>,
    bytes: Vec<u8>,
    text: Vec<u8>,
    given: std::ops::Range<usize>,
    eof: bool,
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given.is_empty() && !self.eof {
            self.decode()?;
        }
        let n = out.len().min(self.given.len());
        out[..n].copy_from_slice(&self.text[self.given.start..][..n]);
        self.given.start += n;
        Ok(n)
    }
}

impl<R: Read> Transcoder<R> {
    fn decode(&mut self) -> io::Result<()> {
        self.bytes.clear();
        self.input.by_ref().take(BLOCK as u64).read_to_end(&mut self.bytes)?;
        self.eof = self.bytes.len() < BLOCK;
        let Some(decoder) = &mut self.decoder else {
            let n = encoding_rs::mem::convert_latin1_to_utf8(&self.bytes, &mut self.text);
            self.given = 0..n;
            return Ok(());
        };
        let (mut read, mut written) = (0, 0);
        loop {
            let (result, r, w) = decoder.decode_to_utf8_without_replacement(
                &self.bytes[read..],
                &mut self.text[written..],
                self.eof,
            );
            read += r;
            written += w;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                DecoderResult::Malformed(..) => {
                    if written == self.text.len() {
                        self.text.push(0);
                    }
                    self.text[written] = MALFORMED;
                    written += 1;
                }
            }
        }
        self.given = 0..written;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Encoding) -> (Vec<u8>, Start) {
        let (mut input, start) = utf8(Box::new(Cursor::new(bytes.to_vec())), encoding).unwrap();
        let mut text = Vec::new();
        input.read_to_end(&mut text).unwrap();
        (text, start)
    }

    #[test]
    fn a_mark_decides() {
        assert_eq!(read(b"\xFF\xFEa\0", Encoding::Auto).0, b"a");
        assert_eq!(read(b"\xFE\xFF\0a", Encoding::Auto).0, b"a");
        assert_eq!(read(b"a\0", Encoding::Utf16).0, b"a");
        let (text, start) = read(b"\xEF\xBB\xBFa", Encoding::Auto);
        assert_eq!((text.as_slice(), start.mark), (&b"\xEF\xBB\xBFa"[..], 3));
        assert_eq!(read(b"a", Encoding::Auto).0, b"a");
        assert_eq!(read(b"", Encoding::Auto).0, b"");
    }

    #[test]
    fn a_genuine_replacement_character_stays() {
        let unpaired = [0xFD, 0xFF, 0x00, 0xD8, b'x', 0];
        assert_eq!(read(&unpaired, Encoding::Utf16le).0, b"\xEF\xBF\xBD\xFFx");
        assert_eq!(read(b"a\0b", Encoding::Utf16le).0, b"a\xFF"); // half a character at the end
    }

    #[test]
    fn latin_1_is_not_windows_1252() {
        assert_eq!(read(b"\xE9\x80", Encoding::Latin1).0, "é\u{80}".as_bytes());
        assert_eq!(read(b"\xE9\x80", Encoding::Windows1252).0, "é€".as_bytes());
        assert_eq!(read(b"\xA4", Encoding::Latin9).0, "€".as_bytes());
    }

    #[test]
    fn long_inputs_come_whole() {
        let text: String = "aé€😀\n".repeat(20_000);
        for (encoding, bytes) in [
            (Encoding::Utf16le, text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            (Encoding::Utf16be, text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            (Encoding::Latin1, (0..100_000u32).map(|i| i as u8).collect()),
        ] {
            let expected = match encoding {
                Encoding::Latin1 => bytes.iter().map(|&b| char::from(b)).collect(),
                _ => text.clone(),
            };
            assert!(read(&bytes, encoding).0 == expected.as_bytes(), "{encoding:?}");
        }
    }
}
