//! What a user of the crate was promised.

mod definition;
mod kinds;
mod ledger;
mod steps;
