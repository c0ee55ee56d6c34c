//! The binary, as a user runs it: on the examples, on dirt, on mistakes, and killed half-way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod books;
mod convert;
mod crash;
mod dedupe;
mod dirt;
mod documents;
mod exactly_once;
mod examples;
mod failures;
mod memory;
mod mistakes;
mod mysql;
mod operations;
mod postgres;
mod same;
mod secrets;
mod tables;

use gristmill_tests::{Ran, Sandbox};

/// What a command wrote, with everything that differs from run to run replaced.
fn shown(sandbox: &Sandbox, ran: &Ran) -> String {
    let code = ran.code.map_or("killed".to_owned(), |code| code.to_string());
    let mut text = format!("exit code: {code}\n");
    if !ran.stdout.is_empty() {
        text += &format!("--- stdout\n{}", ran.stdout);
    }
    if !ran.stderr.is_empty() {
        text += &format!("--- stderr\n{}", ran.stderr);
    }
    let path = sandbox.path().display().to_string();
    text.replace(&path, "[folder]")
}

/// Compares with a snapshot, run ids, times and speeds replaced.
macro_rules! assert_shown {
    ($sandbox:expr, $ran:expr, @$snapshot:literal) => {
        insta::with_settings!({filters => crate::filters()}, {
            insta::assert_snapshot!(crate::shown(&$sandbox, &$ran), @$snapshot);
        });
    };
    ($name:expr, $sandbox:expr, $ran:expr) => {
        insta::with_settings!({filters => crate::filters(), snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!($name, crate::shown(&$sandbox, &$ran));
        });
    };
}
pub(crate) use assert_shown;

fn filters() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"\d{8}T\d{6}(\.\d+)?-[0-9a-f]{6,}", "[run]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "[time]"),
        // A run that takes long says so every ten seconds.
        (r"(?m)^(\d+ (h|min) )*(\d+ min|[\d.]+ s): [\d,]+ records, .*\n", ""),
        (r"\bin (\d+ (h|min) )*(\d+ min|[\d.]+ s) \([^)]*\)", "in [time] ([speed])"),
        (r"\bin (\d+ (h|min) )*(\d+ min|[\d.]+ s)", "in [time]"),
        (r"(?m)\d+(\.\d+)? (kB|MB|B)$", "[size]"),
        (r"/tmp/[^ `/]*gristmill[^ `/]*", "[scratch]"),
    ]
}
