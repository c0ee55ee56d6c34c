//! Which process runs, so that one that was killed can be told from one that is still at work.

use std::fs;
use std::process::id;

/// A process: a number is used again, so its birth is part of who it is.
pub(super) struct Process {
    pub(super) host: String,
    pub(super) pid: u32,
    /// When it was born, in the system's own words; `None` where the system does not say.
    pub(super) birth: Option<String>,
}

impl Process {
    /// This process.
    pub(super) fn current() -> Self {
        Self { host: host(), pid: id(), birth: birth(id()) }
    }

    /// Whether it certainly runs no more. A process of another host may still run.
    pub(super) fn is_gone(&self) -> bool {
        match &self.birth {
            Some(birth) if self.host == host() => self::birth(self.pid).as_ref() != Some(birth),
            _ => false,
        }
    }
}

fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).ok().map(|name| name.trim().to_owned());
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default()
}

/// On Linux: the boot, and the clock ticks from it to the start of the process (field 22 of
/// `/proc/PID/stat`; see proc_pid_stat(5)). A zombie has ended.
#[cfg(target_os = "linux")]
fn birth(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    Some(format!("{}/{}", boot.trim(), fields.nth(18)?))
}

/// Elsewhere: what `ps` says, if it is there.
#[cfg(not(target_os = "linux"))]
fn birth(pid: u32) -> Option<String> {
    let pid = pid.to_string();
    let output = std::process::Command::new("ps").args(["-o", "lstart=", "-p", &pid]).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
