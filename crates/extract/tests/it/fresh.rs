//! Files that are read once, and again when they change.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gristmill_core::registry::Range;
use serde_json::{Value, json};

use crate::support::Folder;

/// What runs one after the other read of a folder.
struct Drop {
    folder: Folder,
    read: &'static str,
    bookmarks: std::collections::BTreeMap<String, Value>,
}

impl Drop {
    fn new(read: &'static str) -> Self {
        let folder = Folder::new(&[("in/a.csv", "id\n1\n2\n"), ("in/b.csv", "id\n3\n")]);
        Self { folder, read, bookmarks: Default::default() }
    }

    fn range(&self, range: Range) -> (Vec<String>, Vec<(String, Value)>) {
        let item = json!({"file": "in/*.csv", "read": self.read});
        let (read, left) = self.folder.read_range(item, range).unwrap();
        assert_eq!(read.names(), ["id"]);
        (read.column("id"), left)
    }

    /// The ids that the next run reads; it publishes.
    fn run(&mut self) -> Vec<String> {
        let (ids, left) = self.range(Range::New(Arc::new(self.bookmarks.clone())));
        self.bookmarks.extend(left);
        ids
    }

    fn touch(&self, name: &str, seconds: u64) {
        let file = File::options().write(true).open(self.folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
}

#[test]
fn a_file_is_read_when_it_is_new_or_changed() {
    let mut drop = Drop::new("new_or_changed");
    drop.touch("in/a.csv", 1000);
    assert_eq!(drop.run(), ["1", "2", "3"]);
    assert_eq!(drop.run(), [] as [&str; 0]);
    drop.folder.write("in/c.csv", b"id\n4\n");
    // Another size, and the same size at another time.
    drop.folder.write("in/b.csv", b"id\n3\n5\n");
    assert_eq!(drop.run(), ["3", "5", "4"]);
    drop.touch("in/a.csv", 1001);
    assert_eq!(drop.run(), ["1", "2"]);
    assert_eq!(drop.run(), [] as [&str; 0]);
    let known: Vec<_> = drop.bookmarks.keys().map(String::as_str).collect();
    assert_eq!(known, ["in/a.csv", "in/b.csv", "in/c.csv"]);
    assert_eq!(
        drop.bookmarks["in/a.csv"],
        json!({"size": 7, "modified": "1970-01-01T00:16:41.000000000Z"})
    );
}

#[test]
fn a_file_that_was_only_touched_has_no_new_content() {
    let mut drop = Drop::new("new_content");
    drop.touch("in/a.csv", 1000);
    assert_eq!(drop.run(), ["1", "2", "3"]);
    drop.touch("in/a.csv", 1001);
    assert_eq!(drop.run(), [] as [&str; 0]);
    // What it looks like now is known, so that it need not be hashed again.
    assert_eq!(drop.bookmarks["in/a.csv"]["modified"], "1970-01-01T00:16:41.000000000Z");
    drop.folder.write("in/a.csv", b"id\n1\n9\n");
    drop.touch("in/a.csv", 1002);
    assert_eq!(drop.run(), ["1", "9"]);
    assert_eq!(drop.run(), [] as [&str; 0]);
}

#[test]
fn a_range_of_names_is_read_again_and_leaves_no_bookmark() {
    let mut drop = Drop::new("new_or_changed");
    drop.run();
    let between = |from: Option<&str>, to: Option<&str>| Range::Between {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    assert_eq!(drop.range(between(Some("in/b"), None)), (vec!["3".to_owned()], vec![]));
    assert_eq!(drop.range(between(None, Some("in/b"))).0, ["1", "2"]);
    assert_eq!(drop.range(between(Some("in/x"), None)).0, [] as [&str; 0]);
}

#[test]
fn what_a_run_read_can_be_read_again_where_it_is_still_the_same() {
    let mut drop = Drop::new("new_content");
    drop.touch("in/a.csv", 1000);
    drop.run();
    let after = Arc::new(drop.bookmarks.clone());
    // Read: one that is new, one that is another, one that will go. Not read: one that was touched.
    drop.touch("in/a.csv", 1001);
    for (name, text) in [("b", "id\n3\n5\n"), ("c", "id\n6\n"), ("d", "id\n7\n"), ("e", "id\n8\n")]
    {
        drop.folder.write(&format!("in/{name}.csv"), text.as_bytes());
    }
    assert_eq!(drop.run(), ["3", "5", "6", "7", "8"]);
    let until = Arc::new(drop.bookmarks.clone());
    drop.touch("in/b.csv", 2000);
    drop.folder.write("in/c.csv", b"id\n6\n60\n");
    std::fs::remove_file(drop.folder.path().join("in/d.csv")).unwrap();
    drop.folder.write("in/f.csv", b"id\n9\n");
    let range = Range::Again { after, until };
    let item = json!({"file": "in/*.csv", "read": drop.read});
    let (read, left) = drop.folder.read_range(item, range).unwrap();
    assert_eq!((read.column("id"), left), (["3", "5", "8"].map(str::to_owned).to_vec(), vec![]));
    let lost =
        "what was read of `in/c.csv`, `in/d.csv` is not there any more: changed since, or gone";
    assert_eq!(read.notes, [lost]);
}

#[test]
fn what_was_read_is_no_part_of_what_is_to_come() {
    let mut drop = Drop::new("new_or_changed");
    drop.run();
    // Old files with other columns are in nobody's way.
    drop.folder.write("in/c.csv", b"number\n4\n");
    let item = json!({"file": "in/*.csv", "read": "new_or_changed"});
    let range = Range::New(Arc::new(drop.bookmarks.clone()));
    let (read, _) = drop.folder.read_range(item, range).unwrap();
    assert_eq!((read.names(), read.column("number")), (vec!["number"], vec!["4".to_owned()]));
    assert_eq!(read.notes, ["`in/*.csv`: 1 of 3 files are new or changed"]);
}
