//! Pipelines: the definition file, checked; the run; the ledger of runs.

pub mod definition;
pub mod init;
pub mod ledger;
pub mod params;
