//! The process's memory, and how many items may be in flight within it.

use std::fs;

/// A bound on the memory of the process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Bytes that the process may have resident.
    pub limit: u64,
    /// Tells how many it has. `None` where the system does not say: then nothing is bounded.
    pub usage: fn() -> Option<Usage>,
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes resident now.
    pub resident: u64,
    /// The most that ever were.
    pub peak: u64,
}

impl Memory {
    /// A bound on what the system says this process has resident.
    pub fn of_process(limit: u64) -> Self {
        Self { limit, usage }
    }
}

/// Memory of this process, where the system tells it.
pub fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Usage { resident: value("VmRSS:")?, peak: value("VmHWM:")? })
}

/// Bytes of memory that an item is expected to take at the worst for each of its own, before one
/// was seen: a chunk of text with its columns, its encoded form and its rejects.
const EXPECTED: u64 = 10;

/// How many items may be in flight: as many as seem to fit, by what those before them took.
#[derive(Debug)]
pub(crate) struct Window {
    memory: Option<Memory>,
    /// Resident before the first item.
    base: u64,
    /// As many as may be in flight, once the first item is seen.
    allowed: Option<usize>,
    /// The most that may ever be.
    most: usize,
    /// The most that were.
    reached: usize,
}

impl Window {
    /// At most `most` items, and one at least.
    pub(crate) fn new(memory: Option<Memory>, most: usize) -> Self {
        let allowed = memory.is_none().then_some(most);
        Self { memory, base: 0, allowed, most, reached: 1 }
    }

    /// Notes what is resident before there are any items.
    pub(crate) fn open(&mut self) {
        self.base = self.usage().unwrap_or_default().resident;
    }

    /// Whether one more may be in flight beside `count` others.
    pub(crate) fn has_room(&self, count: usize) -> bool {
        count < self.allowed.unwrap_or(1)
    }

    /// Takes the first item's size for that of all, until one is done.
    pub(crate) fn first(&mut self, size: usize) {
        if let (None, Some(memory)) = (self.allowed, self.memory) {
            let room = within(memory.limit).saturating_sub(self.base);
            let each = (size as u64).saturating_mul(EXPECTED).max(1);
            let fit = usize::try_from(room / each).unwrap_or(usize::MAX);
            self.allowed = Some(fit.clamp(1, self.most));
        }
    }

    /// Learns from what is resident while `count` items are in flight, one of them done. Fewer may
    /// follow where that is too much; more only where the peak, and another item, would fit.
    pub(crate) fn learn(&mut self, count: usize) {
        let (Some(memory), Some(allowed)) = (self.memory, self.allowed) else { return };
        let Some(Usage { resident, peak }) = self.usage() else {
            self.allowed = Some(self.most);
            return;
        };
        self.reached = self.reached.max(count);
        let limit = within(memory.limit);
        let each = peak.saturating_sub(self.base) / self.reached as u64;
        if resident > limit {
            self.allowed = Some((allowed.min(count) - 1).max(1));
        } else if peak + each <= limit {
            self.allowed = Some((allowed + 1).min(self.most));
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.memory.and_then(|memory| (memory.usage)())
    }
}

/// What items may fill of a limit: the next one may take more than those before it.
fn within(limit: u64) -> u64 {
    limit / 4 * 3
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static RESIDENT: AtomicU64 = AtomicU64::new(0);
    static PEAK: AtomicU64 = AtomicU64::new(0);

    fn window(limit: u64, base: u64) -> Window {
        let usage = || {
            let resident = RESIDENT.load(Ordering::Relaxed);
            Some(Usage {
                resident,
                peak: PEAK.fetch_max(resident, Ordering::Relaxed).max(resident),
            })
        };
        RESIDENT.store(base, Ordering::Relaxed);
        PEAK.store(base, Ordering::Relaxed);
        let mut window = Window::new(Some(Memory { limit, usage }), 4);
        window.open();
        window
    }

    fn done(window: &mut Window, resident: u64, count: usize) -> Option<usize> {
        RESIDENT.store(resident, Ordering::Relaxed);
        window.learn(count);
        window.allowed
    }

    #[test]
    fn as_many_items_are_in_flight_as_fit() {
        // Room for 702 bytes; an item of 10 is expected to take 100 of them.
        let mut wide = window(936, 0);
        wide.first(10);
        assert_eq!(wide.allowed, Some(4));
        let mut narrow = window(936, 500);
        narrow.first(10);
        assert_eq!(narrow.allowed, Some(2));
        let mut none = window(936, 790);
        none.first(10);
        assert_eq!(none.allowed, Some(1));

        // They turn out to take 40: more fit, while what is free is enough for another.
        let mut narrow = window(936, 500);
        narrow.first(10);
        assert_eq!(done(&mut narrow, 580, 2), Some(3));
        assert_eq!(done(&mut narrow, 620, 3), Some(4));
        assert_eq!(done(&mut narrow, 620, 4), Some(4));
        // Something else grew.
        assert_eq!(done(&mut narrow, 703, 4), Some(3));
        assert_eq!(done(&mut narrow, 750, 3), Some(2));
        assert_eq!(done(&mut narrow, 750, 2), Some(1));
        assert_eq!(done(&mut narrow, 750, 1), Some(1));
        // What once took too much may do so again.
        assert_eq!(done(&mut narrow, 500, 1), Some(1));
    }

    #[test]
    fn the_system_tells_what_is_resident() {
        let Some(before) = usage() else { return };
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = usage().unwrap();
        assert!(after.resident > before.resident + (48 << 20), "{before:?} → {after:?}");
        assert!(after.peak >= after.resident, "{after:?}");
        drop(block);
    }
}
