//! The staging file: a SQLite database that is written page by page.
//!
//! Workers lay rows out in pages; here the pages get their numbers and are appended in order, and
//! the inner nodes of the trees are written as their children fill up. The complete file is
//! attached to the connection, so that SQLite reads staged rows like those of any other table, and
//! copies them as they are where the destination allows. No other program ever sees the file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, linkat};
use tempfile::TempPath;

use super::Encoding;
use super::pages::{MAX_ROWS, PAGE, Pages, empty_leaf, fixed_varint};
use super::record::Record;

/// Children of an inner node, at most: a pointer of 2 bytes, a page number of 4 and a key each.
const FAN: usize = (PAGE - HEADER - INNER_HEADER) / 11 - 1;
const INNER_HEADER: usize = 12;
/// Bytes of the file's header, on the first page.
const HEADER: usize = 100;
/// The page with the byte at which SQLite locks: it holds nothing, in any database.
const LOCK_PAGE: u32 = 0x4000_0000 / PAGE as u32 + 1;

pub(crate) struct Image {
    /// Without a name, so that nothing is left of it when the run is killed.
    file: File,
    /// The folder where it gets a name while SQLite opens it.
    scratch: PathBuf,
    encoding: Encoding,
    /// Children of an inner node, at most; three or more.
    fan: usize,
    /// Number of the next page.
    next: u32,
    trees: Vec<Tree>,
}

struct Tree {
    name: String,
    sql: String,
    rows: u64,
    /// Page and last row of the nodes that have no parent yet, by their height.
    levels: Vec<Vec<(u32, u64)>>,
}

impl Image {
    pub(crate) fn new(encoding: Encoding, scratch: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(scratch)?;
        Ok(Self {
            file,
            scratch: scratch.to_owned(),
            encoding,
            fan: FAN,
            next: 2,
            trees: Vec::new(),
        })
    }

    /// Adds a table, and answers what it is called by in [`Self::append`].
    pub(crate) fn add(&mut self, name: String, sql: String) -> usize {
        self.trees.push(Tree { name, sql, rows: 0, levels: Vec::new() });
        self.trees.len() - 1
    }

    /// Appends rows to a table.
    pub(crate) fn append(&mut self, table: usize, mut pages: Pages) -> io::Result<()> {
        pages.close();
        let first = self.trees[table].rows + 1;
        if first + pages.rows() > MAX_ROWS {
            return Err(io::Error::other("the load has too many records"));
        }
        self.trees[table].rows += pages.rows();
        let base = self.next;
        let number = |page: u32| {
            let number = base + page;
            if base <= LOCK_PAGE && number >= LOCK_PAGE { number + 1 } else { number }
        };
        let placed = pages.place(first, number);
        for (from, page) in self.take(pages.len())? {
            let bytes = &pages.bytes()[from.start * PAGE..from.end * PAGE];
            self.write(page, bytes)?;
        }
        for node in placed {
            self.grow(table, 0, node)?;
        }
        Ok(())
    }

    fn take_one(&mut self) -> io::Result<u32> {
        let taken = self.take(1)?;
        taken.last().map(|(_, number)| *number).ok_or_else(|| io::Error::other("no page"))
    }

    /// Takes page numbers: which of the pages go to consecutive ones from where.
    fn take(&mut self, pages: usize) -> io::Result<Vec<(std::ops::Range<usize>, u32)>> {
        let full = || io::Error::other("the load is too large");
        let base = self.next;
        let count = u32::try_from(pages).map_err(|_| full())?;
        let before = LOCK_PAGE.saturating_sub(base).min(count);
        let crosses = base <= LOCK_PAGE && before < count;
        self.next = base.checked_add(count + u32::from(crosses)).ok_or_else(full)?;
        let (before, all) = (before as usize, 0..pages);
        Ok(if crosses {
            vec![(0..before, base), (before..pages, LOCK_PAGE + 1)]
        } else {
            vec![(all, base)]
        })
    }

    fn write(&self, page: u32, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, u64::from(page - 1) * PAGE as u64)
    }

    /// Adds a node to its level, and writes parents while there are children enough.
    fn grow(&mut self, table: usize, height: usize, node: (u32, u64)) -> io::Result<()> {
        let fan = self.fan;
        let levels = &mut self.trees[table].levels;
        if levels.len() == height {
            levels.push(Vec::new());
        }
        levels[height].push(node);
        // Enough must stay for another parent.
        if levels[height].len() < 2 * fan {
            return Ok(());
        }
        let children: Vec<_> = levels[height].drain(..fan).collect();
        let parent = self.inner(&children)?;
        self.grow(table, height + 1, parent)
    }

    /// Writes a node with these children.
    fn inner(&mut self, children: &[(u32, u64)]) -> io::Result<(u32, u64)> {
        let mut page = vec![0; PAGE];
        fill_inner(&mut page, 0, children);
        let number = self.take_one()?;
        self.write(number, &page)?;
        Ok((number, children.last().map_or(0, |(_, last)| *last)))
    }

    /// Writes the nodes that are left of a table, and answers its root.
    fn root(&mut self, table: usize) -> io::Result<u32> {
        if self.trees[table].rows == 0 {
            let number = self.take_one()?;
            self.write(number, &empty_leaf())?;
            return Ok(number);
        }
        let mut height = 0;
        loop {
            let nodes = std::mem::take(&mut self.trees[table].levels[height]);
            let top = self.trees[table].levels.len() == height + 1;
            if let (true, [(root, _)]) = (top, nodes.as_slice()) {
                return Ok(*root);
            }
            // Evenly, so that no parent has a single child.
            let parents = nodes.len().div_ceil(self.fan);
            for i in 0..parents {
                let children = &nodes[i * nodes.len() / parents..(i + 1) * nodes.len() / parents];
                let parent = self.inner(children)?;
                if self.trees[table].levels.len() == height + 1 {
                    self.trees[table].levels.push(Vec::new());
                }
                self.trees[table].levels[height + 1].push(parent);
            }
            height += 1;
        }
    }

    /// A name for the file, for as long as SQLite needs one to open it.
    pub(crate) fn name(&self) -> io::Result<TempPath> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("gristmill-").suffix(".stage");
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let linked = builder.make_in(&self.scratch, |path| {
            linkat(CWD, &link, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
        });
        if let Ok(linked) = linked {
            return Ok(linked.into_temp_path());
        }
        // Where a file without a name cannot get one, a copy can.
        let mut copy = builder.tempfile_in(&self.scratch)?;
        let mut file = &self.file;
        io::Seek::rewind(&mut file)?;
        io::copy(&mut file, copy.as_file_mut())?;
        Ok(copy.into_temp_path())
    }

    /// Completes the file. Nothing can be appended any more.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        let mut schema = Pages::default();
        for table in 0..self.trees.len() {
            let root = self.root(table)?;
            let tree = &self.trees[table];
            let mut record = Record::new(self.encoding);
            record.text(b"table");
            record.text(tree.name.as_bytes());
            record.text(tree.name.as_bytes());
            record.int(i64::from(root));
            record.text(tree.sql.as_bytes());
            schema.push(&record);
        }
        let table = self.add("sqlite_schema".to_owned(), String::new());
        self.append(table, schema)?;
        let leaves = self.trees[table].levels.first().cloned().unwrap_or_default();
        let mut page = vec![0; PAGE];
        // The first page is the only inner node that may have a single child.
        fill_inner(&mut page, HEADER, &leaves);
        page[..HEADER].copy_from_slice(&self.header());
        self.write(1, &page)?;
        Ok(())
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let mut put = |at: usize, number: u32| {
            header[at..at + 4].copy_from_slice(&number.to_be_bytes());
        };
        put(24, 1); // changes of the file
        put(28, self.next - 1); // pages
        put(40, 1); // changes of the schema
        put(44, 4); // its format
        put(56, self.encoding as u32);
        put(92, 1); // the change for which the number of pages holds
        put(96, 3_045_000); // the version of SQLite that it is written as
        header[..16].copy_from_slice(b"SQLite format 3\0");
        header[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
        header[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]);
        header
    }
}

/// Writes an inner node into a page, after a header of the file.
fn fill_inner(page: &mut [u8], start: usize, children: &[(u32, u64)]) {
    let Some(((right, _), others)) = children.split_last() else { return };
    let mut content = PAGE;
    for (i, (child, last)) in others.iter().enumerate() {
        let key = fixed_varint(*last);
        content -= 4 + key.len();
        page[content..content + 4].copy_from_slice(&child.to_be_bytes());
        page[content + 4..content + 4 + key.len()].copy_from_slice(&key);
        let pointer = start + INNER_HEADER + 2 * i;
        page[pointer..pointer + 2].copy_from_slice(&(content as u16).to_be_bytes());
    }
    page[start] = 5;
    page[start + 3..start + 5].copy_from_slice(&(others.len() as u16).to_be_bytes());
    page[start + 5..start + 7].copy_from_slice(&(content as u16).to_be_bytes());
    page[start + 8..start + 12].copy_from_slice(&right.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;
    use rusqlite::types::Value;

    use super::*;

    fn attach(image: &mut Image, encoding: &str) -> Connection {
        image.seal().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "encoding", encoding).unwrap();
        let path = image.name().unwrap();
        connection.execute("ATTACH ?1 AS stage", [path.to_string_lossy()]).unwrap();
        connection
    }

    fn rows(connection: &Connection, table: &str) -> Vec<(i64, Value, Value)> {
        let sql = format!("SELECT rowid, a, b FROM stage.{table}");
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn put(record: &mut Record, value: &Value) {
        match value {
            Value::Null => record.null(),
            Value::Integer(number) => record.int(*number),
            Value::Real(number) => record.real(*number),
            Value::Text(text) => record.text(text.as_bytes()),
            Value::Blob(bytes) => record.blob(bytes),
        }
    }

    fn append(image: &mut Image, table: usize, values: &[(Value, Value)]) {
        let mut pages = Pages::default();
        let mut record = Record::new(image.encoding);
        for (a, b) in values {
            record.clear();
            put(&mut record, a);
            put(&mut record, b);
            pages.push(&record);
        }
        image.append(table, pages).unwrap();
    }

    fn value() -> impl Strategy<Value = Value> {
        let number = (any::<i64>(), 0..64u32).prop_map(|(n, shift)| Value::Integer(n >> shift));
        let real = any::<f64>().prop_filter("SQLite has no NaN", |n| !n.is_nan());
        // Around the lengths at which a row leaves its page, and at which a length grows.
        let long = prop_oneof![0..300usize, 16_200..16_500usize, 30_000..70_000usize];
        prop_oneof![
            1 => Just(Value::Null),
            4 => number,
            2 => real.prop_map(|n| Value::Real(n + 0.0)),
            4 => ".{0,30}".prop_map(Value::Text),
            1 => long.prop_map(|length| Value::Blob(vec![7; length])),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn sqlite_reads_what_was_written(
            chunks in prop::collection::vec(prop::collection::vec((value(), value()), 0..60), 0..6),
            fan in 3..6usize,
            encoding in 0..3usize,
        ) {
            let encodings = [
                (Encoding::Utf8, "UTF-8"),
                (Encoding::Utf16Le, "UTF-16le"),
                (Encoding::Utf16Be, "UTF-16be"),
            ];
            let (encoding, name) = encodings[encoding];
            let mut image = Image { fan, ..Image::new(encoding, &std::env::temp_dir()).unwrap() };
            let one = image.add("one".to_owned(), "CREATE TABLE one(a, b)".to_owned());
            let two = image.add("two".to_owned(), "CREATE TABLE two(a, b)".to_owned());
            for chunk in &chunks {
                append(&mut image, one, chunk);
                append(&mut image, two, &chunk[..chunk.len() / 2]);
            }
            let connection = attach(&mut image, name);
            let check: String =
                connection.query_row("PRAGMA stage.integrity_check", [], |row| row.get(0)).unwrap();
            prop_assert_eq!(check, "ok");
            let numbered = |values: Vec<(Value, Value)>| -> Vec<(i64, Value, Value)> {
                (1..).zip(values).map(|(n, (a, b))| (n, a, b)).collect()
            };
            prop_assert_eq!(rows(&connection, "one"), numbered(chunks.concat()));
            let halves: Vec<_> = chunks.iter().flat_map(|chunk| &chunk[..chunk.len() / 2]).cloned().collect();
            prop_assert_eq!(rows(&connection, "two"), numbered(halves));
            // Trees are searched as well as walked.
            let sql = "SELECT b FROM stage.one WHERE rowid = ?1";
            for (n, (_, b)) in (1..).zip(chunks.concat()) {
                let found: Value = connection.prepare_cached(sql).unwrap().query_row([n], |row| row.get(0)).unwrap();
                prop_assert_eq!(found, b);
            }
        }
    }

    #[test]
    fn the_page_that_sqlite_locks_stays_empty() {
        for before in 0..6 {
            let mut image =
                Image { fan: 3, ..Image::new(Encoding::Utf8, &std::env::temp_dir()).unwrap() };
            image.next = LOCK_PAGE - before; // the file has a hole up to there
            let table = image.add("t".to_owned(), "CREATE TABLE t(a, b)".to_owned());
            let value = |n: i64| (Value::Integer(n), Value::Blob(vec![n as u8; 20_000]));
            let values: Vec<_> = (1..4).map(value).collect();
            append(&mut image, table, &values);
            append(&mut image, table, &values);
            let connection = attach(&mut image, "UTF-8");
            let expected: Vec<_> =
                (1..).zip([&values[..], &values].concat()).map(|(n, (a, b))| (n, a, b)).collect();
            assert_eq!(rows(&connection, "t"), expected, "{before}");
            let mut locked = vec![1; PAGE];
            let read = image.file.read_at(&mut locked, u64::from(LOCK_PAGE - 1) * PAGE as u64);
            assert!(locked[..read.unwrap()].iter().all(|byte| *byte == 0), "{before}");
        }
    }
}
