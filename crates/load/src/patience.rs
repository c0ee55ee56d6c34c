//! Waiting for a server that went away.

use std::thread;
use std::time::{Duration, Instant};

use gristmill_core::Result;

/// How long it may take to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects, again and again while the server is not there: one that died may be starting.
pub(crate) fn reconnect<C>(connect: impl Fn() -> Result<C>) -> Result<C> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        match connect() {
            Err(error) if error.is_transient() && began.elapsed() < PATIENCE => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            connected => return connected,
        }
    }
}
