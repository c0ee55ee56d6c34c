//! The compression of pages.

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;

use super::strided::{Place, Stride, Strided};

/// Compresses pages one after another, with buffers that stay.
pub(super) struct Compressor {
    compression: Compression,
    snappy: snap::raw::Encoder,
    strided: Strided,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Result<Self, ParquetError> {
        let zstd = match compression {
            Compression::ZSTD(level) => {
                Some(zstd::bulk::Compressor::new(level.compression_level()).map_err(external)?)
            }
            _ => None,
        };
        let snappy = snap::raw::Encoder::new();
        Ok(Self { compression, snappy, strided: Strided::new(), zstd, out: Vec::new() })
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// The bytes of a page as they stand in the file. `stride` says where values lie that have
    /// all the same width; `place` is what was learnt from the pages before.
    pub(super) fn compress(
        &mut self,
        page: &[u8],
        stride: Option<Stride>,
        place: &mut Place,
    ) -> Result<Bytes, ParquetError> {
        let out = &mut self.out;
        let len = match self.compression {
            Compression::UNCOMPRESSED => return Ok(Bytes::copy_from_slice(page)),
            Compression::SNAPPY => {
                room(out, snap::raw::max_compress_len(page.len()));
                if let (Some(stride), Place::Unknown) = (stride, &place) {
                    *place = self.strided.place(page, stride);
                }
                match (stride, &place) {
                    (Some(stride), Place::At(at)) => self.strided.compress(page, stride, *at, out),
                    _ => self.snappy.compress(page, out).map_err(external)?,
                }
            }
            Compression::LZ4_RAW => {
                room(out, lz4_flex::block::get_maximum_output_size(page.len()));
                lz4_flex::block::compress_into(page, out).map_err(external)?
            }
            Compression::GZIP(level) => {
                let level = flate2::Compression::new(level.compression_level());
                let mut gzip = flate2::bufread::GzEncoder::new(page, level);
                out.clear();
                std::io::Read::read_to_end(&mut gzip, out).map_err(external)?
            }
            compression => match &mut self.zstd {
                Some(zstd) => {
                    room(out, zstd::zstd_safe::compress_bound(page.len()));
                    zstd.compress_to_buffer(page, &mut out[..]).map_err(external)?
                }
                None => {
                    let message = format!("no pages are written with {compression:?}");
                    return Err(ParquetError::General(message));
                }
            },
        };
        Ok(Bytes::copy_from_slice(&out[..len]))
    }
}

/// At least `len` bytes; what they hold does not matter.
fn room(out: &mut Vec<u8>, len: usize) {
    if out.len() < len {
        out.resize(len, 0);
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}
