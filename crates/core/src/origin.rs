//! Where rows come from: the provenance shared by all rows of one decoded batch.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use bytes::Bytes;
use memchr::memchr_iter;

use crate::error::Result;
use crate::json;

/// The bytes of one record within an [`Origin`]'s text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte, from the start of the text.
    pub start: u32,
    /// Length in bytes, without the line end. May reach beyond the end of the text, when only the
    /// beginning of a very long record was kept.
    pub len: u32,
}

/// Where a batch begins in its source. Known once all batches before it are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the batch's first record, from 1.
    pub first_record: u64,
    /// Line of the batch's first byte, from 1.
    pub first_line: u64,
}

/// What an origin is made of: for those who put it away for a while, and make the same again.
#[derive(Debug)]
pub enum Content {
    /// Records found in a text; see [`Origin::text`].
    Text {
        /// The text.
        bytes: Bytes,
        /// Its position in the source.
        offset: u64,
        /// The records in it.
        spans: Vec<Span>,
        /// The byte that ends a line.
        line_end: u8,
        /// What was counted in it.
        lines: Lines,
    },
    /// Records that were columns already; see [`Origin::columns`].
    Columns(RecordBatch),
    /// One record whose batch is gone; see [`Origin::kept`].
    Kept {
        /// Its text.
        raw: Bytes,
        /// Where it stood.
        location: Location,
    },
    /// Records of any sources that were put away; see [`Origin::archived`].
    Archived {
        /// Who has them.
        archive: Arc<dyn Archive>,
        /// What it knows them by.
        numbers: Arc<[u64]>,
    },
}

/// Keeps where records stood and what they were, while a step brings them into another order.
pub trait Archive: Send + Sync + std::fmt::Debug {
    /// The record that it knows by this number, as an origin of its own in which it has the
    /// ordinal 0.
    ///
    /// # Errors
    /// When it cannot be read again.
    fn record(&self, number: u64) -> Result<Arc<Origin>>;
}

/// The provenance of one decoded batch: which source, which records, and the records as they
/// stood in the source. Shared by the batch's rows and by the rejects made from them.
///
/// A record's position in the origin is its *ordinal*, from 0, counting every record that was
/// read, those that failed to parse included.
#[derive(Debug)]
pub struct Origin {
    source: Arc<str>,
    content: Content,
    place: OnceLock<Place>,
}

/// The lines of a text, as [`Origin::text`] counted them.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    /// How many end in it.
    count: u64,
    /// How many end before the first record, if each record has one line of its own and nothing
    /// stands between them.
    before: Option<u64>,
}

impl Lines {
    fn of(bytes: &[u8], spans: &[Span], line_end: u8) -> Self {
        let start = spans.first().map_or(0, |first| bytes.len().min(first.start as usize));
        let (before, behind) = (count(&bytes[..start], line_end), count(&bytes[start..], line_end));
        // The last line may have no end.
        let last = u64::from(!spans.is_empty() && !bytes.ends_with(&[line_end]));
        let ended = |span: &Span| {
            let rest = bytes.get((span.start as usize + span.len as usize)..).unwrap_or_default();
            matches!(rest, [byte, ..] | [b'\r', byte, ..] if *byte == line_end) || rest.is_empty()
        };
        let one_each = behind + last == spans.len() as u64 && spans.iter().all(ended);
        Self { count: before + behind, before: one_each.then_some(before) }
    }
}

/// Where one record stood, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Number of the record in its source, from 1.
    pub record: u64,
    /// Line on which it starts, from 1; `None` for sources without lines.
    pub line: Option<u64>,
    /// First byte in the source's (decompressed, UTF-8) text.
    pub offset: Option<u64>,
    /// Length in bytes.
    pub length: Option<u64>,
}

impl Origin {
    /// Records found in a text. `offset` is the position of `bytes` in the source's decompressed
    /// UTF-8 text, `spans` the records in it, `line_end` the byte that ends a line.
    pub fn text(
        source: Arc<str>,
        bytes: Bytes,
        offset: u64,
        spans: Vec<Span>,
        line_end: u8,
    ) -> Self {
        let lines = Lines::of(&bytes, &spans, line_end);
        Self::new(source, Content::Text { bytes, offset, spans, line_end, lines })
    }

    /// Records that were columns already (Parquet, Arrow, a database).
    pub fn columns(source: Arc<str>, columns: RecordBatch) -> Self {
        Self::new(source, Content::Columns(columns))
    }

    /// One record whose batch is gone: its text and its location were kept elsewhere in the
    /// meantime, for example beside a staging table.
    pub fn kept(source: Arc<str>, raw: Bytes, location: Location) -> Self {
        Self::new(source, Content::Kept { raw, location })
    }

    /// Records that were put away, perhaps of several sources. What is asked of one of them is
    /// looked up; use [`Self::resolve`] for its source.
    pub fn archived(archive: Arc<dyn Archive>, numbers: Arc<[u64]>) -> Self {
        Self::new("".into(), Content::Archived { archive, numbers })
    }

    /// The origin that knows the source of a record, and the record's ordinal there: another one
    /// for records that were put away.
    ///
    /// # Errors
    /// When the record cannot be read again.
    pub fn resolve(self: &Arc<Self>, ordinal: u32) -> Result<(Arc<Self>, u32)> {
        match &self.content {
            Content::Archived { archive, numbers } => {
                Ok((archive.record(numbers[ordinal as usize])?, 0))
            }
            _ => Ok((Arc::clone(self), ordinal)),
        }
    }

    fn new(source: Arc<str>, content: Content) -> Self {
        Self { source, content, place: OnceLock::new() }
    }

    /// What it is made of.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The source's name: a path as the user wrote it, or a table.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Number of records read.
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Text { spans, .. } => spans.len(),
            Content::Columns(columns) => columns.num_rows(),
            Content::Kept { .. } => 1,
            Content::Archived { numbers, .. } => numbers.len(),
        }
    }

    /// Whether no record was read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of lines that end in the text; 0 for columns and for a kept record.
    pub fn line_count(&self) -> u64 {
        match &self.content {
            Content::Text { lines, .. } => lines.count,
            Content::Columns(_) | Content::Kept { .. } | Content::Archived { .. } => 0,
        }
    }

    /// Bytes kept alive by this origin.
    pub fn byte_size(&self) -> usize {
        match &self.content {
            Content::Text { bytes, spans, .. } => bytes.len() + spans.len() * size_of::<Span>(),
            Content::Columns(columns) => columns.get_array_memory_size(),
            Content::Kept { raw, .. } => raw.len(),
            Content::Archived { numbers, .. } => size_of_val(&**numbers),
        }
    }

    /// Says where the batch begins. The first call counts; whoever sees the batches in source
    /// order makes it.
    pub fn set_place(&self, place: Place) {
        let _ = self.place.set(place);
    }

    /// Where the batch begins, once it is known.
    pub fn place(&self) -> Option<Place> {
        self.place.get().copied()
    }

    /// The record as it stood in the source: its text, or for columns its JSON form.
    /// Bytes that are not UTF-8 become U+FFFD. Of a record too long to be kept, its beginning.
    pub fn raw(&self, ordinal: usize) -> Cow<'_, str> {
        match &self.content {
            Content::Text { bytes, spans, .. } => {
                let span = spans[ordinal];
                let start = span.start as usize;
                let end = bytes.len().min(start + span.len as usize);
                lossy(&bytes[start..end])
            }
            Content::Columns(columns) => json::row_to_string(columns, ordinal).into(),
            Content::Kept { raw, .. } => lossy(raw),
            Content::Archived { archive, numbers } => match archive.record(numbers[ordinal]) {
                Ok(origin) => origin.raw(0).into_owned().into(),
                Err(_) => Cow::Borrowed(""),
            },
        }
    }

    /// Length of [`Self::raw`] before any replacement, in bytes; `None` for columns.
    pub fn raw_len(&self, ordinal: usize) -> Option<usize> {
        match &self.content {
            Content::Text { spans, .. } => Some(spans[ordinal].len as usize),
            Content::Columns(_) => None,
            Content::Kept { location, .. } => location.length.map(|length| length as usize),
            Content::Archived { archive, numbers } => {
                archive.record(numbers[ordinal]).ok()?.raw_len(0)
            }
        }
    }

    /// Where a record stood. Costs a count of the lines before it in the batch: for many records
    /// of one origin, use a [`Locator`].
    pub fn locate(self: &Arc<Self>, ordinal: usize) -> Location {
        Locator::default().locate(self, ordinal)
    }
}

/// Locates records one after the other, counting the lines between them only once while the
/// ordinals ascend.
#[derive(Debug, Default)]
pub struct Locator {
    last: Option<(Arc<Origin>, usize, u64)>,
}

impl Locator {
    /// Where the record with this ordinal stood. Before [`Origin::set_place`], numbers count from
    /// the start of the batch.
    pub fn locate(&mut self, origin: &Arc<Origin>, ordinal: usize) -> Location {
        if let Content::Kept { location, .. } = &origin.content {
            return location.clone();
        }
        if let Content::Archived { archive, numbers } = &origin.content
            && let Ok(origin) = archive.record(numbers[ordinal])
        {
            return self.locate(&origin, 0);
        }
        let place = origin.place.get().copied().unwrap_or(Place { first_record: 1, first_line: 1 });
        let record = place.first_record + ordinal as u64;
        let Content::Text { bytes, offset, spans, line_end, lines } = &origin.content else {
            return Location { record, line: None, offset: None, length: None };
        };
        let span = spans[ordinal];
        let start = span.start as usize;
        let lines = match lines.before {
            Some(before) => before + ordinal as u64,
            None => self.count(origin, bytes, start, *line_end),
        };
        Location {
            record,
            line: Some(place.first_line + lines),
            offset: Some(offset + u64::from(span.start)),
            length: Some(u64::from(span.len)),
        }
    }

    /// Lines that end before `start`, where one after the other is asked for.
    fn count(&mut self, origin: &Arc<Origin>, bytes: &[u8], start: usize, line_end: u8) -> u64 {
        let (from, lines) = match &self.last {
            Some((last, at, lines)) if Arc::ptr_eq(last, origin) && *at <= start => (*at, *lines),
            _ => (0, 0),
        };
        let lines = lines + count(&bytes[from..start], line_end);
        self.last = Some((Arc::clone(origin), start, lines));
        lines
    }
}

/// As `String::from_utf8_lossy`, which looks at every byte even of what is well.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    let text = simdutf8::basic::from_utf8(bytes);
    text.map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn count(bytes: &[u8], line_end: u8) -> u64 {
    memchr_iter(line_end, bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_too_long_to_be_kept_shows_its_beginning() {
        let spans = vec![Span { start: 2, len: 1000 }];
        let origin = Origin::text("x.csv".into(), Bytes::from_static(b"a\nbcd"), 0, spans, b'\n');
        let origin = Arc::new(origin);
        assert_eq!(origin.raw(0), "bcd");
        assert_eq!(origin.locate(0).length, Some(1000));
    }

    #[test]
    fn locates_records_by_line_and_offset() {
        let text = Bytes::from_static(b"a,1\n\"b\nb\",2\nc,3\n");
        let spans =
            vec![Span { start: 0, len: 3 }, Span { start: 4, len: 7 }, Span { start: 12, len: 3 }];
        let origin = Arc::new(Origin::text("x.csv".into(), text, 100, spans, b'\n'));
        origin.set_place(Place { first_record: 11, first_line: 21 });
        let mut locator = Locator::default();
        let third = locator.locate(&origin, 2);
        assert_eq!((third.record, third.line, third.offset), (13, Some(24), Some(112)));
        let second = locator.locate(&origin, 1);
        assert_eq!((second.record, second.line), (12, Some(22)));
        assert_eq!(origin.raw(1), "\"b\nb\",2");
        assert_eq!(origin.line_count(), 4);
    }

    #[test]
    fn a_kept_record_is_where_it_was() {
        let text = Bytes::from_static(b"a,1\n\"b\nb\",2\n");
        let spans = vec![Span { start: 0, len: 3 }, Span { start: 4, len: 7 }];
        let origin = Arc::new(Origin::text("x.csv".into(), text, 100, spans, b'\n'));
        origin.set_place(Place { first_record: 11, first_line: 21 });
        let location = origin.locate(1);
        let raw = Bytes::from(origin.raw(1).into_owned());
        let kept = Arc::new(Origin::kept(Arc::clone(origin.source()), raw, location.clone()));
        assert_eq!(kept.locate(0), location);
        assert_eq!((kept.raw(0), kept.raw_len(0)), (origin.raw(1), origin.raw_len(1)));
        assert_eq!(kept.len(), 1);
    }
}
