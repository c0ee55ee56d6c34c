//! What a user of the crate was promised.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod built_in;
mod checks;
mod contract;
mod definition;
mod init;
mod join;
mod kinds;
mod ledger;
mod lookup;
mod profile;
mod quality;
mod run;
mod testing;
