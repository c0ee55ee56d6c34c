//! What the whole-command tests share: a folder of their own, and the command run in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The command's executable: the one that `GRISTMILL_BINARY` names, else the one beside the test's
/// own. `cargo xtask test` builds it.
///
/// # Panics
/// When it is not there.
pub fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("GRISTMILL_BINARY") {
        return binary.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let binary = folder.join("gristmill");
    assert!(binary.exists(), "{} is missing: run `cargo build -p gristmill-cli`", binary.display());
    binary
}

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A folder that goes away with the test.
pub struct Sandbox {
    folder: TempDir,
    /// Temporary files of the command: a run that is killed leaves some for the next run.
    temporary: TempDir,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty folder.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a temporary folder can be made");
        Self { folder: folder(), temporary: folder() }
    }

    /// A copy of a folder of the workspace, for example `examples/funds`.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy(folder: &str) -> Self {
        let sandbox = Self::new();
        copy(&root().join(folder), sandbox.path());
        sandbox
    }

    /// Adds a copy of a folder of the workspace, under its own path.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn add(&self, folder: &str) {
        copy(&root().join(folder), &self.path().join(folder));
    }

    /// Where the command's temporary files are.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with its folders.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("a folder can be made");
        }
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let path = self.path().join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The text of a file.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
    }

    /// A file as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).expect("the file is JSON")
    }

    /// A file as one JSON value a line.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn json_lines(&self, name: &str) -> Vec<Value> {
        let text = self.text(name);
        text.lines().map(|line| serde_json::from_str(line).expect("the line is JSON")).collect()
    }

    /// All files below the folder, relative to it, in order. The ledger is left out.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.path(), self.path(), &mut found);
        found.sort();
        found
    }

    /// The command, ready to be run in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.path()).args(arguments);
        command.env("TMPDIR", self.temporary.path());
        // What is shown does not depend on the terminal or the person.
        command.env("NO_COLOR", "1").env("LC_ALL", "C").env("TZ", "UTC");
        command.env_remove("COLUMNS").env_remove("RUST_BACKTRACE").env_remove("RUST_LOG");
        command
    }

    /// Runs the command in the folder.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).stdin(Stdio::null()).output();
        self.ran(output.expect("the command starts"))
    }

    /// Runs the command with this standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn pipe(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child: Child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input); // the command may have ended before it read everything
        });
        let output = child.wait_with_output().expect("the command ends");
        let _ = writer.join();
        self.ran(output)
    }

    fn ran(&self, output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let name = entry.file_name();
        if name == "out" || name == ".gristmill" {
            continue;
        }
        let target = to.join(&name);
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != ".gristmill" {
                list(root, &path, found);
            }
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.push(relative.display().to_string());
        }
    }
}
