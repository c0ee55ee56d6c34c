//! Database servers for tests and benches, with what they need installed where it is missing.

use std::thread;

use anyhow::{Context, Result};
pub(crate) use gristmill_scratch::server::{Durable, KINDS, Kind, Server};

use crate::provide;

/// The server that the environment names, or a new one.
pub(crate) fn find(kind: &Kind, durable: Durable) -> Result<Server> {
    Server::named(kind).map_or_else(|| start(kind, durable), Ok)
}

/// A new server.
pub(crate) fn start(kind: &Kind, durable: Durable) -> Result<Server> {
    if kind.programs().is_none() {
        provide::apt_install(kind.package)
            .with_context(|| format!("{} is not there; install {}", kind.name, kind.package))?;
    }
    Server::start(kind, durable)
}

/// Starts all servers, says where they are, and keeps them until it is interrupted.
pub(crate) fn keep(durable: Durable) -> Result<()> {
    let servers = KINDS.iter().map(|kind| start(kind, durable));
    let servers = servers.collect::<Result<Vec<_>>>()?;
    for server in &servers {
        println!("export {}={}", server.variable, server.url);
    }
    eprintln!("Ctrl-C ends them");
    loop {
        thread::park();
    }
}
