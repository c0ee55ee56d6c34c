//! What a user of the crate was promised.

mod built_in;
mod definition;
mod init;
mod kinds;
mod ledger;
mod run;
