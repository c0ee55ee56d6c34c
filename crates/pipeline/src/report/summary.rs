//! The report as a person reads it.

use std::fmt::Write;
use std::path::Path;

use gristmill_core::Gravity;

use super::{Report, Status};

/// Reasons shown before the rest is only counted.
const SHOWN: usize = 12;

/// The report as plain text of a few lines: what was read, loaded, filtered and rejected, why, how
/// fast, and where everything is.
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    headline(&mut out, report);
    if report.read > 0 || has_loaded(report) {
        let _ = writeln!(out);
        records(&mut out, report);
        destinations(&mut out, report);
        reasons(&mut out, report);
        checks(&mut out, report);
        if !report.folder.as_os_str().is_empty() && report.folder != Path::new(".") {
            let _ = writeln!(out, "\n  paths are relative to {}", report.folder.display());
        }
    }
    if !report.notes.is_empty() {
        let _ = writeln!(out);
    }
    for note in &report.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}

fn headline(out: &mut String, report: &Report) {
    let what = match report.status {
        Status::Published => "published",
        Status::Planned => "planned, nothing published",
        Status::Failed if report.destinations.iter().any(|destination| destination.published) => {
            "failed, not all published"
        }
        Status::Failed => "failed, nothing published",
        Status::Stopped => "stopped, nothing published",
        Status::Invalid => "not run",
        Status::Interrupted => "interrupted, nothing published",
    };
    let seconds = report.seconds;
    let _ = write!(out, "{}: {what} in {}", report.pipeline, duration(seconds));
    if report.read > 0 && seconds > 0.0 {
        let rate = (report.read as f64 / seconds) as u64;
        let bytes = bytes((report.bytes_read as f64 / seconds) as u64);
        let workers = report.workers;
        let s = if workers == 1 { "" } else { "s" };
        let _ = write!(out, " ({} records/s, {bytes}/s, {workers} worker{s})", thousands(rate));
    }
    let _ = writeln!(out);
}

fn records(out: &mut String, report: &Report) {
    let account = &report.account;
    let sources = match report.sources.as_slice() {
        [] => String::new(),
        [one] => format!("{} from {}", bytes(report.bytes_read), one.name),
        many => format!("{} from {} files", bytes(report.bytes_read), many.len()),
    };
    line(out, "read", report.read, &sources);
    if report.steps.iter().any(|step| step.name == "explode") && account.read != report.read {
        line(out, "rows made", account.read, "");
    }
    for step in report.steps.iter().filter(|step| step.name != "explode") {
        let went = step.filtered + step.deduplicated + step.rejected;
        let (given, made) = (step.metrics.records_in, step.metrics.records_out);
        if given != made + went {
            line(out, &step.name, made, &format!("of {} records", thousands(given - went)));
        }
    }
    // The account is that of the first destination, which may get a part of the records.
    let split = report
        .destinations
        .first()
        .filter(|first| report.destinations.len() > 1 && first.account.filtered > 0);
    if account.filtered > 0 {
        let elsewhere = split.map(|first| match first.account.filtered {
            all if all == account.filtered => format!("by the `where` of {}", first.name),
            some => format!("{} by the `where` of {}", thousands(some), first.name),
        });
        line(out, "filtered", account.filtered, &elsewhere.unwrap_or_default());
    }
    if account.deduplicated > 0 {
        line(out, "deduplicated", account.deduplicated, "");
    }
    let share = report.rejected as f64 / report.read.max(1) as f64 * 100.0;
    let mut where_to = if report.rejected > 0 { format!("{share:.2}%") } else { String::new() };
    if let (Some(path), true) = (&report.rejects_file, report.rejected > 0) {
        let path = path.strip_prefix(&report.folder).unwrap_or(path);
        let _ = write!(where_to, ", in {}", path.display());
    }
    line(out, "rejected", report.rejected, &where_to);
    if has_loaded(report) {
        if account.unchanged > 0 {
            line(out, "unchanged", account.unchanged, "");
        }
        let mut changed = if account.updated + account.closed > 0 {
            format!("{} inserted, {} updated", account.inserted, account.updated + account.closed)
        } else {
            String::new()
        };
        if let Some(first) = split {
            let comma = if changed.is_empty() { "" } else { ", " };
            changed = format!("into {}{comma}{changed}", first.name);
        }
        let loaded = if report.status == Status::Planned { "would load" } else { "loaded" };
        line(out, loaded, account.loaded(), &changed);
    }
}

fn destinations(out: &mut String, report: &Report) {
    if !has_loaded(report) {
        return;
    }
    let _ = writeln!(out);
    for destination in &report.destinations {
        let account = &destination.account;
        let mut parts = vec![records_of(account.loaded())];
        if account.unchanged > 0 {
            parts.push(format!("{} unchanged", thousands(account.unchanged)));
        }
        if destination.retired > 0 {
            parts.push(format!("{} retired", thousands(destination.retired)));
        }
        if account.rejected > 0 {
            parts.push(format!("{} refused", thousands(account.rejected)));
        }
        if destination.files.len() > 1 {
            parts.push(format!("{} files", destination.files.len()));
        }
        if destination.bytes > 0 {
            parts.push(bytes(destination.bytes));
        }
        let _ = writeln!(out, "  -> {}: {}", destination.name, parts.join(", "));
        let Some(preview) = &destination.preview else { continue };
        for (column, rows) in &preview.columns {
            let s = if *rows == 1 { "" } else { "s" };
            let _ = writeln!(out, "     {column} changes in {} row{s}", thousands(*rows));
        }
        for sample in &preview.samples {
            let _ = writeln!(out, "     e.g. {}", one_line(sample));
        }
    }
}

/// Whether the account of destinations is that of a load, done or planned.
fn has_loaded(report: &Report) -> bool {
    matches!(report.status, Status::Published | Status::Planned)
}

fn reasons(out: &mut String, report: &Report) {
    if !report.rejected_by.is_empty() {
        let _ = writeln!(out, "\n  rejected because");
        for tally in report.rejected_by.iter().take(SHOWN) {
            let field = tally.field.as_deref().unwrap_or("record");
            let at = match tally.line {
                Some(line) => format!("{}:{line}", tally.source),
                None => format!("{} record {}", tally.source, tally.record),
            };
            let message = one_line(&tally.example);
            let count = thousands(tally.records);
            let _ = writeln!(out, "  {count:>11}  {field} {}: {message} ({at})", tally.rule);
        }
        if let Some(rest) = report.rejected_by.get(SHOWN..).filter(|rest| !rest.is_empty()) {
            let _ = writeln!(out, "  {:>11}  more reasons in the report", rest.len());
        }
    }
    if !report.warnings.is_empty() {
        let _ = writeln!(out, "\n  warnings");
        for warning in report.warnings.iter().take(SHOWN) {
            let field = if warning.field.is_empty() { "record" } else { &warning.field };
            let message = one_line(&warning.example);
            let count = thousands(warning.records);
            let _ = writeln!(out, "  {count:>11}  {field} {}: {message}", warning.rule);
        }
    }
}

fn checks(out: &mut String, report: &Report) {
    if report.checks.is_empty() {
        return;
    }
    let passed = report.checks.iter().filter(|check| check.passed).count();
    let _ = writeln!(out, "\n  {passed} of {} checks passed", report.checks.len());
    let failed = || report.checks.iter().filter(|check| !check.passed);
    for check in failed().take(SHOWN) {
        let word = match check.severity {
            Gravity::Error => "failed",
            Gravity::Warn => "warning",
        };
        let message = check.message.as_deref().unwrap_or(&check.name);
        let _ = writeln!(out, "  {word:>11}  {}", one_line(message));
    }
    if failed().count() > SHOWN {
        let _ = writeln!(out, "  {:>11}  more in the report", failed().count() - SHOWN);
    }
}

fn line(out: &mut String, name: &str, count: u64, rest: &str) {
    let text = format!("  {name:<12} {:>15}  {}", thousands(count), rest.trim());
    let _ = writeln!(out, "{}", text.trim_end());
}

fn one_line(message: &str) -> String {
    const WIDTH: usize = 120;
    let flat: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if flat.chars().count() <= WIDTH {
        return flat;
    }
    let cut: String = flat.chars().take(WIDTH - 1).collect();
    format!("{cut}…")
}

/// `1 record`, `2,010 records`.
pub fn records_of(number: u64) -> String {
    format!("{} record{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in decimal units: `906 MB`.
pub fn bytes(number: u64) -> String {
    for (unit, name) in [(1_000_000_000u64, "GB"), (1_000_000, "MB"), (1_000, "kB")] {
        if number >= unit {
            let amount = number as f64 / unit as f64;
            return if amount < 10.0 {
                format!("{amount:.1} {name}")
            } else {
                format!("{amount:.0} {name}")
            };
        }
    }
    format!("{number} B")
}

/// Seconds as a person says them: `0.42 s`, `3 min 20 s`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.2} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(bytes(906_000_000), "906 MB");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(duration(200.4), "3 min 20 s");
    }
}
