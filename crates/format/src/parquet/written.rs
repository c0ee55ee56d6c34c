//! The pages of a column chunk, one behind the other.

use parquet::basic::PageType;
use parquet::column::page::{CompressedPage, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{OffsetIndexBuilder, PageEncodingStats};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use super::gathered::Gather;

/// The pages of a chunk as they stand in the file.
pub(super) struct Written {
    pub(super) out: TrackedWrite<Gather>,
    pub(super) uncompressed: usize,
    pub(super) dictionary: Option<i64>,
    pub(super) first: Option<i64>,
    pub(super) stats: Vec<PageEncodingStats>,
}

impl Written {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        let out = TrackedWrite::new(Gather::default());
        Self { out, uncompressed: 0, dictionary: None, first: None, stats: Vec::new() }
    }

    /// Puts a page behind the others.
    pub(super) fn add(
        &mut self,
        page: CompressedPage,
        index: &mut OffsetIndexBuilder,
    ) -> Result<(), ParquetError> {
        let (page_type, encoding) = (page.page_type(), page.encoding());
        match self.stats.last_mut() {
            Some(last) if last.page_type == page_type && last.encoding == encoding => {
                last.count += 1;
            }
            _ => self.stats.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        self.out.inner_mut().expected = page.compressed_page().buffer().clone();
        let spec = SerializedPageWriter::new(&mut self.out).write_page(page)?;
        let offset = spec.offset as i64;
        self.uncompressed += spec.uncompressed_size;
        if page_type == PageType::DICTIONARY_PAGE {
            self.dictionary = Some(offset);
        } else {
            self.first.get_or_insert(offset);
            index.append_offset_and_size(offset, spec.compressed_size as i32);
        }
        Ok(())
    }
}
