//! Progress: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::Duration;

use gristmill_pipeline::report::{bytes, duration, thousands};
use gristmill_pipeline::run::{Observer, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::arguments::Globals;

/// Between two plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Shows how far a run is.
pub(crate) enum Shown {
    Bar(ProgressBar),
    Lines(Mutex<Duration>),
    Nothing,
}

impl Shown {
    pub(crate) fn new(globals: &Globals) -> Self {
        if globals.quiet || globals.json {
            return Shown::Nothing;
        }
        if !stderr().is_terminal() {
            return Shown::Lines(Mutex::new(EVERY));
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
        let style = "{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Shown::Bar(bar)
    }

    /// Removes the bar, so that the summary stands alone.
    pub(crate) fn clear(&self) {
        if let Shown::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Shown {
    fn progress(&self, progress: &Progress) {
        match self {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_length(progress.total_bytes.unwrap_or(progress.bytes_read));
                bar.set_position(progress.bytes_read);
                bar.set_message(counts(progress));
            }
            Shown::Lines(next) => {
                let Ok(mut next) = next.lock() else { return };
                if progress.elapsed < *next {
                    return;
                }
                *next = progress.elapsed + EVERY;
                eprintln!("{}", line(progress));
            }
        }
    }
}

fn counts(progress: &Progress) -> String {
    let seconds = progress.elapsed.as_secs_f64().max(1e-9);
    let rate = thousands((progress.records as f64 / seconds) as u64);
    format!("{rate} records/s, {} rejected", thousands(progress.rejected))
}

fn line(progress: &Progress) -> String {
    let mut text = format!(
        "{}: {} records, {}",
        duration(progress.elapsed.as_secs_f64()),
        thousands(progress.records),
        counts(progress)
    );
    if let Some(total) = progress.total_bytes.filter(|total| *total > 0) {
        let share = progress.bytes_read as f64 / total as f64;
        let left = progress.elapsed.as_secs_f64() * (1.0 - share) / share.max(1e-9);
        text += &format!(
            ", {} of {} read, about {} left",
            bytes(progress.bytes_read),
            bytes(total),
            duration(left.max(0.0))
        );
    }
    text
}
