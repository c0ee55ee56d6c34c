//! Hidden names beside a destination, under which a run writes what is not yet published.
//!
//! A name is `.NAME.gristmill-RUN.tmp`, in the destination's own folder so that a rename publishes
//! it. Names are created exclusively: a link that somebody planted there is never followed. Their
//! owner holds a lock while it lives, so what a killed run left is told apart from what another
//! run is writing just now, and removed by the next run to the same destination.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gristmill_core::{Error, ErrorKind, Result};
use rustix::fs::OFlags;

const MARK: &str = ".gristmill-";
const END: &str = ".tmp";

/// Where a destination is, and what its hidden names start with.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    destination: PathBuf,
    folder: PathBuf,
    prefix: String,
}

/// A hidden file or folder of this run. Dropping it removes it, unless it was published.
#[derive(Debug)]
pub(crate) struct Hidden {
    path: PathBuf,
    published: bool,
    /// Held while the run lives; see the module's text.
    _lock: File,
    made: Folders,
}

/// Folders made for a destination, removed again if nothing was published in them.
#[derive(Debug, Default)]
struct Folders(Vec<PathBuf>);

impl Beside {
    pub(crate) fn new(destination: &Path) -> Result<Self> {
        let name = destination.file_name().ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                format!("`{}` does not name a file", destination.display()),
            )
        })?;
        let folder = match destination.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let prefix = format!(".{}{MARK}", short(&name.to_string_lossy()));
        Ok(Self { destination: destination.to_path_buf(), folder, prefix })
    }

    /// Creates the hidden file of a run, open for writing.
    pub(crate) fn file(&self, run: &str) -> Result<(File, Hidden)> {
        self.create(run, nothing, |path| {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .custom_flags(OFlags::NOFOLLOW.bits() as i32)
                .open(path)?;
            Ok((file.try_clone()?, file))
        })
    }

    /// Creates the hidden folder of a run. `before` is called for each killed run that left
    /// something, before that goes.
    pub(crate) fn folder(
        &self,
        run: &str,
        before: impl FnMut(&str, &Path) -> Result<()>,
    ) -> Result<Hidden> {
        let ((), hidden) = self.create(run, before, |path| {
            loop {
                fs::create_dir(path)?;
                match File::open(path) {
                    // Another run took it for a leftover, as in `create`.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    opened => return Ok(((), opened?)),
                }
            }
        })?;
        Ok(hidden)
    }

    fn create<T>(
        &self,
        run: &str,
        before: impl FnMut(&str, &Path) -> Result<()>,
        make: impl Fn(&Path) -> io::Result<(T, File)>,
    ) -> Result<(T, Hidden)> {
        let made = self.make_folder()?;
        self.clean(before)?;
        let path = self.folder.join(format!("{}{run}{END}", self.prefix));
        loop {
            let (thing, lock) = make(&path).map_err(|e| self.refused(&path, e))?;
            // Where locks are not supported nobody takes one, so nobody removes anything either.
            let _ = lock.lock();
            // Another run may have taken the name for a leftover before the lock was held.
            let links = lock.metadata().map(|metadata| metadata.nlink());
            if links.is_ok_and(|links| links > 0) {
                return Ok((thing, Hidden { path, published: false, _lock: lock, made }));
            }
        }
    }

    fn make_folder(&self) -> Result<Folders> {
        let missing: Vec<PathBuf> = self
            .folder
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .map(Path::to_path_buf)
            .collect();
        let made = Folders(missing);
        fs::create_dir_all(&self.folder).map_err(|e| {
            Error::io(format!("cannot create the folder `{}`", self.folder.display()), e)
                .hint("a part of the path is a file, or the folder above cannot be written to")
        })?;
        Ok(made)
    }

    /// Removes what killed runs left, and puts back a destination that one of them had put aside.
    fn clean(&self, mut before: impl FnMut(&str, &Path) -> Result<()>) -> Result<()> {
        for (name, path) in self.names()? {
            let run = name[self.prefix.len()..].strip_suffix(END);
            // Nobody else takes it away meanwhile.
            if let Some(run) = run
                && let Some(_lock) = dead(&path)
            {
                before(run, &path)?;
                remove(&path);
            }
        }
        for (name, path) in self.names()? {
            if let Some(database) = name.strip_suffix("-journal") {
                if !self.folder.join(database).exists() {
                    remove(&path); // of a SQLite database that was never published
                }
            } else if name.ends_with(ASIDE) {
                if fs::symlink_metadata(&self.destination).is_ok() {
                    remove(&path);
                } else {
                    let _ = fs::rename(&path, &self.destination);
                }
            }
        }
        Ok(())
    }

    /// Whether there is something hidden of a run.
    pub(crate) fn has(&self, run: &str) -> bool {
        fs::symlink_metadata(self.folder.join(format!("{}{run}{END}", self.prefix))).is_ok()
    }

    /// The names of all runs beside the destination. None where there is no folder yet.
    fn names(&self) -> Result<Vec<(String, PathBuf)>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                let message = format!("cannot list the folder `{}`", self.folder.display());
                return Err(Error::io(message, e));
            }
        };
        let named = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.starts_with(&self.prefix).then(|| (name, entry.path()))
        });
        Ok(named.collect())
    }

    fn refused(&self, path: &Path, error: io::Error) -> Error {
        let destination = self.destination.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Error::new(
                ErrorKind::Destination,
                format!("`{destination}` is being written by this run already"),
            )
            .hint(format!(
                "two destinations need two paths; if there is only one, remove `{}`",
                path.display()
            )),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Error::io(format!("cannot write `{destination}`"), error).hint(format!(
                    "the folder `{}` must be writable: files are written there under a hidden name and renamed",
                    self.folder.display()
                ))
            }
            _ => Error::io(format!("cannot write `{destination}`"), error),
        }
    }
}

impl Hidden {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the destination's place. A link there is replaced, not followed.
    pub(crate) fn replace_file(&mut self, destination: &Path) -> Result<()> {
        fs::rename(&self.path, destination)
            .map_err(|e| Error::io(format!("cannot publish `{}`", destination.display()), e))?;
        self.published(destination);
        Ok(())
    }

    /// Takes a name that is free.
    ///
    /// # Errors
    /// [`ErrorKind::Destination`] when something has taken it meanwhile.
    pub(crate) fn become_new(&mut self, destination: &Path) -> Result<()> {
        let publish = || format!("cannot publish `{}`", destination.display());
        match rename_new(&self.path, destination) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::new(ErrorKind::Destination, publish())
                    .caused_by(e)
                    .hint("another program created it during the run; run again"));
            }
            Err(e) => return Err(Error::io(publish(), e)),
        }
        self.published(destination);
        Ok(())
    }

    /// Takes the place of a folder, which readers see before or after but never without.
    /// Where the file system cannot exchange two names, there is an instant without.
    pub(crate) fn replace_folder(&mut self, destination: &Path) -> Result<()> {
        self.replace_folder_by(exchange, destination)
    }

    fn replace_folder_by(
        &mut self,
        exchange: fn(&Path, &Path) -> io::Result<()>,
        destination: &Path,
    ) -> Result<()> {
        let publish = |e| Error::io(format!("cannot publish `{}`", destination.display()), e);
        if fs::symlink_metadata(destination).is_err() {
            fs::rename(&self.path, destination).map_err(publish)?;
        } else if exchange(&self.path, destination).is_ok() {
            remove(&self.path); // what was there before
        } else {
            let aside = self.path.with_extension(&ASIDE[1..]);
            fs::rename(destination, &aside).map_err(publish)?;
            if let Err(e) = fs::rename(&self.path, destination) {
                let _ = fs::rename(&aside, destination);
                return Err(publish(e));
            }
            remove(&aside);
        }
        self.published(destination);
        Ok(())
    }

    /// Takes the place of no folder, or of an empty one; answers whether it could, or whether
    /// something is there already.
    pub(crate) fn become_folder(&mut self, destination: &Path) -> Result<bool> {
        match fs::rename(&self.path, destination) {
            Ok(()) => {
                self.published(destination);
                Ok(true)
            }
            Err(_) if fs::symlink_metadata(destination).is_ok() => Ok(false),
            Err(e) => Err(Error::io(format!("cannot publish `{}`", destination.display()), e)),
        }
    }

    /// Says, in one step, that all that was in it is where it belongs.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let done = self.path.with_extension("done.tmp");
        fs::rename(&self.path, &done)?;
        self.path = done; // goes with it
        self.keep_folders();
        let _ = sync_parent(&self.path);
        Ok(())
    }

    /// Leaves it for the next run.
    pub(crate) fn leave(&mut self) {
        self.published = true;
    }

    fn keep_folders(&mut self) {
        self.made.0.clear();
    }

    fn published(&mut self, destination: &Path) {
        self.published = true;
        self.keep_folders();
        // It is shown by now, and a failure to flush the name does not hide it again.
        let _ = sync_parent(destination);
    }
}

const ASIDE: &str = ".old";

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.published {
            remove(&self.path);
        }
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder); // only while empty
        }
    }
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(io::Error::from)
}

/// Renames a file, unless the new name is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) => {
            // Not every file system can; on most of those a second name can be made.
            fs::hard_link(from, to)?;
            let _ = fs::remove_file(from); // what is left is removed by the next run
            Ok(())
        }
        done => done,
    }
}

/// The lock of what a run made that is gone. When in doubt, it is not.
fn dead(path: &Path) -> Option<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.try_lock().ok()?;
    // Another run may have removed it before the lock was held.
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0).then_some(file)
}

fn remove(path: &Path) {
    let _ = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
}

/// For what a killed run left that only has to go.
pub(crate) fn nothing(_: &str, _: &Path) -> Result<()> {
    Ok(())
}

/// Makes the names in a path's folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    sync(folder)
}

/// Makes a file, or the names in a folder, durable.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let flushed = File::open(path).and_then(|file| file.sync_all());
    match flushed {
        Err(e) if e.kind() != io::ErrorKind::InvalidInput => {
            Err(Error::io(format!("cannot flush `{}` to the disk", path.display()), e))
        }
        _ => Ok(()), // some file systems cannot flush a folder
    }
}

/// A name that leaves room for a run's id: names have at most 255 bytes.
fn short(name: &str) -> String {
    const ROOM: usize = 120;
    if name.len() <= ROOM {
        return name.to_owned();
    }
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3) // FNV-1a
    });
    let cut = (0..=ROOM).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
    format!("{}~{hash:016x}", &name[..cut])
}

/// Whether a name is one that a run wrote under, here or for another destination.
pub(crate) fn is_hidden(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') && name.contains(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_dead_runs_go_and_those_of_live_runs_stay() {
        let folder = tempfile::tempdir().unwrap();
        let beside = Beside::new(&folder.path().join("out.csv")).unwrap();
        let dead = folder.path().join(".out.csv.gristmill-0.tmp");
        let dead_folder = folder.path().join(".out.csv.gristmill-1.tmp");
        let other = folder.path().join(".other.csv.gristmill-0.tmp");
        fs::write(&dead, "half").unwrap();
        fs::create_dir_all(dead_folder.join("a=1")).unwrap();
        fs::write(&other, "half").unwrap();
        let (_, live) = beside.file("2").unwrap();
        assert!(!dead.exists() && !dead_folder.exists() && other.exists());
        let (_, next) = beside.file("3").unwrap();
        assert!(live.path().exists() && next.path().exists());
        drop(live);
        assert!(!folder.path().join(".out.csv.gristmill-2.tmp").exists());
    }

    #[test]
    fn a_folder_put_aside_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("out");
        let aside = folder.path().join(".out.gristmill-0.old");
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("part-00000.csv"), "old").unwrap();
        drop(Beside::new(&destination).unwrap().folder("1", nothing).unwrap());
        assert!(destination.join("part-00000.csv").exists() && !aside.exists());
    }

    #[test]
    fn a_folder_is_replaced_where_names_cannot_be_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("out");
        for n in ["old", "new"] {
            let mut hidden = Beside::new(&destination).unwrap().folder(n, nothing).unwrap();
            fs::write(hidden.path().join(n), n).unwrap();
            let cannot = |_: &Path, _: &Path| Err(io::ErrorKind::Unsupported.into());
            hidden.replace_folder_by(cannot, &destination).unwrap();
        }
        assert!(destination.join("new").exists() && !destination.join("old").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_made_for_nothing_go_again() {
        let folder = tempfile::tempdir().unwrap();
        let beside = Beside::new(&folder.path().join("a/b/out.csv")).unwrap();
        let (_, hidden) = beside.file("1").unwrap();
        assert!(folder.path().join("a/b").exists());
        drop(hidden);
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let planted = folder.path().join(".out.csv.gristmill-1.tmp");
        std::os::unix::fs::symlink(&victim, &planted).unwrap();
        let beside = Beside::new(&folder.path().join("out.csv")).unwrap();
        assert!(beside.file("1").is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn long_names_fit() {
        let folder = tempfile::tempdir().unwrap();
        let name = "ü".repeat(124) + ".csv";
        let beside = Beside::new(&folder.path().join(name)).unwrap();
        assert!(beside.file("0193b1f2-0000-7000-8000-000000000000").is_ok());
    }
}
